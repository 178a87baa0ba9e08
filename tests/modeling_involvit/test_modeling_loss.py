"""The loss against transformers' own, soft targets by hand, and gradients."""

import pytest
import torch
from transformers import ViTConfig
from transformers.loss.loss_utils import ForSequenceClassificationLoss

from modeling_involvit import InvolViTForImageClassification
from modeling_involvit.classification_loss import classification_loss, infer_problem_type

from .involvit_reference import LABELS_OF_IMAGES, assert_all_close, gradients, randomize

LOGITS = torch.linspace(-2, 3, 28).sin().reshape(4, 7) * 3
VOTES = torch.tensor([[0.6, 0, 0, 0.4, 0, 0, 0], [0, 0, 0, 1, 0, 0, 0], [0.0] * 7, [0.1, 0.2, 0.3, 0.1, 0.1, 0.1, 0.1]])


@pytest.mark.parametrize(
    ("problem_type", "labels"),
    [
        (None, LABELS_OF_IMAGES),
        ("single_label_classification", torch.tensor([2, -100, 5, 1])),
        (None, (VOTES > 0.15).float()),
        ("multi_label_classification", (VOTES > 0.15).float()),
        ("regression", VOTES),
    ],
)
def test_it_is_the_loss_of_transformers(problem_type, labels):
    config = ViTConfig(num_labels=7, problem_type=problem_type)
    expected = ForSequenceClassificationLoss(labels, LOGITS, config)
    assert config.problem_type == (problem_type or infer_problem_type(labels, 7))  # which the library has inferred
    torch.testing.assert_close(classification_loss(LOGITS, labels, config.problem_type), expected)


def test_of_one_score_it_is_the_squared_error_of_transformers():
    targets = torch.tensor([0.5, -1.0, 2.0, 0.0])
    config = ViTConfig(num_labels=1, problem_type=None)
    expected = ForSequenceClassificationLoss(targets, LOGITS[:, :1], config)
    assert config.problem_type == infer_problem_type(targets, 1) == "regression"
    torch.testing.assert_close(classification_loss(LOGITS[:, :1], targets, "regression"), expected)


def test_another_problem_is_refused():
    with pytest.raises(ValueError, match="problem_type is 'single'; it is one of regression, single_label_class"):
        classification_loss(LOGITS, LABELS_OF_IMAGES, "single")


def test_of_soft_targets_it_is_the_cross_entropy_by_hand_and_rows_of_zeros_do_not_count():
    log_probabilities = LOGITS.double() - LOGITS.double().logsumexp(dim=1, keepdim=True)
    expected = sum(-(VOTES[row].double() * log_probabilities[row]).sum().item() for row in (0, 1, 3)) / 3
    assert classification_loss(LOGITS, VOTES, "single_label_classification").item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("problem_type", "labels"),
    [
        ("single_label_classification", LABELS_OF_IMAGES),
        ("single_label_classification", torch.tensor([2, -100, 5, 1])),
        ("single_label_classification", VOTES[[0, 1, 3, 3]]),
        ("multi_label_classification", (VOTES > 0.15).float()),
        ("regression", VOTES),
    ],
)
def test_micro_batches_divided_as_trainer_counts_them_add_up_to_the_whole_batch(problem_type, labels):
    num_items = labels.ne(-100).sum()  # transformers.Trainer._get_num_items_in_batch
    parts = [slice(0, 3), slice(3, 4)]
    loss = sum(classification_loss(LOGITS[part], labels[part], problem_type, num_items) for part in parts)
    torch.testing.assert_close(loss, classification_loss(LOGITS, labels, problem_type))


def test_the_model_uses_the_loss_that_its_config_names(tiny_config, images):
    soft, several = "single_label_classification", "multi_label_classification"
    for given, labels, problem_type in (
        (soft, VOTES, soft),
        (several, (VOTES > 0.15).float(), several),
        (None, (VOTES > 0.15).float(), several),
        (None, LABELS_OF_IMAGES, soft),
    ):
        model = randomize(InvolViTForImageClassification(tiny_config(branches="rednet", problem_type=given))).eval()
        outputs = model(images, labels=labels)
        torch.testing.assert_close(outputs.loss, classification_loss(outputs.logits, labels, problem_type))
        assert model.config.problem_type == problem_type  # so that a pipeline knows what the saved model's scores mean


def test_gradients_of_micro_batches_add_up_to_those_of_the_whole_batch(tiny_model, images):
    labels = LABELS_OF_IMAGES
    whole = gradients(tiny_model, images, labels=labels)
    tiny_model.zero_grad()
    for part in (slice(0, 3), slice(3, 4)):
        tiny_model(images[part], labels=labels[part], num_items_in_batch=torch.tensor(4)).loss.backward()
    assert_all_close({name: p.grad for name, p in tiny_model.named_parameters()}, whole, rtol=1e-3, atol=1e-5)


def test_the_loss_is_float32_whatever_the_logits_type(tiny_model, images):
    with torch.autocast("cpu", torch.bfloat16):
        outputs = tiny_model(images, labels=LABELS_OF_IMAGES)
    assert (outputs.logits.dtype, outputs.loss.dtype) == (torch.bfloat16, torch.float32)


def test_every_parameter_gets_a_gradient(tiny_model, images):
    untouched = [
        n for n, grad in gradients(tiny_model.train(), images, labels=LABELS_OF_IMAGES).items() if not grad.any()
    ]
    assert untouched == []


@pytest.mark.parametrize(
    "changes",
    [
        {"num_labels": 5},
        {"id2label": {0: "calm", 1: "tense"}},
        {"id2label": {index: str(index) for index in range(7)}},
    ],
)
def test_it_is_fine_tuned_on_other_classes_in_the_usual_way(tiny_model, images, tmp_path, changes):
    tiny_model.save_pretrained(tmp_path)
    model = InvolViTForImageClassification.from_pretrained(tmp_path, **changes, ignore_mismatched_sizes=True)
    num_labels = changes.get("num_labels") or len(changes["id2label"])
    outputs = model(images, labels=torch.arange(4) % num_labels)
    assert outputs.logits.shape == (4, num_labels)
    assert outputs.loss.isfinite()
