import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score

from dataset_script import LABELS
from involvit.evaluation.evaluate.measure import compare_models, measure_model
from involvit.evaluation.predictions import Speed

SPEED = Speed(100.0, [0], [1.0])


@pytest.fixture(scope="module")
def faces():
    rng = np.random.default_rng(0)
    references = rng.integers(0, 7, 210)
    groups = [f"{number}" for number in rng.integers(0, 30, 210)]

    def probabilities(strength):
        logits = rng.normal(size=(210, 7))
        logits[np.arange(210), references] += strength
        return np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)

    return references, groups, probabilities


def test_a_model_is_measured_as_scikit_learn_measures(faces):
    references, groups, probabilities = faces
    scores = probabilities(2)
    model = measure_model(scores, references, groups, SPEED, samples=100)
    assert model.metrics["accuracy"] == accuracy_score(references, scores.argmax(axis=1))
    assert model.metrics["macro_f1"] == pytest.approx(f1_score(references, scores.argmax(axis=1), average="macro"))
    low, high = model.metrics["intervals"]["accuracy"]
    assert low < model.metrics["accuracy"] < high
    assert model.metrics["num_groups"] == len(set(groups))
    assert list(model.curves) == list(LABELS)


def test_votes_reach_the_metric_before_and_after_scaling(faces):
    references, groups, probabilities = faces
    votes = 0.8 * np.eye(7)[references] + 0.2 / 7
    counts = [None, *(8 * np.eye(7, dtype=int)[references[1:]] + 1).tolist()]
    model = measure_model(
        probabilities(2), references, groups, SPEED, samples=10, votes=votes.tolist(), vote_counts=counts
    )
    for metrics in (model.metrics, model.scaled_metrics):
        assert metrics["num_voted"] == 209
        assert metrics["human_majority_share"] == pytest.approx(9 / 15)
        assert metrics["entropy_of_votes"] < metrics["cross_entropy_to_votes"]
    assert model.metrics["cross_entropy_to_votes"] != model.scaled_metrics["cross_entropy_to_votes"]
    without = measure_model(probabilities(2), references, groups, SPEED, samples=10)
    assert not {"num_voted", "cross_entropy_to_votes"} & without.metrics.keys()


def test_scaling_changes_probabilities_but_no_answer(faces):
    references, groups, probabilities = faces
    too_sure = probabilities(2) ** 3
    model = measure_model(too_sure / too_sure.sum(axis=1, keepdims=True), references, groups, SPEED, samples=10)
    assert min(model.temperatures) > 1.5
    assert model.scaled_metrics["accuracy"] == model.metrics["accuracy"]
    for name in ("expected_calibration_error", "brier_score", "negative_log_likelihood"):
        assert model.scaled_metrics[name] < model.metrics[name]


def test_all_pairs_are_compared_and_corrected_for_their_number(faces):
    references, groups, probabilities = faces
    models = {
        name: measure_model(probabilities(strength), references, groups, SPEED, samples=10)
        for name, strength in (("good", 2.5), ("fair", 1.7), ("poor", 0.3))
    }
    comparisons = compare_models(models, references, groups, samples=500)
    alone = compare_models({name: models[name] for name in ("good", "poor")}, references, groups, samples=500)[0]
    assert [(c.first, c.second) for c in comparisons] == [("good", "fair"), ("good", "poor"), ("fair", "poor")]
    second = comparisons[1]
    assert second.accuracy.value == pytest.approx(
        models["good"].metrics["accuracy"] - models["poor"].metrics["accuracy"]
    )
    assert second.accuracy[:3] == alone.accuracy[:3]
    assert second.accuracy.p_value >= 2 * alone.accuracy.p_value
    assert second.disagreement.p_value >= 2 * alone.disagreement.p_value


def test_a_model_alone_is_compared_with_nobody(faces):
    references, groups, probabilities = faces
    model = measure_model(probabilities(1), references, groups, SPEED, samples=10)
    assert compare_models({"only": model}, references, groups) == []
