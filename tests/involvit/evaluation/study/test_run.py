"""Studies whose runs are a short script instead of `involvit train`, and one that trains."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import joblib
import pytest
import torch
import yaml

from involvit.evaluation.study import run as study
from involvit.evaluation.study.plan import plan_runs, variant_flags
from involvit.training.recipe import Recipe, parse_recipe
from involvit.training.run_folder import hold_folder

from ...training.training_runs import MODEL

RECIPE = {
    "rendered_images": 56,
    "rendered_size": 96,
    "validation_fraction": 0.25,
    "num_epochs": 1,
    "batch_size": 16,
    "num_workers": 0,
    "augmentation": [{"HorizontalFlip": {"p": 0.5}}],
    "model": MODEL,
}
FAKE_RUN = """
import json, os, pathlib, sys
folder, split, seed, fold = pathlib.Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
print("threads", sys.argv[5], "gpu", os.environ.get("CUDA_VISIBLE_DEVICES"))
if sys.argv[6] in str(folder):
    sys.exit("error: this run was meant to fail")
folder.mkdir(parents=True, exist_ok=True)
(folder / "checkpoints").mkdir(exist_ok=True)
(folder / "model.safetensors").write_bytes(b"weights")
(folder / "recipe.yaml").write_text("num_threads: null")
names = ("accuracy", "macro_f1", "macro_precision", "macro_recall", "expected_calibration_error")
run = {"recipe": {"seed": seed, "fold": fold}, "images": {"train": 42, "validation": 14}, "evaluated_on": "validation",
       "largest_class_share": 0.2, "parameters": 1000, "training_images_per_s": 10.0}
