"""The folder of a run: whose it is, and how a model gets into it whole."""

from __future__ import annotations

import contextlib
import shutil
import time
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import nn

from modeling_involvit import InvolViTForImageClassification, InvolViTImageProcessor

from .recipe import Recipe, changed_fields, write_recipe

RECORD = "recipe.yaml"
REPORT = "report.json"
SECONDS_TO_APPEAR = 60  # network file systems remember for this long that a file was not there


def check_run_folder(recipe: Recipe, accelerator: Accelerator) -> bool:
    """Checks that the run can have its `output_dir`. To be called by every process.

    Returns:
        Whether the folder holds this run already, finished.

    Raises:
        ValueError: If the folder holds anything else: it would be lost, or two runs mixed.
    """
    folder = Path(recipe.output_dir)
    record = folder / RECORD
    if accelerator.is_main_process:
        if recipe.resume and record.exists():
            if changed := changed_fields(recipe, record):
                raise ValueError(
                    f"{folder} holds a run with another {', '.join(changed)}; continue with the values in {record}, "
                    f"or choose another output_dir"
                )
        elif folder.exists() and any(folder.iterdir()):
            resume = "continue its run by --resume, or " if record.exists() else ""
            raise ValueError(f"{folder} is not empty; {resume}choose another output_dir")
    accelerator.wait_for_everyone()
    return (folder / REPORT).exists()  # the last that a run writes


def open_run_folder(recipe: Recipe, accelerator: Accelerator) -> None:
    """Writes the recipe into the run's folder. To be called by every process.

    Raises:
        ValueError: If another machine does not find it there: it could not read the finished model either.
    """
    folder = Path(recipe.output_dir)
    record = folder / RECORD
    is_new = not record.exists()
    if accelerator.is_main_process:
        write_recipe(recipe, record)
    accelerator.wait_for_everyone()
    deadline = time.monotonic() + SECONDS_TO_APPEAR
    while not record.exists() and time.monotonic() < deadline:
        time.sleep(0.5)
    if not all(gather_object([record.exists()])):
        if accelerator.is_main_process and is_new:
            record.unlink()
            with contextlib.suppress(OSError):
                folder.rmdir()
        raise ValueError(
            f"not every machine finds {record}, which the first has just written; output_dir must be a folder that all "
            f"of them share"
        )


def save_model(model: nn.Module, processor: InvolViTImageProcessor, directory: Path, accelerator: Accelerator) -> None:
    """Saves weights, configuration, processor and code as a Hub repository, written beside and moved into place."""
    weights = accelerator.get_state_dict(model)
    if accelerator.is_main_process:
        weights = {name: value.float() if value.is_floating_point() else value for name, value in weights.items()}
        with torch.device("meta"):  # a model of the plain class and type, which an engine may have changed
            plain = InvolViTForImageClassification(accelerator.unwrap_model(model).config)
        beside = directory / "unfinished"
        shutil.rmtree(beside, ignore_errors=True)
        plain.save_pretrained(beside, state_dict=weights)
        processor.save_pretrained(beside)
        move_files(beside, directory)
    accelerator.wait_for_everyone()


def move_files(source: Path, target: Path) -> None:
    """Moves the files of a folder into another, each replacing its namesake, and removes the emptied folder."""
    target.mkdir(parents=True, exist_ok=True)
    for path in source.iterdir():
        path.replace(target / path.name)
    source.rmdir()
