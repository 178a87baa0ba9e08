import numpy as np
import pytest
from scipy.special import softmax
from sklearn.calibration import calibration_curve
from sklearn.metrics import log_loss

from involvit.evaluation.calibration import (
    apply_temperature,
    cross_fitted_temperature,
    fit_temperature,
    reliability,
)


@pytest.fixture(scope="module")
def honest():
    """Probabilities of 20,000 images, and truths drawn from them: a perfectly calibrated model."""
    rng = np.random.default_rng(0)
    probabilities = softmax(rng.normal(scale=1.5, size=(20_000, 7)), axis=1)
    references = (rng.random((20_000, 1)) > probabilities.cumsum(axis=1)).sum(axis=1).clip(max=6)
    return probabilities, references


def test_the_bins_are_those_of_scikit_learn(honest):
    probabilities, references = honest
    bins = reliability(probabilities, references)
    correct = probabilities.argmax(axis=1) == references
    accuracy, confidence = calibration_curve(correct, probabilities.max(axis=1), n_bins=15)
    known = bins.counts > 0
    np.testing.assert_allclose(bins.accuracy[known], accuracy)
    np.testing.assert_allclose(bins.confidence[known], confidence)
    assert bins.counts.sum() == 20_000
    assert np.isnan(bins.accuracy[0])  # seven classes: no answer has a probability below 1/7


def test_the_temperature_that_was_put_in_is_found(honest):
    probabilities, references = honest
    assert fit_temperature(probabilities, references) == pytest.approx(1, abs=0.03)
    too_sure = apply_temperature(probabilities, 1 / 2.5)
    assert fit_temperature(too_sure, references) == pytest.approx(2.5, rel=0.03)


def test_no_temperature_of_a_fine_grid_is_better(honest):
    probabilities, references = (values[:500] for values in honest)
    best = fit_temperature(probabilities, references)
    losses = [
        log_loss(references, apply_temperature(probabilities, t), labels=range(7)) for t in np.arange(0.5, 2, 0.01)
    ]
    assert log_loss(references, apply_temperature(probabilities, best), labels=range(7)) <= min(losses) + 1e-9


def test_temperature_divides_the_logits():
    logits = np.random.default_rng(0).normal(size=(10, 7))
    scaled = apply_temperature(softmax(logits, axis=1), 1.7)
    np.testing.assert_allclose(scaled, softmax(logits / 1.7, axis=1))
    certain = apply_temperature(np.eye(7), 0.05)
    assert np.isfinite(certain).all()


def test_no_image_has_a_part_in_its_own_temperature(honest):
    probabilities, references = (values[:300] for values in honest)
    groups = [f"{number // 10}" for number in range(300)]
    scaled, temperatures = cross_fitted_temperature(probabilities, references, groups)
    assert len(temperatures) == 5
    changed = references.copy()
    changed[:10] = (changed[:10] + 1) % 7  # of the first person alone
    again, _ = cross_fitted_temperature(probabilities, changed, groups)
    np.testing.assert_array_equal(again[:10], scaled[:10])
    assert not np.array_equal(again[10:], scaled[10:])


def test_one_group_is_left_as_it_is(honest):
    probabilities, references = (values[:20] for values in honest)
    scaled, temperatures = cross_fitted_temperature(probabilities, references, ["one"] * 20)
    assert temperatures == []
    np.testing.assert_array_equal(scaled, probabilities)
