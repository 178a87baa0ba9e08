import copy
import math

import numpy as np
import pytest
import timm
import torch
import torch.nn.functional as F
from PIL import Image

from modeling_involvit import InvolViTConfig, InvolViTForImageClassification, InvolViTModel

from .involvit_reference import randomize


@pytest.fixture
def images():
    """Four normalised images of 64 px."""
    return torch.randn(4, 3, 64, 64, generator=torch.Generator().manual_seed(1))


LABELS_OF_IMAGES = torch.tensor([0, 6, 3, 3])


def gradients(model, *args, **kwargs):
    model.zero_grad()
    model(*args, **kwargs).loss.backward()
    return {name: p.grad.clone() for name, p in model.named_parameters()}


def assert_all_close(ours, reference, **tolerances):
    assert ours.keys() == reference.keys()
    for name in ours:
        torch.testing.assert_close(
            ours[name], reference[name], msg=lambda text, name=name: f"{name}: {text}", **tolerances
        )


# ---- architecture


def test_the_papers_model_has_the_parameters_of_its_parts():
    with torch.device("meta"):
        model = InvolViTForImageClassification(InvolViTConfig())
        vit = timm.create_model("vit_base_r50_s16_384", num_classes=0)
    count = {name: sum(p.numel() for p in part.parameters()) for name, part in model.involvit.named_children()}
    assert (count["rednet"] + 2048 * 1000 + 1000) / 1e6 == pytest.approx(15.54, abs=0.005)  # with its head
    positions_at_384, positions_at_352 = 1 + 24**2, 22**2
    less = (positions_at_384 - positions_at_352) * 768 + 768  # positions, and the class token
    assert count["vit"] == sum(p.numel() for p in vit.parameters()) - less
    assert count["fusion"] == (2048 + 768) * 1024 + 2 * 1024
    assert sum(p.numel() for p in model.classifier.parameters()) == 1024 * 7 + 7
    assert sum(p.numel() for p in model.parameters()) == sum(count.values()) + 1024 * 7 + 7


def test_the_papers_model_has_the_papers_maps():
    with torch.device("meta"):
        model = InvolViTForImageClassification(InvolViTConfig()).eval()
        outputs = model(torch.zeros(2, 3, 352, 352), output_hidden_states=True)
    shapes = [tuple(map_.shape) for map_ in outputs.hidden_states]
    assert shapes == [(2, 2048, 11, 11), (2, 768, 22, 22), (2, 1024, 22, 22)]
    assert outputs.logits.shape == (2, 7)


@pytest.mark.parametrize(
    ("branches", "maps"),
    [
        ("fusion", [(256, 4, 4), (64, 8, 8), (48, 8, 8)]),
        ("rednet", [(256, 4, 4)]),
        ("vit", [(64, 8, 8)]),
    ],
)
def test_branches_and_their_maps(tiny_config, images, branches, maps):
    model = InvolViTForImageClassification(tiny_config(branches=branches)).eval()
    outputs = model(images, output_hidden_states=True)
    assert [tuple(map_.shape[1:]) for map_ in outputs.hidden_states] == maps
    assert outputs.logits.shape == (4, 7)
    present = {name for name, _ in model.involvit.named_children()}
    assert present == ({"rednet", "vit", "fusion"} if branches == "fusion" else {branches})


def processed(pixels, config):
    """Normalises uint8 pixels [B, H, W, 3] as the processor does."""
    shape = (1, 3, 1, 1)
    mean, std = (torch.tensor(values).view(shape) for values in (config.image_mean, config.image_std))
    return (torch.from_numpy(pixels).movedim(-1, 1) / 255 - mean) / std


def test_both_branches_see_the_luminance_with_mean_0_and_deviation_1(tiny_config):
    pixels = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), np.uint8)
    model = InvolViTModel(tiny_config(standardize_luminance=True)).eval()
    seen = []
    for branch in (model.rednet, model.vit):
        branch.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    model(processed(pixels, model.config))
    luminance = np.stack([np.asarray(Image.fromarray(image).convert("L"), np.float64) for image in pixels])
    expected = np.stack([(image - image.mean()) / image.std() for image in luminance])
    for values in seen:
        assert values.shape == (2, 3, 64, 64)
        # Pillow rounds to grey levels.
        np.testing.assert_allclose(values, np.repeat(expected[:, None], 3, 1), atol=0.02)


