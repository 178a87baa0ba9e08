"""`involvit train`: trains by a recipe, reports on the result, and pushes it where the recipe says so."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from huggingface_hub.errors import StrictDataclassError

from .console import DONE, FAULT, INTERRUPTED, MISTAKE, one_line
from .launcher import was_launched
from .publishing.finished_run import report_run
from .publishing.hub import check_push, push_folder
from .publishing.model_card import write_model_card
from .training.accelerator import build_accelerator
from .training.loaders import naming_full_shared_memory
from .training.loop import Run
from .training.recipe import parse_recipe
from .training.run_folder import hold_run_folder
from .training.scoring import NonFiniteLossError
from .training.study_run import end_with_study


def train_by_recipe(words: Sequence[str]) -> int:
    """Carries out a run. To be called by every process that `accelerate launch` starts.

    Args:
        words: The command line, see `parse_recipe`.

    Returns:
        The exit status: 0, or 1 if the loss is no longer finite, or 130 if interrupted.

    Raises:
        ValueError: After a user's mistake; on all but the machine's first process SystemExit, without a word.
    """
    was_launched()  # removes what a launcher left over, before accelerate reads it
    end_with_study()
    try:
        with naming_full_shared_memory(), contextlib.ExitStack() as until_the_end:
            with _said_once():
                recipe = parse_recipe(words)
                accelerator = build_accelerator(recipe)
                is_finished = until_the_end.enter_context(hold_run_folder(recipe, accelerator))
                pushes = recipe.push_to_hub and accelerator.is_main_process
                if pushes:
                    check_push(recipe.hub_model_id)  # before the hours of training, not after
                run = None if is_finished else Run(recipe, accelerator)
            if run is None:
                report = f"{recipe.output_dir} holds a finished run, see its report.json"
                accelerator.print(f"{report}; a new run needs another output_dir")
                if accelerator.is_main_process:
                    _complete(Path(recipe.output_dir))
            else:
                run.train()
                if (measured := run.finish()) is not None:
                    report_run(recipe, measured)
            if pushes:
                print(f"Pushed to {push_folder(recipe.output_dir, recipe.hub_model_id)}")
    except NonFiniteLossError as error:
        _say(f"error: {error}")
        return FAULT
    except KeyboardInterrupt:
        _say("interrupted; --resume continues from the last checkpoint")
        return INTERRUPTED
    return DONE


def _complete(folder: Path) -> None:
    """Writes the card of a finished run that was killed before; a study has removed the model of its own."""
    if (folder / "config.json").exists() and not (folder / "README.md").exists():
        write_model_card(folder)


@contextlib.contextmanager
def _said_once() -> Iterator[None]:
    """Leaves a mistake, which all processes meet, to the first process of each machine."""
    try:
        yield
    except (ValueError, OSError, ImportError, StrictDataclassError) as error:
        if not _is_first():
            sys.exit(MISTAKE)
        if isinstance(error, ImportError):  # the command line names the extra to install
            raise
        raise ValueError(str(error)) from error


def _is_first() -> bool:
    """Returns whether this is the first process of its machine."""
    return os.environ.get("LOCAL_RANK", "0") == "0"


def _say(text: str) -> None:
    if _is_first():
        print(one_line(text), file=sys.stderr)
