"""The report of a run: JSON, tables like the paper's, a confusion matrix and training curves."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from involvit.evaluation.evaluate.figures import confusion_figure
from involvit.evaluation.published import PUBLISHED_ROWS

_COLUMNS = ("Method", "Data", "Accuracy", "Precision", "Recall", "F1")


def format_table(
    metrics: dict[str, Any], data: str, largest_class_share: float, sources: Mapping[str, dict[str, Any]] | None = None
) -> str:
    """Sets a run beside always answering the largest class, one person, and the paper's published figures.

    Args:
        metrics: Result of the `fer_report` metric.
        data: What the figures were measured on.
        largest_class_share: Share of the largest class among the measured images, 0 to 1.
        sources: Name of each of several joined sources -> result of the metric on its images alone.

    Returns:
        A table of plain text; precision, recall and F1 are macro averages. Where the votes of several people are known,
        one person drawn from them is judged by what most of the others say.
    """
    names = ("accuracy", "macro_precision", "macro_recall", "macro_f1")
    people = {
        source: values["human_accuracy"]
        for source, values in (sources or {data: metrics}).items()
        if "human_accuracy" in values
    }
    rows = [
        ("this run", data, *(metrics[name] for name in names)),
        *(("this run", source, *(values[name] for name in names)) for source, values in (sources or {}).items()),
        *(("one person", source, accuracy, None, None, None) for source, accuracy in people.items()),
        ("largest class", data, largest_class_share, None, None, None),
        *((method, "published, SFEW", *figures) for method, figures in PUBLISHED_ROWS.items()),
    ]
    note = "Macro averages. Published rows are others' figures on SFEW: comparable only with that data and its split."
    return f"{_align(_COLUMNS, rows)}\n{note}"


def format_per_class(metrics: dict[str, Any]) -> str:
    """Returns a plain-text table of each class's precision, recall, F1 and number of images."""
    columns = ("precision", "recall", "f1", "support")
    rows = [(label, *(values[name] for name in columns)) for label, values in metrics["per_class"].items()]
    return _align(("Class", "Precision", "Recall", "F1", "Images"), rows)


def _align(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    def text(value: Any) -> str:
        return "-" if value is None else f"{value:.4f}" if isinstance(value, float) else str(value)

    cells = [list(header), *([text(value) for value in row] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    is_number = [all(not isinstance(row[column], str) for row in rows) for column in range(len(header))]
    lines = [
        "  ".join(
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(row, widths, is_number, strict=True)
        ).rstrip()
        for row in cells
    ]
    return "\n".join([lines[0], "-" * (sum(widths) + 2 * len(widths) - 2), *lines[1:]])


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
        history: One mapping an evaluation with `epoch` and any of `train_loss`, `validation_loss`, `accuracy` and
            `macro_f1`; a curve leaves out the evaluations that lack its value.

    Returns:
        A figure with two panels.
    """
    figure = Figure(figsize=(10, 4), dpi=150, layout="constrained")
    loss_axes, score_axes = figure.subplots(1, 2, sharex=True)
    panels = {
        loss_axes: {"train_loss": "training (as optimized)", "validation_loss": "validation"},
        score_axes: {"accuracy": "accuracy", "macro_f1": "macro F1"},
    }
    for axes, curves in panels.items():
        for name, label in curves.items():
            entries = [entry for entry in history if entry.get(name) is not None]
            axes.plot([e["epoch"] for e in entries], [e[name] for e in entries], marker=".", label=label)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlim(left=0)
        axes.set_xlabel("epoch")
        axes.grid(alpha=0.3)
        axes.legend()
    loss_axes.set(title="Loss", ylabel="cross-entropy")
    score_axes.set(title="Validation", ylabel="score", ylim=(0, 1))
    return figure


def write_report(
    output_dir: Path,
    metrics: dict[str, Any],
    history: Sequence[dict[str, float]],
    run: dict[str, Any],
    sources: Mapping[str, dict[str, Any]] | None = None,
) -> None:
    """Writes confusion_matrix.png, training_curves.png and, last, report.json, each beside and renamed into place.

    Args:
        output_dir: An existing folder.
        metrics: Result of the `fer_report` metric.
        history: See `training_curves_figure`.
        run: What was run on what; JSON values. Numbers that are not finite become null.
        sources: Name of each of several joined sources -> result of the metric on its images alone.
    """
    _write(output_dir / "confusion_matrix.png", confusion_matrix_figure(metrics).savefig)
    _write(output_dir / "training_curves.png", training_curves_figure(history).savefig)
    content = {"metrics": metrics, "sources": dict(sources or {}), "history": history, "run": run}
    report = json.dumps(_finite(content), indent=2, allow_nan=False)
    _write(output_dir / "report.json", lambda path: path.write_text(report + "\n"))


def _write(path: Path, write: Callable[[Path], Any]) -> None:
    beside = path.with_name(f".unfinished_{path.name}")
    try:
        write(beside)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
