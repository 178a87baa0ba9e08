import numpy as np
import pytest

from involvit.evaluation.curves import class_curves

NAMES = ("a", "b", "c")


def test_the_area_is_the_share_of_pairs_in_the_right_order():
    rng = np.random.default_rng(0)
    references = rng.integers(0, 3, 60)
    probabilities = rng.dirichlet(np.ones(3), size=60)
    curve = class_curves(probabilities, references, NAMES)["b"]
    inside, outside = probabilities[references == 1, 1], probabilities[references != 1, 1]
    assert curve.roc_auc == pytest.approx((inside[:, None] > outside).mean())
    assert np.trapezoid(curve.true_positive_rate, curve.false_positive_rate) == pytest.approx(curve.roc_auc)


def test_average_precision_is_the_worked_example():
    # images of the class at ranks 1, 3 and 4 of 5: (1/1 + 2/3 + 3/4) / 3
    scores = np.array([0.9, 0.8, 0.7, 0.6, 0.5])
    probabilities = np.stack([scores, 1 - scores], axis=1)
    curves = class_curves(probabilities, np.array([0, 1, 0, 0, 1]), ("yes", "no"))
    assert curves["yes"].average_precision == pytest.approx((1 + 2 / 3 + 3 / 4) / 3)


def test_classes_that_do_not_occur_have_no_curve():
    probabilities = np.full((4, 3), 1 / 3)
    assert class_curves(probabilities, np.array([0, 0, 1, 1]), NAMES).keys() == {"a", "b"}
    assert class_curves(probabilities, np.array([2, 2, 2, 2]), NAMES) == {}
