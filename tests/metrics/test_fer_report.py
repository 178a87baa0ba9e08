import doctest
import json
from pathlib import Path

import evaluate
import numpy as np
import pytest
from sklearn.metrics import classification_report, log_loss

LABELS = ["Angry", "Disgust", "Fear", "Happy", "Sad", "Surprise", "Neutral"]
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def metric():
    return evaluate.load(str(ROOT / "metrics" / "fer_report"))


@pytest.fixture(scope="module")
def answers():
    """300 images with an uneven class distribution, scores that favour the truth, and their argmax."""
    rng = np.random.default_rng(0)
    references = rng.choice(7, size=300, p=[0.3, 0.02, 0.03, 0.3, 0.1, 0.15, 0.1])
    logits = rng.normal(size=(300, 7))
    logits[np.arange(300), references] += 1.5
    scores = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return references, scores.argmax(axis=1), scores


def compute(metric, references, predictions, scores=None, **options):
    return metric.compute(predictions=predictions, references=references, prediction_scores=scores, **options)


def test_its_example_is_true(monkeypatch):
    monkeypatch.chdir(ROOT)  # the example loads it by its relative path
    examples = doctest.DocTestParser().get_doctest(
        evaluate.load("metrics/fer_report").inputs_description, {"evaluate": evaluate}, "fer_report", None, 0
    )
    assert len(examples.examples) == 4
    results = doctest.DocTestRunner().run(examples)
    assert results.failed == 0


def test_classification_scores_are_those_of_scikit_learn(metric, answers):
    references, predictions, _ = answers
    report = compute(metric, references, predictions)
    expected = classification_report(references, predictions, target_names=LABELS, output_dict=True, zero_division=0)
    assert report["num_images"] == 300
    assert report["accuracy"] == pytest.approx(expected["accuracy"])
    for average in ("macro", "weighted"):
        for short, name in (("precision", "precision"), ("recall", "recall"), ("f1", "f1-score")):
            assert report[f"{average}_{short}"] == pytest.approx(expected[f"{average} avg"][name])
    for label in LABELS:
        mine = report["per_class"][label]
        assert mine["f1"] == pytest.approx(expected[label]["f1-score"])
        assert mine["support"] == expected[label]["support"]
    assert report["absent_classes"] == []


def test_confusion_matrix_has_truth_in_rows(metric, answers):
    references, predictions, _ = answers
    counts = np.zeros((7, 7), int)
    for truth, prediction in zip(references, predictions, strict=True):
        counts[truth, prediction] += 1
    assert compute(metric, references, predictions)["confusion_matrix"] == counts.tolist()


def test_probabilistic_scores_follow_their_equations(metric, answers):
    references, predictions, scores = answers
    report = compute(metric, references, predictions, scores)
    assert report["negative_log_likelihood"] == pytest.approx(log_loss(references, scores, labels=range(7)))
    brier = sum(
        sum((scores[i, c] - (c == references[i])) ** 2 for c in range(7)) for i in range(len(references))
    ) / len(references)
    assert report["brier_score"] == pytest.approx(brier)
    error = 0.0
    for number in range(15):
        inside = [i for i in range(300) if number / 15 < scores[i].max() <= (number + 1) / 15]
        if inside:
            accuracy = np.mean([predictions[i] == references[i] for i in inside])
            confidence = np.mean([scores[i].max() for i in inside])
            error += len(inside) / 300 * abs(accuracy - confidence)
    assert report["expected_calibration_error"] == pytest.approx(error)


def test_a_sure_and_right_classifier_is_calibrated_and_a_sure_and_wrong_one_is_not(metric):
    right = compute(metric, [0, 1], [0, 1], np.eye(7)[[0, 1]])
    assert [right[k] for k in ("expected_calibration_error", "brier_score", "negative_log_likelihood")] == [0, 0, 0]
    wrong = compute(metric, [0, 1], [1, 0], np.eye(7)[[1, 0]])
    assert wrong["expected_calibration_error"] == 1
    assert wrong["brier_score"] == 2
    assert wrong["negative_log_likelihood"] == pytest.approx(-np.log(1e-15))


def test_absent_classes_are_named_and_do_not_count_in_macro_averages(metric):
    report = compute(metric, [3, 3, 6], [3, 6, 6])
    assert report["absent_classes"] == ["Angry", "Disgust", "Fear", "Sad", "Surprise"]
    assert report["macro_recall"] == pytest.approx((0.5 + 1) / 2)
    assert report["per_class"]["Sad"] == {"precision": 0, "recall": 0, "f1": 0, "support": 0}


def test_a_class_never_predicted_and_a_single_class_are_defined(metric):
    never = compute(metric, [0, 3], [3, 3])
    assert never["per_class"]["Angry"] == {"precision": 0, "recall": 0, "f1": 0, "support": 1}
    single = compute(metric, [3, 3], [3, 3])
    assert single["accuracy"] == single["macro_f1"] == single["weighted_f1"] == 1


def test_batches_add_up_to_the_whole(metric, answers):
    references, predictions, _ = answers
    for start in range(0, 300, 77):
        metric.add_batch(references=references[start : start + 77], predictions=predictions[start : start + 77])
    assert metric.compute() == compute(metric, references, predictions)


def test_other_labels_can_be_named(metric):
    report = compute(metric, [0, 1], [0, 1], labels=["calm", "moved"])
    assert list(report["per_class"]) == ["calm", "moved"]


def test_the_report_is_strict_json(metric, answers):
    report = compute(metric, *answers)
    assert json.loads(json.dumps(report, allow_nan=False)) == report


@pytest.mark.parametrize(
    ("references", "predictions", "scores", "message"),
    [
        ([], [], None, "at least one image"),
        ([0, 7], [0, 1], None, "references must be ids from 0 to 6"),
        ([0, 1], [-1, 1], None, "predictions must be ids from 0 to 6"),
        ([0, 1], [0], None, "[Mm]ismatch|length|number"),
        ([0, 1], [0, 1], np.eye(7)[[0]], r"prediction_scores must be \[2, 7\], got \[1, 7\]"),
        ([0, 1], [0, 1], np.eye(6)[[0, 1]], r"must be \[2, 7\], got \[2, 6\]"),
        ([0, 1], [0, 1], [[1 / 7] * 7, [np.nan] * 7], "row 1"),
        ([0, 1], [0, 1], [[0.5] * 7, [1 / 7] * 7], "row 0"),
        ([0, 1], [0, 1], [[1 / 7] * 7, [-0.5, 1.5, 0, 0, 0, 0, 0]], "row 1"),
    ],
)
def test_bad_input_is_an_error_that_says_what_is_wrong(metric, references, predictions, scores, message):
    with pytest.raises(ValueError, match=message):
        compute(metric, references, predictions, scores)
