"""One colour per class, the same in every chart, picture and report, distinct for colour-blind people too."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

# The "bright" scheme of Paul Tol, "Colour Schemes", SRON/EPS/TN/09-002, issue 3.2, 2021.
CLASS_COLORS = {
    "Angry": "#EE6677",
    "Disgust": "#228833",
    "Fear": "#AA3377",
    "Happy": "#CCBB44",
    "Sad": "#4477AA",
    "Surprise": "#66CCEE",
    "Neutral": "#BBBBBB",
}


def class_colors(labels: Iterable[str]) -> dict[str, str]:
    """Chooses a colour, `#RRGGBB`, for each class of a model.

    The classes of `CLASS_COLORS` have theirs, whatever their case; others get those left over, and then all seven in
    turn, in the order of `labels`.
    """
    own = {label: CLASS_COLORS.get(label.capitalize()) for label in labels}
    left_over = [color for color in CLASS_COLORS.values() if color not in own.values()]
    turn = itertools.chain(left_over, itertools.cycle(CLASS_COLORS.values()))
    return {label: color or next(turn) for label, color in own.items()}
