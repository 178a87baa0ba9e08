"""Words, tables and figures of a study's report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from statsmodels.stats.proportion import proportion_confint

from ...reports.blocks import Bullets, Paragraph, Picture, Section, Table
from ...reports.figures import new_figure, series_style, tidy
from ...reports.numbers import p_equals, p_value, percent, points_interval
from ...reports.published import PUBLISHED_ROWS
from .measure import LEAKS, TESTED
from .plan import BASELINE

_NAMES = {
    "accuracy": "accuracy",
    "macro_f1": "macro F1",
    "macro_precision": "macro precision",
    "macro_recall": "macro recall",
    "expected_calibration_error": "calibration error",
}
_PAPER = "Liu: transformer + involution"
_PAPER_IMAGES = 68
_SIGNIFICANT = 0.05
_METHOD = (
    "Points, with the 95% interval and the p-value of the corrected resampled t-test (Nadeau and Bengio, Machine "
    "Learning, 2003); the last column corrects for the number of rows (Holm, 1979)."
)


def study_sections(
    runs: pd.DataFrame, summary: pd.DataFrame, comparisons: pd.DataFrame, leak: pd.DataFrame
) -> list[Section]:
    """Sets out the results of a study.

    Args:
        runs: See `read_runs`.
        summary: See `summarize`.
        comparisons: See `compare_variants`; empty where fusion is the only variant.
        leak: See `measure_leak`; empty where no two splits can be compared.
    """
    metrics = [name[0].upper() + name[1:] for name in _NAMES.values()]
    means = [
        Table(
            ["Variant", "Split", "Runs", *metrics, "Parameters, M", "Images/s"],
            [_mean_cells(row) for row in summary.to_dict("records")],
            "Mean ± standard deviation over runs, in percent; images/s are those of training.",
        ),
        Picture(
            "runs",
            runs_figure(runs),
            "Every run as a mark and the mean of its variant and split as a bar; the dashed line is what always "
            "answering the largest class reaches.",
        ),
    ]
    variants = [
        Paragraph(f"No run of another variant has one of {BASELINE} on the same split, seed and fold beside it.")
    ]
    if not comparisons.empty:
        header = ["Variant", "Split", "Pairs", f"Variant less {BASELINE}"]
        variants = [_test_table(comparisons, header, "Runs of the same split, seed and fold are paired.")]
    leaks = [Paragraph(_no_leak(runs))]
    if not leak.empty:
        header = ["Variant", "Split", "Person-disjoint", "Seeds", "Gain"]
        gain = "What a split that may put one person on both sides gains over a person-disjoint one."
        lines = (
            "Each thin line is one seed, its folds averaged; the thick one is the mean. Where lines fall, the split on "
            "the left flatters the model; the dashed line is always answering the largest class."
        )
        leaks = [_test_table(leak, header, gain), Picture("leak", leak_figure(runs), lines)]
    return [
        Section("Summary", [Bullets(_statements(runs, summary, comparisons, leak))]),
        Section("Means", means),
        Section("Variants against fusion", variants),
        Section("Leak between the sides of a split", leaks),
    ]


def _statements(runs: pd.DataFrame, summary: pd.DataFrame, comparisons: pd.DataFrame, leak: pd.DataFrame) -> list[str]:
    shares = runs["largest_class_share"]
    published, (low, high) = PUBLISHED_ROWS[_PAPER][0], paper_interval()
    statements = [
        f"Runs: {len(runs)}, with seeds {_span(runs['seed'])}. Images: {_span(runs['train_images'])} for training and "
        f"{_span(runs['evaluated_images'])} for measuring.",
        *_leak_statements(runs, leak),
        *_comparison_statements(comparisons),
        f"Always answering the largest class reaches {_span(100 * shares, '.1f')}% accuracy.",
        f"The paper published {percent(published)} on SFEW, on one split of {_PAPER_IMAGES} images: by the number of "
        f"images alone, any accuracy from {percent(low)} to {percent(high)} agrees with that figure (Clopper and "
        f"Pearson's exact 95% interval).",
    ]
    if summary["accuracy_deviation"].isna().any() or pd.concat([comparisons, leak])["p_value"].isna().any():
        statements.append("A dash means that a single run or seed gives no deviation and no test: raise --repeats.")
    return statements


def _leak_statements(runs: pd.DataFrame, leak: pd.DataFrame) -> list[str]:
    first = runs["variant"].iloc[0]
    return [
        f"With the variant {first}, the split {row['split']} gains {_difference(row)} points of accuracy over the "
        f"person-disjoint {row['disjoint']} (seeds: {row['pairs']}, {p_equals(row['p_value'])})."
        for row in leak[(leak["metric"] == "accuracy") & (leak["variant"] == first)].to_dict("records")
    ] or [_no_leak(runs)]


def _comparison_statements(comparisons: pd.DataFrame) -> list[str]:
    tested = comparisons.dropna(subset="p_holm")
    if tested.empty:
        return []
    found = "; ".join(
        f"{row['variant']} on {row['split']}, {_NAMES[row['metric']]} {_difference(row)} ({p_equals(row['p_holm'])})"
        for row in tested[tested["p_holm"] < _SIGNIFICANT].to_dict("records")
    )
    differ = f"no variant differs from {BASELINE}; to show a small difference takes more runs"
    if found:
        differ = f"these differ from {BASELINE}, in points: {found}"
    return [f"After Holm's correction for {len(tested)} comparisons, {differ}."]


def paper_interval() -> tuple[float, float]:
    """Returns Clopper and Pearson's exact 95% interval of the accuracy that the paper published, 44 of 68 images."""
    right = round(PUBLISHED_ROWS[_PAPER][0] * _PAPER_IMAGES)
    return proportion_confint(right, _PAPER_IMAGES, method="beta")


