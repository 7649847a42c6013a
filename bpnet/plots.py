"""Pictures of nets and of their training, by matplotlib (extra ``plots``).

Each function draws into the `Axes` given as ``ax``, or into those of a new figure, and returns
them; none calls ``show``, and none changes a net. Positive numbers are blue, negative ones orange,
which every kind of colour vision tells apart; letters and lines have the colours of matplotlib's
style, and so are legible on dark backgrounds too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from bpnet.arrays import Array
from bpnet.checks import as_float, as_int, same_length
from bpnet.mlp import MLP
from bpnet.network.cache import Cache
from bpnet.network.gradient import Gradient
from bpnet.training.callbacks import LayerMonitor
from bpnet.training.history import History

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "LayerMonitor", "confusion_matrix", "decision_regions", "first_layer", "layer_curves",
    "learning_curves", "loss_along_gradient", "network", "sensitivity", "spread",
]  # fmt: skip

POSITIVE, NEGATIVE = "#2f86c9", "#dd6b20"
SERIES = (POSITIVE, NEGATIVE, "#1a9c77", "#b8689a", "#b8930b", "#6fb7e8", "#8a8a8a")
MARKERS = "osD^vPX"
GAP = 0.22  # between two weights written side by side, in distances of two neurons
MEASURED = {"gradient_norm": "length of $\\partial E/\\partial W^l$", "saturation": "saturated"}


def network(
    net: MLP,
    cache: Cache | None = None,
    grad: Gradient | None = None,
    *,
    sample: int = 0,
    most: int = 8,
    ax: Axes | None = None,
) -> Axes:
    """Draw the network: a column a layer, weights by colour (sign) and width (size in the layer).

    A cache writes a^l of one sample into the neurons, filled the deeper the larger; a gradient
    writes δ^l, the sample's share of it, and colours the rim by its sign. Of a layer of more than
    `most` neurons the first and the last are drawn, and the number of the others stands between.
    """
    L, sizes = one_net(net).L, net.sizes
    most = as_int(most, "most", least=2)
    small = max(sizes) <= min(most, 4)  # there is room for the biases
    drawn = {l: drawn_of(n, most, 1.3 if small else 1.0) for l, n in enumerate(sizes, 1)}
    height = max(1 + ys[0] - ys[-1] for _, ys in drawn.values())
    step = max(2.4, 0.45 * height)  # from layer to layer; a neuron is 0.84 wide
    width = step * (L - 1) + 1.8
    ax = axes_for(ax, (0.85 * width, 0.85 * (height + 1.4)))
    from matplotlib.patches import Circle

    ax.set(aspect="equal", xlim=(-0.9, width - 0.9), ylim=(-height / 2 - 0.9, height / 2 + 0.5))
    ax.set_axis_off()
    box, ground = ax.get_window_extent(), ax.figure.get_facecolor()
    unit = 72 / ax.figure.dpi * min(box.width / width, box.height / (height + 1.4))  # in points
    text: dict[str, Any] = {"ha": "center", "fontsize": min(9.0, 0.15 * unit)}
    for l in range(2, L + 1):
        draw_weights(ax, net.W[l], drawn[l - 1], drawn[l], step * (l - 1), step, text)
    for l, (kept, ys) in drawn.items():
        x, a_l = step * (l - 1), None if cache is None else cache.a[l][sample]
        for j, y in zip(kept, ys, strict=True):
            lines, fill, rim = [], (POSITIVE, 0.0), text_colour()
            if a_l is not None:
                depth = 0.45 * float(abs(a_l[j]) / (np.abs(a_l).max() or 1))
                lines, fill = [short(a_l[j])], (sign_colour(a_l[j]), depth)
            if grad is not None and l > 1:
                delta = grad.delta[l][sample, j]
                lines, rim = [*lines, f"$\\delta$ {short(delta)}"], sign_colour(delta)
            for face, edge in ((ground, "none"), (fill, rim)):  # the first hides the lines
                ax.add_patch(Circle((x, y), 0.42, fc=face, ec=edge, lw=1.4, zorder=2))
            ax.text(x, y, "\n".join(lines), va="center", **text)
            if l > 1 and small:
                ax.text(x, y - 0.46, f"$b$ {short(net.b[l][j])}", va="top", **text)
        n, name = sizes[l - 1], "input" if l == 1 else net.activation[l].name
        if n > len(kept):
            more = ax.text(x, -(most % 2) / 2, f"{n - len(kept):,} more", va="center", **text)
            more.set_backgroundcolor(ground)
        ax.text(x, ys[-1] - 0.75, f"$a^{{{l}}}$  {name}\n{n:,}", va="top", **text)
    return ax


def drawn_of(n: int, most: int, rise: float) -> tuple[list[int], list[float]]:
    """Return which of n neurons are drawn, and how high, with a gap where some are left out."""
    if n <= most:
        return list(range(n)), [rise * ((n - 1) / 2 - i) for i in range(n)]
    half = most - most // 2
    heights = [most / 2 - k - (k >= half) for k in range(most)]
    return [*range(half), *range(n - most // 2, n)], heights


def draw_weights(
    ax: Axes, W: Array, source: Any, target: Any, x: float, step: float, text: dict[str, Any]
) -> None:
    """Draw the weights to the layer at x, and write them where there is room."""
    (js, y_from), (i_s, y_to) = source, target
    shown = W[np.ix_(i_s, js)]
    part = np.abs(shown) / (np.abs(shown).max() or 1)

    def heights(t: float) -> Array:
        return (1 - t) * np.array(y_from) + t * np.array(y_to)[:, None]

    def room(t: float) -> float:
        return float(np.diff(np.sort(heights(t).ravel())).min(initial=math.inf))

    t = max(np.linspace(0.31, 0.5, 20).tolist(), key=room)
    written, at = room(t) >= GAP, x - step + t * step
    for (i, j), value in np.ndenumerate(shown):
        share, colour = float(part[i, j]), (sign_colour(value), 0.25 + 0.75 * float(part[i, j]))
        ax.plot((x - step, x), (y_from[j], y_to[i]), c=colour, lw=0.3 + 2.7 * share, zorder=1)
        if written:
            words = ax.text(at, float(heights(t)[i, j]), short(value), va="center", **text)
            words.set_bbox({"fc": ax.figure.get_facecolor(), "ec": "none", "pad": 0.5})


def learning_curves(history: History, of: str = "loss", *, label: str = "", ax: Axes | None = None) -> Axes:
    """Draw the loss of each epoch with that of the validation data, or a metric by its name.

    Several trainings go into one picture, with a label each.
    """
    if of != "loss" and of not in history.metrics:
        known = ", ".join(["loss", *history.metrics])
        raise ValueError(f"the history has no {of!r}: it has {known}")
    columns = {"training": history.loss, "validation": history.validation_loss}
    columns = columns if of == "loss" else {of: history.metrics[of]}
    if np.ndim(columns[next(iter(columns))]) > 1:
        raise TypeError("this is the history of a stack: draw it by plots.spread")
    ax = axes_for(ax)
    colour = SERIES[sum(line.get_linestyle() == "-" for line in ax.lines) % len(SERIES)]
    for (name, column), style in zip(columns.items(), "-:", strict=False):
        if column:
            name = f"{label}, {name}" if label else name
            ax.plot(range(1, len(column) + 1), column, style, color=colour, label=name)
    if history.best_epoch:
        ax.axvline(history.best_epoch, color=text_colour(), lw=0.8, ls="--", label="best epoch")
    return finished(ax, "epoch", "loss $E$" if of == "loss" else of, log=of == "loss")


def layer_curves(monitor: LayerMonitor, of: str = "gradient_norm", *, ax: Axes | None = None) -> Axes:
    """Draw, a line a layer, what a `LayerMonitor` has recorded: "gradient_norm" or "saturation"."""
    if of not in MEASURED:
        raise ValueError(f"of must be one of {', '.join(MEASURED)}, not {of!r}")
    ax, by_layer = axes_for(ax), getattr(monitor, of)
    from matplotlib import colormaps

    for l, values in by_layer.items():
        colour = colormaps["viridis"](0.2 + 0.65 * (l - 2) / len(by_layer))
        ax.plot(monitor.epoch, values, color=colour, label=f"$l$ = {l}")
    if of == "saturation":
        ax.set_ylim(-0.03, 1.03)
        ax.yaxis.set_major_formatter(lambda share, _: f"{share:.0%}")
    return finished(ax, "epoch", MEASURED[of], log=of == "gradient_norm")


def spread(history: History, *, ax: Axes | None = None) -> Axes:
    """Draw how the losses of a stack's networks spread: median, quartiles, lowest and highest."""
    losses = np.array(history.loss)
    if losses.ndim < 2:
        raise TypeError("this is the history of one network: draw it by plots.learning_curves")
    low, q1, median, q3, high = np.nanquantile(losses, [0, 0.25, 0.5, 0.75, 1], axis=1)
    ax, epoch = axes_for(ax), np.arange(1, len(losses) + 1)
    ax.fill_between(epoch, low, high, color=POSITIVE, alpha=0.2, lw=0, label="all networks")
    ax.fill_between(epoch, q1, q3, color=POSITIVE, alpha=0.4, lw=0, label="the middle half")
    ax.plot(epoch, median, color=text_colour(), label=f"median of {losses.shape[1]:,}")
    return finished(ax, "epoch", "loss $E$", log=bool(low.min() > 0))


