"""The command: what it prints, what it refuses, and how it ends."""

import io
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import bpnet
import bpnet.gradcheck.report
from bpnet import MLP
from bpnet.cli import article
from bpnet.cli.article import affordable
from bpnet.cli.main import main
from bpnet.formats.npz import load
from bpnet.gradcheck import check_gradient
from tests.helpers.command import printed, refusal
from tests.test_datasets import write_set

PUBLISHED = """\
net            2-2-2, sigmoid, half squared error
start          published weights and biases (Mazur, 2015)
input          0.050000  0.100000
target         0.010000  0.990000
learning rate  0.5
gradient       largest relative error ERROR against central differences, 12 parameters

    epochs          loss   seconds  outputs
         0      0.298371   SECONDS  0.751365  0.772928
       100    0.00608313   SECONDS  0.094824  0.919494
     1,000   0.000270705   SECONDS  0.026740  0.973839
    10,000   2.44756e-06   SECONDS  0.011588  0.988459
"""


def masked(text):
    """Replace what differs from run to run."""
    text = re.sub(r"(?<=error )\S+", "ERROR", text)
    return re.sub(r"  \d\.\d{3}(?=  \d\.\d{6})", "SECONDS", text)


def rows(out):
    """Return epoch, loss and outputs of each line of the table."""
    table = out[out.index("outputs") :].splitlines()[1:]
    words = [line.replace(",", "").split() for line in table]
    return [(int(w[0]), float(w[1]), [float(a) for a in w[3:]]) for w in words]


def test_published_start_weights(capsys):
    """Mazur, "A Step by Step Backpropagation Example" (2015), with every bias updated."""
    assert masked(printed(capsys, "--published")) == PUBLISHED


def test_the_articles_run(capsys):
    out = printed(capsys, "--epochs", "30", "10", "30", "20")
    assert "weights and biases by 'uniform', seed 0" in out
    assert float(re.search(r"error (\S+) against", out)[1]) < 1e-6
    marks, E, outputs = zip(*rows(out), strict=True)
    assert marks == (0, 10, 20, 30)
    assert sorted(E, reverse=True) == [*E]
    half = [sum((a_i - y_i) ** 2 / 2 for a_i, y_i in zip(a, (0.01, 0.99), strict=True)) for a in outputs]
    np.testing.assert_allclose(E, half, rtol=1e-3)
    base = rows(printed(capsys, "--epochs", "30"))
    assert base == rows(out)[:: len(marks) - 1] == rows(printed(capsys, "--epochs", "30", "--seed", "0"))
    assert base[0] != rows(printed(capsys, "--epochs", "30", "--seed", "4"))[0]
    faster = rows(printed(capsys, "--epochs", "30", "--learning-rate", "1.5"))
    assert (faster[0], faster[1][1] < base[1][1]) == (base[0], True)
    other = printed(capsys, "--epochs", "20", "--initializer", "he_normal")
    assert "by 'he_normal'" in other
    assert rows(other)[0] != base[0]


@pytest.mark.parametrize("sizes", ["3,5,4", "3-5-4"])
def test_other_sizes_draw_their_sample_and_say_so(capsys, sizes):
    out = printed(capsys, "--sizes", sizes, "--epochs", "5", "--seed", "2")
    assert "net            3-5-4, sigmoid" in out
    assert "(input and target are drawn, seed 2)" in out
    x = [float(n) for n in re.search(r"^input +(.*?) \(", out, re.MULTILINE)[1].split()]
    y = [float(n) for n in re.search(r"^target +(.*)", out, re.MULTILINE)[1].split()]
    assert len(x) == 3
    assert all(0 < x_i < 1 for x_i in x)
    assert len(y) == 4
    assert all(0.01 <= y_i <= 0.99 for y_i in y)
    x, *_ = article.article_sample(MLP.init((4, 3), rng=0), 7)  # not of the weights' stream
    assert not np.isin(x, np.random.default_rng(7).uniform(0, 1, 4)).any()


