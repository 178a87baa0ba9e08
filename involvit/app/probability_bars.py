"""Probabilities of the expressions as bars in HTML, a table to screen readers."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

from ..colors import class_colors

CSS = """
.bars { width: 100%; border-collapse: collapse; margin: 0.25rem 0 1rem; }
.bars caption { text-align: left; font-weight: 600; padding-bottom: 0.25rem; }
.bars, .bars tr, .bars th, .bars td { border: none !important; }
.bars th, .bars td { padding: 0.1rem 0 !important; font-weight: 400; text-align: left; }
.bars th { width: 5.5rem; }
.bars td:last-child { text-align: right; width: 3rem; font-variant-numeric: tabular-nums; }
.bars div { height: 1.1rem; min-width: 2px; border-radius: 3px; }
.bars tr.first th, .bars tr.first td { font-weight: 700; }
"""
"""Goes into the style sheet of the page; web frameworks style tables their own way, hence `!important`."""


def probability_bars(probabilities: Mapping[str, float], caption: str) -> str:
    """Draws a bar for each class, in the project's colours and always in the same order.

    Returns a table in HTML, to be shown with `CSS`.
    """
    colors = class_colors(probabilities)
    first = max(probabilities, key=probabilities.__getitem__)
    rows = "".join(
        f"<tr{' class=first' if label == first else ''}><th scope='row'>{escape(label)}</th>"
        f"<td><div style='width: {probability:.1%}; background: {colors[label]}'></div></td>"
        f"<td>{probability:.0%}</td></tr>"
        for label, probability in probabilities.items()
    )
    return f"<table class='bars'><caption>{escape(caption)}</caption>{rows}</table>"
