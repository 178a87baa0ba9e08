import pickle
import time
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from timm.layers import HybridEmbed, resample_abs_pos_embed

from modeling_involvit import CheckpointError, RedNet, load_rednet_checkpoint, load_vit_checkpoint
from modeling_involvit.hybrid_vit import HybridViT

from .involvit_reference import randomize


def small_rednet(num_classes=0):
    return RedNet((1, 1), (64, 128), stem_channels=32, num_classes=num_classes)


def small_vit(image_size=32, class_token=False, **changes):
    return HybridViT(
        image_size,
        backbone_layers=(1, 1),
        backbone_channels=(128, 256),
        stem_channels=32,
        embed_dim=32,
        depth=1,
        num_heads=4,
        class_token=class_token,
        **changes,
    )


def snapshot(module):
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def assert_equal(ours, reference):
    assert ours.keys() == reference.keys()
    for name in ours:
        assert torch.equal(ours[name], reference[name]), name


def write(tensors, path, wrapped=False):
    if path.suffix == ".safetensors":
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path)
    else:
        torch.save({"state_dict": tensors, "meta": {"epoch": 130}} if wrapped else tensors, path)
    return path


def published_rednet(rednet, prefix="backbone."):
    """The tensors of `rednet` as the reference's files name them: `fc.*` is `head.fc.*`, the others are prefixed."""
    return {
        f"head.{name}" if name.startswith("fc.") else prefix + name: tensor for name, tensor in snapshot(rednet).items()
    }


# ---- RedNet


@pytest.mark.parametrize("num_classes", [0, 5], ids=["without head", "with head"])
@pytest.mark.parametrize(
    ("file", "wrapped"), [("rednet.pth", True), ("rednet.pth", False), ("rednet.safetensors", False)]
)
@pytest.mark.parametrize("prefix", ["backbone.", ""])
def test_rednet_loads_every_tensor_of_a_published_file(tmp_path, prefix, file, wrapped, num_classes):
    source = randomize(small_rednet(num_classes=5))
    path = write(published_rednet(source, prefix), tmp_path / file, wrapped)
    target = small_rednet(num_classes)
    load_rednet_checkpoint(target, path)
    expected = {name: t for name, t in snapshot(source).items() if num_classes or not name.startswith("fc.")}
    assert_equal(snapshot(target), expected)


def test_rednet50_loads_a_file_of_the_published_names(tmp_path):
    """The names are spelled out here: a change of a module's name cannot change both sides."""
    target = RedNet((3, 4, 6, 3))
    tensors = {f"backbone.{name}": torch.rand_like(t.float()).to(t.dtype) for name, t in target.state_dict().items()}
    for name, shape in {
        "backbone.stem.0.conv.weight": [32, 3, 3, 3],
        "backbone.stem.1.conv1.bn.running_var": [8],
        "backbone.stem.1.conv2.conv.bias": [18],
        "backbone.layer1.0.conv2.conv1.conv.weight": [16, 64, 1, 1],
        "backbone.layer1.0.downsample.0.weight": [256, 64, 1, 1],
        "backbone.layer3.5.conv2.conv2.conv.weight": [784, 64, 1, 1],
        "backbone.layer4.2.bn3.num_batches_tracked": [],
    }.items():
        assert list(tensors[name].shape) == shape
    tensors |= {"head.fc.weight": torch.zeros(1000, 2048), "head.fc.bias": torch.zeros(1000)}
    load_rednet_checkpoint(target, write(tensors, tmp_path / "rednet50.pth", wrapped=True))
    for name, tensor in target.state_dict().items():
        assert torch.equal(tensor, tensors[f"backbone.{name}"]), name


def without(name):
    return lambda tensors: tensors.pop(name)


def with_tensor(name, *shape):
    return lambda tensors: tensors.update({name: torch.zeros(shape)})


@pytest.mark.parametrize(
    ("change", "num_classes", "complaint"),
    [
        (without("backbone.layer2.0.bn3.bias"), 0, r"missing layer2\.0\.bn3\.bias \[128\]"),
        (without("backbone.stem.2.num_batches_tracked"), 0, r"missing stem\.2\.num_batches_tracked"),
        (without("head.fc.bias"), 5, r"missing fc\.bias \[5\]"),
        (with_tensor("backbone.layer3.0.conv1.weight", 2, 2), 0, r"unexpected layer3\.0\.conv1\.weight \[2, 2\]"),
        (with_tensor("backbone.stem.0.conv.weight", 8, 3, 3, 3), 0, r"mis-shaped stem\.0\.conv\.weight \[8, 3, 3, 3\]"),
        (with_tensor("head.fc.weight", 1000, 128), 5, r"fc\.weight \[1000, 128\] instead of \[5, 128\]"),
    ],
)
def test_a_rednet_file_that_does_not_fit_is_refused_by_the_tensors_name(tmp_path, change, num_classes, complaint):
    tensors = published_rednet(randomize(small_rednet(num_classes=5)))
    change(tensors)
    path = write(tensors, tmp_path / "other.pth", wrapped=True)
    target = small_rednet(num_classes)
    before = snapshot(target)
    with pytest.raises(CheckpointError, match=complaint) as error:
        load_rednet_checkpoint(target, path)
    assert str(path) in str(error.value)
    assert_equal(snapshot(target), before)


