import numpy as np
import pandas as pd
import pytest
from scipy import stats

from involvit.evaluation.study.document import leak_figure, paper_interval, runs_figure, study_sections
from involvit.evaluation.study.measure import compare_variants, measure_leak, summarize
from involvit.reports.blocks import Bullets, Picture, Table
from involvit.reports.writer import write_report


def make_runs(seeds, variants=("fusion", "vit"), splits=("random", "group"), **changes):
    names = ("macro_f1", "macro_precision", "macro_recall", "expected_calibration_error")
    rows = []
    for variant in variants:
        for split in splits:
            for seed in range(seeds):
                accuracy = 0.6 - 0.2 * (variant == "vit") - 0.1 * (split == "group") + 0.001 * seed
                row = {"variant": variant, "split": split, "seed": seed, "fold": 0, "accuracy": accuracy}
                row |= dict.fromkeys(names, accuracy - 0.01 * seed)
                row |= {"train_images": 80, "evaluated_images": 20, "evaluated_on": "validation"}
                row |= {"largest_class_share": 0.25, "parameters": 1_500_000, "training_images_per_s": 99.7, **changes}
                rows.append(row)
    return pd.DataFrame(rows)


def sections_of(runs):
    return study_sections(runs, summarize(runs), compare_variants(runs), measure_leak(runs))


def blocks(sections, kind):
    return [block for section in sections for block in section.blocks if isinstance(block, kind)]


def test_the_report_says_what_leaks_and_which_variant_differs(tmp_path):
    runs = make_runs(seeds=3)
    sections = sections_of(runs)
    text = " ".join(blocks(sections, Bullets)[0].items)
    assert "With the variant fusion, the split random gains +10.0 [+10.0, +10.0] points" in text
    assert "vit on random, accuracy −20.0" in text
    assert "Always answering the largest class reaches 25.0% accuracy" in text
    assert "any accuracy from 52.2% to 75.9%" in text
    assert "A dash means" not in text
    means = blocks(sections, Table)[0]
    assert means.rows[0][:4] == ["fusion", "random", 3, "60.1 ± 0.1"]
    assert means.rows[0][-2:] == [1.5, 100]
    assert write_report(tmp_path / "out", "Study", "involvit study", sections, {}).exists()


def test_a_single_repeat_has_dashes_and_a_sentence_about_them():
    sections = sections_of(make_runs(seeds=1))
    assert "raise --repeats" in blocks(sections, Bullets)[0].items[-1]
    means, variants, leak = blocks(sections, Table)
    assert means.rows[0][3] == "60.0 ± -"
    assert variants.rows[0][-3:] == ["−20.0", "-", "-"]
    assert leak.rows[0][-3:] == ["+10.0", "-", "-"]


def test_without_pairs_it_says_what_the_leak_would_take():
    sections = sections_of(make_runs(seeds=2, variants=("fusion",), splits=("random",)))
    assert [picture.name for picture in blocks(sections, Picture)] == ["runs"]
    assert any("random with group" in item for item in blocks(sections, Bullets)[0].items)
    on_test = sections_of(make_runs(seeds=2, evaluated_on="test"))
    assert any("test part of its own" in item for item in blocks(on_test, Bullets)[0].items)


def test_the_papers_interval_is_where_44_of_68_becomes_unlikely():
    low, high = paper_interval()
    assert stats.binom.sf(43, 68, low) == pytest.approx(0.025)
    assert stats.binom.cdf(44, 68, high) == pytest.approx(0.025)


def test_the_figures_hold_every_run_and_a_line_a_seed():
    runs = make_runs(seeds=3)
    accuracy_axes = runs_figure(runs).axes[0]
    drawn = np.concatenate(
        [line.get_ydata() for line in accuracy_axes.lines if line.get_label() in ("random", "group")]
    )
    assert sorted(drawn) == pytest.approx(sorted(100 * runs["accuracy"]))
    lines = [line.get_ydata() for line in leak_figure(runs.iloc[:-3]).axes[0].lines]  # vit lacks group
    assert lines[1] == pytest.approx([60.1, 50.1])
    assert len(lines) == 3 + 1 + 1  # fusion's seeds and their mean, and the largest class
