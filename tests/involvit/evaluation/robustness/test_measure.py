import numpy as np
import pytest
from scipy import stats

from dataset_script import LABELS
from involvit.evaluation.robustness.corruptions import CORRUPTIONS, corrupt, resize_face
from involvit.evaluation.robustness.measure import OVERALL, Measurement, compare, measure_robustness, summarize

BY_NAME = {corruption.name: corruption for corruption in CORRUPTIONS}
EYES, NOISE = BY_NAME["eyes bar"], BY_NAME["noise"]


def measurement(clean, corrupted, corruptions=(EYES, NOISE), groups=None):
    images = len(next(iter(clean.values())))
    groups = [str(index) for index in range(images)] if groups is None else groups
    clean = {name: np.array(right, bool) for name, right in clean.items()}
    return Measurement(corruptions, groups, clean, {name: np.array(right, bool) for name, right in corrupted.items()})


def random_measurement(images=60, **shares):
    rng = np.random.default_rng(0)
    clean = {name: rng.random(images) < 0.9 for name in shares}
    corrupted = {name: rng.random((2, 5, images)) < share for name, share in shares.items()}
    return measurement(clean, corrupted, groups=[f"person{index // 3}" for index in range(images)])


def from_wrong_counts(*wrong, images=10):
    """Answers [corruptions, severities, images] of which that many are wrong."""
    return np.arange(images) >= np.array(wrong)[..., None]


def test_each_model_answers_for_the_same_images_that_corrupt_makes(grey_faces, colour_classifier):
    rows = grey_faces.select(range(7))
    classifiers = {"first": colour_classifier(), "other": colour_classifier(shift=0.4)}
    corruptions = [BY_NAME["darker"], NOISE]
    result = measure_robustness(classifiers, rows, corruptions, seed=3)
    for name, classifier in classifiers.items():
        for index, row in enumerate(rows):
            image = resize_face(np.array(row["image"]))
            assert result.clean[name][index] == (classifier([image])[0].argmax() == row["label"])
            for place, corruption in enumerate(corruptions):
                for severity in range(1, 6):
                    changed = corrupt(image, corruption, severity, 3, index)
                    expected = classifier([changed])[0].argmax() == row["label"]
                    assert result.corrupted[name][place, severity - 1, index] == expected


def test_batches_do_not_show(grey_faces, colour_classifier, monkeypatch):
    rows = grey_faces.select(range(7))
    whole = measure_robustness({"model": colour_classifier()}, rows, [NOISE])
    monkeypatch.setattr("involvit.evaluation.robustness.measure.BATCH_SIZE", 3)
    batched = measure_robustness({"model": colour_classifier()}, rows, [NOISE])
    assert (whole.clean["model"] == batched.clean["model"]).all()
    assert (whole.corrupted["model"] == batched.corrupted["model"]).all()


def test_classes_in_another_order_give_the_same_answers(grey_faces, colour_classifier):
    rows = grey_faces.select(range(14))

    class Reversed(colour_classifier):
        def __call__(self, images):
            return super().__call__(images)[:, ::-1]

    classifiers = {"same": colour_classifier(), "reversed": Reversed()}
    classifiers["reversed"].labels = LABELS[::-1]
    result = measure_robustness(classifiers, rows, [NOISE])
    assert (result.corrupted["same"] == result.corrupted["reversed"]).all()


def test_what_is_no_probability_is_refused(grey_faces, colour_classifier):
    class Broken(colour_classifier):
        def __call__(self, images):
            return np.full((len(images), 7), np.nan)

    with pytest.raises(ValueError, match="broken answers values that are not finite"):
        measure_robustness({"broken": Broken()}, grey_faces.select(range(2)), [NOISE])


def test_models_of_other_classes_are_refused_before_anything_is_classified(grey_faces, colour_classifier):
    class Unused(colour_classifier):
        def __call__(self, images):
            raise AssertionError

    classifiers = {"fits": Unused(), "cats": Unused(labels=("cat", "dog"))}
    with pytest.raises(ValueError, match="cats answers cat, dog"):
        measure_robustness(classifiers, grey_faces, [NOISE])


def test_scores_are_those_computed_by_hand():
    right = from_wrong_counts([1, 2, 3, 4, 5], [0, 0, 2, 4, 4])
    model = summarize(measurement({"a": [1] * 9 + [0]}, {"a": right}))["a"]
    assert model.clean.value == pytest.approx(0.9)
    assert model.accuracy["eyes bar"] == pytest.approx([0.9, 0.8, 0.7, 0.6, 0.5])
    assert model.accuracy["noise"] == pytest.approx([1.0, 1.0, 0.8, 0.6, 0.6])
    assert model.scores["occlusion"].value == pytest.approx(0.7)
    assert model.scores["image quality"].value == pytest.approx(0.8)
    assert model.scores[OVERALL].value == pytest.approx(0.75)
    assert model.drops[OVERALL].value == pytest.approx(0.15)
    assert model.retained["occlusion"] == pytest.approx(7 / 9)


