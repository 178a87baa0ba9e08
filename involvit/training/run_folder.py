"""The folder of a run: whose it is, and how a model gets into it whole."""

from __future__ import annotations

import shutil
from pathlib import Path

from accelerate import Accelerator
from torch import nn

from modeling_involvit import InvolViTImageProcessor

from .recipe import Recipe, changed_fields

RECORD = "recipe.yaml"
REPORT = "report.json"


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


def save_model(model: nn.Module, processor: InvolViTImageProcessor, directory: Path, accelerator: Accelerator) -> None:
    """Saves weights, configuration, processor and code as a Hub repository, written beside and moved into place."""
    weights = accelerator.get_state_dict(model)
    if accelerator.is_main_process:
        beside = directory / "unfinished"
        shutil.rmtree(beside, ignore_errors=True)
        accelerator.unwrap_model(model).save_pretrained(beside, state_dict=weights)
        processor.save_pretrained(beside)
        move_files(beside, directory)
    accelerator.wait_for_everyone()


def move_files(source: Path, target: Path) -> None:
    """Moves the files of a folder into another, each replacing its namesake, and removes the emptied folder."""
    target.mkdir(parents=True, exist_ok=True)
    for path in source.iterdir():
        path.replace(target / path.name)
    source.rmdir()
