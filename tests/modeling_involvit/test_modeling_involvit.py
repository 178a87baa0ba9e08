"""The architecture and its outputs."""

import pytest
import timm
import torch

from modeling_involvit import InvolViTConfig, InvolViTForImageClassification, InvolViTModel

from .involvit_reference import LABELS_OF_IMAGES, randomize


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
    shapes = [tuple(map_.shape) for map_ in outputs.hidden_states[-3:]]
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
    assert [tuple(map_.shape[1:]) for map_ in outputs.hidden_states[-len(maps) :]] == maps
    assert outputs.logits.shape == (4, 7)
    present = {name for name, _ in model.involvit.named_children()}
    assert present == ({"rednet", "vit", "fusion"} if branches == "fusion" else {branches})


@pytest.mark.parametrize("fusion_grid", [None, 4, 5])
def test_fusion_is_a_1x1_convolution_of_both_maps_on_one_grid(tiny_config, images, fusion_grid):
    model = randomize(InvolViTForImageClassification(tiny_config(fusion_grid=fusion_grid))).eval()
    with torch.no_grad():
        outputs = model(images, output_hidden_states=True)
    grid = fusion_grid or 8
    tensors = model.state_dict()
    rednet_map, vit_map, fused = outputs.hidden_states[-3:]
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


def test_hidden_states_come_on_demand_only(tiny_model, images):
    assert tiny_model(images).hidden_states is None
    assert tiny_model.involvit(images).hidden_states is None
    tiny_model.config.output_hidden_states = True
    assert len(tiny_model(images).hidden_states) == 10
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
