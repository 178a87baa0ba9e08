"""Folders in which a user expects a model, and what is said of them."""

from __future__ import annotations

import pytest

from involvit.model_folders import fault_of_model_folder
from involvit.prediction.torch_classifier import TorchClassifier
from involvit.training.build_model import build_config, build_model
from involvit.training.recipe import Recipe
from modeling_involvit import InvolViTConfig, InvolViTForImageClassification, InvolViTImageProcessor

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 1234\n"


def make_lfs(folder):
    InvolViTConfig().save_pretrained(folder)
    InvolViTImageProcessor().save_pretrained(folder)
    (folder / "model.safetensors").write_bytes(POINTER)
    return r"m cannot be loaded: .*m/model\.safetensors is a Git LFS pointer, .* run `git lfs pull`"


def make_adapter(folder):
    (folder / "adapter_config.json").write_text('{"base_model_name_or_path": "x"}')
    (folder / "adapter_model.safetensors").write_bytes(b"")
    return r"m is an adapter \(LoRA, for example\), not a model; merge it into its base model \(peft's merge_and_unload"


def make_output_of_a_trainer(folder):
    for number in (500, 1000):
        (folder / f"checkpoint-{number}").mkdir()
        (folder / f"checkpoint-{number}" / "config.json").write_text("{}")
    return "m holds only checkpoints; name one of them, such as .*m/checkpoint-1000$"


def make_nothing(folder):
    return r"m holds no config\.json, so it is no model; name one, as train\.py or save_pretrained writes it$"


def make_parent_of_models(folder):
    for name in ("b", "a"):
        InvolViTConfig().save_pretrained(folder / name)
    return r"m holds no config\.json, so it is no model; name one, such as .*m/a$"


def make_folder_of_onnx(folder):
    (folder / "faces.onnx").write_bytes(b"")
    return r"m holds no config\.json, so it is no model; name one, such as .*m/faces\.onnx$"


def make_byte_order_mark(folder):
    InvolViTConfig().save_pretrained(folder)
    path = folder / "config.json"
    path.write_text(path.read_text(), encoding="utf-8-sig")
    return r"m cannot be loaded: .*m/config\.json begins with a byte order mark; save it as UTF-8 without"


def make_cut_off(folder):
    InvolViTConfig().save_pretrained(folder)
    path = folder / "config.json"
    path.write_text(path.read_text()[:-20])
    return r"m cannot be loaded: .*m/config\.json is not valid JSON \(.* line .*\); save the model again"


def make_cut_off_weights(folder):
    config = InvolViTConfig(branches="rednet", rednet_depths=(1, 1), rednet_widths=(64, 128), image_size=32)
    InvolViTForImageClassification(config).save_pretrained(folder)
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    return r"m cannot be loaded: .*m/model\.safetensors is cut off or damaged \(.*\); get it again, or save the"


MAKERS = [
    *(make_lfs, make_adapter, make_output_of_a_trainer, make_nothing, make_parent_of_models, make_folder_of_onnx),
    *(make_byte_order_mark, make_cut_off, make_cut_off_weights),
]


@pytest.mark.parametrize("make", MAKERS)
def test_a_folder_without_a_model_says_what_it_is(tmp_path, make):
    folder = tmp_path / "m"
    folder.mkdir()
    message = make(folder)

    def train():
        recipe = Recipe(data="rendered", output_dir="out", pretrained=str(folder))
        build_model(recipe, build_config(recipe))

    for use in (lambda: TorchClassifier(folder), train):
        with pytest.raises(ValueError, match=message) as caught:
            use()
        assert "\n" not in str(caught.value)


def test_a_folder_with_a_model_has_no_fault(tmp_path):
    InvolViTConfig().save_pretrained(tmp_path)
    assert fault_of_model_folder(tmp_path) is None
    assert fault_of_model_folder(tmp_path / "someone" / "model") is None
