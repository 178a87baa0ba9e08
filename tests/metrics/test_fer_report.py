import doctest
import json
import math
from pathlib import Path

import evaluate
import numpy as np
import pytest
from scipy.spatial.distance import jensenshannon
from scipy.stats import bootstrap, entropy
from sklearn.metrics import accuracy_score, classification_report, f1_score, precision_score, recall_score

LABELS = ["Angry", "Disgust", "Fear", "Happy", "Sad", "Surprise", "Neutral"]
PROBABILISTIC = ("expected_calibration_error", "brier_score", "negative_log_likelihood")
ROOT = Path(__file__).parents[2]
SURE = np.eye(7)[[0, 1]]


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


@pytest.fixture(scope="module")
def people():
    """How many of ten people gave each of ten answers for the 300 images, or None; most are near the truth."""
    rng = np.random.default_rng(1)
    references = rng.integers(0, 7, 300)
    shares = 0.7 * np.eye(10)[references] + 0.3 * rng.dirichlet(np.full(10, 0.3), 300)
    counts = [rng.multinomial(10, share).tolist() for share in shares]
    return references, [None if row % 7 == 0 else values for row, values in enumerate(counts)]


def test_a_worked_example_of_votes(metric):
    # Two classes and a third answer. First image: 3 calm, 1 moved; second: 1 calm, 2 moved, 1 unknown.
    report = metric.compute(
        predictions=[0, 0, 1],
        references=[0, 1, 1],
        prediction_scores=[[0.75, 0.25], [0.5, 0.5], [0, 1]],
        labels=["calm", "moved"],
        reference_votes=[[0.75, 0.25], [0, 1], [0, 1]],
        vote_counts=[[3, 1], [1, 2, 1], None],
    )
    of_first = -0.75 * math.log(0.75) - 0.25 * math.log(0.25)
    assert report["entropy_of_votes"] == pytest.approx(of_first / 3)
    assert report["cross_entropy_to_votes"] == pytest.approx((of_first + math.log(2) + 0) / 3)
    # mixture of the second: 1/4, 3/4
    of_second = (0.5 * math.log(0.5 / 0.25) + 0.5 * math.log(0.5 / 0.75) + math.log(1 / 0.75)) / 2
    assert report["js_divergence_to_votes"] == pytest.approx(of_second / 3)
    assert report["num_voted"] == 2
    assert report["voted_accuracy"] == 1 / 2
    assert report["agreement_with_person"] == pytest.approx((3 / 4 + 1 / 4) / 2)
    # 3 x 2 of 4 x 3 ordered pairs agree; then 2 of 12
    assert report["human_agreement_with_person"] == pytest.approx((6 / 12 + 2 / 12) / 2)
    # First: a calm voter agrees with the other 2 : 1, the moved one not. Second: without a moved voter the others are
    # 1 : 1 : 1, and she shares the lead of three; the other two are against a lead of 2.
    assert report["human_accuracy"] == pytest.approx((3 / 4 + 2 / 4 * 1 / 3) / 2)
    assert report["human_majority_share"] == pytest.approx((3 / 4 + 2 / 4) / 2)


def test_distances_to_votes_are_those_of_scipy(metric, answers):
    references, predictions, scores = answers
    votes = np.random.default_rng(2).dirichlet(np.full(7, 0.2), 300).round(1) + np.eye(7)[references]
    votes /= votes.sum(axis=1, keepdims=True)
    report = compute(metric, references, predictions, scores, reference_votes=votes.astype(np.float32).tolist())
    assert report["entropy_of_votes"] == pytest.approx(entropy(votes, axis=1).mean())
    expected = (entropy(votes, axis=1) + entropy(votes, scores, axis=1)).mean()
    assert report["cross_entropy_to_votes"] == pytest.approx(expected)
    assert report["js_divergence_to_votes"] == pytest.approx((jensenshannon(votes, scores, axis=1) ** 2).mean())
    assert "num_voted" not in report


def test_distances_to_votes_have_their_ends(metric):
    votes = [[0.1, 0.2, 0.3, 0, 0, 0.4, 0]]
    same = compute(metric, [5], [5], votes, reference_votes=votes)
    assert same["js_divergence_to_votes"] == 0
    assert same["cross_entropy_to_votes"] == same["entropy_of_votes"]
    opposite = compute(metric, [0], [1], [np.eye(7)[1]], reference_votes=[np.eye(7)[0]])
    assert opposite["js_divergence_to_votes"] == pytest.approx(math.log(2))
    assert opposite["cross_entropy_to_votes"] == opposite["negative_log_likelihood"] == pytest.approx(52 * math.log(2))


