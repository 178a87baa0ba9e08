"""The training loss by hand."""

import pytest
import torch

from involvit.training.loss import balancing_weights, label_weight, summed_cross_entropy

WEIGHTS = pytest.mark.parametrize(
    "class_weights", [None, torch.tensor([1.0, 2.0, 0.5, 3.0, 1.5, 0.25, 4.0])], ids=["plain", "weighted"]
)
LABELS = torch.tensor([3, 0, 6, 3])
LOGITS = torch.linspace(-2, 3, 28).sin().reshape(4, 7) * 3


def cross_entropy(targets, smoothing, class_weights):
    """Sum over the images of the smoothed, weighted cross-entropy in float64, and the sum of their weights."""
    log_probabilities = LOGITS.double() - LOGITS.double().logsumexp(dim=1, keepdim=True)
    weights = [1.0] * 7 if class_weights is None else class_weights.tolist()
    total = norm = 0.0
    for row, target in zip(log_probabilities.tolist(), targets.tolist(), strict=True):
        for weight, value, share in zip(weights, row, target, strict=True):
            total -= weight * ((1 - smoothing) * share + smoothing / 7 * sum(target)) * value
            norm += weight * share
    return total, norm


@pytest.mark.parametrize("labels", [LABELS, torch.tensor([2, -100, 5, 1])], ids=["all", "one ignored"])
@WEIGHTS
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_of_class_ids_it_is_the_cross_entropy_by_hand(smoothing, class_weights, labels):
    targets = torch.nn.functional.one_hot(labels.clamp(min=0), 7) * (labels >= 0)[:, None]
    total, norm = cross_entropy(targets, smoothing, class_weights)
    assert summed_cross_entropy(LOGITS, labels, class_weights, smoothing).item() == pytest.approx(total, rel=1e-5)
    assert label_weight(labels, class_weights).item() == pytest.approx(norm)


@WEIGHTS
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_of_votes_it_is_the_cross_entropy_by_hand_and_rows_of_zeros_do_not_count(smoothing, class_weights):
    votes = torch.tensor(
        [[0.6, 0, 0, 0.4, 0, 0, 0], [0, 0, 0, 1, 0, 0, 0], [0.0] * 7, [0.1, 0.2, 0.3, 0.1, 0.1, 0.1, 0.1]]
    )
    total, norm = cross_entropy(votes, smoothing, class_weights)
    assert summed_cross_entropy(LOGITS, votes, class_weights, smoothing).item() == pytest.approx(total, rel=1e-5)
    assert label_weight(votes, class_weights).item() == pytest.approx(norm)


@WEIGHTS
@pytest.mark.parametrize("dtype", [torch.float32, torch.int64])
def test_one_hot_rows_have_the_loss_of_their_class_ids(class_weights, dtype):
    rows = torch.zeros(4, 7, dtype=dtype)
    rows[torch.arange(3), torch.tensor([2, 5, 1])] = 1
    ids = torch.tensor([2, 5, 1, -100])
    expected = summed_cross_entropy(LOGITS, ids, class_weights, 0.1)
    torch.testing.assert_close(summed_cross_entropy(LOGITS, rows, class_weights, 0.1), expected)
    torch.testing.assert_close(label_weight(rows, class_weights), label_weight(ids, class_weights))


def test_it_is_float32_whatever_the_logits_type():
    assert summed_cross_entropy(LOGITS.bfloat16(), LABELS).dtype == torch.float32


def test_balancing_weighs_classes_by_the_inverse_of_their_share():
    weights = balancing_weights([0] * 6 + [1] * 3 + [6], 7)
    assert weights[[0, 1, 6]].tolist() == pytest.approx([10 / (3 * 6), 10 / (3 * 3), 10 / 3])
    assert label_weight(torch.tensor([0] * 6 + [1] * 3 + [6]), weights).item() == pytest.approx(10)