def test_a_file_of_another_network_names_ten_tensors_and_counts_the_rest(tmp_path):
    path = write({f"features.{index}": torch.zeros(1) for index in range(50)}, tmp_path / "vgg.pth")
    with pytest.raises(CheckpointError, match=r"and \d+ more$") as error:
        load_rednet_checkpoint(small_rednet(), path)
    assert str(error.value).count(";") == 10


class Malicious:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "plain pickle"])
def test_a_pickle_that_runs_code_is_refused_unrun(tmp_path, legacy):
    trap, path = tmp_path / "executed", tmp_path / "malicious.pth"
    payload = {"state_dict": Malicious(trap)}
    if legacy:
        path.write_bytes(pickle.dumps(payload, protocol=2))
    else:
        torch.save(payload, path)
    for load, target in ((load_rednet_checkpoint, small_rednet()), (load_vit_checkpoint, small_vit())):
        with pytest.raises(CheckpointError, match=r"malicious\.pth: not a readable checkpoint"):
            load(target, path)
    assert not trap.exists()
    if legacy:
        pickle.loads(path.read_bytes())
    else:
        torch.load(path, weights_only=False)
    assert trap.exists()  # the trap would have sprung


@pytest.mark.parametrize("kept", [0, 0.5])
@pytest.mark.parametrize("file", ["cut.pth", "cut.safetensors"])
def test_a_truncated_file_is_refused(tmp_path, file, kept):
    path = write(published_rednet(small_rednet()), tmp_path / file)
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    for load, target in ((load_rednet_checkpoint, small_rednet()), (load_vit_checkpoint, small_vit())):
        with pytest.raises(CheckpointError, match=f"{file}: not a readable checkpoint"):
            load(target, path)


@pytest.mark.parametrize("content", [{"epoch": 3}, [1, 2], "text", torch.zeros(3), {"state_dict": None}], ids=repr)
def test_a_file_without_a_state_dict_is_refused(tmp_path, content):
    path = tmp_path / "odd.pth"
    torch.save(content, path)
    with pytest.raises(CheckpointError, match=r"odd\.pth: not a"):
        load_rednet_checkpoint(small_rednet(), path)


