"""What the runs of a study reached: means, paired tests of the variants, and what a split without groups gains."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from dataset_script.splits import METHODS

from ...training.file_faults import read_fields
from ..statistics import corrected_resampled_t_test, holm
from .plan import BASELINE, VARIANTS

TESTED = ("accuracy", "macro_f1")
LEAKS = (("random", "group"), ("stratified", "group"), ("kfold", "group_kfold"))
"""Splits that may put one person on both sides, each with the one of its kind that does not."""
_METRICS = (*TESTED, "macro_precision", "macro_recall", "expected_calibration_error")
_SIZES = ("parameters", "training_images_per_s")
_OTHER = "_of_other"  # after the names of columns of the run that another is compared with


def read_runs(folder: Path) -> pd.DataFrame:
    """Reads the finished runs of a study.

    Args:
        folder: That of all runs, with `VARIANT/SPLIT/RUN/report.json`.

    Returns:
        One row per run, sorted by variant, split, seed and fold: `variant`, `split`, `seed`, `fold`, `accuracy`,
        `macro_f1`, `macro_precision`, `macro_recall`, `expected_calibration_error` (all 0 to 1), `train_images`,
        `evaluated_images`, `evaluated_on` (validation or test), `largest_class_share` (0 to 1), `parameters` and
        `training_images_per_s`.

    Raises:
        ValueError: If a report is damaged.
    """
    rows = []
    for path in folder.glob("*/*/*/report.json"):
        if _is_of_run(path.relative_to(folder)):
            report = read_fields(path, "remove it to have its run carried out again", ("metrics", "run"))
            try:
                rows.append(_row(path, report))
            except (KeyError, TypeError) as error:
                raise ValueError(f"{path} is not as `involvit train` writes it ({error!r}); remove it") from error
    rows.sort(key=lambda row: (VARIANTS.index(row["variant"]), METHODS.index(row["split"]), row["seed"], row["fold"]))
    return pd.DataFrame(rows)


def foreign_reports(folder: Path) -> list[Path]:
    """Returns the reports in the folder of all runs that `read_runs` leaves out: of no variant, split or seed."""
    return sorted(path for path in folder.rglob("report.json") if not _is_of_run(path.relative_to(folder)))


def _is_of_run(path: Path) -> bool:
    match path.parts:
        case variant, split, run, _:
            known = variant in VARIANTS and split in METHODS
            return known and re.fullmatch(r"seed-?\d+(_fold\d+)?", run) is not None
    return False


def _row(path: Path, report: dict[str, Any]) -> dict[str, Any]:
    *_, variant, split, _, _ = path.parts
    metrics, run = report["metrics"], report["run"]
    row = {"variant": variant, "split": split, "seed": run["recipe"]["seed"], "fold": run["recipe"]["fold"]}
    row |= {name: metrics[name] for name in _METRICS}
    row |= {"train_images": run["images"]["train"], "evaluated_images": run["images"][run["evaluated_on"]]}
    return row | {name: run[name] for name in ("evaluated_on", "largest_class_share", *_SIZES)}


def summarize(runs: pd.DataFrame) -> pd.DataFrame:
    """Averages the runs of each variant and split.

    Args:
        runs: See `read_runs`.

    Returns:
        One row per variant and split: `variant`, `split`, `runs`, of each metric the mean under its name and the
        standard deviation over runs as `NAME_deviation` (n - 1 in the denominator, NaN for one run), and the means of
        `parameters` and `training_images_per_s`.
    """
    columns = {"runs": ("seed", "size")}
    for name in _METRICS:
        columns |= {name: (name, "mean"), f"{name}_deviation": (name, "std")}
    columns |= {name: (name, "mean") for name in _SIZES}
    return runs.groupby(["variant", "split"], sort=False).agg(**columns).reset_index()


def compare_variants(runs: pd.DataFrame) -> pd.DataFrame:
    """Tests each variant against the fusion model on the same splits, seeds and folds.

    Nadeau and Bengio's corrected resampled t-test; over folds of several seeds it is the test of R. Bouckaert and
    E. Frank, "Evaluating the Replicability of Significance Tests for Comparing Learning Algorithms", PAKDD 2004.

    Args:
        runs: See `read_runs`.

    Returns:
        One row per metric, variant and split: `metric`, `variant`, `split`, `pairs`, `difference` (variant less
        fusion), `low` and `high` (its 95% interval), `p_value`, and `p_holm`, corrected over all rows. NaN where there
        is one pair only.
    """
    keys = ["split", "seed", "fold"]
    of_fusion = runs[runs["variant"] == BASELINE].set_index(keys)
    others = runs[runs["variant"] != BASELINE].groupby(["variant", "split"], sort=False)
    pairs = {names: own.set_index(keys).join(of_fusion, how="inner", rsuffix=_OTHER) for names, own in others}
    return _tested(pairs, ["variant", "split"])


def measure_leak(runs: pd.DataFrame) -> pd.DataFrame:
    """Measures by how much a split that may put one person on both sides flatters a model.

    Runs are paired by seed, those of folds as their mean. The corrected resampled t-test is used here too, although
    the two sides are held out by different splits: the splits of all seeds share their images.

    Args:
        runs: See `read_runs`. Those measured on a test part, which no split touches, are left out.

    Returns:
        One row per metric, pair of `LEAKS` and variant: `metric`, `variant`, `split`, `disjoint`, `pairs` (seeds),
        `difference` (split less disjoint), `low`, `high`, `p_value` and `p_holm` as in `compare_variants`.
    """
    numbers = [*TESTED, "train_images", "evaluated_images"]
    by_seed = runs[runs["evaluated_on"] != "test"].groupby(["split", "variant", "seed"], sort=False)[numbers].mean()
    by_split = {split: own.droplevel("split") for split, own in by_seed.groupby(level="split")}
    pairs = {}
    for split, disjoint in LEAKS:
        if split in by_split and disjoint in by_split:
            both = by_split[split].join(by_split[disjoint], how="inner", rsuffix=_OTHER)
            pairs |= {(variant, split, disjoint): own for variant, own in both.groupby("variant", sort=False)}
    return _tested(pairs, ["variant", "split", "disjoint"])


def _tested(pairs: dict[tuple[str, ...], pd.DataFrame], names: Sequence[str]) -> pd.DataFrame:
    """Tests each metric of each set of paired runs; `names` are those of the parts of its key."""
    rows = []
    for metric in TESTED:
        for key, runs in pairs.items():
            if not runs.empty:
                ratio = runs["evaluated_images"].sum() / runs["train_images"].sum()
                value, bounds, p = corrected_resampled_t_test(runs[metric] - runs[metric + _OTHER], ratio)
                rows.append((metric, *key, len(runs), value, *bounds, p))
    columns = ["metric", *names, "pairs", "difference", "low", "high", "p_value"]
    tested = pd.DataFrame(rows, columns=columns)
    return tested.assign(p_holm=holm(tested["p_value"].tolist()))
