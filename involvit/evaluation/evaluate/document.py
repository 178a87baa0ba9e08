"""What a report of `involvit evaluate` says, section by section."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import datasets
import numpy as np
import pandas as pd

from dataset_script import LABELS

from ...pixels import to_rgb
from ...reports.blocks import Block, Bullets, Paragraph, Picture, Section, Table
from ...reports.figures import confusion_figure, image_grid
from ...reports.numbers import decimal, interval, p_value, percent, points, points_interval
from ...reports.published import PUBLISHED_ROWS
from ...reports.score_tables import SCORES, has_votes, per_class_table, vote_blocks
from ..statistics import Difference
from .figures import accuracy_figure, precision_recall_figure, reliability_figure, roc_figure
from .measure import Comparison, ModelMeasurements

_MISTAKES = 18
_EXTREMES = 5
_CALIBRATION_NOTE = (
    "All of this takes the majority for the truth. A model that says 60% where 6 of 10 people agree is right about the "
    "people; but as the majority is right every time by definition, the model looks underconfident here. Whether its "
    "probabilities are shares of people is shown by the cross-entropy to the votes, above."
)


def evaluation_sections(
    models: Mapping[str, ModelMeasurements], comparisons: Sequence[Comparison], rows: datasets.Dataset, data: str
) -> list[Section]:
    """Writes the report.

    Args:
        models: Name -> measurements.
        comparisons: Of each pair of them.
        rows: The faces, see `load_faces`.
        data: What they are, in words.
    """
    metrics = {name: model.metrics for name, model in models.items()}
    voted = all(map(has_votes, metrics.values()))
    return [
        Section("Results", _results(metrics, rows, data)),
        *([Section("Which model is better?", _comparisons(comparisons, rows))] if comparisons else []),
        *([Section("Against what people say", vote_blocks(metrics))] if voted else []),
        Section("Class by class", _per_class(models)),
        Section("Can its probabilities be trusted?", [Paragraph(_CALIBRATION_NOTE)] * voted + _calibration(models)),
        Section("Each class against the rest", _curves(models)),
        Section("The most confident mistakes", _mistakes(models, rows)),
        Section("Speed", _speed(models, rows)),
    ]


def evaluation_results(
    models: Mapping[str, ModelMeasurements], comparisons: Sequence[Comparison], rows: datasets.Dataset, data: str
) -> dict[str, Any]:
    """Returns the results at full precision, for `report.json`; the arguments are those of `evaluation_sections`."""
    return {
        "data": data,
        "num_images": len(rows),
        "num_groups": len(set(rows["group"][:])),
        "largest_class_share": _largest_class_share(rows),
        "models": {
            name: {
                "metrics": model.metrics,
                "scaled_metrics": model.scaled_metrics,
                "temperatures": model.temperatures,
                "reliability": asdict(model.reliability),
                "scaled_reliability": asdict(model.scaled_reliability),
                "roc_auc": model.areas("roc_auc"),
                "average_precision": model.areas("average_precision"),
                "images_per_s": model.speed.images_per_s,
                "milliseconds_median": model.speed.median,
                "milliseconds_95th_percentile": model.speed.percentile_95,
                "probabilities": model.probabilities.round(6),
            }
            for name, model in models.items()
        },
        "comparisons": [
            {
                "first": pair.first,
                "second": pair.second,
                "accuracy": pair.accuracy._asdict(),
                "macro_f1": pair.macro_f1._asdict(),
                "mcnemar": pair.disagreement._asdict(),
            }
            for pair in comparisons
        ],
        "images": {"path": rows["path"][:], "label": [LABELS[label] for label in rows["label"]]},
    }


def _results(models: Mapping[str, Mapping], rows: datasets.Dataset, data: str) -> list[Block]:
    groups, share = len(set(rows["group"][:])), _largest_class_share(rows)
    unit = f"{groups:,} persons or films, each drawn as a whole" if groups < len(rows) else "images"
    text = (
        f"Measured on {len(rows):,} images: {data}. The 95% intervals in brackets are from 2,000 bootstrap samples of "
        f"the {unit}; macro averages give each class the same weight."
    )
    absent = ", ".join(sorted({label for metrics in models.values() for label in metrics["absent_classes"]}))
    lines = [
        *((name, data, *(interval(of[key], of["intervals"][key]) for key in SCORES)) for name, of in models.items()),
        ("always the largest class", data, percent(share, ""), None, None, None),
        *((name, "SFEW, published", *(percent(score, "") for score in row)) for name, row in PUBLISHED_ROWS.items()),
    ]
    note = (
        "In percent; macro averages. The published rows are from others, on SFEW (Z. Liu, table 1): comparable only "
        "with that data and that split."
    )
    figure = accuracy_figure(models, share)
    return [
        Paragraph(text),
        *([Paragraph(f"Neither shown nor answered, and left out of the averages: {absent}.")] if absent else []),
        Table(("Method", "Data", *SCORES.values()), lines, note),
        Picture("accuracy", figure, "Accuracy and macro F1 of each model with 95% intervals."),
    ]


def _comparisons(comparisons: Sequence[Comparison], rows: datasets.Dataset) -> list[Block]:
    sentences, lines = [], []
    for pair in comparisons:
        first, second, accuracy, tested = pair.first, pair.second, pair.accuracy, pair.disagreement
        if accuracy.p_value < 0.05:
            better, worse = (first, second) if accuracy.value >= 0 else (second, first)
            sentences.append(
                f"{better} is better than {worse} by {100 * abs(accuracy.value):.1f} points of accuracy "
                f"(corrected p {p_value(accuracy.p_value)})."
            )
        else:
            sentences.append(
                f"{first} and {second} do not differ significantly on these images: the difference could be anything "
                f"from {points(accuracy.low)} to {points(accuracy.high)} points of accuracy."
            )
        right = f"{tested.only_a:,}, {tested.only_b:,}", p_value(tested.p_value)
        lines.append((first, second, *_cells(accuracy), *_cells(pair.macro_f1), *right))
    note = (
        "First less second on the same images. The first two tests are paired bootstraps of 2,000 samples, the last "
        "one is McNemar's, exact. Each p is two-sided and corrected by Holm over the pairs of models."
    )
    if len(set(rows["group"][:])) < len(rows):
        note += " McNemar's test treats images as independent, which those of one person are not: trust the others."
    tests = ("Accuracy, points", "p", "Macro F1, points", "p", "Only first, only second right", "p")
    return [Bullets(sentences), Table(("First", "Second", *tests), lines, note)]


def _cells(difference: Difference) -> tuple[str, str]:
    return points_interval(*difference[:3]), p_value(difference.p_value)


def _per_class(models: Mapping[str, ModelMeasurements]) -> list[Block]:
    blocks: list[Block] = []
    for number, (name, model) in enumerate(models.items(), start=1):
        areas = {"ROC area": model.areas("roc_auc"), "Average precision": model.areas("average_precision")}
        figure = confusion_figure(model.metrics["confusion_matrix"], LABELS, name)
        text = f"Confusion matrix of {name}: how many images of each true class got which answer."
        blocks.append(per_class_table(model.metrics, f"{name}, each class against the rest.", further=areas))
        blocks.append(Picture(f"confusion_{number}", figure, text))
    return blocks


def _calibration(models: Mapping[str, ModelMeasurements]) -> list[Block]:
    scores = {
        "expected_calibration_error": "ECE",
        "brier_score": "Brier score",
        "negative_log_likelihood": "Negative log-likelihood",
    }
    lines = []
    for name, model in models.items():
        temperature = decimal(np.mean(model.temperatures), 2) if model.temperatures else None
        lines.append((name, "as it is", *map(model.metrics.get, scores), None))
        lines.append((name, "scaled", *map(model.scaled_metrics.get, scores), temperature))
    bins = {name: (model.reliability, model.scaled_reliability) for name, model in models.items()}
    return [
        Table(
            ("Model", "Probabilities", *scores.values(), "Temperature"),
            lines,
            "Lower is better. ECE: expected calibration error, 15 bins. Scaled: by the temperature that suits the "
            "images of other persons or films (five folds; their mean is shown), so no image judges itself. A "
            "temperature above 1 means that the model is overconfident.",
        ),
        Picture(
            "reliability",
            reliability_figure(bins),
            "Accuracy against confidence, and how many images have that confidence. Below the dotted line a model is "
            "overconfident.",
        ),
    ]


def _curves(models: Mapping[str, ModelMeasurements]) -> list[Block]:
    curves = {name: model.curves for name, model in models.items()}
    text = "curves of each class; the legend gives the"
    return [
        Picture("roc", roc_figure(curves), f"ROC {text} area below."),
        Picture("precision_recall", precision_recall_figure(curves), f"Precision-recall {text} average precision."),
    ]


def _mistakes(models: Mapping[str, ModelMeasurements], rows: datasets.Dataset) -> list[Block]:
    references = np.array(rows["label"][:])
    blocks: list[Block] = []
    for number, (name, model) in enumerate(models.items(), start=1):
        confidence = model.probabilities.max(axis=1)
        wrong = np.flatnonzero(model.answers != references)
        if not len(wrong):
            blocks.append(Paragraph(f"{name} makes no mistakes."))
            continue
        surest = wrong[np.argsort(-confidence[wrong], kind="stable")][:_MISTAKES]
        labels, answers = (np.array(LABELS)[ids[surest]] for ids in (references, model.answers))
        captions = [
            f"true: {label}\n{answer} {share:.0%}"
            for label, answer, share in zip(labels, answers, confidence[surest], strict=True)
        ]
        figure = image_grid([*map(to_rgb, rows.select(surest)["image"])], captions, labels)
        text = f"the {len(surest)} most confident of its {len(wrong):,} mistakes. Some may be wrong labels."
        blocks.append(Picture(f"mistakes_{number}", figure, f"{name}: {text}"))
    return blocks


def _speed(models: Mapping[str, ModelMeasurements], rows: datasets.Dataset) -> list[Block]:
    lines, tables = [], []
    for name, model in models.items():
        speed = model.speed
        lines.append((name, f"{speed.images_per_s:.0f}", f"{speed.median:.1f}", f"{speed.percentile_95:.1f}"))
        times = pd.Series(speed.milliseconds, speed.rows).sort_values(kind="stable")
        extremes = {"fastest": times.head(_EXTREMES), "slowest": times.iloc[_EXTREMES:].tail(_EXTREMES)[::-1]}
        images = [
            (kind, rows[row]["path"], "{} x {}".format(*rows[row]["image"].size), f"{milliseconds:.1f}")
            for kind, some in extremes.items()
            for row, milliseconds in some.items()
        ]
        text = f"{name}: the fastest and the slowest of {len(times)} images spread over the data."
        tables.append(Table(("", "Image", "Pixels", "ms"), images, text))
    note = (
        "On this machine, now. In batches of 64 with decoding; one image from decoded pixels to probabilities, the "
        "best of three tries each."
    )
    header = ("Model", "Images/s in batches", "One image: median, ms", "95th percentile, ms")
    return [Table(header, lines, note), *tables]


def _largest_class_share(rows: datasets.Dataset) -> float:
    return float(np.bincount(rows["label"][:]).max() / len(rows))
