"""How all figures of the reports look, and those that several reports share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import ArrayLike

from ..colors import CLASS_COLORS

# Paul Tol's "bright" scheme again; the first few differ in lightness too, so they stay apart in grey print.
SERIES_COLORS = ("#4477AA", "#EE6677", "#228833", "#CCBB44", "#66CCEE", "#AA3377", "#BBBBBB")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_LINES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 1)))


def new_figure(width: float, height: float) -> Figure:
    """Returns an empty figure of that many inches, independent of pyplot's state."""
    return Figure(figsize=(width, height), dpi=150, layout="constrained")


def series_style(index: int) -> dict[str, Any]:
    """Returns colour, marker and line of a model or variant by its place: apart to the colour-blind and in grey."""
    place = index % len(SERIES_COLORS)
    return {"color": SERIES_COLORS[place], "marker": _MARKERS[place], "linestyle": _LINES[place]}


def tidy(axes: Axes, *, xlabel: str = "", ylabel: str = "", title: str = "") -> None:
    """Labels axes and leaves a faint grid without the box around it."""
    axes.set(xlabel=xlabel, ylabel=ylabel)
    if title:
        axes.set_title(title, fontsize=11)
    axes.grid(alpha=0.3, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def confusion_figure(confusion: ArrayLike, labels: Sequence[str], title: str) -> Figure:
    """Draws a confusion matrix: the number of images, and the share of the true class in percent and as colour.

    The matrix, [C, C], has a row per true class and a column per answer.
    """
    confusion = np.asarray(confusion)
    shares = confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    figure = new_figure(7, 6)
    axes = figure.add_subplot()
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row, column in np.ndindex(*confusion.shape):
        text = f"{confusion[row, column]}\n{shares[row, column]:.0%}" if confusion[row].any() else "0"
        color = "white" if shares[row, column] > 0.5 else "black"
        axes.text(column, row, text, ha="center", va="center", color=color, fontsize=9)
    ticks = range(len(labels))
    axes.set(xlabel="predicted", ylabel="true", xticks=ticks, xticklabels=labels, yticks=ticks, yticklabels=labels)
    axes.set_title(title, fontsize=11)
    figure.colorbar(image, ax=axes, label="share of the true class", shrink=0.85)
    return figure


def image_grid(
    images: Sequence[np.ndarray], captions: Sequence[str], labels: Sequence[str], together: int = 1
) -> Figure:
    """Draws images in cells of equal size, six in a row, with a caption under each.

    Args:
        images: RGB, uint8 [H, W, 3], of any size; their shape is kept.
        captions: One or two short lines each.
        labels: Class of each image, for the colour of its frame.
        together: How many images stand close together, such as the two of a pair.
    """
    columns = 6
    lines = math.ceil(len(images) / columns)
    gap, line = 0.18, 1.38  # in cells
    width, height = columns + gap * (columns - 1), line * lines
    figure = Figure(figsize=(8, 8 * height / width), dpi=150)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(-0.04, width + 0.04), ylim=(height, -0.04))
    axes.set_axis_off()
    for place, (image, caption, label) in enumerate(zip(images, captions, labels, strict=True)):
        row, column = divmod(place, columns)
        left, top = column + gap * (column - (column % together) * 0.8), row * line
        image_height, image_width = np.array(image.shape[:2]) / max(image.shape[:2])
        x, y = left + (1 - image_width) / 2, top + (1 - image_height) / 2
        axes.imshow(image, extent=(x, x + image_width, y + image_height, y), aspect="auto", interpolation="antialiased")
        frame = Rectangle((x, y), image_width, image_height, fill=False, edgecolor=CLASS_COLORS[label], linewidth=2.5)
        axes.add_patch(frame)
        axes.text(left + 0.5, top + 1.05, caption, ha="center", va="top", fontsize=8, linespacing=1.1)
    return figure
