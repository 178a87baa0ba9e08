"""The commands `involvit evaluate`, `robustness`, `study` and `audit`: their flags, and what runs behind them."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dataset_script.data_arguments import SPLITS, add_data_arguments

# What is imported here is imported whenever `involvit` answers; the libraries behind the commands take seconds.
from ..console import path, positive
from .study.plan import VARIANTS

COMMANDS = ("evaluate", "robustness", "audit", "study")
PARTS = ("validation", "test", "train", "all")


def add_evaluation_commands(commands: Any) -> None:
    """Adds the commands to what `add_subparsers` returned."""
    evaluate = commands.add_parser(
        "evaluate",
        help="report on one model, or on several side by side",
        description="Measures models on the same labelled faces and writes a report: HTML that opens offline, "
        "Markdown and JSON, with intervals, tests between the models, calibration, curves, mistakes and speed.",
        epilog="example: involvit evaluate --model outputs/faces --model"
        " default=checkpoints/involvit-tiny --data faces.zip --split group",
    )
    robustness = commands.add_parser(
        "robustness",
        help="report how well models resist occlusion, pose, blur, noise and light",
        description="Measures models on labelled faces under corruptions of five severities and writes a report.",
        epilog="example: involvit robustness --model outputs/faces --data faces.zip --split group",
    )
    models = "folder, Hub id or .onnx file, or NAME=MODEL; repeat to compare (default: the model of the package)"
    for command in (evaluate, robustness):
        command.add_argument("--model", action="append", dest="models", metavar="MODEL", help=models)
        add_data_arguments(command)
        command.add_argument("--part", choices=PARTS, default="validation", help="part to use (default: validation)")

    audit = commands.add_parser(
        "audit",
        help="report on a data set: classes, duplicates, persons, doubtful labels",
        description="Looks for what is wrong with a data set and writes a report.",
        epilog="example: involvit audit --data faces.zip",
    )
    audit.add_argument("--model", help="its features find doubtful labels (default: the model of the package)")
    add_data_arguments(audit)
    for command in (evaluate, robustness, audit):
        out = f"outputs/{command.prog.split()[-1]}"
        command.add_argument("--out", type=path, default=Path(out), help=f"folder of the report (default: {out})")
        command.add_argument("--overwrite", action="store_true", help="replace a report that is already there")

    study = commands.add_parser(
        "study",
        help="train variants of a recipe on repeated splits, and report how they differ",
        description="Trains variants of a recipe on repeated splits by `involvit train`, and writes a "
        "report. The same command continues an interrupted study; more repeats, splits or variants are added. Exit "
        "status: 0; 1 if runs failed; 2 after a mistake; 130 if interrupted.",
        epilog="example: involvit study --config configs/demo.yaml --data faces.zip --set num_epochs=20",
    )
    splits, folds = ["random", "group"], "number of folds of the k-fold splits (default: 5)"
    setting = "a field of the recipe for all runs, such as num_epochs=20; repeat for more"
    add = study.add_argument
    add("--config", type=path, required=True, help="the recipe, such as configs/demo.yaml")
    add("--data", help="see `involvit train --help` (default: the recipe's own)")
    add("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS), help="(default: all)")
    add("--splits", nargs="+", choices=SPLITS[1:], default=splits, help="(default: random group)")
    add("--repeats", type=positive, default=5, help="seeds of each split (default: 5)")
    add("--n_folds", type=positive, default=5, help=folds)
    add("--jobs", type=positive, default=1, help="runs at a time (default: 1)")
    add("--set", action="append", dest="settings", default=[], metavar="FIELD=VALUE", help=setting)
    add("--out", type=path, default=Path("outputs/study"), help="(default: outputs/study)")


def run(name: str, options: dict[str, Any], words: Sequence[str]) -> int:
    """Runs one of `COMMANDS` with its parsed flags and returns the exit status.

    The words of the command line after `involvit` are for the report.
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