def loss_along_gradient(
    net: MLP, x: ArrayLike, y: ArrayLike, learning_rate: float, *, ax: Axes | None = None
) -> Axes:
    """Draw the loss down the gradient, E(θ - t ∂E/∂θ), and where the step t = η lands."""
    cache, eta = one_net(net).forward(x), as_float(learning_rate, "learning_rate", above=0)
    g = net.backward(cache, y).theta

    def E(t: float) -> float:
        moved = net.with_theta(net.theta - t * g)
        return float(moved.loss(moved.forward(x), y))

    ax, t = axes_for(ax), np.linspace(-0.5 * eta, 2.5 * eta, 121)
    losses, start, end = [E(t_k) for t_k in t.tolist()], E(0), E(eta)
    ax.plot(t, losses, color=POSITIVE, label="$E(\\theta - t\\,\\partial E/\\partial\\theta)$")
    near = t[start - t * float(g @ g) >= min(losses) - 0.3 * np.ptp(losses)]  # not far below
    slope = start - near * float(g @ g)
    ax.plot(near, slope, "--", color=text_colour(), lw=0.8, label="its slope at 0")
    ax.plot(0, start, "o", color=text_colour(), label=f"before: {start:.4g}")
    ax.plot(eta, end, "o", color=NEGATIVE, label=f"after the step: {end:.4g}")
    return finished(ax, "$t$", "loss $E$")


