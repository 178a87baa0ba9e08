"""Folders that hold no model which can be loaded: why not, and what to do."""

from __future__ import annotations

import codecs
import json
from pathlib import Path

from safetensors import SafetensorError, safe_open

from .files import LFS_ADVICE, is_lfs_pointer, natural_key

PROCESSOR = "preprocessor_config.json"


def fault_of_model_folder(folder: Path) -> str | None:
    """Returns why no model of transformers can be loaded from a folder, if it is seen from outside.

    It reads on after the folder's name.
    """
    if not folder.is_dir():
        return None
    settings = (folder / "config.json", folder / PROCESSOR)
    for path in (*settings, *sorted(folder.glob("*.safetensors")), *sorted(folder.glob("*.bin"))):
        if is_lfs_pointer_at(path):
            return f"cannot be loaded: {path} {LFS_ADVICE}"
    for path in settings:
        if path.is_file() and (fault := _fault_of_json(path.read_bytes())):
            return f"cannot be loaded: {path} {fault}"
    if (folder / "config.json").exists():
        faults = ((path, fault_of_weights(path)) for path in sorted(folder.glob("*.safetensors")))
        return next((f"cannot be loaded: {path} {fault}" for path, fault in faults if fault), None)
    if (folder / "adapter_config.json").exists():
        merge = "merge it into its base model (peft's merge_and_unload), save that, and name its folder"
        return f"is an adapter (LoRA, for example), not a model; {merge}"
    if checkpoints := sorted(folder.glob("checkpoint-*/*config.json"), key=natural_key):
        return f"holds only checkpoints; name one of them, such as {checkpoints[-1].parent}"
    below = sorted(folder.glob("*/config.json")) or sorted(folder.glob("*.onnx"))
    examples = [path.parent if path.suffix == ".json" else path for path in below]
    example = f"such as {examples[0]}" if examples else "as train.py or save_pretrained writes it"
    return f"holds no config.json, so it is no model; name one, {example}"


def _fault_of_json(content: bytes) -> str | None:
    # As some editors on Windows write it.
    if content.startswith((codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "begins with a byte order mark; save it as UTF-8 without"
    try:
        json.loads(content)
    except (ValueError, RecursionError) as error:
        return f"is not valid JSON ({error}); save the model again"
    return None


def fault_of_weights(path: Path) -> str | None:
    """Returns why a safetensors file that may be opened is none, None if it is one.

    It reads on after the file's name.
    """
    if is_lfs_pointer_at(path):
        return LFS_ADVICE
    try:
        with safe_open(path, framework="numpy"):
            return None
    except SafetensorError as error:
        return f"is cut off or damaged ({error}); get it again, or save the model again"
    except OSError:
        return None


def is_lfs_pointer_at(path: Path) -> bool:
    """Returns whether there is a file that is what a clone without Git LFS holds of the real one."""
    try:
        if not path.is_file():
            return False
        with path.open("rb") as file:
            return is_lfs_pointer(file.read(64))
    except OSError:
        return False
