"""The report of a training run: JSON, tables like the paper's, a confusion matrix and training curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ..files import whole_file
from .blocks import Table
from .figures import confusion_figure, new_figure, series_style, tidy
from .published import PUBLISHED_ROWS
from .score_tables import SCORES, has_votes, per_class_table
from .writer import to_json


def run_tables(
    metrics: dict[str, Any], data: str, largest_class_share: float, sources: Mapping[str, dict[str, Any]] | None = None
) -> list[Table]:
    """Compares a run with always answering the largest class, one person and the paper; then lists each class.

    Args:
        metrics: Result of the `fer_report` metric.
        data: What it was measured on.
        largest_class_share: Share of the largest class among the measured images, 0 to 1.
        sources: Name of each of several joined sources -> result of the metric on its images alone. Where several
            people labelled these, one of them, drawn at random, is judged by what most of the others say.
    """
    people = {source: values for source, values in (sources or {data: metrics}).items() if has_votes(values)}
    rows = [
        *(("this run", name, *map(values.get, SCORES)) for name, values in {data: metrics, **(sources or {})}.items()),
        *(("one person", name, values["human_accuracy"], None, None, None) for name, values in people.items()),
        ("largest class", data, largest_class_share, None, None, None),
        *((method, "published, SFEW", *scores) for method, scores in PUBLISHED_ROWS.items()),
    ]
    note = "Macro averages. Published rows are from others, on SFEW: comparable only with that data and its split."
    compared = Table(("Method", "Data", *SCORES.values()), rows, note, decimals=4)
    return [compared, per_class_table(metrics, decimals=4)]


def confusion_matrix_figure(metrics: dict[str, Any]) -> Figure:
    """Draws the confusion matrix of a result of the `fer_report` metric."""
    scores = f"accuracy {metrics['accuracy']:.1%}, macro F1 {metrics['macro_f1']:.1%}"
    title = f"Confusion matrix: {metrics['num_images']} images, {scores}"
    return confusion_figure(metrics["confusion_matrix"], list(metrics["per_class"]), title)


def training_curves_figure(history: Sequence[dict[str, float]]) -> Figure:
    """Draws loss and scores over the epochs, in a panel each.

    Args:
        history: One mapping per evaluation with `epoch` and any of `train_loss`, `validation_loss`, `accuracy` and
            `macro_f1`; a curve leaves out the evaluations that lack its value.
    """
    panels = {
        ("Loss", "cross-entropy"): {"train_loss": "training (as optimized)", "validation_loss": "validation"},
        ("Validation", "score"): {"accuracy": "accuracy", "macro_f1": "macro F1"},
    }
    figure = new_figure(10, 4)
    for axes, ((title, ylabel), curves) in zip(figure.subplots(1, 2, sharex=True), panels.items(), strict=True):
        for place, (name, label) in enumerate(curves.items()):
            known = [(entry["epoch"], entry[name]) for entry in history if entry.get(name) is not None]
            axes.plot(*np.reshape(known, (-1, 2)).T, label=label, markersize=4, **series_style(place))
        tidy(axes, xlabel="epoch", ylabel=ylabel, title=title)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlim(left=0)
        axes.legend()
    axes.set_ylim(0, 1)  # of the scores
    return figure


def write_run_report(
    output_dir: Path,
    metrics: dict[str, Any],
    history: Sequence[dict[str, float]],
    run: dict[str, Any],
    sources: Mapping[str, dict[str, Any]] | None = None,
) -> None:
    """Writes confusion_matrix.png, training_curves.png and, last, report.json, each whole or not at all.

    `run` says what was run on what, see `to_json`; `history` is that of `training_curves_figure`, the rest as in
    `run_tables`.
    """
    report = to_json({"metrics": metrics, "sources": dict(sources or {}), "history": history, "run": run})
    figures = {"confusion_matrix": confusion_matrix_figure(metrics), "training_curves": training_curves_figure(history)}
    for name, figure in figures.items():
        with whole_file(output_dir / f"{name}.png") as path:
            figure.savefig(path)
    with whole_file(output_dir / "report.json") as path:
        path.write_text(report, encoding="utf-8")
