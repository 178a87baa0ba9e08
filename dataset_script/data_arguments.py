"""The arguments of `load_fer_dataset` that all command lines take, as flags."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

# What is imported here is imported whenever a command line answers; the libraries behind it take seconds.
SPLITS = ("official", "random", "stratified", "group", "kfold", "group_kfold")
ON_ERROR = ("stop", "skip")

_FLAGS: dict[str, tuple[type, str, tuple[str, ...] | None]] = {
    "split": (str, "into training and validation (default: official if the data has it, else stratified)", SPLITS),
    "seed": (int, "of the split, of rendered faces and of whatever else is random", None),
    "validation_fraction": (float, "share of the images for validation", None),
    "n_folds": (int, "number of folds of the k-fold splits", None),
    "fold": (int, "which fold is for validation, from 0", None),
    "group_pattern": (str, "regular expression with one group: the film or person in a file name", None),
    "on_error": (str, "at images that cannot be read", ON_ERROR),
}


def add_data_arguments(command: argparse.ArgumentParser, defaults: Mapping[str, Any] | None = None) -> None:
    """Adds the arguments. One that is not given is left out of the result: its default is that of `load_fer_dataset`.

    Args:
        command: The command that takes them.
        defaults: Name -> default, to show in the help.
    """
    command.add_argument(
        "--data",
        required=True,
        help="labelled faces: folder, zip or tar of class folders, FER2013's csv, FER+, Parquet, a Hub id, or "
        "'rendered' for drawn ones",
    )
    for name, (kind, text, choices) in _FLAGS.items():
        default = (defaults or {}).get(name)
        shown = text if default is None else f"{text} (default: {default})"
        command.add_argument(f"--{name}", type=kind, choices=choices, default=argparse.SUPPRESS, help=shown)
