"""ROC and precision-recall curves of each class against the rest, by scikit-learn."""

from __future__ import annotations

from typing import NamedTuple

from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score, roc_curve


class ClassCurves(NamedTuple):
    """How well the probability of one class separates it from the rest; both areas are 0 to 1."""

    false_positive_rate: NDArray
    true_positive_rate: NDArray
    roc_auc: float
    recall: NDArray
    precision: NDArray
    average_precision: float


def class_curves(probabilities: NDArray, references: NDArray, labels: tuple[str, ...]) -> dict[str, ClassCurves]:
    """Computes the curves of each class that some images, but not all, belong to.

    Args:
        probabilities: Of all classes, [N, C].
        references: True class ids, [N].
        labels: Names of the classes in the order of their ids.
    """
    curves = {}
    for index, label in enumerate(labels):
        truth, scores = references == index, probabilities[:, index]
        if 0 < truth.sum() < len(truth):
            area, average_precision = float(roc_auc_score(truth, scores)), float(average_precision_score(truth, scores))
            precision, recall, _ = precision_recall_curve(truth, scores)
            curves[label] = ClassCurves(*roc_curve(truth, scores)[:2], area, recall, precision, average_precision)
    return curves
