"""`bpnet --restarts N`: the article's run from many starts, and where its losses fall."""

from __future__ import annotations

import numpy as np
import pytest

from bpnet import MLP, SGD, arrays, fit
from bpnet.cli import article
from bpnet.cli.article import PRINTED, histogram, losses_by_mark, report, table
from bpnet.cli.main import main
from bpnet.training.history import History
from tests.helpers.command import printed, refusal

X, Y = np.array([[0.05, 0.10]]), np.array([[0.01, 0.99]])


def make(networks, sizes=(2, 2, 2)):
    return MLP.init(sizes, initializer="uniform", rng=0, networks=networks)


def test_each_start_trains_as_it_would_alone():
    net = make(70)
    starts = {k: net[k].copy() for k in (0, 13, 69)}
    found = losses_by_mark(net, X, Y, [3, 40], 0.5)
    assert list(found) == [3, 40]
    seconds = [found[mark][1] for mark in found]
    assert 0 < seconds[0] < seconds[1]
    for k, one in starts.items():
        for mark, more in [(3, 3), (40, 37)]:
            fit(one, X, Y, epochs=more, batch_size=1, optimizer=SGD(0.5))
            loss = one.loss(one.forward(X), Y)
            assert found[mark][0][k] == pytest.approx(loss, rel=1e-10)
        np.testing.assert_allclose(net.theta[k], one.theta, rtol=1e-10)


def test_histories_stay_short(monkeypatch):
    """Memory is for so many losses at a time; the training is the same."""
    once, parts, lengths = make(7), make(7), []

    def spy(net, x, y, epochs, **options):
        lengths.append(epochs)
        return fit(net, x, y, epochs=epochs, **options)

    monkeypatch.setattr(article, "fit", spy)
    losses_by_mark(once, X, Y, [5, 12], 0.5)
    assert lengths == [5, 7]
    monkeypatch.setattr(article, "HISTORY", 21)
    lengths.clear()
    found = losses_by_mark(parts, X, Y, [5, 12], 0.5)
    assert lengths == [3, 2, 3, 3, 1]
    assert list(found) == [5, 12]
    np.testing.assert_array_equal(parts.theta, once.theta)


def test_the_articles_losses_fall_among_the_starts():
    """0.005217 and 0.000241 lie in the lower tail, as a lucky start's would."""
    assert PRINTED == {100: 0.005217, 1000: 0.000241, 10000: 0.000003}
    for mark, (losses, _) in losses_by_mark(make(300), X, Y, [100, 1000], 0.5).items():
        assert losses.shape == (300,)
        assert losses.min() < PRINTED[mark] < losses.max()
        assert 0.05 < np.mean(losses < PRINTED[mark]) < 0.25


def test_ctrl_c_ends_the_command(monkeypatch, capsys):
    monkeypatch.setattr(article, "fit", lambda *args, **options: History(stopped="interrupted"))
    assert main(["--restarts", "3", "--epochs", "2"]) == 130
    out, err = capsys.readouterr()
    assert err == "bpnet: interrupted\n"
    assert "epochs " not in out


LOSSES = np.array([4e-4, 1e-4, 2e-4, 3e-4, 5e-4])


def test_table_has_best_quartiles_and_worst():
    found = {100: (LOSSES, 0.25), 2000: (LOSSES / 100, 1.5)}
    assert table(found).splitlines() == [
        "  epochs        best    quartile      median    quartile       worst     seconds",
        "     100      0.0001      0.0002      0.0003      0.0004      0.0005       0.250",
        "   2,000       1e-06       2e-06       3e-06       4e-06       5e-06       1.500",
    ]