def test_standardised_luminance_makes_colour_exposure_and_contrast_irrelevant(tiny_config):
    model = randomize(InvolViTForImageClassification(tiny_config(standardize_luminance=True))).eval()
    grey = np.random.default_rng(0).integers(0, 256, (1, 64, 64, 1)).repeat(3, axis=-1)
    copies = np.concatenate([grey, 0.4 * grey, 100 + 0.5 * grey, grey * [0.7, 1.0, 1.2]])
    with torch.no_grad():
        original, *others = model(processed(copies, model.config).float()).logits
    for logits in others:
        torch.testing.assert_close(logits, original, rtol=1e-4, atol=1e-4)


def test_a_flat_image_has_a_finite_gradient(tiny_config):
    model = InvolViTForImageClassification(tiny_config(standardize_luminance=True)).eval()
    flat = torch.zeros(1, 3, 64, 64, requires_grad=True)
    model(flat, labels=torch.tensor([3])).loss.backward()
    assert flat.grad.isfinite().all()


@pytest.mark.parametrize("fusion_grid", [None, 4, 5])
def test_fusion_is_a_1x1_convolution_of_both_maps_on_one_grid(tiny_config, images, fusion_grid):
    model = randomize(InvolViTForImageClassification(tiny_config(fusion_grid=fusion_grid))).eval()
    with torch.no_grad():
        outputs = model(images, output_hidden_states=True)
    grid = fusion_grid or 8
    tensors = model.state_dict()
    rednet_map, vit_map, fused = outputs.hidden_states
    maps = torch.cat([resize_bilinear(rednet_map, grid), resize_bilinear(vit_map, grid)], dim=1)
    mixed = torch.einsum("oc,bchw->bohw", tensors["involvit.fusion.conv.weight"][:, :, 0, 0], maps)
    mean, variance, weight, bias = (
        tensors[f"involvit.fusion.bn.{name}"][:, None, None]
        for name in ("running_mean", "running_var", "weight", "bias")
    )
    expected = ((mixed - mean) / (variance + 1e-5).sqrt() * weight + bias).clamp(min=0)
    torch.testing.assert_close(fused, expected, rtol=1e-4, atol=1e-5)
    logits = expected.mean(dim=(2, 3)) @ tensors["classifier.weight"].T + tensors["classifier.bias"]
    torch.testing.assert_close(outputs.logits, logits, rtol=1e-4, atol=1e-5)


def resize_bilinear(maps, size):
    """Bilinear interpolation between pixel centres, one axis after the other."""
    for axis in (2, 3):
        length = maps.shape[axis]
        positions = ((torch.arange(size) + 0.5) * length / size - 0.5).clamp(0, length - 1)
        low = positions.floor().long()
        high = (low + 1).clamp(max=length - 1)
        share = (positions - low).view([-1 if a == axis else 1 for a in range(4)])
        maps = maps.index_select(axis, low) * (1 - share) + maps.index_select(axis, high) * share
    return maps


def test_each_branch_sees_the_image_in_the_statistics_of_its_weights(tiny_model, tiny_config):
    config = tiny_config()
    image = torch.rand(2, 3, 64, 64)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (config.image_mean, config.image_std))
    seen = {}
    for name in ("rednet", "vit"):
        branch = getattr(tiny_model.involvit, name)
        branch.register_forward_pre_hook(lambda _, args, name=name: seen.update({name: args[0]}))
    tiny_model((image - mean) / std)
    torch.testing.assert_close(seen["rednet"], (image - mean) / std)
    torch.testing.assert_close(seen["vit"], (image - 0.5) / 0.5)


# ---- outputs