@pytest.mark.parametrize(
    ("sizes", "told"),
    [
        ("2,3,4,2", r"input +0.050000  0.100000\n"),
        ("9,2", r"input( +0\.\d{6}){6}  \.\.\. \(9 numbers\)"),
        ("60,40,3", "2000 of 2563 parameters"),
    ],
)
def test_deeper_longer_and_larger_nets(capsys, sizes, told):
    argv = ("--sizes", sizes, "--epochs", "1", "--initializer", "xavier_normal")
    assert re.search(told, printed(capsys, *argv))


def test_of_a_larger_net_fewer_weights_are_measured():
    """The cost is so many evaluations of so many numbers: bounded, whatever the net."""
    for sizes, most in (((784, 30, 10), 2000), ((784, 800, 10), 20), ((3000, 900, 10), 10)):
        net = MLP.init(sizes, rng=0)
        few = affordable(net, 1, "central")
        assert 10 <= few <= most
        assert few == 10 or 0.9e8 < 12 * few * net.theta.size < 1e8
    assert affordable(net, 1, "complex") == affordable(net, 1, "auto") == 18
    small = MLP.init((3, 5, 2), rng=0)
    assert affordable(small, 4, "central") == affordable(small, 4, "auto") == 32
    assert affordable(small, 10**6, "auto") == 10


def test_a_check_of_a_large_net_takes_a_sample_unless_told(capsys, monkeypatch):
    monkeypatch.setattr(article, "NUMBERS", 1e5)
    sizes = ["check", "--sizes", "60,40,3"]
    assert "passed: 13 coordinates" in printed(capsys, *sizes)
    assert "13 of 2,563 coordinates" in printed(capsys, *sizes)
    assert "passed: 100 coordinates" in printed(capsys, *sizes, "--coordinates", "100")


def test_what_takes_a_moment_says_so_on_a_terminal(capsys, monkeypatch):
    for argv in (["--epochs", "1"], ["check"]):
        monkeypatch.undo()
        quiet = printed(capsys, *argv)
        monkeypatch.setattr("sys.stdout.isatty", lambda: True)
        told = printed(capsys, *argv)
        (said,) = re.findall(r"^(.*)\r", told, re.MULTILINE)
        assert masked(told.replace(f"{said}\r", "")) == masked(quiet)
        assert len(said) < len(told.split("\r")[1].split("\n")[0])  # so it is written over


@pytest.fixture
def planted(monkeypatch):
    """One wrong weight in every gradient."""
    backward = MLP.backward

    def wrong(*args, **kwargs):
        grad = backward(*args, **kwargs)
        grad.theta[4] *= 1.01
        return grad

    monkeypatch.setattr(MLP, "backward", wrong)


def test_the_articles_run_finds_a_wrong_gradient(capsys, planted):
    assert "largest relative error 9.9e-03 against central" in printed(capsys, "--epochs", "1")


