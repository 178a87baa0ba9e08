import pytest
import timm
import torch
import torch.nn.functional as F
from torch import nn

from modeling_involvit.hybrid_vit import HybridViT

from .involvit_reference import randomize


def small_vit(**changes):
    arguments = {
        "image_size": 32,
        "backbone_layers": (1, 1),
        "backbone_channels": (128, 256),
        "stem_channels": 32,
        "embed_dim": 32,
        "depth": 2,
        "num_heads": 4,
    }
    return HybridViT(**{**arguments, **changes})


def shapes(module):
    return {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}


def test_the_default_architecture_has_timms_tensors():
    with torch.device("meta"):
        ours = HybridViT(image_size=384, class_token=True)
        reference = timm.create_model("vit_base_r50_s16_384", num_classes=0)
    assert shapes(ours) == shapes(reference)


def test_features_equal_timms():
    """The whole R50 and one of the twelve equal layers, at 64 px."""
    ours = randomize(HybridViT(image_size=64, depth=1, class_token=True)).eval()
    reference = timm.create_model("vit_base_r50_s16_384", num_classes=0, img_size=64, depth=1).eval()
    reference.load_state_dict(ours.state_dict())
    x = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        tokens = reference.forward_features(x)[:, 1:]
        map_ = ours(x)
    assert map_.shape == (2, 768, 4, 4)
    for row in range(4):
        for column in range(4):
            torch.testing.assert_close(map_[:, :, row, column], tokens[:, 4 * row + column], rtol=0, atol=1e-5)


def test_the_default_at_352_has_22_by_22_tokens_and_no_class_token():
    with torch.device("meta"):
        vit = HybridViT()
        assert vit(torch.zeros(2, 3, 352, 352)).shape == (2, 768, 22, 22)
    assert vit.grid_size == (22, 22)
    assert vit.cls_token is None
    assert vit.pos_embed.shape == (1, 484, 768)
    assert (len(vit.blocks), vit.blocks[0].attn.num_heads) == (12, 12)


def test_the_class_token_adds_its_tensor_and_one_position():
    without, with_token = shapes(small_vit()), shapes(small_vit(class_token=True))
    assert with_token.pop("cls_token") == (1, 1, 32)
    assert (without.pop("pos_embed"), with_token.pop("pos_embed")) == ((1, 16, 32), (1, 17, 32))
    assert with_token == without


@pytest.mark.parametrize("class_token", [False, True])
def test_each_token_returns_to_its_place_on_the_map(class_token):
    """Without positions and attention, the map is the layer-normalised patch embedding, pixel by pixel."""
    vit = randomize(small_vit(class_token=class_token)).eval()
    vit.blocks = nn.ModuleList()
    with torch.no_grad():
        vit.pos_embed.zero_()
        x = torch.randn(2, 3, 32, 32)
        embedded = vit.patch_embed.proj(vit.patch_embed.backbone(x)).movedim(1, -1)
        expected = F.layer_norm(embedded, (32,), vit.norm.weight, vit.norm.bias, eps=1e-6).movedim(-1, 1)
        torch.testing.assert_close(vit(x), expected)


def test_the_class_token_takes_part_in_attention():
    vit = randomize(small_vit(class_token=True)).eval()
    x = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        before = vit(x)
        vit.cls_token += 5 * torch.randn(32)
        assert not torch.allclose(vit(x), before, atol=1e-3)


def test_dropout_and_drop_path_reach_their_layers():
    vit = small_vit(depth=3, dropout=0.25, drop_path=0.2)
    assert vit.pos_drop.p == 0.25
    assert {block.mlp.drop1.p for block in vit.blocks} == {block.attn.proj_drop.p for block in vit.blocks} == {0.25}
    rates = [getattr(block.drop_path1, "drop_prob", 0.0) for block in vit.blocks]
    assert rates == pytest.approx([0.0, 0.1, 0.2])


@pytest.mark.parametrize("stages", [1, 2, 3])
def test_n_stages_divide_the_image_by_2_to_the_n_plus_1(stages):
    vit = small_vit(backbone_layers=[1] * stages, backbone_channels=[128] * stages)
    assert vit.grid_size == (32 // 2 ** (stages + 1),) * 2


def test_checkpointing_the_backbone_changes_no_gradient():
    vit = randomize(small_vit()).train()
    x = torch.randn(2, 3, 32, 32)

    def gradients():
        return torch.autograd.grad(vit(x).square().mean(), list(vit.parameters()))

    assert not vit.gradient_checkpointing
    plain = gradients()
    vit.gradient_checkpointing = True
    assert vit.gradient_checkpointing
    runs = []
    vit.patch_embed.backbone.stages[0].blocks[0].register_forward_pre_hook(lambda *_: runs.append(1))
    for ours, reference in zip(gradients(), plain, strict=True):
        torch.testing.assert_close(ours, reference, rtol=0, atol=0)
    assert len(runs) == 2