def test_hidden_states_come_on_demand_only(tiny_model, images):
    assert tiny_model(images).hidden_states is None
    assert tiny_model.involvit(images).hidden_states is None
    tiny_model.config.output_hidden_states = True
    assert len(tiny_model(images).hidden_states) == 3
    assert tiny_model(images, output_hidden_states=False).hidden_states is None


def test_outputs_are_a_tuple_on_demand(tiny_model, images):
    named = tiny_model(images, labels=LABELS_OF_IMAGES)
    loss, logits = tiny_model(images, labels=LABELS_OF_IMAGES, return_dict=False)
    assert loss == named.loss
    assert torch.equal(logits, named.logits)
    (only_logits,) = tiny_model(images, return_dict=False)
    assert torch.equal(only_logits, named.logits)
    map_, pooled = tiny_model.involvit(images, return_dict=False)
    torch.testing.assert_close(map_.mean(dim=(2, 3)), pooled)


@pytest.mark.parametrize("shape", [(2, 3, 32, 32), (2, 1, 64, 64), (3, 64, 64), (2, 3, 64, 63)])
@pytest.mark.parametrize("branches", ["fusion", "rednet"])
def test_other_sizes_are_refused_with_both_shapes(tiny_config, branches, shape):
    model = InvolViTModel(tiny_config(branches=branches)).eval()
    with pytest.raises(ValueError, match=r"\[B, 3, 64, 64\]") as error:
        model(torch.zeros(shape))
    assert str(list(shape)) in str(error.value)


def test_one_image_gets_the_same_scores_as_in_a_batch(tiny_model, images):
    together = tiny_model(images).logits
    alone = torch.cat([tiny_model(image[None]).logits for image in images])
    torch.testing.assert_close(alone, together, rtol=1e-4, atol=1e-5)


def test_the_classifiers_dropout_works_in_training_only(tiny_config, images):
    model = randomize(InvolViTForImageClassification(tiny_config(classifier_dropout=0.5)))
    assert model.dropout.p == 0.5
    model.eval()
    assert torch.equal(model(images).logits, model(images).logits)
    model.dropout.train()
    assert not torch.equal(model(images).logits, model(images).logits)


# ---- loss


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


