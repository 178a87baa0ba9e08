"""Whether one model is better than another or it is chance: tests on the same images, and on the same splits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats
from sklearn.metrics import confusion_matrix
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests

from dataset_script import LABELS

from ..training.scoring import BOOTSTRAP_SAMPLES

_CLASSES = len(LABELS)


class Difference(NamedTuple):
    """A difference with its 95% interval and the p-value of "there is none", two-sided."""

    value: float
    low: float
    high: float
    p_value: float


class Disagreement(NamedTuple):
    """Images that only one of two models answers correctly, and McNemar's p-value."""

    only_a: int
    only_b: int
    p_value: float


def paired_bootstrap(
    values_a: ArrayLike, values_b: ArrayLike, groups: Sequence[str], samples: int = BOOTSTRAP_SAMPLES, seed: int = 0
) -> Difference:
    """Compares the means of two models' values on the same images, `a` less `b`, drawing whole groups.

    Percentile interval (Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, section 13.3); the p-value is
    twice the share of samples on the far side of 0, counting the observed one.

    Args:
        values_a: What one model reaches on each image, such as 1 for a right answer; shape [N].
        values_b: The same of the other.
        groups: Person or film of each image: images of one are not independent.
        samples: How often the groups are drawn anew, with replacement.
        seed: Of the drawing.
    """
    gaps = np.asarray(values_a, dtype=float) - np.asarray(values_b, dtype=float)
    members, draws = draw_groups(groups, samples, seed)
    sums, sizes = np.bincount(members, gaps), np.bincount(members)
    return _difference(gaps.mean(), (draws @ sums) / (draws @ sizes))


def paired_bootstrap_macro_f1(
    predictions_a: NDArray[np.int64],
    predictions_b: NDArray[np.int64],
    references: NDArray[np.int64],
    groups: Sequence[str],
    samples: int = BOOTSTRAP_SAMPLES,
    seed: int = 0,
) -> Difference:
    """Compares the macro F1 of two models on the same images, `a` less `b`, as `paired_bootstrap` compares means.

    The average runs over the classes that occur among references or predictions, class ids [N] both, as
    scikit-learn's does.
    """
    members, draws = draw_groups(groups, samples, seed)
    draws = np.vstack([np.ones_like(draws[0]), draws])  # first each group once: what was observed
    scores = []
    for predictions in (predictions_a, predictions_b):
        cells = np.zeros((draws.shape[1], _CLASSES**2))
        np.add.at(cells, (members, references * _CLASSES + predictions), 1)
        confusion = (draws @ cells).reshape(-1, _CLASSES, _CLASSES)
        total = confusion.sum(axis=1) + confusion.sum(axis=2)
        f1 = 2 * np.diagonal(confusion, axis1=1, axis2=2) / np.maximum(total, 1)
        scores.append(f1.sum(axis=1) / (total > 0).sum(axis=1))
    observed, *drawn = scores[0] - scores[1]
    return _difference(observed, np.array(drawn))


def draw_groups(groups: Sequence[str], samples: int, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Draws groups with replacement.

    Returns:
        The number of each image's group, [N], and how often each group was drawn, [samples, groups].
    """
    members = np.unique(np.asarray(groups), return_inverse=True)[1]
    count = members.max() + 1
    return members, np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=samples)


def _difference(observed: float, drawn: NDArray[np.float64]) -> Difference:
    tail = 1 + min((drawn <= 0).sum(), (drawn >= 0).sum())
    p_value = min(1.0, 2 * tail / (len(drawn) + 1))
    return Difference(*map(float, (observed, *np.percentile(drawn, (2.5, 97.5)), p_value)))


def mcnemar_test(correct_a: NDArray[np.bool_], correct_b: NDArray[np.bool_]) -> Disagreement:
    """Tests whether two models are right equally often on the same images (McNemar 1947, the exact binomial form).

    It treats images as independent: where one person has many of them its p-value is too small.
    """
    table = confusion_matrix(correct_a, correct_b, labels=[True, False])
    return Disagreement(int(table[0, 1]), int(table[1, 0]), float(mcnemar(table, exact=True).pvalue))


def holm(p_values: Sequence[float]) -> list[float]:
    """Corrects p-values of one family of tests (Holm, Scandinavian Journal of Statistics, 1979); NaN is not counted."""
    values = np.asarray(p_values, dtype=float)
    known = ~np.isnan(values)
    if known.any():
        values[known] = multipletests(values[known], method="holm")[1]
    return values.tolist()


def corrected_resampled_t_test(
    differences: ArrayLike, test_train_ratio: float
) -> tuple[float, tuple[float, float], float]:
    """Tests a mean difference over repeated splits of the same images.

    Splits share images, so their differences are not independent: the variance of the mean is taken as
    (1 / n + n_test / n_train) s^2 (Nadeau and Bengio, "Inference for the Generalization Error", Machine Learning 52,
    2003, section 4).

    Args:
        differences: One per split, shape [n].
        test_train_ratio: Held-out images by training images of a split; 0 gives the ordinary paired t-test.

    Returns:
        The mean, its 95% interval and the two-sided p-value; the last two are NaN for fewer than two splits.
    """
    differences = np.asarray(differences, dtype=float)
    mean, count = float(differences.mean()), len(differences)
    if count < 2:
        return mean, (np.nan, np.nan), np.nan
    error = float(np.sqrt((1 / count + test_train_ratio) * differences.var(ddof=1)))
    if error == 0:
        return mean, (mean, mean), 1.0 if mean == 0 else 0.0
    student = stats.t(df=count - 1)
    reach = float(student.ppf(0.975)) * error
    return mean, (mean - reach, mean + reach), float(2 * student.sf(abs(mean) / error))
