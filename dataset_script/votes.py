"""What several people say of one face: counts of their answers, the distribution they make, and the majority.

E. Barsoum et al., "Training Deep Networks for Facial Expression Recognition with Crowd-Sourced Label Distribution",
ICMI 2016, arXiv 1608.01041 (FER+): ten people looked at each face. Counts are how many people gave each of `ANSWERS`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .labels import LABELS

ANSWERS = (*LABELS, "Contempt", "Unknown", "Not a face")
"""What a person can answer. The classes come first, in the order of their ids."""
MAX_ERROR = 1e-3
"""How far a distribution may be from a sum of 1."""


def without_noise(counts: Sequence[int]) -> tuple[int, ...]:
    """Returns the counts with 0 in place of 1: answers that only one person gave are noise, says the FER+ paper."""
    return tuple(count if count > 1 else 0 for count in counts)


def majority(counts: Sequence[int]) -> int | None:
    """Returns the answer that most people gave, as an index into `ANSWERS`; None where two or more share the lead.

    Answers of a single person do not count. The lead is enough: more than half of the votes, as FER+'s own code asks
    for in its mode "majority", is not needed.
    """
    counts = without_noise(counts)
    most = max(counts)
    return counts.index(most) if most and counts.count(most) == 1 else None


def distribution(counts: Sequence[int]) -> tuple[float, ...]:
    """Returns the share of each class among the votes for classes, seven floats that sum to 1.

    Other answers and those of a single person are left out. Two or more people must have voted for one of the classes.
    """
    of_classes = without_noise(counts)[: len(LABELS)]
    return tuple(count / sum(of_classes) for count in of_classes)


def one_hot(label: int) -> tuple[float, ...]:
    """Returns the distribution that a single label stands for: seven floats that sum to 1."""
    return tuple(float(index == label) for index in range(len(LABELS)))


def checked_distribution(votes: Sequence[float]) -> tuple[float, ...]:
    """Returns seven shares as they are.

    Raises:
        ValueError: If they are not seven non-negative numbers that sum to 1, worded for `BadInput.add`.
    """
    try:
        values = np.asarray(votes, dtype=float)
    except (TypeError, ValueError):
        values = np.empty(0)
    if values.shape != (len(LABELS),) or not (values >= 0).all() or abs(values.sum() - 1) > MAX_ERROR:
        raise ValueError(f"has the votes {votes}, not {len(LABELS)} shares that sum to 1")
    return tuple(values.tolist())


def checked_counts(counts: Sequence[int]) -> tuple[int, ...]:
    """Returns counts, given as numbers or text, as whole numbers.

    Raises:
        ValueError: If they are not as many non-negative ones as `ANSWERS`, worded for `BadInput.add`.
    """
    try:
        numbers = tuple(int(count) for count in counts)
        whole = all(isinstance(count, str) or count == number for count, number in zip(counts, numbers, strict=True))
    except (TypeError, ValueError, OverflowError):
        numbers, whole = (), False
    if not whole or len(numbers) != len(ANSWERS) or not 0 <= min(numbers) <= max(numbers) < 2**31:
        raise ValueError(f"has the votes {counts}, not {len(ANSWERS)} whole numbers from 0")
    return numbers
