"""What the runs of a study reached: means, paired tests of the variants, and what a split without groups gains."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from dataset_script.splits import METHODS

from ..statistics import corrected_resampled_t_test, holm
from .plan import BASELINE, VARIANTS

TESTED = ("accuracy", "macro_f1")
LEAKS = (("random", "group"), ("stratified", "group"), ("kfold", "group_kfold"))
"""Splits that may put one person on both sides, each with the one of its kind that does not."""
_METRICS = (*TESTED, "macro_precision", "macro_recall", "expected_calibration_error")


def read_runs(folder: Path) -> pd.DataFrame:
    """Reads the finished runs of a study.

    Args:
        folder: That of all runs, with `VARIANT/SPLIT/RUN/report.json`.

    Returns:
        One row per run, sorted by variant, split, seed and fold: `variant`, `split`, `seed`, `fold`, `accuracy`,
        `macro_f1`, `macro_precision`, `macro_recall`, `expected_calibration_error` (all 0 to 1), `train_images`,
        `evaluated_images`, `evaluated_on` (validation or test), `largest_class_share` (0 to 1), `parameters` and
        `training_images_per_s`.
    """
    rows = []
    for path in folder.glob("*/*/*/report.json"):
        report = json.loads(path.read_text())
        metrics, run = report["metrics"], report["run"]
        row = {
            "variant": path.parts[-4],
            "split": path.parts[-3],
            "seed": run["recipe"]["seed"],
            "fold": run["recipe"]["fold"],
            **{name: metrics[name] for name in _METRICS},
            "train_images": run["images"]["train"],
            "evaluated_images": run["images"][run["evaluated_on"]],
            **{name: run[name] for name in ("evaluated_on", "largest_class_share")},
            **{name: run[name] for name in ("parameters", "training_images_per_s")},
        }
        rows.append(row)
    rows.sort(key=lambda row: (VARIANTS.index(row["variant"]), METHODS.index(row["split"]), row["seed"], row["fold"]))
    return pd.DataFrame(rows)


def summarize(runs: pd.DataFrame) -> pd.DataFrame:
    """Averages the runs of each variant and split.

    Args:
        runs: See `read_runs`.

    Returns:
        One row per variant and split: `variant`, `split`, `runs`, of each metric the mean under its name and the
        standard deviation over runs as `NAME_deviation` (n - 1 in the denominator, NaN for one run), and the means of
        `parameters` and `training_images_per_s`.
    """
    groups = runs.groupby(["variant", "split"], sort=False)
    columns = {"runs": ("seed", "size")}
    for name in _METRICS:
        columns |= {name: (name, "mean"), f"{name}_deviation": (name, "std")}
    columns |= {name: (name, "mean") for name in ("parameters", "training_images_per_s")}
    return groups.agg(**columns).reset_index()


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
    rows = []
    for metric in TESTED:
        for (variant, split), own in runs[runs["variant"] != BASELINE].groupby(["variant", "split"], sort=False):
            pairs = own.set_index(keys).join(of_fusion, how="inner", rsuffix="_fusion")
            if not pairs.empty:
                tested = _test(pairs, metric, f"{metric}_fusion")
                rows.append({"metric": metric, "variant": variant, "split": split, **tested})
    return _with_holm(rows, ["variant", "split"])


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
    by_seed = by_seed.reset_index()
    rows = []
    for metric in TESTED:
        for split, disjoint in LEAKS:
            of_disjoint = by_seed[by_seed["split"] == disjoint].set_index(["variant", "seed"])
            of_split = by_seed[by_seed["split"] == split].set_index(["variant", "seed"])
            paired = of_split.join(of_disjoint, how="inner", rsuffix="_disjoint")
            for variant, pairs in paired.groupby("variant", sort=False):
                tested = _test(pairs, metric, f"{metric}_disjoint")
                rows.append({"metric": metric, "variant": variant, "split": split, "disjoint": disjoint, **tested})
    return _with_holm(rows, ["variant", "split", "disjoint"])


def _test(pairs: pd.DataFrame, value: str, other: str) -> dict[str, Any]:
    ratio = pairs["evaluated_images"].sum() / pairs["train_images"].sum()
    difference, (low, high), p_value = corrected_resampled_t_test(pairs[value] - pairs[other], ratio)
    return {"pairs": len(pairs), "difference": difference, "low": low, "high": high, "p_value": p_value}


def _with_holm(rows: list[dict[str, Any]], keys: Sequence[str]) -> pd.DataFrame:
    columns = ["metric", *keys, "pairs", "difference", "low", "high", "p_value"]
    tested = pd.DataFrame(rows, columns=columns)
    return tested.assign(p_holm=holm(tested["p_value"].tolist()))