def test_mean_corruption_error_is_the_mean_of_the_ratios_of_summed_errors():
    a = from_wrong_counts([1, 2, 3, 4, 5], [0, 0, 2, 4, 4])  # 15 and 10 errors
    b = from_wrong_counts([1, 1, 1, 1, 2], [3, 3, 3, 3, 3])  # 6 and 15 errors
    summary = summarize(measurement({"a": [1] * 10, "b": [1] * 10}, {"a": a, "b": b}))
    assert summary["a"].mean_corruption_error == pytest.approx(1)
    assert summary["b"].corruption_errors == pytest.approx({"eyes bar": 0.4, "noise": 1.5})
    assert summary["b"].mean_corruption_error == pytest.approx(0.95)


def test_a_corruption_without_errors_of_the_first_model_has_no_ratio():
    never_wrong, wrong = from_wrong_counts([0] * 5, [0] * 5), from_wrong_counts([0] * 5, [2] * 5)
    clean = {"a": [1] * 10, "b": [1] * 10}
    summary = summarize(measurement(clean, {"a": wrong, "b": from_wrong_counts([5] * 5, [1] * 5)}))
    assert np.isnan(summary["b"].corruption_errors["eyes bar"])
    assert summary["b"].mean_corruption_error == pytest.approx(0.5)
    assert np.isnan(summarize(measurement(clean, {"a": never_wrong, "b": wrong}))["b"].mean_corruption_error)


def test_nothing_is_retained_of_nothing():
    model = summarize(measurement({"a": [0] * 10}, {"a": from_wrong_counts([1] * 5, [1] * 5)}))["a"]
    assert np.isnan(model.retained[OVERALL])


def test_intervals_are_those_of_scipys_bootstrap_over_groups():
    # Groups of one size: the mean over images is the mean of the groups' means.
    result = random_measurement(a=0.6)
    of_groups = result.corrupted["a"].mean(axis=(0, 1)).reshape(-1, 3).mean(axis=1)
    reference = stats.bootstrap((of_groups,), np.mean, n_resamples=5000, method="percentile", rng=1)
    estimate = summarize(result)["a"].scores[OVERALL]
    assert (estimate.low, estimate.high) == pytest.approx(tuple(reference.confidence_interval), abs=0.01)


def test_a_model_does_not_differ_from_its_copy():
    result = random_measurement(a=0.6)
    clean, corrupted = result.clean["a"], result.corrupted["a"]
    copies = Measurement(result.corruptions, result.groups, dict.fromkeys("ab", clean), dict.fromkeys("ab", corrupted))
    for comparison in compare(copies):
        for difference in (comparison.accuracy, comparison.drop):
            assert (difference.value, difference.low, difference.high) == (0, 0, 0)
            assert difference.p_value == difference.corrected_p_value == 1


def test_each_other_model_is_compared_with_the_first_overall_and_by_family():
    comparisons = compare(random_measurement(a=0.8, b=0.5, c=0.8))
    scopes = (OVERALL, "occlusion", "image quality")
    assert [(c.model, c.scope) for c in comparisons] == [(model, scope) for model in "bc" for scope in scopes]
    for comparison in comparisons[:3]:
        assert comparison.accuracy.value == pytest.approx(-0.3, abs=0.08)
        assert comparison.accuracy.corrected_p_value < 0.05
    assert all(comparison.accuracy.corrected_p_value > 0.05 for comparison in comparisons[3:])


def test_the_drop_is_compared_apart_from_the_level():
    # One is worse by the same 20 points everywhere: it is no less robust.
    clean = {"a": [1] * 10, "b": [0] * 2 + [1] * 8}
    right = {"a": from_wrong_counts([1] * 5, [1] * 5), "b": from_wrong_counts([3] * 5, [3] * 5)}
    overall = compare(measurement(clean, right))[0]
    assert overall.accuracy.value == pytest.approx(-0.2)
    assert overall.drop.value == pytest.approx(0)


def test_many_tests_leave_a_clear_difference_significant():
    shares = {"first": 0.9} | {f"other{number}": 0.3 for number in range(9)}
    assert max(comparison.accuracy.corrected_p_value for comparison in compare(random_measurement(**shares))) < 0.05


def test_the_seed_decides():
    result = random_measurement(a=0.8, b=0.6)
    assert compare(result, seed=1) == compare(result, seed=1)
    assert compare(result, seed=1) != compare(result, seed=2)


def test_one_model_has_nothing_to_be_compared_with():
    assert compare(random_measurement(a=0.5)) == []
