import numpy as np
import pytest

from dataset_script import LABELS
from dataset_script.votes import ANSWERS, checked_counts, checked_distribution, distribution, majority, one_hot


def counts(**people):
    """Ten counts in the order of `ANSWERS`, by name."""
    return [people.get(answer.replace(" ", "_"), 0) for answer in ANSWERS]


def test_the_classes_come_first_in_the_order_of_their_ids():
    assert ANSWERS[:7] == LABELS
    assert len(ANSWERS) == 10


@pytest.mark.parametrize(
    ("people", "answer"),
    [
        ({"Happy": 6, "Neutral": 4}, "Happy"),
        ({"Happy": 5, "Neutral": 5}, None),
        ({"Sad": 3, "Neutral": 3, "Fear": 4}, "Fear"),
        ({"Sad": 4, "Contempt": 6}, "Contempt"),
        ({"Not_a_face": 10}, "Not a face"),
        ({"Sad": 2, "Angry": 1, "Fear": 1, "Happy": 1}, "Sad"),
        ({"Angry": 1, "Fear": 1}, None),
        ({"Angry": 1}, None),
        ({}, None),
    ],
    ids=str,
)
def test_the_majority_is_the_one_answer_with_the_most_votes_but_single_ones(people, answer):
    found = majority(counts(**people))
    assert (None if found is None else ANSWERS[found]) == answer


def test_shares_leave_out_single_votes_and_other_answers():
    # The worked example: ten people, of whom one alone said Fear and two said Contempt.
    shares = distribution(counts(Sad=4, Neutral=3, Fear=1, Contempt=2))
    np.testing.assert_allclose(shares, [0, 0, 0, 0, 4 / 7, 0, 3 / 7])


def test_one_label_stands_for_all_votes():
    assert one_hot(2) == (0, 0, 1, 0, 0, 0, 0)


@pytest.mark.parametrize(
    "votes",
    [[1.0], [0.5] * 7, [0.5, 0.6, -0.1, 0, 0, 0, 0], [float("nan")] * 7, [[1.0, 0, 0, 0, 0, 0, 0]], ["x"] * 7, 3],
    ids=str,
)
def test_what_is_no_distribution_is_refused(votes):
    with pytest.raises(ValueError, match="not 7 shares that sum to 1"):
        checked_distribution(votes)


@pytest.mark.parametrize(
    "given", [["1"] * 9, ["1"] * 9 + ["x"], ["1"] * 9 + ["-1"], ["1"] * 9 + ["1.5"], [1.5] * 10, 3], ids=str
)
def test_what_are_no_counts_is_refused(given):
    with pytest.raises(ValueError, match="not 10 whole numbers from 0"):
        checked_counts(given)