# ---- precision, attention, checkpointing, compilation


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
        assert {block.attn.fused_attn for block in model.involvit.vit.blocks} == {implementation == "sdpa"}
        logits[implementation] = model(images).logits
    torch.testing.assert_close(logits["sdpa"], logits["eager"], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("branches", ["fusion", "rednet", "vit"])
def test_activation_checkpointing_changes_neither_gradients_nor_statistics(tiny_config, images, branches):
    config = tiny_config(branches=branches, classifier_dropout=0.3, vit_dropout=0.2, vit_drop_path=0.3)
    plain = randomize(InvolViTForImageClassification(config)).train()
    checkpointed = copy.deepcopy(plain)
    checkpointed.activation_checkpointing_enable()
    assert checkpointed.is_activation_checkpointing
    results = []
    for model in (plain, checkpointed):
        torch.manual_seed(7)
        results.append(gradients(model, images, labels=LABELS_OF_IMAGES))
    assert_all_close(results[1], results[0], rtol=0, atol=0)
    assert_all_close(checkpointed.state_dict(), plain.state_dict(), rtol=0, atol=0)
    checkpointed.activation_checkpointing_disable()
    assert not checkpointed.is_activation_checkpointing


def test_compiles_to_one_graph_for_inference(tiny_model, images):
    with torch.inference_mode():
        compiled = torch.compile(tiny_model, fullgraph=True, backend="aot_eager")
        torch.testing.assert_close(compiled(images).logits, tiny_model(images).logits)


def test_compiles_to_one_graph_for_training(tiny_config, images):
    model = randomize(InvolViTForImageClassification(tiny_config(classifier_dropout=0.0, label_smoothing=0.1))).train()
    reference = copy.deepcopy(model)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    compiled(images, labels=LABELS_OF_IMAGES).loss.backward()
    expected = gradients(reference, images, labels=LABELS_OF_IMAGES)
    assert_all_close({name: p.grad for name, p in model.named_parameters()}, expected, rtol=1e-3, atol=1e-5)
    assert_all_close(model.state_dict(), reference.state_dict())


# ---- initialisation, saving, loading


def test_a_seed_fixes_the_new_model(tiny_config):
    def build(seed):
        torch.manual_seed(seed)
        return InvolViTForImageClassification(tiny_config()).state_dict()

    first, second, other = build(3), build(3), build(4)
    assert_all_close(first, second, rtol=0, atol=0)
    assert not torch.equal(first["classifier.weight"], other["classifier.weight"])


def test_a_new_model_starts_well_conditioned(tiny_config, images):
    model = InvolViTForImageClassification(tiny_config()).train()
    outputs = model(images, output_hidden_states=True)
    assert all(0.1 < map_.std() < 10 for map_ in outputs.hidden_states)
    # Near-equal scores: the loss is that of a guess.
    assert F.cross_entropy(outputs.logits, LABELS_OF_IMAGES).item() == pytest.approx(math.log(7), abs=0.2)


def test_a_new_model_starts_with_each_bottleneck_as_its_shortcut_and_small_positions(tiny_config):
    model = InvolViTForImageClassification(tiny_config(vit_class_token=True))
    tensors = model.state_dict()
    scales = {name: t for name, t in tensors.items() if "norm" in name or ".bn" in name}
    last = [t for name, t in scales.items() if name.endswith("bn3.weight")]
    others = [t for name, t in scales.items() if name.endswith(".weight") and "bn3" not in name]
    assert len(last) == 3
    assert not any(t.any() for t in last)
    assert all((t == 1).all() for t in others)
    assert not any(t.any() for name, t in tensors.items() if name.endswith(".bias"))
    assert tensors["involvit.vit.pos_embed"].std().item() == pytest.approx(0.02, rel=0.1)
    assert 0 < tensors["involvit.vit.cls_token"].std() < 1e-5


@pytest.mark.parametrize("class_token", [False, True])
def test_a_saved_model_gives_the_same_scores(tiny_config, tmp_path, images, class_token):
    model = randomize(InvolViTForImageClassification(tiny_config(vit_class_token=class_token))).eval()
    model.save_pretrained(tmp_path)
    assert (tmp_path / "model.safetensors").is_file()
    loaded, info = InvolViTForImageClassification.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(info[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert not loaded.training
    assert_all_close(loaded.state_dict(), model.state_dict(), rtol=0, atol=0)
    torch.testing.assert_close(loaded(images).logits, model(images).logits, rtol=0, atol=1e-6)


def test_the_base_model_loads_from_a_saved_classifier_and_back(tiny_model, tmp_path, images):
    tiny_model.save_pretrained(tmp_path / "classifier")
    base = InvolViTModel.from_pretrained(tmp_path / "classifier").eval()
    expected = tiny_model.involvit(images)
    torch.testing.assert_close(base(images).pooler_output, expected.pooler_output, rtol=0, atol=1e-6)
    base.save_pretrained(tmp_path / "base")
    classifier = InvolViTForImageClassification.from_pretrained(tmp_path / "base").eval()
    torch.testing.assert_close(classifier.involvit(images).pooler_output, expected.pooler_output, rtol=0, atol=1e-6)


def test_another_number_of_classes_gets_a_new_head_on_the_loaded_body(tiny_model, tmp_path, images):
    tiny_model.save_pretrained(tmp_path)
    model = InvolViTForImageClassification.from_pretrained(
        tmp_path, id2label={0: "calm", 1: "tense"}, label2id=None, ignore_mismatched_sizes=True
    ).eval()
    assert model(images).logits.shape == (4, 2)
    assert 0 < model.classifier.weight.std() < 0.1
    assert not model.classifier.bias.any()
    body = {name: t for name, t in tiny_model.state_dict().items() if name.startswith("involvit.")}
    assert_all_close({name: model.state_dict()[name] for name in body}, body, rtol=0, atol=0)
