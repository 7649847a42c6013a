"""The public names, each with the module that it is loaded from on first use."""

from bpnet import formats as formats
from bpnet import plots as plots
from bpnet.errors import GradientCheckFailed as GradientCheckFailed
from bpnet.errors import InvalidFile as InvalidFile
from bpnet.errors import TrainingDiverged as TrainingDiverged
from bpnet.formats.npz import load as load
from bpnet.gradcheck import GradientReport as GradientReport
from bpnet.gradcheck import check_function as check_function
from bpnet.gradcheck import check_gradient as check_gradient
from bpnet.gradcheck import check_vjp as check_vjp
from bpnet.machine import environment as environment
from bpnet.mlp import MLP as MLP
from bpnet.network.cache import Cache as Cache
from bpnet.network.gradient import Gradient as Gradient
from bpnet.network.parameters import Parameters as Parameters
from bpnet.rules.activations import ACTIVATIONS as ACTIVATIONS
from bpnet.rules.activations import Activation as Activation
from bpnet.rules.initializers import INITIALIZERS as INITIALIZERS
from bpnet.rules.initializers import Initializer as Initializer
from bpnet.rules.losses import LOSSES as LOSSES
from bpnet.rules.losses import Loss as Loss
from bpnet.rules.losses import huber as huber
from bpnet.rules.optimizers import SGD as SGD
from bpnet.rules.optimizers import Adagrad as Adagrad
from bpnet.rules.optimizers import Adam as Adam
from bpnet.rules.optimizers import AdamW as AdamW
from bpnet.rules.optimizers import Optimizer as Optimizer
from bpnet.rules.optimizers import RMSprop as RMSprop
from bpnet.rules.schedules import CosineDecay as CosineDecay
from bpnet.rules.schedules import ExponentialDecay as ExponentialDecay
from bpnet.rules.schedules import InverseScaling as InverseScaling
from bpnet.rules.schedules import ReduceOnPlateau as ReduceOnPlateau
from bpnet.rules.schedules import Schedule as Schedule
from bpnet.rules.schedules import StepDecay as StepDecay
from bpnet.rules.schedules import Warmup as Warmup
from bpnet.training.callbacks import Callback as Callback
from bpnet.training.early_stopping import EarlyStopping as EarlyStopping
from bpnet.training.evaluation import evaluate as evaluate
from bpnet.training.fit import fit as fit
from bpnet.training.history import History as History
from bpnet.training.lbfgs import LBFGS as LBFGS
from bpnet.training.vitals import LayerMonitor as LayerMonitor
from bpnet.worked.solution import explain as explain

__version__: str
