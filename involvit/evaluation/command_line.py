"""The commands `involvit evaluate`, `robustness`, `study` and `audit`: their flags, and what runs behind them."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

COMMANDS = ("evaluate", "robustness", "audit", "study")
# What is imported here is imported whenever `involvit` answers; the libraries behind the commands take seconds.
SPLITS = ("official", "random", "stratified", "group", "kfold", "group_kfold")
PARTS = ("validation", "test", "train", "all")
VARIANTS = ("fusion", "rednet", "vit", "half_grid", "half_width", "no_augmentation")


def add_evaluation_commands(commands: Any, positive: Callable[[str], int]) -> None:
    """Adds the commands to the parser.

    Args:
        commands: What `add_subparsers` returned.
        positive: Reads a whole number of at least 1.
    """
    evaluate = commands.add_parser(
        "evaluate",
        help="report on one model, or on several side by side",
        description="Measures models on the same labelled faces and writes a report: HTML that opens offline, "
        "Markdown and JSON, with intervals, tests between the models, calibration, curves, mistakes and speed.",
    )
    robustness = commands.add_parser(
        "robustness",
        help="report how models stand occlusion, pose, blur, noise and light",
        description="Measures models on labelled faces under corruptions of five severities and writes a report.",
    )
    for command in (evaluate, robustness):
        command.add_argument(
            "--model",
            action="append",
            dest="models",
            metavar="MODEL",
            help="folder, Hub id or .onnx file, or NAME=MODEL; once for each (default: the model of the package)",
        )
        _add_data(command)
        command.add_argument("--part", choices=PARTS, default="validation", help="(default: validation)")
        _add_out(command, "outputs/" + command.prog.split()[-1])

    audit = commands.add_parser(
        "audit",
        help="report on the faces themselves: classes, duplicates, persons, doubtful labels",
        description="Looks for what is wrong with a data set and writes a report.",
    )
    audit.add_argument("--model", help="finds doubtful labels by its features (default: the model of the package)")
    _add_data(audit)
    _add_out(audit, "outputs/audit")

    study = commands.add_parser(
        "study",
        help="train variants of a recipe on repeated splits, and report what differs and what a leak is worth",
        description="Trains variants of a recipe on repeated splits by `accelerate launch train.py`, and writes a "
        "report. Interrupted, the same command goes on; more repeats, splits or variants are added to what is there. "
        "Exit status: 0; 1 if runs failed; 2 after a mistake; 130 if interrupted.",
    )
    study.add_argument("--config", type=Path, required=True, help="the recipe, such as configs/tiny.yaml")
    study.add_argument("--data", help="see train.py (default: the recipe's own)")
    study.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS), help="(default: all)")
    study.add_argument(
        "--splits", nargs="+", choices=SPLITS[1:], default=["random", "group"], help="(default: random group)"
    )
    study.add_argument("--repeats", type=positive, default=5, help="seeds of each split (default: 5)")
    study.add_argument("--folds", type=positive, default=5, help="folds of the k-fold splits (default: 5)")
    study.add_argument("--jobs", type=positive, default=1, help="runs at a time (default: 1)")
    study.add_argument(
        "--set",
        action="append",
        dest="settings",
        default=[],
        metavar="FIELD=VALUE",
        help="a field of the recipe for all runs, such as num_epochs=20; once for each",
    )
    study.add_argument("--out", type=Path, default=Path("outputs/study"), help="(default: outputs/study)")


def _add_data(command: argparse.ArgumentParser) -> None:
    """Adds the arguments of `load_fer_dataset` that choose faces; what is not given is left to its defaults."""
    command.add_argument(
        "--data", required=True, help="folder, zip, tar, csv or Hub id of labelled faces, or 'rendered'"
    )
    for name, kind, text in (
        ("split", str, "into training and validation (default: official if the data has it, else stratified)"),
        ("seed", int, "of the split, of rendered faces and of corruptions"),
        ("validation_fraction", float, "share of the images for validation"),
        ("n_folds", int, "number of folds of the k-fold splits"),
        ("fold", int, "which fold is for validation"),
        ("group_pattern", str, "regular expression with one group: the film or person in a file name"),
        ("on_error", str, "at images that cannot be read: stop or skip"),
    ):
        choices = SPLITS if name == "split" else None
        command.add_argument(f"--{name}", type=kind, default=argparse.SUPPRESS, choices=choices, help=text)


def _add_out(command: argparse.ArgumentParser, default: str) -> None:
    command.add_argument("--out", type=Path, default=Path(default), help=f"folder of the report (default: {default})")
    command.add_argument("--overwrite", action="store_true", help="replace a report that stands there")


def run(name: str, options: dict[str, Any], words: Sequence[str]) -> int:
    """Runs one of the commands.

    Args:
        name: One of `COMMANDS`.
        options: Its parsed flags.
        words: The command line after `involvit`, for the report.

    Returns:
        The exit status.
    """
    options["command"] = command_line(words)
    if name == "study":
        from .study.run import run_study

        return run_study(**options)
    if name == "evaluate":
        from .evaluate.run import evaluate_models as write
    elif name == "robustness":
        from .robustness.run import evaluate_robustness as write
    else:
        from .audit.run import audit_data as write
    print(write(**options))
    return 0


def command_line(words: Sequence[str]) -> str:
    """Returns the command as it was given, without the folders of absolute paths: a report may be published."""
    return shlex.join(["involvit", *(Path(word).name if Path(word).is_absolute() else word for word in words)])
