"""Folders that hold no model which can be loaded: why not, and what to do."""

from __future__ import annotations

from pathlib import Path

from .files import LFS_ADVICE, is_lfs_pointer, natural_key


def fault_of_model_folder(folder: Path) -> str | None:
    """Returns why no model of transformers can be loaded from a folder, if it is seen from outside.

    It reads on after the folder's name.
    """
    for path in sorted(folder.glob("*")):
        if is_lfs_pointer_at(path):
            return f"cannot be loaded: {path} {LFS_ADVICE}"
    if (folder / "config.json").exists():
        return None
    if (folder / "adapter_config.json").exists():
        merge = "merge it into its base model (peft's merge_and_unload), save that, and name its folder"
        return f"is an adapter (LoRA, for example), not a model; {merge}"
    if checkpoints := sorted(folder.glob("checkpoint-*/*config.json"), key=natural_key):
        return f"holds only checkpoints; name one of them, such as {checkpoints[-1].parent}"
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
