"""A checkpoint that is damaged, or of another training, is refused and the net left alone."""

import json
import zipfile

import numpy as np
import pytest

from bpnet import MLP, SGD, Adam, InvalidFile, StepDecay, fit
from bpnet.archive import read_arrays, write_arrays
from tests.helpers.complaint import refuses

RNG = np.random.default_rng(5)
X = RNG.normal(size=(22, 3))
Y = RNG.normal(size=(22, 2))


def make(dtype="float64", sizes=(3, 6, 2), **options):
    options = {"activation": "tanh", "output": "identity", "rng": 1} | options
    return MLP.init(sizes, dtype=dtype, **options)


def write(path, **options):
    fit(make(), X, Y, **({"epochs": 2, "batch_size": 5, "checkpoint": path} | options))


def assert_refused(path, message, net=None, kind=InvalidFile, **options):
    options = {"x": X, "y": Y, "optimizer": Adam(), "batch_size": 5, "epochs": 3} | options
    with refuses(net or make(), kind, message) as net:
        fit(net, checkpoint=path, resume=True, **options)


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "file"
    write(path)
    return path


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[: len(data) // 2],
        lambda data: data[:-1],
        lambda data: b"",
        lambda data: b"not a zip file at all",
        lambda data: data[:900] + bytes([data[900] ^ 1]) + data[901:],
    ],
)
def test_damaged_file(path, damage):
    path.write_bytes(damage(path.read_bytes()))
    assert_refused(path, f"{path} …")


def rewritten(path, **changes):
    arrays = read_arrays(path)
    for name, value in changes.items():
        if value is None:
            del arrays[name.replace("_m", ".m")]
        else:
            arrays[name] = np.array(value)
    write_arrays(path, arrays)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"version": 1}, "…is a checkpoint of version 1, but this bpnet reads version 2: start…"),
        ({"version": None}, "…is a checkpoint of version None, but…"),
        ({"format": "bpnet.MLP"}, "…is no checkpoint of bpnet…"),
        ({"format": None}, "…is no checkpoint of bpnet…"),
        ({"theta": None}, "…is a damaged checkpoint: KeyError('theta')"),
        ({"theta": np.zeros(3)}, "…is a damaged checkpoint: …theta is float64 of shape (3,)…"),
        ({"theta": np.zeros(38, "f")}, "…is a damaged checkpoint: …theta is float32 of shape…"),
        ({"best_theta": np.zeros(3)}, "…is a damaged checkpoint: …best_theta is float64 of…"),
        ({"optimizer_m": None}, "…is a damaged checkpoint: KeyError('optimizer.m')"),
        ({"state": "{"}, "…is a damaged checkpoint: …"),
        ({"state": None}, "…is a damaged checkpoint: KeyError('state')"),
        ({"state": "{}"}, "…is a damaged checkpoint: KeyError('settings')"),
    ],
)
def test_file_that_holds_something_else(path, changes, message):
    rewritten(path, **changes)
    assert_refused(path, message)


def test_file_whose_state_is_not_whole(path):
    state = json.loads(str(read_arrays(path)["state"]))
    for name in state.keys() - {"settings"}:
        rewritten(path, state=json.dumps({k: v for k, v in state.items() if k != name}))
        if name != "going":  # which one network has none of
            assert_refused(path, f"…is a damaged checkpoint: KeyError('{name}')")