def runs_figure(runs: pd.DataFrame) -> Figure:
    """Draws accuracy and macro F1 of every run, see `read_runs`, by variant and split, with the means."""
    variants, splits = list(runs["variant"].unique()), list(runs["split"].unique())
    figure = new_figure(max(6.0, 1.6 * len(variants) + 2), 7)
    for axes, metric in zip(figure.subplots(len(TESTED), 1, sharex=True), TESTED, strict=True):
        for index, split in enumerate(splits):
            offset = 0.8 * ((index + 0.5) / len(splits) - 0.5)
            style = {**series_style(index), "linestyle": "none"}
            own = runs[runs["split"] == split]
            places = own["variant"].map(variants.index) + offset
            axes.plot(places, 100 * own[metric], **style, markersize=5, alpha=0.75, label=split)
            for variant, values in own.groupby("variant")[metric]:
                place = variants.index(variant) + offset
                axes.hlines(100 * values.mean(), place - 0.3 / len(splits), place + 0.3 / len(splits), "black", lw=1.8)
        if metric == "accuracy":
            share = 100 * runs["largest_class_share"].mean()
            axes.axhline(share, color="black", linestyle="--", linewidth=1, label="largest class")
        axes.set_xticks(range(len(variants)), variants)
        tidy(axes, ylabel=f"{_NAMES[metric]}, %")
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=3, frameon=False)
    return figure


def leak_figure(runs: pd.DataFrame) -> Figure:
    """Draws the accuracy of each variant on splits with and without shared persons, seed by seed.

    At least one variant and seed of the runs must be on both splits of one of `LEAKS`.
    """
    by_seed = runs.pivot_table("accuracy", ["variant", "seed"], "split", sort=False)
    pairs = {pair: accuracy for pair in LEAKS if len(accuracy := by_seed.reindex(columns=pair).dropna())}
    figure = new_figure(max(4.5, 1.7 * runs["variant"].nunique() + 1), 3.4 * len(pairs))
    all_axes = figure.subplots(len(pairs), 1, squeeze=False)[:, 0]
    for axes, (pair, accuracy) in zip(all_axes, pairs.items(), strict=True):
        ticks = []
        for index, (variant, values) in enumerate(accuracy.groupby("variant", sort=False)):
            places = [3 * index, 3 * index + 1.5]
            ticks += places
            style = series_style(index)
            for of_seed in 100 * values.to_numpy():
                axes.plot(places, of_seed, color=style["color"], linewidth=0.9, marker=style["marker"], markersize=4)
            axes.plot(places, 100 * values.mean(), color="black", linewidth=2.5)
            axes.annotate(variant, (3 * index + 0.75, 1), xycoords=("data", "axes fraction"), ha="center", va="bottom")
        axes.axhline(100 * runs["largest_class_share"].mean(), color="black", linestyle="--", linewidth=1)
        axes.set_xticks(ticks, pair * (len(ticks) // 2), fontsize=8)
        axes.margins(x=0.06)
        tidy(axes, ylabel="accuracy, %")
    return figure


def _mean_cells(row: dict[str, Any]) -> list[Any]:
    means = [f"{percent(row[name], '')} ± {percent(row[f'{name}_deviation'], '')}" for name in _NAMES]
    speed = round(row["training_images_per_s"])
    return [row["variant"], row["split"], row["runs"], *means, row["parameters"] / 1e6, speed]


def _test_table(tests: pd.DataFrame, header: Sequence[str], caption: str) -> Table:
    """Sets out tests; the header names what is compared, their number and the difference."""
    rows = [
        [_NAMES[metric], *compared, points_interval(value, low, high), p_value(p), p_value(p_holm)]
        for metric, *compared, value, low, high, p, p_holm in tests.itertuples(index=False)
    ]
    return Table(["Metric", *header, "p", "p, Holm"], rows, f"{caption} {_METHOD}")


def _difference(row: dict[str, Any]) -> str:
    return points_interval(row["difference"], row["low"], row["high"])


def _no_leak(runs: pd.DataFrame) -> str:
    if (runs["evaluated_on"] == "test").all():
        return "The data has a test part of its own, the same for every split: no leak can be measured on it."
    pairs = " or ".join(f"{split} with {disjoint}" for split, disjoint in LEAKS)
    return f"The leak was not measured; that takes runs of the same variant and seed on two splits: {pairs}."


def _span(values: pd.Series, form: str = "d") -> str:
    low, high = format(values.min(), form), format(values.max(), form)
    return low if low == high else f"{low} to {high}"