def test_help_and_version(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    out = printed(capsys, "--help")
    for command in ([], ["mnist"], ["check"], ["export"], ["train"], ["predict"], ["--epochs", "3"]):
        told = printed(capsys, *command, "--help")
        assert (max(map(len, told.splitlines())) < 80, told.isascii()) == (True, True)
    for word in ("--published", "--initializer", "mnist", "check", "examples:"):
        assert word in out
    assert "--coordinates N" in printed(capsys, "check", "--help")
    assert "DIR holds train-images-idx3-ubyte" in printed(capsys, "mnist", "--help")
    assert printed(capsys, "--version") == f"bpnet {bpnet.__version__}\n"


@pytest.mark.parametrize(
    ("argv", "match"),
    [
        (["--bogus"], "unrecognized arguments: --bogus"),
        (["--seed", "-1"], "--seed must be an integer >= 0, not -1"),
        (["--epochs", "0"], "--epochs must be an integer >= 1, not 0"),
        (["--learning-rate", "0"], "--learning-rate must be > 0"),
        (["--sizes", "2"], "input and the output layer"),
        (["--sizes", "two"], "'two' is no list of layer sizes such as 2,5,2"),
        (["--initializer", "best"], "unknown initializer 'best': the known ones are uniform"),
        (["--published", "--sizes", "2,3,2"], "leave out --seed, --initializer and --sizes"),
        (["learn"], "invalid choice: 'learn'"),
        (["mnist"], "the following arguments are required: DIR"),
        (["check", "--activation", "tahn"], "unknown activation 'tahn': the known ones are"),
        (["check", "--loss", "cross_entropy", "--output", "tanh"], "use output='softmax'"),
        (["check", "--initializer", "uniform,zeros"], "unknown initializer 'zeros'"),
        (["check", "--method", "exact"], "unknown method 'exact'"),
        (["check", "--dtype", "float16"], "invalid choice: 'float16' (choose from"),
        (["check", "--batch-size", "0"], "--batch-size must be an integer >= 1, not 0"),
        (["--epochs", "10", "check"], "options before 'check' are those of the article's run"),
        (["--seed", "1", "mnist", "x"], "options before 'mnist' are those of the article's run"),
    ],
)
def test_bad_arguments_are_one_line(capsys, argv, match):
    assert match in refusal(capsys, *argv)


def test_check_prints_the_report(capsys):
    argv = ["check", "--sizes", "3,5,2", "--activation", "tanh", "--loss", "cross_entropy"]
    out = printed(capsys, *argv)
    lines = out.splitlines()
    assert lines[:5] == [
        "MLP(3-5-2, tanh, softmax; cross_entropy, float64)",
        "  weights and a batch of 4, seed 0",
        "",
        "gradient check passed: 32 coordinates",
        "  method    complex step",
    ]
    assert re.search(r"^  W\[3\] +10 +0 +0 +\d\.\de-\d\d  W\[3\]\[\d, \d\]$", out, re.MULTILINE)
    assert printed(capsys, *argv) == out
    assert printed(capsys, *argv, "--seed", "1") != out
    assert out.isascii()


def test_the_seed_of_check_is_that_of_weights_batch_and_sample(capsys, monkeypatch):
    seen = []

    def watched(net, x, y, *, rng, **options):
        seen.append((net.theta.copy(), x, y))
        report = check_gradient(net, x, y, rng=rng, **options)
        seen[-1] += (report.k,)
        return report

    monkeypatch.setattr("bpnet.gradcheck.check_gradient", watched)
    for seed in ("0", "0", "1"):
        printed(capsys, "check", "--sizes", "3,5,4", "--coordinates", "9", "--seed", seed)
    for first, same, other in zip(*seen, strict=True):
        assert np.array_equal(first, same)
        assert not np.array_equal(first, other)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--sizes", "2-3-4-1", "--activation", "tanh,relu,softplus", "--loss", "poisson"],
         "MLP(2-3-4-1, tanh, relu, softplus; poisson, float64)"),
        (["--output", "identity"], "MLP(2-2-2, sigmoid, identity; half_squared_error, float64)"),
        (["--dtype", "float32"], "1.2e-05 allowed"),
        (["--batch-size", "9"], "a batch of 9, seed 0"),
        (["--method", "central"], "method    central differences"),
        (["--tolerance", "1e-8"], "at most, 1e-08 allowed"),
        (["--coordinates", "5"], "5 of 12 coordinates"),
        (["--initializer", "uniform"], "weights by uniform and a batch of 4"),
    ],
)  # fmt: skip
def test_check_takes_its_options(capsys, options, text):
    assert text in printed(capsys, "check", *options)


@pytest.mark.parametrize("loss", [name for name in bpnet.LOSSES if name != "huber"])
@pytest.mark.parametrize("activation", ["sigmoid", "relu", "gelu"])
def test_check_draws_what_suits_the_loss(capsys, loss, activation):
    for seed in range(5):
        options = ["--loss", loss, "--activation", activation, "--sizes", "3,4,5,2"]
        options += ["--output", "identity"] * (loss == "absolute_error")
        out = printed(capsys, "check", *options, "--seed", str(seed))
        assert "passed" in out


