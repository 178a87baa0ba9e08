import json

import pandas as pd
import pytest
from scipy import stats

from involvit.evaluation.study.measure import compare_variants, foreign_reports, measure_leak, read_runs, summarize


def row(variant="fusion", split="random", seed=0, fold=0, accuracy=0.5, **changes):
    values = dict.fromkeys(("macro_f1", "macro_precision", "macro_recall"), accuracy)
    values |= {"expected_calibration_error": 0.1, "train_images": 10**9, "evaluated_images": 1}
    values |= {"evaluated_on": "validation", "largest_class_share": 0.2, "parameters": 1e6}
    values |= {"training_images_per_s": 10.0}
    return {"variant": variant, "split": split, "seed": seed, "fold": fold, "accuracy": accuracy, **values, **changes}


def write_run(folder, split="group", seed=42, fold=0, accuracy=0.5, evaluated_on="validation"):
    folder.mkdir(parents=True)
    names = ("macro_f1", "macro_precision", "macro_recall", "expected_calibration_error")
    run = {
        "recipe": {"split": split, "seed": seed, "fold": fold},
        "images": {"train": 80, "validation": 20, "test": 30},
        "evaluated_on": evaluated_on,
        "largest_class_share": 0.25,
        "parameters": 1000,
        "training_images_per_s": 12.5,
    }
    metrics = {"accuracy": accuracy, **dict.fromkeys(names, accuracy)}
    (folder / "report.json").write_text(json.dumps({"metrics": metrics, "run": run}))


def test_finished_runs_are_read_in_the_order_of_variants_splits_seeds_and_folds(tmp_path):
    write_run(tmp_path / "vit" / "random" / "seed42")
    write_run(tmp_path / "fusion" / "kfold" / "seed42_fold1", fold=1)
    write_run(tmp_path / "fusion" / "kfold" / "seed42_fold0", fold=0)
    write_run(tmp_path / "fusion" / "group" / "seed43", seed=43, evaluated_on="test")
    (tmp_path / "fusion" / "group" / "seed44").mkdir()  # not finished
    runs = read_runs(tmp_path)
    assert runs[["variant", "split", "seed", "fold"]].to_numpy().tolist() == [
        ["fusion", "group", 43, 0],
        ["fusion", "kfold", 42, 0],
        ["fusion", "kfold", 42, 1],
        ["vit", "random", 42, 0],
    ]
    assert runs["evaluated_images"].tolist() == [30, 20, 20, 20]
    assert read_runs(tmp_path / "none").empty


def test_the_summary_is_mean_and_sample_deviation():
    runs = pd.DataFrame([row(accuracy=0.4), row(accuracy=0.6, seed=1), row(split="group", accuracy=0.3)])
    summary = summarize(runs)
    assert summary["runs"].tolist() == [2, 1]
    assert summary["accuracy"].tolist() == pytest.approx([0.5, 0.3])
    assert summary["accuracy_deviation"].iloc[0] == pytest.approx(0.02**0.5)
    assert pd.isna(summary["accuracy_deviation"].iloc[1])


def test_with_a_tiny_held_out_part_the_comparison_is_the_paired_t_test_of_scipy():
    fusion, vit = [0.61, 0.58, 0.66, 0.70], [0.55, 0.57, 0.60, 0.61]
    rows = [row("vit", seed=seed, accuracy=accuracy) for seed, accuracy in enumerate(vit)]
    rows += [row("fusion", seed=seed, accuracy=fusion[seed]) for seed in (2, 0, 3, 1)]  # paired by seed, not by place
    rows.append(row("fusion", seed=9, accuracy=0.99))  # without a partner
    comparisons = compare_variants(pd.DataFrame(rows)).set_index("metric")
    expected = stats.ttest_rel(vit, fusion)
    found = comparisons.loc["accuracy"]
    assert found["pairs"] == 4
    assert found["difference"] == pytest.approx(-0.055)
    assert found["p_value"] == pytest.approx(expected.pvalue, rel=1e-6)
    assert (found["low"], found["high"]) == pytest.approx(tuple(expected.confidence_interval()), rel=1e-6)
    assert found["p_holm"] == pytest.approx(min(1, 2 * expected.pvalue), rel=1e-6)  # two metrics, the same values


def test_a_large_held_out_part_widens_the_interval_as_nadeau_and_bengio_say():
    rows = [row("vit", seed=seed, accuracy=value) for seed, value in enumerate((0.5, 0.6))]
    rows += [row(seed=seed, accuracy=0.5) for seed in (0, 1)]
    runs = pd.DataFrame(rows).assign(train_images=80, evaluated_images=40)
    found = compare_variants(runs).iloc[0]
    error = ((1 / 2 + 40 / 80) * 0.005) ** 0.5  # the variance of 0 and 0.1 is 0.005
    assert found["high"] - found["difference"] == pytest.approx(stats.t(1).ppf(0.975) * error)


def test_the_leak_is_paired_by_seed_and_folds_are_averaged():
    rows = [row(split="random", seed=seed, accuracy=value) for seed, value in ((0, 0.7), (1, 0.8))]
    rows += [row(split="group", seed=seed, accuracy=value) for seed, value in ((1, 0.6), (0, 0.6), (2, 0.1))]
    for fold, value in enumerate((0.5, 0.7)):
        rows += [row(split="kfold", fold=fold, accuracy=value), row(split="group_kfold", fold=fold, accuracy=0.5)]
    leak = measure_leak(pd.DataFrame(rows))
    leak = leak[leak["metric"] == "accuracy"].set_index("split")
    assert leak["difference"].to_dict() == pytest.approx({"random": 0.15, "kfold": 0.1})
    assert leak["pairs"].to_dict() == {"random": 2, "kfold": 1}
    assert leak.loc["random", "p_value"] == pytest.approx(stats.ttest_rel([0.7, 0.8], [0.6, 0.6]).pvalue)
    assert pd.isna(leak.loc["kfold", "p_value"])


def test_no_leak_is_measured_on_a_test_part_that_no_split_touches():
    runs = pd.DataFrame([row(split=split, evaluated_on="test") for split in ("random", "group")])
    assert measure_leak(runs).empty


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "{}", '{"metrics": {}, "run": {}}', '{"metrics": 1, "run": {"recipe": []}}']
)
def test_a_damaged_report_is_named(tmp_path, content):
    write_run(tmp_path / "vit" / "group" / "seed42")
    (tmp_path / "vit" / "group" / "seed42" / "report.json").write_text(content)
    with pytest.raises(ValueError, match=r"seed42.report\.json is .*; remove it"):
        read_runs(tmp_path)


def test_what_is_no_run_of_a_study_is_told_apart(tmp_path):
    write_run(tmp_path / "vit" / "group" / "seed42")
    foreign = ["old", "old/group/seed42", "vit/backup/seed42", "vit/group/seed42 (copy)"]
    for name in foreign:
        write_run(tmp_path / name)
    assert len(read_runs(tmp_path)) == 1
    assert foreign_reports(tmp_path) == sorted(tmp_path / name / "report.json" for name in foreign)
