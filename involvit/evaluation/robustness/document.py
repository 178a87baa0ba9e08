"""The robustness report: its tables, its curves and a sheet that shows what each corruption looks like."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from skimage.util import montage

from dataset_script.rendered.rendered_faces import rendered_faces

from ...reports.blocks import Bullets, Paragraph, Picture, Section, Table
from ...reports.figures import new_figure, series_style, tidy
from ...reports.numbers import count, interval, p_equals, p_value, percent, points_interval
from .corruptions import SEVERITIES, SIDE, Corruption, corrupt
from .measure import OVERALL, Comparison, Estimate, Measurement, ModelRobustness, TestedDifference

_SIGNIFICANT = 0.05
_COLUMNS = 4  # of panels
_SHEET_SEED, _SHEET_FACE = 12, 3  # a rendered face seen from the front, well lit, with nothing before it
_GAP = 4  # pixels between the faces of the sheet
_SEVERITY_NAMES = [str(severity) for severity in range(1, SEVERITIES + 1)]


def robustness_sections(
    measurement: Measurement,
    summary: Mapping[str, ModelRobustness],
    comparisons: Sequence[Comparison],
    data: str,
    seed: int,
) -> list[Section]:
    """Writes the report.

    Args:
        measurement: Which answers are right.
        summary: Of `summarize`.
        comparisons: Of `compare`.
        data: What they were measured on, in words.
        seed: Of the corruptions.
    """
    corruptions = measurement.corruptions
    return [
        Section("What was measured", _method(measurement, data, seed)),
        Section("Mean corruption scores", [_score_table(summary)]),
        Section("By family", _families(summary, comparisons)),
        Section("Accuracy against severity", [_curves(summary, corruptions), _condition_table(summary, corruptions)]),
        Section("The corruptions", [_sheet(corruptions, seed), _parameter_table(corruptions)]),
    ]


def _method(measurement: Measurement, data: str, seed: int) -> list[Paragraph | Bullets]:
    images, groups = len(measurement.groups), len(set(measurement.groups))
    text = (
        f"{count(len(measurement.clean), 'model')} classified {count(images, 'image')} in {count(groups, 'group')} "
        f"({data}), clean and under {count(len(measurement.corruptions), 'corruption')} at {SEVERITIES} severities "
        f"each. All models saw the same corrupted images."
    )
    notes = [
        f"Each image is first resized to {SIDE} x {SIDE} pixels, the clean ones too, so that a severity means the same "
        "for all data.",
        "The severity fixes the strength of a corruption; place, side, sign and noise are random. They follow from the "
        f"seed, {seed}, the corruption and the image's number.",
        "Bars, glasses, hand and mask lie where faces framed as in FER2013 have eyes and mouth. On data framed "
        "differently they cover other parts of the face.",
        "Severities of different corruptions are not of equal strength: compare models, not corruptions.",
        "Intervals are 95% bootstrap intervals that draw whole groups; p-values are corrected by Holm's method over "
        "all tests of this report.",
        "The drop is clean accuracy less the mean accuracy under corruptions. A model is called more robust than "
        "another if its drop is smaller and its accuracy under corruptions is not.",
        "A model may have seen a corruption as an augmentation in training. A difference between models is due to "
        "their architecture only if they were trained in the same way.",
    ]
    return [Paragraph(text), Bullets(notes)]


def _score_table(summary: Mapping[str, ModelRobustness]) -> Table:
    header = ["model", "clean accuracy, %", "mean corruption score, %", "drop, points", "retained", "mCE"]
    rows = [
        [name, _interval(model.clean), *_score_cells(model, OVERALL), percent(model.mean_corruption_error)]
        for name, model in summary.items()
    ]
    caption = (
        "Mean corruption score: mean accuracy over all corruptions and severities. Retained: this score divided by the "
        "clean accuracy. mCE: the errors of all severities divided by those of the first model, averaged over "
        "corruptions (Hendrycks and Dietterich, 2019); lower is better. In brackets: 95% intervals."
    )
    return Table(header, rows, caption)


def _score_cells(model: ModelRobustness, scope: str) -> list[str]:
    return [_interval(model.scores[scope]), _interval(model.drops[scope]), percent(model.retained[scope])]


def _interval(estimate: Estimate) -> str:
    return interval(estimate.value, (estimate.low, estimate.high))


def _families(
    summary: Mapping[str, ModelRobustness], comparisons: Sequence[Comparison]
) -> list[Paragraph | Bullets | Table]:
    first, *_ = summary
    _, *families = summary[first].scores
    rows = [[family, name, *_score_cells(model, family)] for family in families for name, model in summary.items()]
    header = ["family", "model", "accuracy, %", "drop, points", "retained"]
    scores = Table(header, rows, "Mean accuracy over the corruptions of a family and their severities.")
    if not comparisons:
        return [scores, Paragraph("Name a second model to compare the two.")]
    verdicts = Bullets([_verdict(comparison, first) for comparison in comparisons])
    rows = [[it.scope, it.model, *_gap_cells(it.accuracy), *_gap_cells(it.drop)] for it in comparisons]
    header = ["family", "model", "accuracy, points", "p", "drop, points", "p"]
    caption = f"Each model less {first}, on the same images. A negative difference in drop means more robust. The "
    return [verdicts, scores, Table(header, rows, caption + "p-values are corrected.")]


def _verdict(comparison: Comparison, first: str) -> str:
    """Says in a sentence what came out for one model in one family."""
    model, accuracy, drop = comparison.model, comparison.accuracy, comparison.drop
    if drop.corrected_p_value >= _SIGNIFICANT:
        robustness = "no difference in robustness is shown"
    elif drop.value < 0:  # who is seldom right has little to lose
        robustness = f"{model} is more robust" if accuracy.value >= 0 else f"{model} loses less, but had less to lose"
    else:
        robustness = f"{model} is less robust" if accuracy.value <= 0 else f"{model} loses more, but had more to lose"
    level = "no difference in accuracy"
    if accuracy.corrected_p_value < _SIGNIFICANT:
        level = f"{model} is right {'more' if accuracy.value > 0 else 'less'} often under it"
    return (
        f"{comparison.scope.capitalize()}, {model} against {first}: {robustness} (drop {_gap(drop)}); {level} "
        f"(accuracy {_gap(accuracy)})."
    )


def _gap(difference: TestedDifference) -> str:
    return f"{_gap_cells(difference)[0]} points, {p_equals(difference.corrected_p_value)}"


def _gap_cells(difference: TestedDifference) -> list[str]:
    gap = points_interval(difference.value, difference.low, difference.high)
    return [gap, p_value(difference.corrected_p_value)]


def _condition_table(summary: Mapping[str, ModelRobustness], corruptions: Sequence[Corruption]) -> Table:
    rows = []
    for corruption in corruptions:
        for name, model in summary.items():
            shares = model.accuracy[corruption.name]
            shown = [*shares, float(np.mean(shares)), model.corruption_errors[corruption.name]]
            rows.append([corruption.name, name, *map(percent, shown)])
    header = ["corruption", "model", *_SEVERITY_NAMES, "mean", "errors by the first model's"]
    return Table(header, rows, "Accuracy at each severity, and their mean.")


def _parameter_table(corruptions: Sequence[Corruption]) -> Table:
    rows = [[it.name, it.family, it.description, it.parameter, *map("{:g}".format, it.values)] for it in corruptions]
    header = ["corruption", "family", "what is done", "parameter", *_SEVERITY_NAMES]
    return Table(header, rows, f"The parameter of each severity. Sides and pixels are of the image of {SIDE} x {SIDE}.")


def _curves(summary: Mapping[str, ModelRobustness], corruptions: Sequence[Corruption]) -> Picture:
    columns = min(_COLUMNS, len(corruptions))
    lines = -(-len(corruptions) // columns)
    figure = new_figure(2.2 * columns + 0.6, 1.9 * lines + 0.9)
    panels = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False)
    for axes in panels.flat[len(corruptions) :]:
        axes.set_axis_off()
    for axes, corruption in zip(panels.flat, corruptions, strict=False):
        for index, (name, model) in enumerate(summary.items()):
            shares = [model.clean.value, *model.accuracy[corruption.name]]
            axes.plot(range(SEVERITIES + 1), shares, **series_style(index), markersize=4, linewidth=1.5, label=name)
        tidy(axes, title=corruption.name)
        axes.tick_params(labelsize=9)
    panels[0, 0].set(xticks=range(SEVERITIES + 1), ylim=(0, 1))
    figure.supxlabel("severity (0: clean)", fontsize=10)
    figure.supylabel("accuracy", fontsize=10)
    handles, names = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper center", ncols=min(len(names), 3), frameon=False)
    return Picture("robustness_curves", figure, "Accuracy against the severity of each corruption.")


def _sheet(corruptions: Sequence[Corruption], seed: int) -> Picture:
    """Shows a drawn face, no real person, under each corruption, in two blocks side by side."""
    *_, face = rendered_faces(_SHEET_FACE + 1, SIDE, _SHEET_SEED)
    image = np.array(face.image)
    half = -(-len(corruptions) // 2)
    blocks = [block for block in (corruptions[:half], corruptions[half:]) if block]
    figure = new_figure(4.9 * len(blocks), 0.67 * half + 0.5)
    for axes, block in zip(figure.subplots(1, len(blocks), squeeze=False).flat, blocks, strict=True):
        faces = [
            corrupt(image, corruption, severity, seed, 0) if severity else image
            for corruption in block
            for severity in range(SEVERITIES + 1)
        ]
        grid_shape = (len(block), SEVERITIES + 1)
        sheet = montage(faces, (255, 255, 255), grid_shape=grid_shape, padding_width=_GAP, channel_axis=-1)
        axes.imshow(sheet, interpolation="lanczos")
        rows, columns = (_GAP + (SIDE + _GAP) * np.arange(number) + SIDE / 2 for number in grid_shape)
        axes.set_xticks(columns, ["clean", *_SEVERITY_NAMES])
        axes.set_yticks(rows, [corruption.name for corruption in block])
        axes.xaxis.tick_top()
        axes.tick_params(length=0, labelsize=9)
        axes.spines[:].set_visible(False)
    return Picture("corruptions", figure, "One drawn face under each corruption: clean, and severity 1 to 5.")
