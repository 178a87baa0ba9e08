"""Whether probabilities mean what they say: reliability, and the temperature that would correct it.

In all functions `probabilities` are those of all classes, [N, C], and `references` the true class ids, [N].
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import softmax
from sklearn.metrics import log_loss
from sklearn.model_selection import GroupKFold

_BINS = 15
_FOLDS = 5
_LOG_RANGE = (-3.0, 3.0)  # of the temperature's natural logarithm: 0.05 to 20
_TINY = 1e-12


@dataclass(frozen=True)
class Reliability:
    """Confidence against accuracy in bins of equal width, closed on the right.

    Args:
        edges: Of the bins, 0 to 1; [bins + 1].
        counts: Images in each bin; [bins].
        confidence: Mean probability of the answered class in each bin; NaN where it is empty.
        accuracy: Share of right answers in each bin; NaN where it is empty.
    """

    edges: NDArray[np.float64]
    counts: NDArray[np.int64]
    confidence: NDArray[np.float64]
    accuracy: NDArray[np.float64]


def reliability(probabilities: NDArray[np.float64], references: NDArray[np.int64]) -> Reliability:
    """Sorts answers into bins by their confidence (Guo et al., "On Calibration of Modern Neural Networks", eq. 2)."""
    confidence, correct = probabilities.max(axis=1), probabilities.argmax(axis=1) == references
    edges = np.linspace(0, 1, _BINS + 1)
    bins = np.clip(np.searchsorted(edges, confidence) - 1, 0, _BINS - 1)
    counts, *sums = (np.bincount(bins, values, _BINS) for values in (None, confidence, correct))
    with np.errstate(invalid="ignore"):
        return Reliability(edges, counts, *(total / counts for total in sums))


def fit_temperature(probabilities: NDArray[np.float64], references: NDArray[np.int64]) -> float:
    """Finds the temperature of the least log loss (Guo et al., eq. 9), 0.05 to 20; above 1 a model is overconfident."""
    ids = np.arange(probabilities.shape[1])

    def loss(log_temperature: float) -> float:
        return log_loss(references, apply_temperature(probabilities, np.exp(log_temperature)), labels=ids)

    return float(np.exp(minimize_scalar(loss, bounds=_LOG_RANGE, method="bounded").x))


def apply_temperature(probabilities: NDArray[np.float64], temperature: float) -> NDArray[np.float64]:
    """Divides the logits by a temperature and returns the resulting probabilities, [N, C]."""
    return softmax(np.log(np.maximum(probabilities, _TINY)) / temperature, axis=1)


def cross_fitted_temperature(
    probabilities: NDArray[np.float64], references: NDArray[np.int64], groups: Sequence[str]
) -> tuple[NDArray[np.float64], list[float]]:
    """Scales each image's probabilities by the temperature that suits the images of other groups.

    So no image contributes to the temperature that it is judged by. `groups` are the person or film of each image.

    Returns:
        The scaled probabilities, [N, C], and the temperature of each of the five folds, or of as many as there are
        groups. With a single group there are none, and the probabilities stay as they are.
    """
    folds = min(_FOLDS, len(set(groups)))
    if folds < 2:
        return probabilities, []
    scaled, temperatures = np.empty_like(probabilities), []
    for others, own in GroupKFold(folds).split(probabilities, groups=groups):
        temperatures.append(fit_temperature(probabilities[others], references[others]))
        scaled[own] = apply_temperature(probabilities[own], temperatures[-1])
    return scaled, temperatures
