"""ROC and precision-recall curves of each class against the rest, by scikit-learn."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score, roc_curve


@dataclass(frozen=True)
class ClassCurves:
    """How well the probability of one class separates it from the rest.

    Args:
        false_positive_rate: Of the ROC curve.
        true_positive_rate: Of the ROC curve.
        roc_auc: Area under it.
        recall: Of the precision-recall curve.
        precision: Of the precision-recall curve.
        average_precision: Area under it, as a step function.
    """

    false_positive_rate: NDArray[np.float64]
    true_positive_rate: NDArray[np.float64]
    roc_auc: float
    recall: NDArray[np.float64]
    precision: NDArray[np.float64]
    average_precision: float


def class_curves(
    probabilities: NDArray[np.float64], references: NDArray[np.int64], labels: tuple[str, ...]
) -> dict[str, ClassCurves]:
    """Computes the curves of each class that some images, but not all, belong to.

    Args:
        probabilities: Of all classes, [N, C].
        references: True class ids, [N].
        labels: Names of the classes in the order of their ids.
    """
    curves = {}
    for index, label in enumerate(labels):
        truth, scores = references == index, probabilities[:, index]
        if truth.all() or not truth.any():
            continue
        false_positive_rate, true_positive_rate, _ = roc_curve(truth, scores)
        precision, recall, _ = precision_recall_curve(truth, scores)
        curves[label] = ClassCurves(
            false_positive_rate,
            true_positive_rate,
            float(roc_auc_score(truth, scores)),
            recall,
            precision,
            float(average_precision_score(truth, scores)),
        )
    return curves
