"""Draw the article's net, trained, and its learning curve: trained_net.png, of README."""

from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt

from bpnet import MLP, SGD, fit, plots

EPOCHS = 10_000
x, y = [0.05, 0.10], [0.01, 0.99]
net = MLP.init((2, 2, 2), initializer="uniform", rng=0)
history = fit(net, x, y, epochs=EPOCHS, batch_size=1, optimizer=SGD(learning_rate=0.5))
cache = net.forward(x)

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 2.9), width_ratios=(1.45, 1), layout="constrained")
plots.network(net, cache, net.backward(cache, y), ax=left)
plots.learning_curves(history, ax=right)
right.set_xscale("log")
right.set_title(f"{EPOCHS:,} epochs, $\\eta$ = 0.5", fontsize=9)
right.get_legend().remove()
figure.savefig(Path(__file__).with_suffix(".png"), dpi=110)