@pytest.mark.parametrize("resume", [False, True])
def test_a_saved_net_is_no_checkpoint_and_survives(tmp_path, resume):
    path, net = tmp_path / "net.npz", make()
    net.save(path)
    before = path.read_bytes()
    message = f"{path} is no checkpoint of bpnet, …, and is not overwritten: …"
    with refuses(net, InvalidFile, message):
        fit(net, X, Y, epochs=1, checkpoint=path, resume=resume)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"net": lambda: make(sizes=(3, 5, 2))}, "sizes is [3, 5, 2], but was [3, 6, 2]"),
        ({"net": lambda: make("float32")}, "dtype is 'float32', but was 'float64'"),
        (
            {"net": lambda: make(activation="relu")},
            "activations is ['relu', 'identity'], but was ['tanh', 'identity']",
        ),
        ({"net": lambda: make(loss="huber")}, "loss is 'huber', but was 'half_squared_error'"),
        (
            {"optimizer": Adam(0.1)},
            "optimizer is 'Adam(learning_rate=0.1, beta1=0.9, beta2=0.999, epsilon=1e-08)', but "
            "was 'Adam(learning_rate=0.001, beta1=0.9…",
        ),
        (
            {"optimizer": Adam(StepDecay(0.001))},
            "optimizer is 'Adam(learning_rate=StepDecay(rate=0.001, every=10, factor=0.1), …",
        ),
        ({"optimizer": Adam(beta1=0.8)}, "optimizer is …0.8…, but was …0.9…"),
        ({"optimizer": SGD(0.001)}, "optimizer is 'SGD…, but was 'Adam…"),
        ({"x": X[:-1], "y": Y[:-1]}, "samples is 21, but was 22"),
        ({"batch_size": 4}, "batch_size is 4, but was 5"),
        ({"shuffle": False}, "shuffle is False, but was True"),
        ({"rng": np.random.Generator(np.random.MT19937(0))}, "rng is 'MT19937', but was 'PCG64'"),
        ({"validation": (X, Y)}, "validation samples is 22, but was None"),
        ({"metrics": "r2"}, "metrics is ['r2'], but was []"),
        ({"l1": 0.1}, "l1 is 0.1, but was 0.0"),
        ({"l2": 0.1}, "l2 is 0.1, but was 0.0"),
        ({"dropout": 0.5}, "dropout is {'2': 0.5}, but was {}"),
        ({"clip_norm": 1}, "clip is [1.0, None], but was [None, None]"),
        ({"early_stopping": 3}, "early_stopping is [3, 0.0, None, True], but was None"),
        ({"x": X[::-1]}, "the data: x changed"),
        ({"y": Y + 1e-12, "x": X + 1e-9}, "the data: x and y changed"),
        ({"sample_weight": np.arange(1, 23)}, "the data: the weights changed"),
    ],
)
def test_file_of_another_training(path, options, message):
    options = dict(options)
    net = options.pop("net", make)()
    message = f"{path} is the checkpoint of another training: {message}"
    if "validation" in options:
        message = f"…{message.split(': ')[-1]}"
    assert_refused(path, message, net=net, **options)


def test_another_split_of_the_rows_is_another_training(tmp_path):
    path = tmp_path / "file"
    write(path, validation=0.3, rng=1)
    assert_refused(
        path,
        "…: the data: the choice of rows changed; the validation data: the choice of rows…",
        validation=0.3,
        rng=2,
    )


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        (ValueError, {"resume": True}, "resume needs the checkpoint file to resume from: give…"),
        (ValueError, {"checkpoint": "x", "checkpoint_every": 0}, "checkpoint_every must be an…"),
        (FileNotFoundError, {"checkpoint": "none/x"}, "…there is no such folder to write to…"),
        (IsADirectoryError, {"checkpoint": ""}, "…this is a folder, not a file to write…"),
    ],
)
def test_bad_arguments_are_refused_before_the_first_step(tmp_path, kind, options, message):
    if "checkpoint" in options:
        options = options | {"checkpoint": tmp_path / options["checkpoint"]}
    with refuses(make(), kind, message) as net:
        fit(net, X, Y, epochs=1, **options)
    assert list(tmp_path.iterdir()) == []


def test_file_is_an_npz_that_numpy_reads(path):
    with np.load(path, allow_pickle=False) as arrays:
        assert {"format", "version", "theta", "state", "optimizer.m", "optimizer.v"} == {*arrays}
    assert zipfile.is_zipfile(path)
