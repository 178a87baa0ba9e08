"""The folder of a run: whose it is, and how a model gets into it whole."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list, gather_object
from safetensors import SafetensorError, safe_open
from torch import nn

from modeling_involvit import InvolViTForImageClassification, InvolViTImageProcessor

from ..files import locked
from .file_faults import naming_full_disk, read_fields
from .public_recipe import RUNTIME_FIELDS
from .recipe import Recipe, changed_fields, write_recipe

RECORD = "recipe.yaml"
REPORT = "report.json"
BEST = "best"
_LOCK = ".lock"
SECONDS_TO_APPEAR = 60  # network file systems remember for this long that a file was not there


@contextlib.contextmanager
def hold_run_folder(recipe: Recipe, accelerator: Accelerator) -> Iterator[bool]:
    """Keeps other processes out of the run's `output_dir`, see `hold_folder`. To be called by every process.

    Gives whether the folder holds this run already, finished.

    Raises:
        ValueError: If the folder holds anything else: it would be lost, or two runs mixed. Or if its recipe or report
            is damaged.
    """
    folder = Path(recipe.output_dir)
    with contextlib.ExitStack() as until_the_end:
        refusal = None
        if accelerator.is_main_process:
            try:
                until_the_end.enter_context(hold_folder(folder))
                _check_is_for_run(folder, recipe)
            except (OSError, ValueError) as error:
                refusal = error
        (refusal,) = broadcast_object_list([refusal])  # the others would wait, and complain of a lost connection
        if refusal is not None:
            raise refusal
        report = folder / REPORT  # the last that a run writes of its results
        if is_finished := report.exists():
            read_fields(report, "remove it for --resume to measure the run again", ("metrics", "run"))
        yield is_finished


def _check_is_for_run(folder: Path, recipe: Recipe) -> None:
    record, unfinished = folder / RECORD, list(folder.glob(".unfinished_*"))  # left by a process that was killed
    if recipe.resume and record.exists():
        # The data may lie elsewhere: a checkpoint knows what it holds.
        if changed := changed_fields(recipe, record, (*RUNTIME_FIELDS, "data")):
            raise ValueError(
                f"{folder} holds a run with another {', '.join(changed)}; continue with the values in {record}, "
                f"or choose another output_dir"
            )
    elif set(folder.iterdir()) - {folder / _LOCK, *unfinished}:
        resume = "continue its run by --resume, or " if record.exists() else ""
        raise ValueError(f"{folder} is not empty; {resume}choose another output_dir")
    for path in unfinished:
        path.unlink()


@contextlib.contextmanager
def hold_folder(folder: Path) -> Iterator[None]:
    """Makes a folder and keeps other processes out of it; removes it at the end if nothing was put into it.

    Raises:
        OSError: If the folder cannot be written to.
        ValueError: If it cannot be made, or another process is in it.
    """
    try:
        made = [path for path in (folder, *folder.parents) if not path.exists()]
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:  # ValueError: a NUL in its name
        reason = getattr(error, "strerror", None) or error
        raise ValueError(f"{folder} cannot be made a folder ({reason}); name another") from error
    refusal = f"{folder} is being trained in by another process; wait for its end, or name another folder"
    try:
        with locked(folder / _LOCK, refusal):
            yield
    finally:
        with contextlib.suppress(OSError):
            for path in made:
                path.rmdir()


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
        with naming_full_disk(directory):
            plain.save_pretrained(beside, state_dict=weights)
            processor.save_pretrained(beside)
            move_files(beside, directory)
    accelerator.wait_for_everyone()


def check_best_model(folder: Path) -> None:
    """Looks at the best model that a run has saved so far: in its folder `BEST`, from where the end moves it up.

    Raises:
        ValueError: If a file without which the run could not be measured at its end is missing or damaged.
    """
    for name in ("config.json", "preprocessor_config.json", "model.safetensors"):
        best, moved = folder / BEST / name, folder / name
        path = moved if moved.exists() and not best.exists() else best
        advice = "it belongs to the best model so far; restore it, or train anew in another output_dir"
        try:
            path.open("rb").close()
            if path.suffix == ".json":
                read_fields(path, advice)
            else:
                with safe_open(path, framework="pt"):
                    pass
        except OSError as error:
            raise ValueError(f"{path} cannot be read ({error.strerror}); {advice}") from error
        except SafetensorError as error:
            raise ValueError(f"{path} is damaged ({error}); {advice}") from error


def move_files(source: Path, target: Path) -> None:
    """Moves the files of a folder into another, each replacing its namesake, and removes the emptied folder."""
    target.mkdir(parents=True, exist_ok=True)
    for path in source.iterdir():
        path.replace(target / path.name)
    source.rmdir()
