"""The loss by hand, and its gradients."""

import pytest
import torch

from modeling_involvit import InvolViTForImageClassification

from .involvit_reference import LABELS_OF_IMAGES, assert_all_close, gradients, randomize


def cross_entropy(logits, labels, smoothing, class_weights):
    """Sum over the images of the smoothed, weighted cross-entropy in float64, and the sum of their weights."""
    log_probabilities = logits.double() - logits.double().logsumexp(dim=1, keepdim=True)
    num_labels = logits.shape[1]
    weights = [1.0] * num_labels if class_weights is None else class_weights
    total = norm = 0.0
    for row, label in zip(log_probabilities.tolist(), labels.tolist(), strict=True):
        if label == -100:
            continue
        total -= (1 - smoothing) * weights[label] * row[label]
        total -= smoothing / num_labels * sum(weight * value for weight, value in zip(weights, row, strict=True))
        norm += weights[label]
    return total, norm


@pytest.mark.parametrize("labels", [LABELS_OF_IMAGES, torch.tensor([2, -100, 5, 1])], ids=["all", "one ignored"])
@pytest.mark.parametrize("class_weights", [None, [1.0, 2.0, 0.5, 3.0, 1.5, 0.25, 4.0]], ids=["plain", "weighted"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_loss_is_the_cross_entropy_by_hand(tiny_config, images, smoothing, class_weights, labels):
    config = tiny_config(label_smoothing=smoothing, class_weights=class_weights, branches="rednet")
    model = randomize(InvolViTForImageClassification(config)).eval()
    outputs = model(images, labels=labels)
    total, norm = cross_entropy(outputs.logits, labels, smoothing, class_weights)
    assert outputs.loss.item() == pytest.approx(total / norm, rel=1e-5)
    summed = model(images, labels=labels, num_items_in_batch=torch.tensor(10.0)).loss
    assert summed.item() == pytest.approx(total / 10, rel=1e-5)


@pytest.mark.parametrize("class_weights", [None, [1.0, 2.0, 0.5, 3.0, 1.5, 0.25, 4.0]], ids=["plain", "weighted"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_loss_on_votes_is_the_cross_entropy_by_hand_and_rows_of_zeros_do_not_count(
    tiny_config, images, smoothing, class_weights
):
    config = tiny_config(label_smoothing=smoothing, class_weights=class_weights, branches="rednet")
    model = randomize(InvolViTForImageClassification(config)).eval()
    votes = torch.tensor(
        [[0.6, 0, 0, 0.4, 0, 0, 0], [0, 0, 0, 1, 0, 0, 0], [0.0] * 7, [0.1, 0.2, 0.3, 0.1, 0.1, 0.1, 0.1]]
    )
    outputs = model(images, labels=votes, num_items_in_batch=3)
    log_probabilities = outputs.logits.double().log_softmax(dim=1)
    weights = torch.ones(7) if class_weights is None else torch.tensor(class_weights)
    expected = 0.0
    for row in (0, 1, 3):
        for label in range(7):
            target = (1 - smoothing) * votes[row, label].item() + smoothing / 7
            expected -= weights[label].item() * target * log_probabilities[row, label].item() / 3
    assert outputs.loss.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.int64])
@pytest.mark.parametrize("class_weights", [None, [1.0, 2.0, 0.5, 3.0, 1.5, 0.25, 4.0]], ids=["plain", "weighted"])
def test_one_hot_rows_have_the_loss_of_their_class_ids(tiny_config, images, class_weights, dtype):
    config = tiny_config(label_smoothing=0.1, class_weights=class_weights, branches="rednet")
    model = randomize(InvolViTForImageClassification(config)).eval()
    rows = torch.zeros(4, 7, dtype=dtype)
    rows[torch.arange(3), torch.tensor([2, 5, 1])] = 1
    expected = model(images, labels=torch.tensor([2, 5, 1, -100])).loss
    torch.testing.assert_close(model(images, labels=rows).loss, expected)


@pytest.mark.parametrize("class_weights", [None, [1.0, 2.0, 0.5, 3.0, 1.5, 0.25, 4.0]], ids=["plain", "weighted"])
def test_micro_batches_of_any_lengths_add_up_to_the_whole_batch(tiny_config, images, class_weights):
    config = tiny_config(label_smoothing=0.1, class_weights=class_weights)
    model = randomize(InvolViTForImageClassification(config)).eval()
    labels = LABELS_OF_IMAGES
    whole_loss, whole = model(images, labels=labels).loss, gradients(model, images, labels=labels)
    weights = torch.ones(7) if class_weights is None else torch.tensor(class_weights)
    num_items = weights[labels].sum()
    assert model.label_weight(torch.tensor([*labels, -100])) == num_items
    model.zero_grad()
    loss = 0
    for part in (slice(0, 3), slice(3, 4)):
        micro = model(images[part], labels=labels[part], num_items_in_batch=num_items).loss
        micro.backward()
        loss += micro.detach()
    torch.testing.assert_close(loss, whole_loss.detach())
    assert_all_close({name: p.grad for name, p in model.named_parameters()}, whole, rtol=1e-3, atol=1e-5)


def test_the_loss_is_float32_whatever_the_logits_type(tiny_model, images):
    with torch.autocast("cpu", torch.bfloat16):
        outputs = tiny_model(images, labels=LABELS_OF_IMAGES)
    assert (outputs.logits.dtype, outputs.loss.dtype) == (torch.bfloat16, torch.float32)


def test_every_parameter_gets_a_gradient(tiny_model, images):
    untouched = [
        n for n, grad in gradients(tiny_model.train(), images, labels=LABELS_OF_IMAGES).items() if not grad.any()
    ]
    assert untouched == []