def decision_regions(net: MLP, x: ArrayLike, y: ArrayLike, *, ax: Axes | None = None) -> Axes:
    """Draw which class a net of two inputs tells at each point of the plane, and the samples."""
    if one_net(net).sizes[0] != 2:
        raise ValueError(f"regions are drawn of nets with 2 inputs, and this has {net.sizes[0]}")
    points, targets = net.parameters.rows(x, "x"), net.parameters.rows(y, "y")
    n = max(2, net.sizes[-1])
    margin = 0.1 * np.ptp(points, axis=0) + 1e-3
    low, high = points.min(axis=0) - margin, points.max(axis=0) + margin
    across, up = np.meshgrid(*np.linspace(low, high, 200).T)
    said = net.predict(np.stack([across.ravel(), up.ravel()], axis=1))
    ax, levels = axes_for(ax), np.arange(n + 1) - 0.5
    colours = [SERIES[k % len(SERIES)] for k in range(n)]
    told = classes(said, targets).reshape(across.shape)
    ax.contourf(across, up, told, levels, colors=colours, alpha=0.25)
    ax.contour(across, up, told, levels[1:-1], colors=[text_colour()], linewidths=0.8)
    for k in range(n):
        at, marker = points[classes(targets, targets) == k], MARKERS[k % len(MARKERS)]
        look: dict[str, Any] = {"ec": ax.figure.get_facecolor(), "lw": 0.5, "label": f"class {k}"}
        ax.scatter(at[:, 0], at[:, 1], 26, colours[k], marker=marker, **look)
    return finished(ax, "$x_1$", "$x_2$")


def first_layer(
    net: MLP, *, shape: tuple[int, int] | None = None, most: int = 36, ax: Axes | None = None
) -> Axes:
    """Draw the weights of layer 2 as images, one a neuron, of the shape of an input, or square."""
    images = as_images(one_net(net).W[2][: as_int(most, "most", least=1)], shape)
    return tiles(ax, images, [f"{i}" for i in range(len(images))])


def sensitivity(
    net: MLP, x: ArrayLike, *, shape: tuple[int, int] | None = None, ax: Axes | None = None
) -> Axes:
    """Draw one input as an image, and ∂a^L_i/∂x for each output i: what would raise it."""
    slopes, pixels = one_net(net).sensitivity(x), net.parameters.rows(x, "x")
    if len(slopes) != 1:
        raise ValueError(f"sensitivity is drawn of one sample, not of {len(slopes)}")
    names = [f"output {i}" for i in range(len(slopes[0]))]
    return tiles(ax, as_images(slopes[0], shape), names, as_images(pixels, shape)[0])


def as_images(rows: Array, shape: tuple[int, int] | None) -> Array:
    """Return rows of pixels as images."""
    side = math.isqrt(rows.shape[1])
    shape = (side, side) if shape is None else shape
    if math.prod(shape) != rows.shape[1]:
        raise ValueError(f"{rows.shape[1]} inputs are no image of {shape}: give shape=(rows, cols)")
    return rows.reshape(-1, *shape)


