"""The figures of an evaluation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

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
    for axes, score, title in zip(
        figure.subplots(1, 2, sharey=True), ("accuracy", "macro_f1"), ("Accuracy", "Macro F1"), strict=True
    ):
        for place, values in enumerate(metrics.values()):
            low, high = values["intervals"][score]
            axes.plot([low, high], [place, place], color=series_style(place)["color"], linewidth=2.5)
            axes.plot(values[score], place, markersize=8, **{**series_style(place), "linestyle": "none"})
        if score == "accuracy":
            axes.axvline(largest_class_share, color="black", linestyle=":", linewidth=1)
            axes.annotate(
                "largest class",
                (largest_class_share, 1.0),
                (3, -2),
                xycoords=("data", "axes fraction"),
                textcoords="offset points",
                va="top",
                fontsize=8,
            )
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
            known = bins.counts > 0
            upper.plot(bins.confidence[known], bins.accuracy[known], markersize=5, label=label, **series_style(place))
            style = series_style(place)
            lower.stairs(bins.counts, bins.edges, color=style["color"], linestyle=style["linestyle"], linewidth=1.5)
        upper.set(xlim=(0, 1), ylim=(0, 1))
        tidy(upper, ylabel="accuracy" if column == 0 else "", title=name)
        tidy(lower, xlabel="confidence", ylabel="images" if column == 0 else "")
    panels[0, 0].legend(fontsize=8, loc="upper left")
    return figure


def roc_figure(models: Mapping[str, Mapping[str, ClassCurves]]) -> Figure:
    """Draws the ROC curve of each class, one panel per model; the area is in the legend."""
    figure, panels = _panels(len(models))
    for axes, (name, curves) in zip(panels, models.items(), strict=False):
        axes.plot([0, 1], [0, 1], color="black", linewidth=0.8, linestyle=":")
        for label, curve in curves.items():
            style = {**_class_style(label), "label": f"{label} {curve.roc_auc:.2f}"}
            axes.plot(curve.false_positive_rate, curve.true_positive_rate, **style)
        axes.legend(fontsize=8, loc="lower right", title="area", title_fontsize=8)
        tidy(axes, xlabel="false positive rate", ylabel="true positive rate", title=name)
    return figure


def precision_recall_figure(models: Mapping[str, Mapping[str, ClassCurves]]) -> Figure:
    """Draws the precision-recall curve of each class, one panel per model; the average precision is in the legend."""
    figure, panels = _panels(len(models))
    for axes, (name, curves) in zip(panels, models.items(), strict=False):
        for label, curve in curves.items():
            style = {**_class_style(label), "label": f"{label} {curve.average_precision:.2f}"}
            axes.plot(curve.recall, curve.precision, **style)
        axes.set(xlim=(0, 1), ylim=(0, 1.02))
        options = {"loc": "upper left", "bbox_to_anchor": (1, 1), "frameon": False}
        axes.legend(fontsize=8, title="average precision", title_fontsize=8, **options)
        tidy(axes, xlabel="recall", ylabel="precision", title=name)
    return figure


def _panels(count: int) -> tuple[Figure, Sequence]:
    columns = min(count, _COLUMNS)
    rows = -(-count // columns)
    figure = new_figure(0.4 + 4.2 * columns, 4.2 * rows)
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in panels[count:]:
        axes.axis("off")
    return figure, panels


def _class_style(label: str) -> dict[str, object]:
    return {"color": CLASS_COLORS[label], "linestyle": series_style(LABELS.index(label))["linestyle"], "linewidth": 1.6}
