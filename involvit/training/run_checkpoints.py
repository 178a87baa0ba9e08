"""Checkpoints of a run: written beside and renamed into place, so that the newest one is always whole.

A checkpoint holds what accelerate saves (model, optimizer, gradient scaler, random states of each process), the
averaged weights where there are any, and the run's own progress with the schedule as JSON.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from safetensors.torch import load_model, save_model
from torch import nn

_PROGRESS = "progress.json"
_PROCESSES = "num_processes"
_AVERAGE = "average.safetensors"


def save_checkpoint(
    accelerator: Accelerator, directory: Path, step: int, progress: dict[str, Any], average: nn.Module | None
) -> None:
    """Writes `directory/step_<step>` and removes older ones. To be called by every process."""
    unfinished = directory / "unfinished"
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
        older = checkpoint_folders(directory)
        unfinished.rename(directory / f"step_{step:08d}")
        for folder in older:
            shutil.rmtree(folder)
    accelerator.wait_for_everyone()


def load_newest_checkpoint(
    accelerator: Accelerator, directory: Path, average: nn.Module | None
) -> dict[str, Any] | None:
    """Restores what accelerate has prepared, and the average, from the newest checkpoint.

    Returns:
        The progress that was saved, or None where there is no checkpoint.

    Raises:
        ValueError: If another number of processes wrote it: their batches and random states would not fit.
    """
    if not (folders := checkpoint_folders(directory)):
        return None
    newest = folders[-1]
    progress = json.loads((newest / _PROGRESS).read_text())
    saved, present = progress.pop(_PROCESSES), accelerator.num_processes
    if saved != present:
        raise ValueError(f"{newest} is of {saved} processes; continue with as many, not {present}")
    accelerator.load_state(newest)
    if average is not None:
        load_model(average, newest / _AVERAGE)
    return progress


def checkpoint_folders(directory: Path) -> list[Path]:
    """Returns the whole checkpoints of a run, oldest first."""
    return sorted(directory.glob("step_*"))
