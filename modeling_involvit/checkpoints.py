"""Published branch weights -> this model: names, shapes and position embeddings mapped, nothing skipped in silence."""

from __future__ import annotations

import math
from pathlib import Path

import timm
from timm.layers import resample_abs_pos_embed
from timm.models import load_state_dict
from torch import Tensor, nn

from .hybrid_vit import HybridViT
from .rednet import RedNet


class CheckpointError(ValueError):
    """A checkpoint that cannot be read or does not fit the model; the message names the file and the tensors."""


def load_rednet_checkpoint(rednet: RedNet, path: str | Path) -> None:
    """Loads a checkpoint of the reference RedNet (github.com/d-li14/involution) in place.

    Takes files with or without a `state_dict` wrapper and the `backbone.` prefix. The classification head (`head.fc.*`)
    is loaded where `rednet` has one and left out where it has none; every other tensor must be there and fit.

    Args:
        rednet: The network to fill; it is left untouched on an error.
        path: A `.pth` file (read with `weights_only=True`) or a `.safetensors` file.

    Raises:
        FileNotFoundError: If there is no such file.
        CheckpointError: If the file cannot be read, or a tensor is missing, unexpected or of another shape.
    """
    tensors = {name.removeprefix("backbone.").removeprefix("head."): tensor for name, tensor in _read(path).items()}
    if rednet.fc is None:
        tensors = {name: tensor for name, tensor in tensors.items() if not name.startswith("fc.")}
    _load_exactly(rednet, tensors, path)


def load_vit_checkpoint(vit: HybridViT, source: str | Path) -> None:
    """Loads timm weights of the same architecture into the transformer branch in place.

    The classification head is left out; the class token too where `vit` has none. Position embeddings made for another
    image size are resampled (bicubic, antialiased).

    Args:
        vit: The branch to fill; it is left untouched on an error.
        source: A local `.pth`, `.bin` or `.safetensors` file, a timm model name (`vit_base_r50_s16_384`) or a Hub id
            (`timm/vit_base_r50_s16_384.orig_in21k_ft_in1k`). The latter two need a network or a filled cache.

    Raises:
        FileNotFoundError: If `source` is neither a file, a known name, nor a Hub id.
        CheckpointError: If the weights cannot be fetched or read, or a tensor is missing, unexpected or mis-shaped.
    """
    tensors = {name: t for name, t in _read_timm(source).items() if not name.startswith(("head.", "pre_logits."))}
    has_class_token = "cls_token" in tensors
    if not vit.num_prefix_tokens:
        tensors.pop("cls_token", None)
    if "pos_embed" in tensors and tensors["pos_embed"].ndim == 3:
        embeddings = tensors["pos_embed"]  # [1, prefix + n * n, C] -> [1, prefix + h * w, C]
        num_patches = embeddings.shape[1] - has_class_token
        if math.isqrt(num_patches) ** 2 != num_patches:
            class_token = " beside its cls_token" if has_class_token else ", and there is no cls_token"
            given = f"pos_embed {list(embeddings.shape)}"
            raise CheckpointError(f"{source}: {given} does not hold a square grid of patches{class_token}")
        if has_class_token and not vit.num_prefix_tokens:
            embeddings, has_class_token = embeddings[:, 1:], False
        tensors["pos_embed"] = resample_abs_pos_embed(embeddings, vit.grid_size, num_prefix_tokens=int(has_class_token))
    _load_exactly(vit, tensors, source)


def _read_timm(source: str | Path) -> dict[str, Tensor]:
    name = str(source)
    if Path(name).exists():
        return _read(name)
    is_hub_id = name.count("/") == 1 and not name.startswith(("/", "."))
    if not is_hub_id and not timm.is_model(name):
        known = "a file, a timm model name nor a Hub id"
        raise FileNotFoundError(f"{name} is neither {known}; give the path of a timm checkpoint (.safetensors, .pth)")
    try:
        return timm.create_model(f"hf-hub:{name}" if is_hub_id else name, pretrained=True).state_dict()
    except (OSError, RuntimeError) as error:  # those of huggingface_hub are OSErrors
        advice = "without a network, give the path of a downloaded checkpoint, such as its model.safetensors"
        reason = type(error).__name__
        raise CheckpointError(f"the weights of {name} could not be fetched ({reason}); {advice}") from error


def _read(path: str | Path) -> dict[str, Tensor]:
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path}: no such file; give the path of a checkpoint (.safetensors, .pth)")
    try:
        tensors = load_state_dict(str(path))
    except Exception as error:  # a damaged pickle raises whatever it comes upon
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(f"{path}: not a readable checkpoint of tensors ({reason})") from error
    if not all(isinstance(tensor, Tensor) for tensor in tensors.values()):
        raise CheckpointError(f"{path}: not a state dict; it holds values that are not tensors")
    return tensors


def _load_exactly(module: nn.Module, tensors: dict[str, Tensor], source: str | Path) -> None:
    own = {name: list(tensor.shape) for name, tensor in module.state_dict().items()}
    given = {name: list(tensor.shape) for name, tensor in tensors.items()}
    problems = [f"missing {name} {own[name]}" for name in own.keys() - given.keys()]
    problems += [f"unexpected {name} {given[name]}" for name in given.keys() - own.keys()]
    changed = [name for name in own.keys() & given.keys() if own[name] != given[name]]
    problems += [f"mis-shaped {name} {given[name]} instead of {own[name]}" for name in changed]
    if problems:
        listed = "; ".join(sorted(problems)[:10]) + (f"; and {len(problems) - 10} more" if len(problems) > 10 else "")
        raise CheckpointError(f"{source} does not fit {type(module).__name__}: {listed}")
    module.load_state_dict(tensors)