metrics = dict.fromkeys(names, 0.5 + 0.01 * (seed % 5))
(folder / "report.json").write_text(json.dumps({"metrics": metrics, "run": run}))
"""


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(RECIPE))
    return path


@pytest.fixture
def fake(monkeypatch):
    """Has runs take a moment; returns which were started, and a list of words that make a run fail."""
    started, failing = [], []

    def run_command(run, flags, recipe, num_threads, launch_flags=()):
        started.append(str(run.folder))
        folder = Path(recipe.output_dir) / run.folder
        words = [folder, run.split, run.seed, run.fold or 0, num_threads, failing[0] if failing else "no such run"]
        return [sys.executable, "-c", FAKE_RUN, *map(str, words)]

    monkeypatch.setattr(study, "run_command", run_command)
    return started, failing


def go(config, out, **changes):
    options = {"data": None, "variants": ["fusion", "vit"], "splits": ["random", "group"], "repeats": 1, "n_folds": 2}
    return study.run_study(config, out=out, **{**options, "jobs": 1, "settings": [], "command": "study", **changes})


def test_runs_come_seed_by_seed_and_each_fold_of_the_folded_splits():
    runs = plan_runs(["fusion", "vit"], ["random", "kfold"], [7, 8], n_folds=3)
    assert len(runs) == len(set(runs)) == 2 * 2 * (1 + 3)
    assert [run.seed for run in runs] == [7] * 8 + [8] * 8
    assert str(runs[2].folder) == "fusion/kfold/seed7_fold0"


def test_variants_change_what_they_say():
    model = {**MODEL, "image_size": 64}
    recipe = Recipe("out", model=model, rednet_checkpoint="r.pth", vit_pretrained="v", frozen=["rednet", "vit"])

    def changed(variant):
        words = [f"--{name}={json.dumps(value)}" for name, value in {"model": model, "frozen": recipe.frozen}.items()]
        words += ["--out=out", "--rednet_checkpoint=r.pth", "--vit_pretrained=v"]
        return parse_recipe([*words, *variant_flags(variant, recipe)])

    assert variant_flags("fusion", recipe) == []
    vit = changed("vit")
    assert vit.model == {**model, "branches": "vit"}
    assert (vit.frozen, vit.rednet_checkpoint, vit.vit_pretrained) == (["vit"], None, "v")
    assert changed("half_width").model["fusion_channels"] == 16
    assert changed("half_grid").model["fusion_grid"] == 8  # one stage of the transformer's backbone: 64 / 4 / 2
    with pytest.raises(ValueError, match="no augmentation"):
        variant_flags("no_augmentation", recipe)
    with pytest.raises(ValueError, match="pretrained"):
        variant_flags("half_width", Recipe("out", pretrained="somewhere"))


def test_half_of_the_default_grid_is_half_of_what_the_model_builds():
    from modeling_involvit import InvolViTConfig, InvolViTModel

    for image_size in (32, 44, 64):
        model = {**MODEL, "image_size": image_size}
        with torch.device("meta"):
            built = InvolViTModel(InvolViTConfig(**model)).vit.grid_size[0]
        assert variant_flags("half_grid", Recipe("out", model=model)) == [f"--model.fusion_grid={built // 2}"]


def test_a_study_is_continued_and_can_be_extended(config, tmp_path, fake, capsys):
    started, _ = fake
    out = tmp_path / "out"
    assert go(config, out, variants=["fusion"], splits=["random"]) == 0
    assert started == ["fusion/random/seed42"]
    assert go(config, out, splits=["random", "group"], repeats=2) == 0
    assert len(set(started)) == len(started) == 2 * 2 * 2  # none twice
    assert "8 runs" in capsys.readouterr().out
    report = json.loads((out / "report" / "report.json").read_text())
    assert len(report["runs"]) == 8
    run = out / "runs" / "fusion" / "random" / "seed42"
    assert {path.name for path in run.iterdir()} == {"report.json", "recipe.yaml"}

    (run / "model.safetensors").touch()  # finished after its study was killed
    (run / "checkpoints").mkdir()
    assert go(config, out, splits=["random", "group"], repeats=2) == 0
    assert {path.name for path in run.iterdir()} == {"report.json", "recipe.yaml"}


def test_another_recipe_or_other_data_is_refused_and_another_number_of_workers_is_not(config, tmp_path, fake):
    out = tmp_path / "out"
    go(config, out, variants=["fusion"], splits=["random"])
    with pytest.raises(ValueError, match="another num_epochs; continue with the values in"):
        go(config, out, settings=["num_epochs=2"])
    with pytest.raises(ValueError, match="another data"):
        go(config, out, data=str(tmp_path))
    assert go(config, out, variants=["fusion"], splits=["random"], settings=["num_workers=1"]) == 0
    assert len(fake[0]) == 1


def test_a_failed_run_is_reported_and_the_others_are_finished(config, tmp_path, fake, capsys):
    started, failing = fake
    failing.append("vit/group")
    out = tmp_path / "out"
    assert go(config, out) == 1
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("error: 1 of 4 runs failed: vit/group/seed42: this run was meant to fail (")
    assert len(json.loads((out / "report" / "report.json").read_text())["runs"]) == 3
    failing.clear()
    assert go(config, out) == 0
    assert started[4:] == ["vit/group/seed42"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"settings": ["num_epoch=2"]}, "did you mean num_epochs"),
        ({"settings": ["num_epochs"]}, "FIELD=VALUE"),
        ({"settings": ["split=group"]}, "not for a study"),
        ({"settings": ["model.branches=vit"]}, "one branch alone"),
        ({"data": "no-such-folder"}, "does not exist"),
        ({"splits": ["kfold"], "n_folds": 50}, "use fewer folds"),
    ],
)
def test_mistakes_end_before_anything_is_written(config, tmp_path, changes, message):
    with pytest.raises((ValueError, OSError), match=message):
        go(config, tmp_path / "out", **changes)
    assert not (tmp_path / "out").exists()


def test_runs_at_once_share_cores_and_gpus(config, tmp_path, fake, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,6")
    monkeypatch.setattr(joblib, "cpu_count", lambda: 8)
    go(config, tmp_path / "out", jobs=4)
    logs = {path.read_text() for path in (tmp_path / "out" / "runs").glob("*/*/*.log")}
    assert logs == {"threads 2 gpu 4\n", "threads 2 gpu 6\n"}


def test_a_study_that_another_process_carries_out_is_refused(config, tmp_path, fake):
    with hold_folder(tmp_path / "out" / "runs"), pytest.raises(ValueError, match="by another process"):
        go(config, tmp_path / "out")
    assert fake[0] == []


def test_a_damaged_report_is_named_before_the_work_and_foreign_ones_are_left_out(config, tmp_path, fake, capsys):
    out = tmp_path / "out"
    go(config, out, variants=["fusion"], splits=["random"])
    shutil.copytree(out / "runs" / "fusion", out / "runs" / "old")
    assert go(config, out) == 0
    assert "left out, as no runs of a study: " in capsys.readouterr().err
    report = out / "runs" / "fusion" / "random" / "seed42" / "report.json"
    report.write_text(report.read_text()[:-10])
    with pytest.raises(ValueError, match=r"seed42.report\.json is damaged"):
        go(config, out, repeats=2)
    assert len(fake[0]) == 4
    report.unlink()
    shutil.rmtree(out / "runs" / "old")
    (report.parent / "recipe.yaml").write_text("[")  # which `involvit train` names
    assert go(config, out) == 0


def test_the_study_s_own_damaged_recipe_is_named(config, tmp_path, fake):
    out = tmp_path / "out"
    go(config, out, variants=["fusion"], splits=["random"])
    (out / "runs" / "recipe.yaml").write_text("")
    with pytest.raises(ValueError, match=r"runs.recipe\.yaml is damaged"):
        go(config, out)


def test_runs_end_with_a_study_that_is_killed(config, tmp_path, monkeypatch, capsys):
    script = "from involvit.training.study_run import end_with_study; import time; end_with_study(); time.sleep(60)"
    monkeypatch.setattr(study, "run_command", lambda *_: [sys.executable, "-c", script])
    start = subprocess.Popen

    def start_and_close(*args, **options):
        process = start(*args, **options)
        process.stdin.close()  # as the system does when the study is killed
        return process

    monkeypatch.setattr(study.subprocess, "Popen", start_and_close)
    assert go(config, tmp_path / "out", variants=["fusion"], splits=["random"]) == 1
    assert "1 of 1 runs failed" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_an_interrupt_ends_the_runs(config, tmp_path, monkeypatch, name):
    number = getattr(signal, name, signal.SIGINT)  # Windows has no SIGHUP
    for stream in ("stdout", "stderr"):  # those of a terminal that is closed take nothing more
        monkeypatch.setattr(sys, stream, getattr(sys, stream))
    if number != signal.SIGINT:
        before = signal.signal(number, signal.SIG_DFL)
    ended = tmp_path / "ended"
    script = f"""
import pathlib, time
try:
    print("running", flush=True)
    time.sleep(60)
except KeyboardInterrupt:
    pathlib.Path({str(ended)!r}).touch()
"""
    monkeypatch.setattr(study, "run_command", lambda *_: [sys.executable, "-c", script])
    waited = time.sleep

    def interrupt(seconds):
        waited(seconds)
        if any("running" in log.read_text() for log in tmp_path.glob("out/runs/*/*/*.log")):
            os.kill(os.getpid(), number)

    monkeypatch.setattr(study.time, "sleep", interrupt)
    with pytest.raises(KeyboardInterrupt):
        go(config, tmp_path / "out")
    assert ended.exists()
    if number != signal.SIGINT:
        signal.signal(number, before)
