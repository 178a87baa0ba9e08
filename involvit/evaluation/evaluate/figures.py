"""The figures of an evaluation."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure

from dataset_script import LABELS

from ...colors import CLASS_COLORS
from ...reports.figures import new_figure, series_style, tidy
from ..calibration import Reliability
from ..curves import ClassCurves

_COLUMNS = 3


def accuracy_figure(metrics: Mapping[str, Mapping], largest_class_share: float) -> Figure:
    """Draws accuracy and macro F1 of each model with their 95% intervals.

    Args:
        metrics: Name of a model -> result of the `fer_report` metric with intervals.
        largest_class_share: Accuracy of always answering the largest class, 0 to 1.
    """
    figure = new_figure(8, 1.3 + 0.45 * len(metrics))
    panels = {"accuracy": "Accuracy", "macro_f1": "Macro F1"}
    for axes, (score, title) in zip(figure.subplots(1, 2, sharey=True), panels.items(), strict=True):
        for place, values in enumerate(metrics.values()):
            low, high = values["intervals"][score]
            axes.plot([low, high], [place, place], color=series_style(place)["color"], linewidth=2.5)
            axes.plot(values[score], place, markersize=8, **{**series_style(place), "linestyle": "none"})
        if score == "accuracy":
            axes.axvline(largest_class_share, color="black", linestyle=":", linewidth=1)
            place = {"va": "top", "fontsize": 8, "transform": axes.get_xaxis_transform()}
            axes.text(largest_class_share, 0.99, " largest class", **place)
        tidy(axes, xlabel="95% interval", title=title)
        axes.set(yticks=range(len(metrics)), yticklabels=list(metrics), ylim=(len(metrics) - 0.4, -0.6))
    return figure


def reliability_figure(models: Mapping[str, tuple[Reliability, Reliability]]) -> Figure:
    """Draws accuracy against confidence, before and after temperature scaling, with the number of images below.

    Args:
        models: Name -> reliability of the probabilities as they are, and of the scaled ones.
    """
    figure = new_figure(0.6 + 3.6 * len(models), 4.6)
    panels = figure.subplots(2, len(models), sharex=True, sharey="row", height_ratios=(3, 1), squeeze=False)
    for column, (name, (plain, scaled)) in enumerate(models.items()):
        upper, lower = panels[:, column]
        upper.plot([0, 1], [0, 1], color="black", linewidth=1, linestyle=":", label="confidence = accuracy")
        for place, (bins, label) in enumerate(((plain, "as it is"), (scaled, "temperature-scaled"))):
            known, style = bins.counts > 0, series_style(place)
            upper.plot(bins.confidence[known], bins.accuracy[known], markersize=5, label=label, **style)
            lower.stairs(bins.counts, bins.edges, color=style["color"], linestyle=style["linestyle"], linewidth=1.5)
        upper.set(xlim=(0, 1), ylim=(0, 1))
        tidy(upper, ylabel="accuracy" if column == 0 else "", title=name)
        tidy(lower, xlabel="confidence", ylabel="images" if column == 0 else "")
    panels[0, 0].legend(fontsize=8, loc="upper left")
    return figure


def roc_figure(models: Mapping[str, Mapping[str, ClassCurves]]) -> Figure:
    """Draws the ROC curve of each class, one panel per model; the area is in the legend."""
    legend = {"title": "area", "loc": "lower right"}
    figure = _curves_figure(models, "false_positive_rate", "true_positive_rate", "roc_auc", legend)
    for axes in figure.axes:
        axes.plot([0, 1], [0, 1], color="black", linewidth=0.8, linestyle=":", zorder=1)
    return figure


def precision_recall_figure(models: Mapping[str, Mapping[str, ClassCurves]]) -> Figure:
    """Draws the precision-recall curve of each class, one panel per model; the average precision is in the legend."""
    legend = {"title": "average precision", "loc": "upper left", "bbox_to_anchor": (1, 1), "frameon": False}
    figure = _curves_figure(models, "recall", "precision", "average_precision", legend)
    for axes in figure.axes:
        axes.set(xlim=(0, 1), ylim=(0, 1.02))
    return figure


def _curves_figure(
    models: Mapping[str, Mapping[str, ClassCurves]], x: str, y: str, area: str, legend: Mapping[str, Any]
) -> Figure:
    columns = min(len(models), _COLUMNS)
    rows = math.ceil(len(models) / columns)
    figure = new_figure(0.4 + 4.2 * columns, 4.2 * rows)
    for place, (name, curves) in enumerate(models.items(), start=1):
        axes = figure.add_subplot(rows, columns, place)
        for label, curve in curves.items():
            style = {"color": CLASS_COLORS[label], "linestyle": series_style(LABELS.index(label))["linestyle"]}
            text = f"{label} {getattr(curve, area):.2f}"
            axes.plot(getattr(curve, x), getattr(curve, y), label=text, linewidth=1.6, **style)
        axes.legend(fontsize=8, title_fontsize=8, **legend)
        tidy(axes, xlabel=x.replace("_", " "), ylabel=y.replace("_", " "), title=name)
    return figure
