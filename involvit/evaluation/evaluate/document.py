"""What a report of `involvit evaluate` says, section by section."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import datasets
import numpy as np

from dataset_script import LABELS

from ...pixels import to_rgb
from ...reports.blocks import Block, Bullets, Paragraph, Picture, Section, Table
from ...reports.figures import confusion_figure, image_grid
from ...reports.numbers import decimal, interval, p_value, percent, points, points_interval
from ...reports.published import PUBLISHED_ROWS
from ...reports.score_tables import SCORES, has_votes, per_class_table, vote_blocks
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
    return [
        _results(models, rows, data),
        *([_comparisons(comparisons, rows)] if comparisons else []),
        *([Section("Against what people say", vote_blocks(metrics))] if _are_voted(models) else []),
        _per_class(models),
        _calibration(models),
        _curves(models),
        _mistakes(models, rows),
        _speed(models, rows),
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
                "roc_auc": {label: curve.roc_auc for label, curve in model.curves.items()},
                "average_precision": {label: curve.average_precision for label, curve in model.curves.items()},
                "images_per_s": model.speed.images_per_s,
                "milliseconds_median": model.speed.median,
                "milliseconds_95th_percentile": model.speed.percentile_95,
                "probabilities": model.probabilities.round(6),
            }
            for name, model in models.items()
        },
        "comparisons": [
            {
                "first": comparison.first,
                "second": comparison.second,
                "accuracy": comparison.accuracy._asdict(),
                "macro_f1": comparison.macro_f1._asdict(),
                "mcnemar": comparison.disagreement._asdict(),
            }
            for comparison in comparisons
        ],
        "images": {"path": rows["path"][:], "label": [LABELS[label] for label in rows["label"]]},
    }


def _results(models: Mapping[str, ModelMeasurements], rows: datasets.Dataset, data: str) -> Section:
    groups, share = len(set(rows["group"][:])), _largest_class_share(rows)
    unit = f"{groups:,} persons or films, each drawn as a whole" if groups < len(rows) else "images"
    blocks = [
        Paragraph(
            f"Measured on {len(rows):,} images: {data}. The 95% intervals in brackets are from 2,000 bootstrap "
            f"samples of the {unit}; macro averages give each class the same weight."
        ),
        Table(
            ("Method", "Data", *SCORES.values()),
            [
                *(
                    (name, data, *(interval(model.metrics[key], model.metrics["intervals"][key]) for key in SCORES))
                    for name, model in models.items()
                ),
                ("always the largest class", data, percent(share, ""), None, None, None),
                *(
                    (method, "SFEW, published", *(percent(value, "") for value in values))
                    for method, values in PUBLISHED_ROWS.items()
                ),
            ],
            "In percent; macro averages. The published rows are from others, on SFEW (Z. Liu, table 1): comparable "
            "only with that data and that split.",
        ),
        Picture(
            "accuracy",
            accuracy_figure({name: model.metrics for name, model in models.items()}, share),
            "Accuracy and macro F1 of each model with 95% intervals.",
        ),
    ]
    absent = sorted({label for model in models.values() for label in model.metrics["absent_classes"]})
    if absent:
        blocks.insert(1, Paragraph(f"Neither shown nor answered, and left out of the averages: {', '.join(absent)}."))
    return Section("Results", blocks)


def _comparisons(comparisons: Sequence[Comparison], rows: datasets.Dataset) -> Section:
    sentences = []
    for comparison in comparisons:
        difference = comparison.accuracy
        better, worse = comparison.first, comparison.second
        if difference.value < 0:
            better, worse = worse, better
        if difference.p_value < 0.05:
            sentences.append(
                f"{better} is better than {worse} by {100 * abs(difference.value):.1f} points of accuracy "
                f"(corrected p {p_value(difference.p_value)})."
            )
        else:
            sentences.append(
                f"{comparison.first} and {comparison.second} do not differ significantly on these images: the "
                f"difference could be anything from {points(difference.low)} to {points(difference.high)} points of "
                f"accuracy."
            )
    with_groups = len(set(rows["group"][:])) < len(rows)
    return Section(
        "Which model is better?",
        [
            Bullets(sentences),
            Table(
                (
                    "First",
                    "Second",
                    "Accuracy, points",
                    "p",
                    "Macro F1, points",
                    "p",
                    "Only first, only second right",
                    "p",
                ),
                [
                    (
                        comparison.first,
                        comparison.second,
                        points_interval(comparison.accuracy.value, comparison.accuracy.low, comparison.accuracy.high),
                        p_value(comparison.accuracy.p_value),
                        points_interval(comparison.macro_f1.value, comparison.macro_f1.low, comparison.macro_f1.high),
                        p_value(comparison.macro_f1.p_value),
                        f"{comparison.disagreement.only_a:,}, {comparison.disagreement.only_b:,}",
                        p_value(comparison.disagreement.p_value),
                    )
                    for comparison in comparisons
                ],
                "First less second on the same images. The first two tests are paired bootstraps of 2,000 samples, "
                "the last one is McNemar's, exact. Each p is two-sided and corrected by Holm over the pairs of models."
                + (
                    " McNemar's test treats images as independent, which those of one person are not: trust the others."
                    if with_groups
                    else ""
                ),
            ),
        ],
    )


def _per_class(models: Mapping[str, ModelMeasurements]) -> Section:
    blocks: list[Block] = []
    for number, (name, model) in enumerate(models.items(), start=1):
        areas = {
            "ROC area": {label: curve.roc_auc for label, curve in model.curves.items()},
            "Average precision": {label: curve.average_precision for label, curve in model.curves.items()},
        }
        blocks += [
            per_class_table(model.metrics, f"{name}, each class against the rest.", further=areas),
            Picture(
                f"confusion_{number}",
                confusion_figure(model.metrics["confusion_matrix"], LABELS, name),
                f"Confusion matrix of {name}: how many images of each true class got which answer.",
            ),
        ]
    return Section("Class by class", blocks)


def _calibration(models: Mapping[str, ModelMeasurements]) -> Section:
    names = ("expected_calibration_error", "brier_score", "negative_log_likelihood")
    lines = []
    for name, model in models.items():
        lines.append((name, "as it is", *(model.metrics[key] for key in names), None))
        temperature = decimal(np.mean(model.temperatures), 2) if model.temperatures else None
        lines.append((name, "scaled", *(model.scaled_metrics[key] for key in names), temperature))
    return Section(
        "Can its probabilities be trusted?",
        [
            *([Paragraph(_CALIBRATION_NOTE)] if _are_voted(models) else []),
            Table(
                ("Model", "Probabilities", "ECE", "Brier score", "Negative log-likelihood", "Temperature"),
                lines,
                "Lower is better. ECE: expected calibration error, 15 bins. Scaled: by the temperature that suits the "
                "images of other persons or films (five folds; their mean is shown), so no image judges itself. A "
                "temperature above 1 means that the model is overconfident.",
            ),
            Picture(
                "reliability",
                reliability_figure(
                    {name: (model.reliability, model.scaled_reliability) for name, model in models.items()}
                ),
                "Accuracy against confidence, and how many images have that confidence. Below the dotted line a model "
                "is overconfident.",
            ),
        ],
    )


def _curves(models: Mapping[str, ModelMeasurements]) -> Section:
    curves = {name: model.curves for name, model in models.items()}
    return Section(
        "Each class against the rest",
        [
            Picture("roc", roc_figure(curves), "ROC curves of each class; the legend gives the area below."),
            Picture(
                "precision_recall",
                precision_recall_figure(curves),
                "Precision-recall curves of each class; the legend gives the average precision.",
            ),
        ],
    )


def _mistakes(models: Mapping[str, ModelMeasurements], rows: datasets.Dataset) -> Section:
    references = np.array(rows["label"][:])
    blocks: list[Block] = []
    for number, (name, model) in enumerate(models.items(), start=1):
        confidence = model.probabilities.max(axis=1)
        wrong = np.flatnonzero(model.answers != references)
        if not len(wrong):
            blocks.append(Paragraph(f"{name} makes no mistakes."))
            continue
        surest = wrong[np.argsort(-confidence[wrong], kind="stable")][:_MISTAKES]
        texts = [
            f"true: {LABELS[references[row]]}\n{LABELS[model.answers[row]]} {confidence[row]:.0%}" for row in surest
        ]
        images = [to_rgb(image) for image in rows.select(surest)["image"]]
        blocks.append(
            Picture(
                f"mistakes_{number}",
                image_grid(images, texts, [LABELS[references[row]] for row in surest]),
                f"{name}: the {len(surest)} most confident of its {len(wrong):,} mistakes. Some may be wrong labels.",
            )
        )
    return Section("The most confident mistakes", blocks)


def _speed(models: Mapping[str, ModelMeasurements], rows: datasets.Dataset) -> Section:
    blocks: list[Block] = [
        Table(
            ("Model", "Images/s in batches", "One image: median, ms", "95th percentile, ms"),
            [
                (
                    name,
                    f"{model.speed.images_per_s:.0f}",
                    f"{model.speed.median:.1f}",
                    f"{model.speed.percentile_95:.1f}",
                )
                for name, model in models.items()
            ],
            "On this machine, now. In batches of 64 with decoding; one image from decoded pixels to probabilities, the "
            "best of three tries each.",
        )
    ]
    for name, model in models.items():
        order = np.argsort(model.speed.milliseconds, kind="stable")
        extremes = [("fastest", place) for place in order[:_EXTREMES]]
        extremes += [("slowest", place) for place in order[::-1][:_EXTREMES] if place not in order[:_EXTREMES]]
        chosen = [model.speed.rows[place] for _, place in extremes]
        sizes = ["{} x {}".format(*image.size) for image in rows.select(chosen)["image"]]
        blocks.append(
            Table(
                ("", "Image", "Pixels", "ms"),
                [
                    (kind, rows[row]["path"], size, f"{model.speed.milliseconds[place]:.1f}")
                    for (kind, place), row, size in zip(extremes, chosen, sizes, strict=True)
                ],
                f"{name}: the fastest and the slowest of {len(order)} images spread over the data.",
            )
        )
    return Section("Speed", blocks)


def _are_voted(models: Mapping[str, ModelMeasurements]) -> bool:
    return all(has_votes(model.metrics) for model in models.values())


def _largest_class_share(rows: datasets.Dataset) -> float:
    return float(np.bincount(rows["label"][:]).max() / len(rows))
