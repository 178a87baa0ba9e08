"""Checkpoints of a run: written beside and renamed into place, so that the newest one is always whole.

A checkpoint holds what accelerate saves (model, optimizer, gradient scaler, random states of each process), the
averaged weights where there are any, the run's own progress with the schedule as JSON, and a checksum of each file.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from safetensors.torch import load_model, save_model
from torch import nn

from .file_faults import naming_full_disk

_PROGRESS = "progress.json"
_PROCESSES = "num_processes"
_AVERAGE = "average.safetensors"
_CHECKSUMS = "checksums.json"


def save_checkpoint(
    accelerator: Accelerator, directory: Path, step: int, progress: dict[str, Any], average: nn.Module | None
) -> None:
    """Writes `directory/step_<step>` and removes older ones. To be called by every process."""
    unfinished = directory / "unfinished"
    with naming_full_disk(directory):
        if accelerator.is_main_process:
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir(parents=True)
        accelerator.wait_for_everyone()
        accelerator.save_state(unfinished)
        accelerator.wait_for_everyone()
        if accelerator.is_main_process:
            if average is not None:
                save_model(average, unfinished / _AVERAGE)
            (unfinished / _PROGRESS).write_text(json.dumps({**progress, _PROCESSES: accelerator.num_processes}))
            (unfinished / _CHECKSUMS).write_text(json.dumps(_checksums(unfinished)))
            older = checkpoint_folders(directory)
            unfinished.rename(directory / f"step_{step:08d}")
            for folder in older:
                folder.unlink() if folder.is_symlink() else shutil.rmtree(folder)
        accelerator.wait_for_everyone()


def load_newest_checkpoint(
    accelerator: Accelerator, directory: Path, average: nn.Module | None
) -> dict[str, Any] | None:
    """Restores what accelerate has prepared, and the average, from the newest checkpoint.

    Returns:
        The progress that was saved, or None where there is no checkpoint.

    Raises:
        NotADirectoryError: If `directory` is something else.
        ValueError: If it is damaged, or another number of processes wrote it: their batches and random states would
            not fit.
    """
    if not (folders := checkpoint_folders(directory)):
        return None
    newest = folders[-1]
    _check_is_whole(newest)  # accelerate would leave out random states that it cannot read
    progress = json.loads((newest / _PROGRESS).read_text())
    saved, present = progress.pop(_PROCESSES), accelerator.num_processes
    if saved != present:
        raise ValueError(f"{newest} is of {saved} processes; continue with as many, not {present}")
    accelerator.load_state(newest)
    if average is not None:
        load_model(average, newest / _AVERAGE)
    return progress


def checkpoint_folders(directory: Path) -> list[Path]:
    """Returns what has the name of a checkpoint, oldest first: all are whole, but for what happened to them since."""
    if not directory.is_dir():
        if directory.exists() or directory.is_symlink():
            raise NotADirectoryError(
                f"{directory} is not a folder; remove it to start anew, or restore the checkpoints"
            )
        return []
    return sorted(path for path in directory.iterdir() if re.fullmatch("step_[0-9]{8}", path.name))


def _check_is_whole(checkpoint: Path) -> None:
    try:
        written = json.loads((checkpoint / _CHECKSUMS).read_text())
        found = _checksums(checkpoint)
        bad = [name for name in sorted({_PROGRESS, *written}) if found.get(name, 0) != written.get(name)]
    except (
        FileNotFoundError,
        IsADirectoryError,
        NotADirectoryError,
        ValueError,
        TypeError,
        AttributeError,
        RecursionError,
    ):
        bad = [_CHECKSUMS]  # there is none, or none of ours
    if bad:
        raise ValueError(
            f"{checkpoint} is damaged ({bad[0]} is missing or not as it was written); remove it to continue from an "
            f"older one, or start anew"
        )


def _checksums(checkpoint: Path) -> dict[str, str]:
    checksums = {}
    for path in sorted(path for path in checkpoint.rglob("*") if path.is_file() and path.name != _CHECKSUMS):
        with path.open("rb") as file:
            checksums[path.relative_to(checkpoint).as_posix()] = hashlib.file_digest(file, "sha256").hexdigest()
    return checksums