def test_single_labels_as_votes_give_the_likelihood_of_the_labels(metric, answers):
    references, predictions, scores = answers
    report = compute(metric, references, predictions, scores, reference_votes=np.eye(7)[references])
    assert report["cross_entropy_to_votes"] == pytest.approx(report["negative_log_likelihood"])
    assert report["entropy_of_votes"] == 0


def test_agreement_with_people_is_what_drawing_each_of_them_gives(metric, people):
    references, vote_counts = people
    predictions = np.roll(references, 1)
    sums = dict.fromkeys(("model", "another", "accuracy", "majority"), 0.0)
    voted = [row for row, counts in enumerate(vote_counts) if counts is not None]
    for row in voted:
        voters = [answer for answer, count in enumerate(vote_counts[row]) for _ in range(count)]
        for index, answer in enumerate(voters):
            others = voters[:index] + voters[index + 1 :]
            most = max(others.count(other) for other in others)
            leaders = [other for other in set(others) if others.count(other) == most]
            sums["model"] += (answer == predictions[row]) / len(voters)
            sums["another"] += np.mean([answer == other for other in others]) / len(voters)
            sums["accuracy"] += (answer in leaders) / len(leaders) / len(voters)
            sums["majority"] += (answer == references[row]) / len(voters)
    report = compute(metric, references, predictions, vote_counts=vote_counts)
    assert report["num_voted"] == len(voted)
    names = ("agreement_with_person", "human_agreement_with_person", "human_accuracy", "human_majority_share")
    for name, total in zip(names, sums.values(), strict=True):
        assert report[name] == pytest.approx(total / len(voted)), name
    assert report["voted_accuracy"] == accuracy_score(references[voted], predictions[voted])


def test_images_that_fewer_than_two_people_answered_do_not_count(metric):
    one = [0, 0, 0, 1, 0, 0, 0]
    nobody = compute(metric, [3, 3, 3], [3, 3, 3], vote_counts=[None, one, [0] * 10])
    assert nobody["num_voted"] == 0
    assert "human_accuracy" not in nobody and "agreement_with_person" not in nobody
    pair = compute(metric, [3, 3], [3, 0], vote_counts=[one, [0, 0, 0, 2, 0, 0, 0]])
    assert pair["num_voted"] == 1
    assert pair["human_accuracy"] == pair["human_agreement_with_person"] == pair["human_majority_share"] == 1
    assert pair["agreement_with_person"] == pair["voted_accuracy"] == 0


def test_figures_on_votes_are_strict_json(metric, people):
    references, vote_counts = people
    votes = np.eye(7)[references]
    report = compute(metric, references, references, votes, reference_votes=votes, vote_counts=vote_counts)
    assert json.loads(json.dumps(report, allow_nan=False)) == report


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"reference_votes": SURE}, "give prediction_scores too"),
        ({"scores": SURE, "reference_votes": SURE[:1]}, "reference_votes must have a row for each of 2"),
        ({"scores": SURE, "reference_votes": SURE[:, :6]}, "reference_votes must be rows of 7; row 0"),
        ({"scores": SURE, "reference_votes": 2 * SURE}, "reference_votes must be prob.* row 0"),
        ({"vote_counts": [[1] * 7]}, "vote_counts must have a row for each of 2 images, got 1"),
        ({"vote_counts": [None, [1] * 6]}, r"rows of 7 or more; row 1 has shape \(6,\)"),
        ({"vote_counts": [3, None]}, r"rows of 7 or more; row 0 has shape \(\)"),
        ({"vote_counts": [[1] * 7, [1, -1, 0, 0, 0, 0, 0]]}, "whole numbers from 0 up; row 1 is"),
        ({"vote_counts": [[0.5] * 7, None]}, "whole numbers from 0 up; row 0 is"),
    ],
)  # fmt: skip
def test_votes_that_cannot_be_used_are_an_error_that_says_what_is_wrong(metric, options, message):
    with pytest.raises(ValueError, match=message):
        compute(metric, [0, 1], [0, 1], **options)


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
