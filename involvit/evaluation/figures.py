"""How all figures of the reports look."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

# Paul Tol's "bright" scheme again, the first few differ in lightness too: they stay apart in grey print.
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


def label_bars(axes: Axes, positions: Sequence[float], values: Sequence[float], texts: Sequence[str]) -> None:
    """Writes a text above each bar."""
    for position, value, text in zip(positions, values, texts, strict=True):
        axes.annotate(text, (position, value), (0, 2), textcoords="offset points", ha="center", fontsize=8)
