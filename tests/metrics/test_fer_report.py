import doctest
import json
import math
from pathlib import Path

import evaluate
import numpy as np
import pytest
from scipy.stats import bootstrap
from sklearn.metrics import accuracy_score, classification_report, f1_score, precision_score, recall_score

LABELS = ["Angry", "Disgust", "Fear", "Happy", "Sad", "Surprise", "Neutral"]
PROBABILISTIC = ("expected_calibration_error", "brier_score", "negative_log_likelihood")
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def metric():
    return evaluate.load(str(ROOT / "metrics" / "fer_report"), keep_in_memory=True)


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
    likelihood = -sum(math.log(scores[i, references[i]]) for i in range(300)) / 300
    assert report["negative_log_likelihood"] == pytest.approx(likelihood)
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
    assert [right[name] for name in PROBABILISTIC] == pytest.approx([0, 0, 0], abs=1e-15)
    wrong = compute(metric, [0, 1], [1, 0], np.eye(7)[[1, 0]])
    assert wrong["expected_calibration_error"] == 1
    assert wrong["brier_score"] == 2
    assert wrong["negative_log_likelihood"] == pytest.approx(52 * math.log(2))  # float64 has 52 bits of fraction


def test_a_confidence_on_the_edge_of_two_bins_is_in_the_lower_one(metric):
    scores = [[0.2, 0.2, 0.2, 0.2, 0.1, 0.1, 0], [0.15] * 6 + [0.1]]  # 0.2 = 3/15; 2/15 < 0.15 < 3/15
    report = compute(metric, [0, 1], [0, 0], scores)
    assert report["expected_calibration_error"] == pytest.approx(abs(0.5 - (0.2 + 0.15) / 2))


def test_rows_that_sum_to_one_but_for_rounding_count_as_if_they_did(metric, answers):
    references, predictions, scores = answers
    rounded = compute(metric, references, predictions, scores * 1.0009)
    exact = compute(metric, references, predictions, scores)
    for name in PROBABILISTIC:
        assert rounded[name] == pytest.approx(exact[name])


def test_absent_classes_are_named_and_do_not_count_in_macro_averages(metric):
    report = compute(metric, [3, 3, 6], [3, 6, 6])
    assert report["absent_classes"] == ["Angry", "Disgust", "Fear", "Sad", "Surprise"]
    assert report["macro_recall"] == pytest.approx((0.5 + 1) / 2)
    assert report["per_class"]["Sad"] == {"precision": 0, "recall": 0, "f1": 0, "support": 0}


def test_a_class_that_is_predicted_but_never_true_counts_in_macro_averages(metric):
    report = compute(metric, [3, 3], [3, 0])
    assert report["macro_recall"] == pytest.approx((0.5 + 0) / 2)
    assert report["weighted_recall"] == pytest.approx(0.5)
    assert "Angry" not in report["absent_classes"]


def test_a_class_never_predicted_and_a_single_class_are_defined(metric):
    never = compute(metric, [0, 3], [3, 3])
    assert never["per_class"]["Angry"] == {"precision": 0, "recall": 0, "f1": 0, "support": 1}
    single = compute(metric, [3, 3], [3, 3])
    assert single["accuracy"] == single["macro_f1"] == single["weighted_f1"] == 1


def test_batches_add_up_to_the_whole(metric, answers):
    references, predictions, scores = answers
    for start in range(0, 300, 77):
        metric.add_batch(references=references[start : start + 77], predictions=predictions[start : start + 77])
    assert metric.compute(prediction_scores=scores) == compute(metric, references, predictions, scores)


def test_an_error_leaves_the_metric_usable():
    metric = evaluate.load(str(ROOT / "metrics" / "fer_report"))
    with pytest.raises(ValueError):
        compute(metric, [0, 1, 7], [0, 1, 2])
    assert compute(metric, [0, 1], [0, 1])["num_images"] == 2


def test_other_labels_can_be_named(metric):
    report = compute(metric, [0, 1], [0, 1], [[0.9, 0.1], [0.4, 0.6]], labels=["calm", "moved"])
    assert list(report["per_class"]) == ["calm", "moved"]
    assert report["brier_score"] == pytest.approx((2 * 0.1**2 + 2 * 0.4**2) / 2)


