"""How reports print numbers; what is missing or not finite is a dash."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

DASH = "-"


def decimal(value: float | None, places: int = 3, bounds: Sequence[float] | None = None) -> str:
    """Returns a number, where it has one with its interval, as in `0.646` or `0.646 [0.629, 0.661]`."""
    if not _is_finite(value):
        return DASH
    return f"{value:.{places}f}" + _brackets(bounds, lambda bound: decimal(bound, places))


def percent(value: float | None, unit: str = "%") -> str:
    """Returns a share, 0 to 1, in percent, as in `64.6%`; a column that is headed by the unit leaves it out."""
    return f"{100 * value:.1f}{unit}" if _is_finite(value) else DASH


def interval(value: float, bounds: Sequence[float]) -> str:
    """Returns a share with its interval in percent, as in `64.6 [62.9, 66.1]`."""
    return percent(value, "") + _brackets(bounds, lambda bound: percent(bound, ""))


def points(value: float) -> str:
    """Returns a difference of two shares in points with its sign, as in `+1.5`."""
    return f"{100 * value:+.1f}".replace("-", "−") if _is_finite(value) else DASH


def points_interval(value: float, low: float, high: float) -> str:
    """Returns a difference of two shares in points, where it has one with its interval: `+1.5 [−1.0, +4.6]`."""
    return points(value) + _brackets((low, high), points)


def p_value(value: float) -> str:
    """Returns a probability as papers print it: three decimals, `<0.001` below."""
    return "<0.001" if value < 0.001 else decimal(value)


def p_equals(value: float) -> str:
    """Returns a probability for the middle of a sentence, as in `p = 0.041` or `p < 0.001`."""
    return f"p = {p_value(value)}".replace("= <", "< ")


def count(number: int, noun: str) -> str:
    """Returns a number of things, as in `1 image` or `1,200 images`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _is_finite(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _brackets(bounds: Sequence[float] | None, text: Callable[[float], str]) -> str:
    return f" [{', '.join(map(text, bounds))}]" if bounds is not None and all(map(_is_finite, bounds)) else ""