def test_check_ends_with_1_where_the_gradient_is_wrong(capsys, planted, monkeypatch):
    assert main(["check"]) == 1
    out, err = capsys.readouterr()
    assert "gradient check FAILED: 1 of 12 coordinates wrong" in out
    assert "cause     one coordinate only: b[2][0]" in out
    assert err == ""
    # what a terminal has no letters for does not stop it
    report_class = bpnet.gradcheck.report.GradientReport
    monkeypatch.setattr(report_class, "__str__", lambda report: "δ of layer 2")
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
    assert main(["check"]) == 1
    sys.stdout.seek(0)
    assert sys.stdout.read().endswith("\ndelta of layer 2\n")


@pytest.fixture
def mnist(tmp_path):
    folder = tmp_path / "mnist"
    folder.mkdir()
    write_set(folder, train=400, test=50)
    return str(folder)


def test_mnist_learns_and_saves(capsys, mnist, tmp_path):
    path = tmp_path / "net.npz"
    out = printed(capsys, "mnist", mnist, "--hidden", "20-15", "--epochs", "6", "--save", str(path))
    assert "400 training and 50 test images" in out
    assert "784-20-15-10, sigmoid, sigmoid output; half_squared_error" in out
    assert "learning rate 3, batch size 10, seed 0" in out
    table = re.findall(r"^ +(\d+) +(\d\.\d{6}) +(\d+\.\d\d)% +\d+\.\d\d$", out, re.MULTILINE)
    assert [int(epoch) for epoch, *_ in table] == [1, 2, 3, 4, 5, 6]
    accuracy = [float(percent) for *_, percent in table]
    best = max(accuracy)
    assert f"best      {best:.2f}%, epoch {accuracy.index(best) + 1}\n" in out
    assert f"last      {accuracy[-1]:.2f}%\n" in out
    assert accuracy[-1] > 90
    assert out.endswith(f"saved     {path}\n")
    net = load(path)
    assert (net.sizes, net.dtype) == ((784, 20, 15, 10), np.float32)
    data = bpnet.datasets.load_mnist(mnist)
    right = (net.predict(data.x_test).argmax(axis=1) == data.labels_test).mean()
    assert f"{right:.2%}" == f"{accuracy[-1]:.2f}%"


def test_mnist_is_reproducible_and_its_options_are_used(capsys, mnist):
    def run(*options):
        out = printed(capsys, "mnist", mnist, "--hidden", "5", "--epochs", "1", *options)
        return re.search(r"^ +1 +(\S+)", out, re.MULTILINE)[1]

    base = run()
    assert run() == base
    others = {"--seed": 1, "--batch-size": 7, "--learning-rate": 0.1, "--loss": "absolute_error"}
    for option in others.items():
        assert run(*option) != base
    rng, data = np.random.default_rng(3), bpnet.datasets.load_mnist(mnist)
    net = MLP.init((784, 5, 10), rng=rng, dtype="float32")  # one generator, for both
    how = {"epochs": 1, "batch_size": 10, "optimizer": bpnet.SGD(3.0), "rng": rng}
    loss = bpnet.fit(net, data.x_train, data.y_train, **how).loss[0]
    assert run("--seed", 3) == f"{loss:.6f}"