def test_intervals_are_those_of_scipys_bootstrap(metric, answers):
    references, predictions, _ = answers
    ours = compute(metric, references, predictions, bootstrap_samples=4000)["intervals"]
    macro = {"average": "macro", "zero_division": 0}
    for name, score in (
        ("accuracy", accuracy_score),
        ("macro_f1", lambda true, predicted: f1_score(true, predicted, **macro)),
        ("macro_precision", lambda true, predicted: precision_score(true, predicted, **macro)),
        ("macro_recall", lambda true, predicted: recall_score(true, predicted, **macro)),
    ):
        theirs = bootstrap(
            (references, predictions), score, paired=True, vectorized=False, n_resamples=500, method="percentile", rng=1
        )
        assert ours[name] == pytest.approx(list(theirs.confidence_interval), abs=0.01)


def test_intervals_draw_whole_groups(metric, answers):
    references, predictions, _ = answers
    groups = [f"person {index}" for index in range(300)]
    each_alone = compute(metric, references, predictions, groups=groups, bootstrap_samples=500)
    assert each_alone["num_groups"] == 300
    # Each image 9 times: its person's images say nothing new, so the interval is no narrower.
    repeated = compute(
        metric,
        np.repeat(references, 9),
        np.repeat(predictions, 9),
        groups=[group for group in groups for _ in range(9)],
        bootstrap_samples=500,
    )
    assert repeated["num_groups"] == 300
    for name, interval in each_alone["intervals"].items():
        assert np.diff(repeated["intervals"][name]) == pytest.approx(np.diff(interval), rel=0.15)
    as_if_independent = compute(metric, np.repeat(references, 9), np.repeat(predictions, 9), bootstrap_samples=500)
    assert np.diff(as_if_independent["intervals"]["accuracy"]) < np.diff(each_alone["intervals"]["accuracy"]) / 2


def test_intervals_follow_from_the_seed(metric, answers):
    first, again, other = (
        compute(metric, *answers, bootstrap_samples=200, seed=seed)["intervals"] for seed in (1, 1, 2)
    )
    assert first == again != other


def test_groups_must_be_one_an_image(metric):
    with pytest.raises(ValueError, match="a name for each of 2 images, got 1"):
        compute(metric, [0, 1], [0, 1], groups=["a"])


@pytest.mark.parametrize("labels", [[], ["calm"], ["calm", "calm"]])
def test_labels_that_tell_no_classes_apart_are_refused(metric, labels):
    with pytest.raises(ValueError, match="two or more different names"):
        compute(metric, [0], [0], labels=labels)


def test_the_report_is_strict_json(metric, answers):
    report = compute(metric, *answers)
    assert json.loads(json.dumps(report, allow_nan=False)) == report


@pytest.mark.parametrize(
    ("references", "predictions", "scores", "message"),
    [
        ([], [], None, "at least one image"),
        ([0, 7], [0, 1], None, "references must be ids from 0 to 6; row 1 is 7"),
        ([0, 1], [-1, 1], None, "predictions must be ids from 0 to 6; row 0 is -1"),
        ([0, 1], [None, 1], None, "predictions must be ids from 0 to 6; row 0 is None"),
        ([0, 1], [0], None, "[Mm]ismatch|length|number"),
        ([0, 1], [0, 1], np.eye(7)[[0]], "a row for each of 2 images, got 1"),
        ([0, 1], [0, 1], np.eye(6)[[0, 1]], "rows of 7; row 0 has shape"),
        ([0, 1], [0, 1], [[1 / 7] * 7, [0.5, 0.5]], "rows of 7; row 1 has shape"),
        ([0, 1], [0, 1], [0.5, 0.5], "rows of 7; row 0 has shape"),
        ([0, 1], [0, 1], [[1 / 7] * 7, [np.nan] * 7], "row 1"),
        ([0, 1], [0, 1], [[0.5] * 7, [1 / 7] * 7], "row 0"),
        ([0, 1], [0, 1], [[1 / 7] * 7, [-0.5, 1.5, 0, 0, 0, 0, 0]], "row 1"),
    ],
)
def test_bad_input_is_an_error_that_says_what_is_wrong(metric, references, predictions, scores, message):
    with pytest.raises(ValueError, match=message):
        compute(metric, references, predictions, scores)
