"""Every rule of a learning rate or schedule, and every schedule of a rate: what `fit` is run by."""

from bpnet import SGD, Adagrad, Adam, AdamW, RMSprop
from bpnet.rules import schedules

RULES = {
    "SGD": SGD,
    "momentum": lambda rate: SGD(rate, momentum=0.8),
    "Nesterov": lambda rate: SGD(rate, momentum=0.8, nesterov=True),
    "Adagrad": Adagrad,
    "RMSprop": RMSprop,
    "RMSprop, momentum": lambda rate: RMSprop(rate, momentum=0.5),
    "Adam": Adam,
    "AdamW": lambda rate: AdamW(rate, weight_decay=0.1),
}


def plateau(rate, factor=0.3, min_delta=0.05):
    return schedules.ReduceOnPlateau(rate, factor, patience=0, min_delta=min_delta)


SCHEDULES = {
    "steps": lambda rate: schedules.StepDecay(rate, every=2, factor=0.5),
    "exponential": lambda rate: schedules.ExponentialDecay(rate, 0.8),
    "inverse": lambda rate: schedules.InverseScaling(rate, 0.7),
    "cosine": lambda rate: schedules.CosineDecay(rate, epochs=6, final=0.001),
    "warm-up": lambda rate: schedules.Warmup(1.5, schedules.CosineDecay(rate, 4), start=0.2),
    "plateau": plateau,
}


class Spy(SGD):
    """SGD that keeps what a function sees of each step's θ and gradient."""

    def __init__(self, rate, see):
        super().__init__(rate)
        self.see, self.seen = see, []

    def compute(self, theta, g, move):
        self.seen.append(self.see(theta, g))
        super().compute(theta, g, move)
