"""The same results in lower precision, with another attention, with activation checkpointing, and compiled."""

import copy

import pytest
import torch

from modeling_involvit import InvolViTForImageClassification

from .involvit_reference import LABELS_OF_IMAGES, assert_all_close, gradients, randomize


def test_bf16_autocast_is_close_forward_and_finite_backward(tiny_model, images):
    reference = tiny_model(images).logits
    with torch.autocast("cpu", torch.bfloat16):
        outputs = tiny_model(images, labels=LABELS_OF_IMAGES)
    outputs.loss.backward()
    assert (outputs.logits.float() - reference).abs().max() < 0.1 * reference.abs().max()
    assert all(p.grad.dtype == torch.float32 and p.grad.isfinite().all() for p in tiny_model.parameters())


def test_a_model_wholly_in_bf16_is_close(tiny_model, images):
    reference = tiny_model(images).logits
    logits = tiny_model.bfloat16()(images.bfloat16()).logits
    assert logits.dtype == torch.bfloat16
    assert (logits.float() - reference).abs().max() < 0.1 * reference.abs().max()


def test_sdpa_attention_equals_eager(tiny_model, tmp_path, images):
    tiny_model.save_pretrained(tmp_path)
    logits = {}
    for implementation in ("sdpa", "eager"):
        model = InvolViTForImageClassification.from_pretrained(tmp_path, attn_implementation=implementation).eval()
        logits[implementation] = model(images).logits
    torch.testing.assert_close(logits["sdpa"], logits["eager"], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("use_reentrant", [False, True])
@pytest.mark.parametrize("branches", ["fusion", "rednet", "vit"])
def test_activation_checkpointing_changes_neither_gradients_nor_statistics(
    tiny_config, images, branches, use_reentrant
):
    config = tiny_config(branches=branches, classifier_dropout=0.3, vit_dropout=0.2, vit_drop_path=0.3)
    plain = randomize(InvolViTForImageClassification(config)).train()
    checkpointed = copy.deepcopy(plain)
    checkpointed.activation_checkpointing_enable({"use_reentrant": use_reentrant})
    assert checkpointed.is_activation_checkpointing
    results = []
    for model in (plain, checkpointed):
        torch.manual_seed(7)
        results.append(gradients(model, images, labels=LABELS_OF_IMAGES))
    # The reentrant kind adds up the gradient of a bias in another order.
    assert_all_close(results[1], results[0], rtol=0, atol=1e-6 if use_reentrant else 0)
    assert_all_close(checkpointed.state_dict(), plain.state_dict(), rtol=0, atol=0)
    checkpointed.activation_checkpointing_disable()
    assert not checkpointed.is_activation_checkpointing


def test_compiles_to_one_graph_for_inference(tiny_model, images):
    with torch.inference_mode():
        compiled = torch.compile(tiny_model, fullgraph=True, backend="aot_eager")
        torch.testing.assert_close(compiled(images).logits, tiny_model(images).logits)


def test_compiles_to_one_graph_for_training(tiny_config, images):
    model = randomize(InvolViTForImageClassification(tiny_config(classifier_dropout=0.0))).train()
    reference = copy.deepcopy(model)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    compiled(images, labels=LABELS_OF_IMAGES).loss.backward()
    expected = gradients(reference, images, labels=LABELS_OF_IMAGES)
    assert_all_close({name: p.grad for name, p in model.named_parameters()}, expected, rtol=1e-3, atol=1e-5)
    assert_all_close(model.state_dict(), reference.state_dict())


@pytest.mark.parametrize("standardize_luminance", [False, True])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_model_in_half_precision_takes_float32_pixels_as_a_vit_does(
    tiny_config, images, dtype, standardize_luminance
):
    config = tiny_config(standardize_luminance=standardize_luminance)
    model = randomize(InvolViTForImageClassification(config)).eval()
    with torch.no_grad():
        expected = model(images).logits
        logits = model.to(dtype)(images).logits
    assert logits.dtype == dtype
    torch.testing.assert_close(logits.float(), expected, rtol=0.1, atol=0.1 * expected.abs().max().item())