def test_mnist_output_follows_the_loss_and_bad_input(capsys, mnist, tmp_path):
    short = ("--hidden", "3", "--epochs", "1", "--learning-rate", "0.1", "--loss")
    for loss, output in {"cross_entropy": "softmax", "poisson": "sigmoid"}.items():
        out = printed(capsys, "mnist", mnist, *short, loss)
        assert f"784-3-10, sigmoid, {output} output; {loss}" in out
    nowhere = str(tmp_path / "nowhere")
    for argv, message in {
        (nowhere,): "there is no folder",
        ("",): "DIR is empty: name the folder",
        (str(tmp_path),): "lacks train-images-idx3-ubyte",
        (mnist, "--batch-size", "0"): "--batch-size must be",
        (mnist, "--seed", "-2"): "--seed must be",
        (mnist, "--save", f"{nowhere}/net.npz"): "no such folder",
    }.items():
        assert message in refusal(capsys, "mnist", *argv)


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (KeyboardInterrupt(), 130, "bpnet: interrupted\n"),
        (ValueError("two\nlines"), 2, "bpnet: error: two lines\n"),
        (MemoryError(), 2, "bpnet: error: MemoryError\n"),
        (bpnet.errors.TrainingDiverged("up", epoch=1, step=2, layer=3, learning_rate=4.0), 2,
         "bpnet: error: up\n"),
        (PermissionError(13, "Permission denied", "a.npz"), 2,
         "bpnet: error: a.npz: Permission denied\n"),
        (OSError(28, "No space left on device"), 2, "bpnet: error: No space left on device\n"),
        (FileNotFoundError("words"), 2, "bpnet: error: words\n"),
    ],
)  # fmt: skip
def test_no_tracebacks(capsys, monkeypatch, error, status, message):
    def fail(args):
        raise error

    monkeypatch.setattr(article, "run_article", fail)
    assert main([]) == status
    assert capsys.readouterr().err == message
    error = RuntimeError("a bug")
    with pytest.raises(RuntimeError, match="a bug"):  # which shows
        main([])


COMMAND = [sys.executable, "-m", "bpnet"]
BUFFERED = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}


def test_as_a_module():
    done = subprocess.run([*COMMAND, "--published"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert masked(done.stdout) == PUBLISHED
    done = subprocess.run([*COMMAND, "--no"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "bpnet: error: unrecognized arguments: --no (see bpnet --help)\n"


@pytest.mark.skipif(os.name != "posix", reason="pipes and signals are POSIX's")
@pytest.mark.parametrize("unbuffered", [{}, {"PYTHONUNBUFFERED": "1"}])
def test_a_reader_that_has_seen_enough(unbuffered):
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [*COMMAND, "--epochs", "1"],
        stdout=write,
        stderr=subprocess.PIPE,
        env=BUFFERED | unbuffered,
        check=False,
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (141, b"")


def interrupted(argv, after, **env):
    """Run a command, press Ctrl-C after a line, and return the status and what is printed."""
    with subprocess.Popen(
        argv,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=BUFFERED | env,
        # a shell lets what it runs in the background ignore Ctrl-C
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        for line in process.stdout:
            if line.startswith(after):
                break
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    return process.returncode, out, err


@pytest.mark.skipif(os.name != "posix", reason="pipes and signals are POSIX's")
def test_ctrl_c_in_training_keeps_what_there_is(mnist, tmp_path):
    path = tmp_path / "net.npz"
    argv = [*COMMAND, "mnist", mnist, "--epochs", "100000", "--save", str(path)]
    status, out, err = interrupted(argv, after=b"    1 ")
    assert (status, err) == (130, b"bpnet: interrupted\n")
    assert b"last  " in out
    assert load(path).sizes == (784, 30, 10)
    status, _, err = interrupted([*COMMAND, "--epochs", "1", "1000000000"], after=b"         1 ")
    assert (status, err) == (130, b"bpnet: interrupted\n")


@pytest.mark.skipif(os.name != "posix", reason="signals are POSIX's")
def test_ctrl_c_while_numpy_is_loaded(tmp_path):
    (tmp_path / "numpy.py").write_text("import time\nprint('now', flush=True)\ntime.sleep(60)")
    path = os.pathsep.join([str(tmp_path), os.path.dirname(os.path.dirname(bpnet.__file__))])
    script = "import sys; from bpnet.__main__ import main; sys.exit(main())"
    for argv in (COMMAND, [sys.executable, "-c", script]):
        status, _, err = interrupted([*argv, "check"], after=b"now", PYTHONPATH=path)
        assert (status, err) == (130, b"bpnet: interrupted\n")


def test_the_script_is_that_entry():
    text = (Path(bpnet.__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8")
    assert 'bpnet = "bpnet.__main__:main"' in text


def test_importing_bpnet_loads_no_edges():
    code = (
        "import sys, bpnet; "
        "print([m for m in sys.modules if m in ('bpnet.cli', 'bpnet.datasets', 'bpnet.archive', "
        "'argparse', 'zipfile', 'gzip')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
