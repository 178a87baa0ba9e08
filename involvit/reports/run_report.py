"""The report of a training run: JSON, tables like the paper's, a confusion matrix and training curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ..files import whole_file
from .blocks import Table
from .figures import confusion_figure, new_figure, series_style, tidy
from .published import PUBLISHED_ROWS
from .score_tables import SCORES, has_votes, per_class_table
from .writer import to_json

_DECIMALS = 4


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
    return [
        Table(("Method", "Data", *SCORES.values()), rows, note, _DECIMALS),
        per_class_table(metrics, decimals=_DECIMALS),
    ]


def confusion_matrix_figure(metrics: dict[str, Any]) -> Figure:
    """Draws the confusion matrix of a result of the `fer_report` metric."""
    title = (
        f"Confusion matrix: {metrics['num_images']} images, accuracy {metrics['accuracy']:.1%}, "
        f"macro F1 {metrics['macro_f1']:.1%}"
    )
    return confusion_figure(metrics["confusion_matrix"], list(metrics["per_class"]), title)


def training_curves_figure(history: Sequence[dict[str, float]]) -> Figure:
    """Draws loss and scores over the epochs.

    Args:
        history: One mapping per evaluation with `epoch` and any of `train_loss`, `validation_loss`, `accuracy` and
            `macro_f1`; a curve leaves out the evaluations that lack its value.

    Returns:
        A figure with two panels.
    """
    figure = new_figure(10, 4)
    loss_axes, score_axes = figure.subplots(1, 2, sharex=True)
    panels = {
        loss_axes: {"train_loss": "training (as optimized)", "validation_loss": "validation"},
        score_axes: {"accuracy": "accuracy", "macro_f1": "macro F1"},
    }
    for axes, curves in panels.items():
        for place, (name, label) in enumerate(curves.items()):
            entries = [entry for entry in history if entry.get(name) is not None]
            style = {**series_style(place), "markersize": 4}
            axes.plot([e["epoch"] for e in entries], [e[name] for e in entries], label=label, **style)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlim(left=0)
        axes.legend()
    tidy(loss_axes, xlabel="epoch", ylabel="cross-entropy", title="Loss")
    tidy(score_axes, xlabel="epoch", ylabel="score", title="Validation")
    score_axes.set_ylim(0, 1)
    return figure


def write_run_report(
    output_dir: Path,
    metrics: dict[str, Any],
    history: Sequence[dict[str, float]],
    run: dict[str, Any],
    sources: Mapping[str, dict[str, Any]] | None = None,
) -> None:
    """Writes confusion_matrix.png, training_curves.png and, last, report.json, each whole or not at all.

    Args:
        output_dir: Folder of the run.
        metrics: Result of the `fer_report` metric.
        history: See `training_curves_figure`.
        run: What was run on what; JSON values. Numbers that are not finite become null.
        sources: Name of each of several joined sources -> result of the metric on its images alone.
    """
    report = to_json({"metrics": metrics, "sources": dict(sources or {}), "history": history, "run": run})
    for name, figure in (
        ("confusion_matrix", confusion_matrix_figure(metrics)),
        ("training_curves", training_curves_figure(history)),
    ):
        with whole_file(output_dir / f"{name}.png") as path:
            figure.savefig(path)
    with whole_file(output_dir / "report.json") as path:
        path.write_text(report, encoding="utf-8")
