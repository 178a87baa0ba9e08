import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import f1_score

from involvit.evaluation.statistics import (
    corrected_resampled_t_test,
    draw_groups,
    holm,
    mcnemar_test,
    paired_bootstrap,
    paired_bootstrap_macro_f1,
)


@pytest.fixture(scope="module")
def answers():
    """Answers of two models to 400 images of 60 persons, and the truth."""
    rng = np.random.default_rng(0)
    references = rng.integers(0, 7, 400)
    good = np.where(rng.random(400) < 0.7, references, rng.integers(0, 7, 400))
    bad = np.where(rng.random(400) < 0.5, references, rng.integers(0, 7, 400))
    return good, bad, references, [f"person {number}" for number in rng.integers(0, 60, 400)]


def test_the_bootstrap_of_single_images_is_scipys(answers):
    good, bad, references, _ = answers
    gaps = (good == references).astype(float) - (bad == references)
    mine = paired_bootstrap(good == references, bad == references, [str(n) for n in range(400)], samples=20_000)
    theirs = stats.bootstrap((gaps,), np.mean, n_resamples=20_000, method="percentile", rng=0).confidence_interval
    assert mine.value == pytest.approx(gaps.mean())
    assert (mine.low, mine.high) == pytest.approx(tuple(theirs), abs=0.004)


def test_the_bootstrap_draws_whole_groups(answers):
    good, bad, references, groups = answers
    result = paired_bootstrap(good == references, bad == references, groups, samples=300, seed=5)
    # the same by copying images
    rng = np.random.default_rng(5)
    persons = np.unique(groups)
    counts = rng.multinomial(len(persons), np.full(len(persons), 1 / len(persons)), size=300)
    gaps = (good == references).astype(float) - (bad == references)
    by_person = [gaps[np.array(groups) == person] for person in persons]
    means = [np.concatenate(np.repeat(np.array(by_person, dtype=object), row).tolist()).mean() for row in counts]
    assert (result.low, result.high) == pytest.approx(tuple(np.percentile(means, (2.5, 97.5))))


def test_groups_that_answer_alike_widen_the_interval():
    rng = np.random.default_rng(1)
    of_person = rng.random(40) < 0.6
    right, wrong = np.repeat(of_person, 10), np.zeros(400)
    groups = np.repeat([f"{n}" for n in range(40)], 10)
    alone = paired_bootstrap(right, wrong, [f"{n}" for n in range(400)])
    together = paired_bootstrap(right, wrong, groups)
    assert together.high - together.low > 2 * (alone.high - alone.low)


def test_macro_f1_of_a_sample_is_that_of_scikit_learn(answers):
    good, bad, references, groups = answers
    result = paired_bootstrap_macro_f1(good, bad, references, groups, samples=40, seed=3)
    members, draws = draw_groups(groups, 40, 3)
    gaps = []
    for counts in draws:
        drawn = np.repeat(np.arange(400), counts[members])
        gaps.append(
            f1_score(references[drawn], good[drawn], average="macro")
            - f1_score(references[drawn], bad[drawn], average="macro")
        )
    expected = f1_score(references, good, average="macro") - f1_score(references, bad, average="macro")
    assert result.value == pytest.approx(expected)
    assert (result.low, result.high) == pytest.approx(tuple(np.percentile(gaps, (2.5, 97.5))))


def test_equal_models_differ_by_nothing(answers):
    good, _, references, groups = answers
    assert paired_bootstrap(good == references, good == references, groups) == (0, 0, 0, 1)
    assert paired_bootstrap_macro_f1(good, good, references, groups) == (0, 0, 0, 1)
    assert mcnemar_test(good == references, good == references) == (0, 0, 1)


def test_the_p_value_of_the_bootstrap_is_near_that_of_the_t_test(answers):
    good, _, references, _ = answers
    rng = np.random.default_rng(2)
    other = np.where(rng.random(400) < 0.66, references, rng.integers(0, 7, 400))
    right, also = good == references, other == references
    mine = paired_bootstrap(right, also, [str(n) for n in range(400)], samples=20_000).p_value
    assert mine == pytest.approx(stats.ttest_rel(right.astype(float), also.astype(float)).pvalue, abs=0.05)


def test_a_clear_difference_is_significant(answers):
    good, bad, references, groups = answers
    assert paired_bootstrap(good == references, bad == references, groups).p_value < 0.01


def test_mcnemar_is_the_worked_example_of_agresti():
    # A. Agresti, Categorical Data Analysis, 2002, table 10.1: approval of a prime minister, 150 and 86 who changed
    # their minds among 1,600; there z^2 = 17.36.
    first = np.repeat([True, True, False, False], [794, 150, 86, 570])
    second = np.repeat([True, False, True, False], [794, 150, 86, 570])
    only_first, only_second, p_value = mcnemar_test(first, second)
    assert (only_first, only_second) == (150, 86)
    assert p_value == pytest.approx(stats.binomtest(86, 236).pvalue)
    assert p_value == pytest.approx(stats.chi2.sf(17.36, 1), rel=0.3)


def test_holm_is_the_step_down_by_hand():
    # sorted: 0.005 * 4, 0.01 * 3, 0.03 * 2, 0.04 * 1, each at least the one before
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    unknown = holm([0.01, float("nan"), 0.04])
    assert unknown[0] == pytest.approx(0.02)
    assert np.isnan(unknown[1])
    assert np.isnan(holm([float("nan")])).all()


def test_without_overlap_the_corrected_test_is_the_paired_t_test():
    first, second = np.random.default_rng(0).normal(loc=[[0.5], [0]], size=(2, 8))
    mean, (low, high), p_value = corrected_resampled_t_test(first - second, 0)
    theirs = stats.ttest_rel(first, second)
    assert mean == pytest.approx((first - second).mean())
    assert (low, high) == pytest.approx(tuple(theirs.confidence_interval()))
    assert p_value == pytest.approx(theirs.pvalue)


def test_overlap_widens_by_nadeau_and_bengios_factor():
    differences = np.array([0.02, 0.05, -0.01, 0.03, 0.04])
    _, (low, high), p_value = corrected_resampled_t_test(differences, 0)
    _, (wide_low, wide_high), larger = corrected_resampled_t_test(differences, 0.25)
    assert (wide_high - wide_low) / (high - low) == pytest.approx(np.sqrt((1 / 5 + 0.25) / (1 / 5)))
    assert larger > p_value


def test_one_split_tells_nothing_and_equal_splits_everything():
    mean, bounds, p_value = corrected_resampled_t_test([0.1], 0.1)
    assert mean == 0.1
    assert np.isnan([*bounds, p_value]).all()
    assert corrected_resampled_t_test([0.0, 0.0], 0.1) == (0, (0, 0), 1)
    assert corrected_resampled_t_test([0.1, 0.1], 0.1)[2] == 0