def test_a_text_file_is_refused(tmp_path):
    path = tmp_path / "page.pth"
    path.write_text("<!DOCTYPE html><title>Sign in</title>")
    with pytest.raises(CheckpointError, match=r"page\.pth: not a readable checkpoint"):
        load_rednet_checkpoint(small_rednet(), path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.pth"):
        load_rednet_checkpoint(small_rednet(), tmp_path / "none.pth")
    with pytest.raises(FileNotFoundError, match=r"none\.pth"):
        load_vit_checkpoint(small_vit(), tmp_path / "none.pth")
    with pytest.raises(FileNotFoundError, match=str(tmp_path)):
        load_vit_checkpoint(small_vit(), tmp_path)


# ---- ViT


def timm_vit(image_size, class_token=True):
    """A VisionTransformer as timm builds it, with a class token and a head of 10 classes."""
    backbone = small_vit().patch_embed.backbone
    return randomize(
        timm.models.vision_transformer.VisionTransformer(
            img_size=image_size,
            patch_size=1,
            embed_dim=32,
            depth=1,
            num_heads=4,
            num_classes=10,
            class_token=class_token,
            global_pool="token" if class_token else "avg",
            fc_norm=False,
            embed_layer=lambda **kwargs: HybridEmbed(backbone, **kwargs),
        )
    ).eval()


@pytest.mark.parametrize("file", ["vit.safetensors", "vit.pth", "vit.bin"])
def test_a_timm_file_of_the_same_size_loads_unchanged(tmp_path, file):
    source = timm_vit(32)
    target = small_vit(class_token=True).eval()
    load_vit_checkpoint(target, write(source.state_dict(), tmp_path / file))
    assert_equal(snapshot(target), {n: t for n, t in snapshot(source).items() if not n.startswith("head.")})
    x = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        tokens = source.forward_features(x)[:, 1:]
        torch.testing.assert_close(target(x).flatten(2).transpose(1, 2), tokens, rtol=0, atol=1e-6)


@pytest.mark.parametrize("class_token", [False, True], ids=["without token", "with token"])
@pytest.mark.parametrize("image_size", [24, 32, 48])
def test_position_embeddings_are_resampled_and_the_class_token_follows_the_model(tmp_path, image_size, class_token):
    source = timm_vit(32)
    path = write(source.state_dict(), tmp_path / "vit.safetensors")
    target = small_vit(image_size, class_token=class_token)
    load_vit_checkpoint(target, path)
    expected = {name: t for name, t in snapshot(source).items() if not name.startswith("head.")}
    grid = image_size // 8
    position = resample_abs_pos_embed(expected["pos_embed"], [grid, grid], [4, 4], num_prefix_tokens=1)
    expected["pos_embed"] = position if class_token else position[:, 1:]
    if not class_token:
        del expected["cls_token"]
    if image_size == 32:
        assert torch.equal(position, source.pos_embed)
    assert_equal(snapshot(target), expected)


def test_a_timm_file_without_class_token_loads_into_a_model_without(tmp_path):
    source = timm_vit(32, class_token=False)
    target = small_vit(48)
    load_vit_checkpoint(target, write(source.state_dict(), tmp_path / "vit.safetensors"))
    expected = resample_abs_pos_embed(source.pos_embed.detach(), [6, 6], [4, 4], num_prefix_tokens=0)
    torch.testing.assert_close(target.pos_embed.detach(), expected, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("change", "class_token", "complaint"),
    [
        (without("blocks.0.attn.qkv.bias"), False, r"missing blocks\.0\.attn\.qkv\.bias \[96\]"),
        (without("pos_embed"), False, "missing pos_embed"),
        (
            without("cls_token"),
            True,
            r"pos_embed \[1, 17, 32\] does not hold a square grid of patches, and there is no cls_token",
        ),
        (with_tensor("blocks.1.norm1.weight", 32), False, r"unexpected blocks\.1\.norm1\.weight"),
        (with_tensor("patch_embed.proj.weight", 32, 8, 1, 1), False, r"mis-shaped patch_embed\.proj\.weight"),
        (
            with_tensor("pos_embed", 1, 16, 32),
            False,
            r"pos_embed \[1, 16, 32\] does not hold a square grid of patches beside its cls_token",
        ),
        (with_tensor("pos_embed", 1, 17, 64), False, r"mis-shaped pos_embed \[1, 16, 64\] instead of \[1, 16, 32\]"),
        (with_tensor("pos_embed", 17, 32), False, r"mis-shaped pos_embed \[17, 32\]"),
    ],
)
def test_a_timm_file_that_does_not_fit_is_refused_by_the_tensors_name(tmp_path, change, class_token, complaint):
    tensors = snapshot(timm_vit(32))
    change(tensors)
    path = write(tensors, tmp_path / "vit.pth")
    target = small_vit(class_token=class_token)
    before = snapshot(target)
    with pytest.raises(CheckpointError, match=complaint) as error:
        load_vit_checkpoint(target, path)
    assert str(path) in str(error.value)
    assert_equal(snapshot(target), before)


def test_an_unknown_name_is_refused():
    with pytest.raises(FileNotFoundError, match="r50_s17_384 is neither a file, a timm model name nor a Hub id"):
        load_vit_checkpoint(small_vit(), "vit_base_r50_s17_384")


@pytest.mark.parametrize("source", ["vit_base_r50_s16_384", "timm/vit_base_r50_s16_384.orig_in21k_ft_in1k"])
def test_offline_a_name_ends_quickly_and_asks_for_a_file(source, monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    target = small_vit()
    before = snapshot(target)
    start = time.monotonic()
    with pytest.raises(CheckpointError, match=rf"{source} could not be fetched .* path of a downloaded checkpoint"):
        load_vit_checkpoint(target, source)
    assert time.monotonic() - start < 20
    assert_equal(snapshot(target), before)


@pytest.mark.parametrize("text", ["root:x:0:0:root:/root:/bin/bash\n", "(S'x'\n0.", "0" * 100])
def test_a_text_is_refused_whatever_a_pickle_would_make_of_its_letters(tmp_path, text):
    path = tmp_path / "text.pth"
    path.write_text(text)
    with pytest.raises(CheckpointError, match=r"text\.pth: not a"):
        load_rednet_checkpoint(small_rednet(), path)