def test_histogram_is_logarithmic_and_marks_the_articles_row():
    losses = np.concatenate([np.full(7, 1e-6), np.full(80, 1.2e-5), [1e-3], np.full(3, 0.0)])
    lines = histogram(losses, 1e-3 * 0.9).splitlines()
    assert len(lines) == 12
    rows = [line.split()[:4] for line in lines]
    assert [int(row[3]) for row in rows] == [7, 0, 0, 0, 80, 0, 0, 0, 0, 0, 0, 1]
    lefts, rights = ([float(row[i]) for row in rows] for i in (0, 2))
    np.testing.assert_allclose(np.diff(np.log10(lefts)), 0.25, atol=0.01)
    assert (lefts[0], rights[-1], lefts[1:]) == (1e-6, 1e-3, rights[:-1])
    bars = [line.count("#") for line in lines]
    assert bars[4] == 40
    assert bars[0] == 4  # 7 of 80, rounded up: no row that holds a loss is empty
    assert bars[-1] == 1
    assert [line.endswith("  <- the article's") for line in lines] == [False] * 11 + [True]
    assert "article" not in histogram(losses, 2e-3) + histogram(losses)
    assert "article" in histogram(losses, losses[losses > 0].min()).splitlines()[0]


def test_equal_losses_in_words():
    assert histogram(np.full(4, 0.25)) == "every loss is 0.25"
    assert histogram(np.zeros(4)) == "every loss is 0"


def test_the_articles_losses_are_compared_with_the_articles_run_alone():
    text = report(make(5), X, Y, [2, 100], 0.5)
    assert "the article's loss after 100 epochs, 0.005217: " in text
    assert "losses after 100 epochs, on a logarithmic scale" in text
    assert "after 2 epochs" not in text
    for net, rate in [(make(5), 0.4), (make(5, (2, 3, 2)), 0.5)]:
        assert "article" not in report(net, X, Y, [2, 100], rate)


def without_seconds(out):
    return [line[:68] if line.startswith("  ") else line for line in out.splitlines()]


def test_the_command_prints_the_whole_account(capsys):
    argv = ("--restarts", 200, "--epochs", 10, 100)
    out = printed(capsys, *argv)
    lines = out.splitlines()
    assert lines[:5] == [
        "net            2-2-2, sigmoid, half squared error",
        "starts         200, weights and biases by 'uniform', seed 0",
        "input          0.050000  0.100000",
        "target         0.010000  0.990000",
        "learning rate  0.5",
    ]
    assert [line.split()[0] for line in lines[6:9]] == ["epochs", "10", "100"]
    assert lines[10].startswith("the article's loss after 100 epochs, 0.005217: ")
    counts = [int(line.split()[3]) for line in lines if " .. " in line]
    assert (len(counts), sum(counts)) == (12, 200)
    assert out.count("<- the article's") == 1
    assert out.isascii()
    assert without_seconds(printed(capsys, *argv)) == without_seconds(out)
    assert without_seconds(printed(capsys, *argv, "--seed", 1))[6:] != without_seconds(out)[6:]

    found = losses_by_mark(make(200), X, Y, [10, 100], 0.5)
    losses, lower = found[10][0], np.mean(found[100][0] < PRINTED[100])
    assert lines[10].endswith(f"0.005217: {lower:.1%} of the starts end lower")
    shown = lines[7].split()[1:6]
    assert shown == [f"{q:.3g}" for q in np.quantile(losses, [0, 0.25, 0.5, 0.75, 1])]
    argv = ("--restarts", 1, "--epochs", 5, "--sizes", "3,4,1", "--initializer", "xavier_normal")
    out = printed(capsys, *argv)
    assert "starts         1, weights and biases by 'xavier_normal', seed 0" in out
    assert "(input and target are drawn, seed 0)" in out
    assert "every loss is " in out


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([0], "--restarts must be an integer >= 1, not 0"),
        (["few"], "argument --restarts: invalid int value: 'few'"),
        ([9, "--seed", -1], "--seed must be an integer >= 0, not -1"),
        ([9, "--initializer", "big"], "unknown initializer 'big'"),
        ([9, "--published"], "--published is one start, --restarts asks for many: leave one out"),
    ],
)
def test_bad_arguments_are_one_line(capsys, argv, message):
    assert refusal(capsys, "--restarts", *argv).startswith(f"bpnet: error: {message}")


def test_more_starts_than_fit_are_refused_in_words(capsys, monkeypatch):
    monkeypatch.setattr(arrays, "memory_of_machine", lambda: 8e9)
    assert refusal(capsys, "--restarts", 10**9) == (
        "bpnet: error: 1,000,000,000 networks of 12 parameters need 192 GB with their gradients, "
        "but this machine has 8 GB: take fewer at a time\n"
    )