def tiles(ax: Axes | None, images: Array, names: list[str], first: Array | None = None) -> Axes:
    """Draw images side by side in the colours of sign, each by its own largest number."""
    given = [] if first is None else [("input", first)]
    whole = [*given, *zip(names, images, strict=True)]
    columns = math.ceil(math.sqrt(1.5 * len(whole)))
    rows = math.ceil(len(whole) / columns)
    ax = axes_for(ax, (1.05 * columns, 1.25 * rows))
    from matplotlib.colors import LinearSegmentedColormap

    signs = LinearSegmentedColormap.from_list("signs", [NEGATIVE, "#f7f7f7", POSITIVE])
    for k, (name, image) in enumerate(whole):
        left, top, most = 1.1 * (k % columns), 1.35 * (k // columns), np.abs(image).max() or 1
        cmap, low = ("gray_r", image.min()) if name == "input" else (signs, -most)
        extent = (left, left + 1, top + 1, top)
        ax.imshow(image, cmap, vmin=low, vmax=most, extent=extent, interpolation="nearest")
        ax.text(left + 0.5, top - 0.03, name, ha="center", va="bottom", fontsize="small")
    ax.set(xlim=(-0.05, 1.1 * columns - 0.05), ylim=(1.35 * rows - 0.3, -0.35))
    ax.set_axis_off()
    return ax


def confusion_matrix(
    net: MLP, x: ArrayLike, y: ArrayLike, *, names: Sequence[str] = (), ax: Axes | None = None
) -> Axes:
    """Draw how many samples of each class, a row, the net takes for which class, a column."""
    truth, said = one_net(net).parameters.rows(y, "y"), net.predict(x)
    same_length(said, truth)
    n = max(2, truth.shape[1])
    counts = np.zeros((n, n), int)
    np.add.at(counts, (classes(truth, truth), classes(said, truth)), 1)
    ax = axes_for(ax, (0.9 + 0.46 * n, 0.8 + 0.46 * n))
    ax.imshow(counts / np.maximum(counts.sum(axis=1, keepdims=True), 1), "cividis", vmin=0, vmax=1)
    for i, j in np.argwhere(counts):
        colour = "black" if counts[i, j] > 0.5 * counts[i].sum() else "white"
        size = "small" if counts.max() < 1000 else "x-small"
        ax.text(j, i, f"{counts[i, j]}", ha="center", va="center", color=colour, fontsize=size)
    labels = list(names) or [f"{k}" for k in range(n)]
    ticks = {"xticks": range(n), "yticks": range(n), "xticklabels": labels, "yticklabels": labels}
    ax.set(xlabel="the net says", ylabel="true class", **ticks)
    return ax


def classes(a: Array, targets: Array) -> Array:
    """Return the class that each row tells: its largest entry, or whether its one is a high one."""
    high = a[:, 0] > (targets.min() + targets.max()) / 2
    return np.asarray(a.argmax(axis=1) if a.shape[1] > 1 else high, int)


def axes_for(ax: Axes | None, size: tuple[float, float] = (5.0, 3.4)) -> Axes:
    """Return the given axes, or those of a new figure of this size."""
    if ax is not None:
        return ax
    try:
        from matplotlib import pyplot as plt
    except ImportError:
        raise ImportError("plots need matplotlib: pip install matplotlib") from None
    return plt.subplots(figsize=size, layout="constrained")[1]


def one_net(net: MLP) -> MLP:
    """Return the net; raise TypeError for what is no single one."""
    if np.ndim(getattr(net, "theta", [[]])) > 1:
        raise TypeError("plots draw one MLP: of a stack of networks, net[k]")
    return net


def text_colour() -> Any:
    """Return the style's colour of letters."""
    import matplotlib as mpl

    return mpl.rcParams["text.color"]


def sign_colour(value: float) -> str:
    """Return blue for positive numbers and 0, orange for negative ones."""
    return POSITIVE if value >= 0 else NEGATIVE


def short(value: float) -> str:
    """Return a number in about three digits, with a true minus sign."""
    text = f"{value:.3f}" if 5e-4 <= abs(value) < 10 else f"{value:.3g}"
    if 0 < abs(value) < 5e-4 or abs(value) >= 1e3:
        text = f"{value:.0e}".replace("e-0", "e-").replace("e+0", "e")
    return text.replace("-", "−")


def finished(ax: Axes, xlabel: str, ylabel: str, *, log: bool = False) -> Axes:
    """Name the axes, give the legend; if asked, a logarithmic scale where there is a decade."""
    ax.set(xlabel=xlabel, ylabel=ylabel)
    ax.spines[["top", "right"]].set_visible(False)
    drawn = [np.ravel(np.asarray(line.get_ydata(), float)) for line in ax.lines]
    values = np.concatenate([line for line in drawn if line.size > 2] or [np.zeros(1)])
    if log and values.min() > 0 and values.max() > 10 * values.min():
        ax.set_yscale("log")
    beside: dict[str, Any] = {"loc": "center left", "bbox_to_anchor": (1, 0.5)}
    ax.legend(frameon=False, **(beside if len(ax.lines) > 5 else {}))  # where it covers nothing
    return ax
