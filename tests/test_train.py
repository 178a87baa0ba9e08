"""Whole runs of train.py on small pictures, in this process where that will do: imports take seconds."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState, GradientState
from datasets import Dataset, Features, concatenate_datasets
from PIL import Image
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from transformers import pipeline

import train
from dataset_script import LABELS, load_fer_dataset
from dataset_script.fer_dataset import VOTE_FEATURES
from modeling_involvit import LABELS as MODEL_LABELS
from modeling_involvit import InvolViTForImageClassification

ROOT = Path(__file__).parents[1]
MODEL = {
    "image_size": 32,
    "rednet_depths": [1, 1],
    "rednet_widths": [64, 64],
    "rednet_stem_channels": 32,
    "vit_backbone_layers": [1],
    "vit_backbone_channels": [128],
    "vit_stem_channels": 32,
    "vit_hidden_size": 32,
    "vit_num_layers": 1,
    "vit_num_heads": 2,
    "fusion_channels": 32,
}
RECIPE = {
    "split": "random",
    "validation_fraction": 0.25,
    "num_epochs": 2,
    "batch_size": 4,
    "gradient_accumulation_steps": 2,
    "learning_rate": 1e-3,
    "num_workers": 0,
    "report_to": "none",
    "augmentation": [{"HorizontalFlip": {"p": 0.5}}, {"RandomBrightnessContrast": {"p": 0.5}}],
}


@pytest.fixture(scope="session")
def faces(tmp_path_factory):
    """56 pictures in class folders, 42 of them for training: a bar at one of seven heights on noise."""
    folder = tmp_path_factory.mktemp("faces")
    rng = np.random.default_rng(0)
    for index, label in enumerate(LABELS):
        (folder / label).mkdir()
        for number in range(8):
            pixels = rng.integers(0, 100, (35, 35, 3), dtype=np.uint8)
            pixels[5 * index : 5 * index + 5] += 150
            Image.fromarray(pixels).save(folder / label / f"person{number}_{index:04d}.png")
    return folder


def words(faces, output_dir, model=None, **changes):
    recipe = {
        **RECIPE,
        "data": str(faces),
        "output_dir": str(output_dir),
        "model": {**MODEL, **(model or {})},
        **changes,
    }
    return [f"--{name}={value if isinstance(value, str) else json.dumps(value)}" for name, value in recipe.items()]


@pytest.fixture
def run(faces, monkeypatch):
    """Runs train.py in this process and returns the finished run's report and weights."""

    def run_train(output_dir, **changes):
        monkeypatch.setattr(sys, "argv", ["train.py", *words(faces, output_dir, **changes)])
        AcceleratorState._reset_state(reset_partial_state=True)
        GradientState._reset_state()
        train.main()
        return json.loads((output_dir / "report.json").read_text()), load_file(output_dir / "model.safetensors")

    return run_train


def torchrun(faces, output_dir, processes, **changes):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
    environment = {**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    command += [str(ROOT / "train.py"), *words(faces, output_dir, **changes)]
    subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True, timeout=300)
    return json.loads((output_dir / "report.json").read_text())


def assert_equal_weights(one, other):
    assert one.keys() == other.keys()
    assert [name for name in one if not torch.equal(one[name], other[name])] == []


def test_a_run_learns_reports_and_saves_a_model_that_pipeline_loads(run, faces, tmp_path):
    report, _ = run(tmp_path / "out", num_epochs=20, learning_rate=3e-3, gradient_accumulation_steps=1)
    assert report["metrics"]["accuracy"] > 0.7  # chance is 1 / 7
    assert report["history"][-1]["train_loss"] < 1.0 < report["history"][0]["train_loss"]
    assert [entry["step"] for entry in report["history"]] == list(range(11, 221, 11))
    assert report["run"]["steps"] == 220
    assert report["run"]["images"] == {"train": 42, "validation": 14}
    for name in ("confusion_matrix.png", "training_curves.png"):
        assert min(Image.open(tmp_path / "out" / name).size) > 300

    classify = pipeline("image-classification", model=str(tmp_path / "out"), trust_remote_code=True)
    images = [str(path) for label in LABELS for path in sorted((faces / label).iterdir())]
    results = classify(images, top_k=7)
    right = np.mean(
        [Path(image).parent.name == result[0]["label"] for image, result in zip(images, results, strict=True)]
    )
    assert right > 0.8
    assert all(abs(sum(row["score"] for row in result) - 1) < 1e-5 for result in results)


def test_joined_sources_are_reported_together_and_each_alone_with_intervals(run, faces, tmp_path):
    sources = {
        "one": {"data": faces.name, "split": "group", "validation_fraction": 0.25},
        "two": {"data": faces.name, "split": "random", "validation_fraction": 0.5, "repeat": 2},
    }
    report, _ = run(tmp_path / "out", data=sources, data_dir=str(faces.parent), num_epochs=1)
    one, two = report["sources"].values()
    assert report["run"]["images"] == {"train": 42 + 2 * 28, "validation": 14 + 28}
    assert (one["num_images"], two["num_images"], report["metrics"]["num_images"]) == (14, 28, 42)
    assert (one["num_groups"], two["num_groups"]) == (2, 8)
    together = (14 * one["accuracy"] + 28 * two["accuracy"]) / 42
    assert report["metrics"]["accuracy"] == pytest.approx(together)
    for metrics in (one, two, report["metrics"]):
        low, high = metrics["intervals"]["accuracy"]
        assert low <= metrics["accuracy"] <= high


@pytest.fixture(scope="session")
def voted_faces(faces, tmp_path_factory):
    """The same pictures as Parquet, each with what ten people say: half of them mistake a class for the next one."""
    folder = tmp_path_factory.mktemp("voted")
    rows = load_fer_dataset(faces, "random", validation_fraction=0.25, cache_dir=folder / "cache")
    for part, pictures in rows.items():
        counts = np.zeros((len(pictures), 10), dtype=np.int32)
        for row, label in enumerate(pictures["label"]):
            counts[row, [label, (label + 1) % 7]] = 6, 4
        columns = {"votes": (counts[:, :7] / 10).tolist(), "vote_counts": counts.tolist()}
        votes = Dataset.from_dict(columns, features=Features(VOTE_FEATURES))
        (folder / "data").mkdir(exist_ok=True)
        concatenate_datasets([pictures, votes], axis=1).to_parquet(folder / "data" / f"{part}.parquet")
    return folder / "data"


def test_a_run_learns_what_people_say_and_not_only_what_most_of_them_say(run, voted_faces, tmp_path):
    changes = {"data": str(voted_faces), "split": "official", "num_epochs": 20, "learning_rate": 3e-3}
    changes["gradient_accumulation_steps"] = 1
    voted, _ = run(tmp_path / "votes", **changes)
    labelled, _ = run(tmp_path / "labels", votes=False, **changes)
    for report in (voted, labelled):
        metrics = report["metrics"]
        assert metrics["entropy_of_votes"] == pytest.approx(-0.6 * np.log(0.6) - 0.4 * np.log(0.4))
        assert metrics["accuracy"] > 0.5  # chance is 1 / 7
    assert voted["metrics"]["cross_entropy_to_votes"] < labelled["metrics"]["cross_entropy_to_votes"]
    assert voted["metrics"]["cross_entropy_to_votes"] < 1.2
    assert labelled["metrics"]["negative_log_likelihood"] < voted["metrics"]["negative_log_likelihood"]
    assert voted["run"]["votes"] and not labelled["run"]["votes"]


def test_a_source_without_votes_is_reported_beside_one_with_them(run, faces, voted_faces, tmp_path):
    sources = {"voted": {"data": str(voted_faces), "split": "official"}, "labelled": {"data": str(faces)}}
    report, _ = run(tmp_path / "out", data=sources, num_epochs=1, split="group")
    voted, labelled = report["sources"].values()
    assert (voted["num_voted"], labelled["num_voted"], report["metrics"]["num_voted"]) == (14, 0, 14)
    assert voted["human_majority_share"] == pytest.approx(0.6)
    assert "human_majority_share" not in labelled


@pytest.mark.parametrize(
    "changes",
    [{"mixup_alpha": 0.2, "cutmix_alpha": 0.5}, {"class_balance": "sampler"}, {"class_balance": "loss"}],
    ids=["mixing", "sampler", "loss"],
)
def test_votes_train_together_with_everything_that_labels_train_with(run, voted_faces, tmp_path, changes):
    changes = {**changes, "model": {"label_smoothing": 0.1}, "num_epochs": 1}
    report, _ = run(tmp_path / "out", data=str(voted_faces), split="official", **changes)
    assert np.isfinite(report["history"][0]["train_loss"])
    assert not report["run"]["votes"]  # its probabilities are no shares of people: other things move them too


def test_two_processes_learn_from_votes_like_one(run, voted_faces, tmp_path):
    # 42 images in batches of 4: the last one is filled up, by images that must not count.
    changes = {"model": {"branches": "vit", "classifier_dropout": 0.0, "label_smoothing": 0.1}, "split": "official"}
    one, _ = run(tmp_path / "one", data=str(voted_faces), gradient_accumulation_steps=2, **changes)
    two = torchrun(voted_faces, tmp_path / "two", processes=2, gradient_accumulation_steps=1, **changes)
    for mine, theirs in zip(one["history"], two["history"], strict=True):
        assert mine["train_loss"] == pytest.approx(theirs["train_loss"], rel=1e-4)


def test_a_run_can_start_from_a_trained_model_and_keeps_its_configuration(run, tmp_path):
    _, first = run(tmp_path / "first", num_epochs=1)
    _, again = run(
        tmp_path / "again", pretrained=str(tmp_path / "first"), model={"label_smoothing": 0.1}, learning_rate=1e-12
    )
    weights = [name for name in first if "running" not in name and "num_batches" not in name]
    assert max((first[name] - again[name]).abs().max() for name in weights) < 1e-6
    saved, changed = (json.loads((tmp_path / name / "config.json").read_text()) for name in ("first", "again"))
    assert changed == saved | {"label_smoothing": 0.1}
    with pytest.raises(SystemExit, match="does not fit the model"):
        run(tmp_path / "wider", pretrained=str(tmp_path / "first"), model={"fusion_channels": 64})


def test_the_same_seed_gives_the_same_bits_and_another_seed_does_not(run, tmp_path):
    _, first = run(tmp_path / "first", num_epochs=1)
    _, again = run(tmp_path / "again", num_epochs=1, num_workers=2)
    _, other = run(tmp_path / "other", num_epochs=1, seed=43)
    assert_equal_weights(first, again)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_a_run_killed_in_the_middle_of_an_epoch_resumes_to_bit_identical_weights(run, faces, tmp_path):
    changes = {"num_epochs": 3, "ema_decay": 0.9, "checkpoint_steps": 2, "num_workers": 1, "select_best": "loss"}
    changes |= {"mixup_alpha": 0.2, "cutmix_alpha": 1.0, "class_balance": "loss"}
    whole_report, whole = run(tmp_path / "whole", **changes)

    output_dir = tmp_path / "killed"
    command = [sys.executable, str(ROOT / "train.py"), *words(faces, output_dir, **changes)]
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    in_second_epoch = output_dir / "checkpoints" / "step_00000008"  # 6 steps an epoch
    deadline = time.monotonic() + 120
    while not in_second_epoch.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert in_second_epoch.exists()
    assert not (output_dir / "report.json").exists()

    resumed_report, resumed = run(output_dir, resume=True, **changes)
    assert_equal_weights(whole, resumed)
    assert resumed_report["history"] == whole_report["history"]


@pytest.mark.parametrize(
    ("model", "fraction"),
    # The transformer branch has no BatchNorm, whose statistics depend on how images share batches: with it the last,
    # short batch (42 images, 4 a batch) and the evaluation must agree as well.
    [({"branches": "vit", "classifier_dropout": 0.0}, 0.25), ({"classifier_dropout": 0.0}, 0.28)],
    ids=["vit, padded last batch", "fusion, 40 images"],
)
def test_two_processes_train_and_evaluate_like_one_with_the_same_effective_batch(run, faces, tmp_path, model, fraction):
    changes = {"model": model, "validation_fraction": fraction, "class_balance": "loss"}
    one, _ = run(tmp_path / "one", gradient_accumulation_steps=2, **changes)
    two = torchrun(faces, tmp_path / "two", processes=2, gradient_accumulation_steps=1, **changes)
    assert two["run"]["processes"] == 2
    for mine, theirs in zip(one["history"], two["history"], strict=True):
        assert (mine["step"], mine["learning_rate"]) == (theirs["step"], theirs["learning_rate"])
        assert mine["train_loss"] == pytest.approx(theirs["train_loss"], rel=1e-4)
    assert two["metrics"]["num_images"] == one["metrics"]["num_images"]
    if model.get("branches") == "vit":
        assert one["metrics"]["negative_log_likelihood"] == pytest.approx(
            two["metrics"]["negative_log_likelihood"], rel=1e-4
        )
        assert one["metrics"]["confusion_matrix"] == two["metrics"]["confusion_matrix"]


def test_accumulation_weighs_each_image_the_same_in_a_short_last_window(run, tmp_path):
    # One window holds all 42 images: 10 batches of 4 and one of 2 must give the step of one batch of 42.
    changes = {"model": {"branches": "vit", "classifier_dropout": 0.0}, "num_epochs": 1}
    _, small = run(tmp_path / "small", batch_size=4, gradient_accumulation_steps=11, **changes)
    _, whole = run(tmp_path / "whole", batch_size=42, gradient_accumulation_steps=1, **changes)
    start = run(tmp_path / "start", batch_size=42, **{**changes, "learning_rate": 1e-12})[1]
    for name in whole:
        # Adam's first step is the sign of the gradient: compare where it is not noise.
        moved = (whole[name] - start[name]).abs() > 9e-4
        same = (whole[name] - small[name]).abs() < 1e-4
        assert (same | ~moved).float().mean() > 0.99, name


def test_a_non_finite_loss_stops_with_step_and_files_named_and_keeps_the_last_checkpoint(run, tmp_path):
    with pytest.raises(train.NonFiniteLossError, match=r"step \d+: .*person\d_000\d\.png") as error:
        run(tmp_path / "out", learning_rate=1e30, checkpoint_steps=1)
    step = int(str(error.value).split(":")[0].removeprefix("step "))
    (checkpoint,) = (tmp_path / "out" / "checkpoints").iterdir()
    assert checkpoint.name == f"step_{step - 1:08d}"
    assert not (tmp_path / "out" / "model.safetensors").exists()


def test_scores_that_are_not_finite_stop_the_run_before_it_reports(run, tmp_path):
    with pytest.raises(train.NonFiniteLossError, match="evaluation: the scores of 14 of 14 images are not finite"):
        run(tmp_path / "out", learning_rate=1e30, max_steps=1)
    assert not (tmp_path / "out" / "model.safetensors").exists()


def test_only_the_files_of_the_batch_whose_loss_is_not_finite_are_named(run, faces, tmp_path, monkeypatch):
    cross_entropy = torch.nn.functional.cross_entropy
    losses = iter([1.0, torch.nan])  # of the two batches of the first step
    monkeypatch.setattr(
        torch.nn.functional, "cross_entropy", lambda *args, **kwargs: cross_entropy(*args, **kwargs) * next(losses)
    )
    with pytest.raises(train.NonFiniteLossError, match="step 1: loss nan") as error:
        run(tmp_path / "out")
    assert str(error.value).count(".png") == 4


def test_frozen_branches_keep_weights_and_statistics(run, tmp_path):
    model = InvolViTForImageClassification
    _, weights = run(tmp_path / "out", num_epochs=1, frozen=["rednet"], learning_rate=1e-2)
    torch.manual_seed(0)
    train.set_seed(RECIPE.get("seed", 42))
    fresh = model(model.from_pretrained(tmp_path / "out").config).state_dict()
    for name, value in fresh.items():
        assert torch.equal(value, weights[name]) == ("rednet" in name), name


def test_backbone_lr_scale_slows_the_branches_down_and_not_the_head(run, tmp_path):
    _, start = run(tmp_path / "start", num_epochs=1, max_steps=1, learning_rate=1e-12)
    _, slow = run(
        tmp_path / "slow", num_epochs=1, max_steps=1, learning_rate=1e-3, backbone_lr_scale=0.01, weight_decay=0
    )
    moved = {name: (slow[name] - start[name]).abs().max().item() for name in slow}
    assert moved["involvit.vit.blocks.0.attn.qkv.weight"] == pytest.approx(
        1e-5, rel=0.1
    )  # Adam's first step is the rate
    assert moved["classifier.weight"] == pytest.approx(1e-3, rel=0.01)


@pytest.mark.parametrize("changes", [{"gradient_checkpointing": True}, {"max_grad_norm": 1e9}], ids=str)
def test_what_only_saves_memory_or_does_not_bind_changes_nothing(run, tmp_path, changes):
    _, plain = run(tmp_path / "plain", num_epochs=1)
    _, changed = run(tmp_path / "changed", num_epochs=1, **changes)
    for name in plain:
        torch.testing.assert_close(plain[name], changed[name], rtol=1e-3, atol=2e-5, msg=name)


def test_clipping_to_a_norm_far_below_what_adam_divides_by_all_but_stops_the_weights(run, tmp_path):
    changes = {"num_epochs": 1, "max_steps": 1, "weight_decay": 0}
    _, start = run(tmp_path / "start", learning_rate=1e-12, **changes)
    _, clipped = run(tmp_path / "clipped", max_grad_norm=1e-12, **changes)
    name = "classifier.weight"  # without clipping Adam's first step is the rate, 1e-3
    assert 0 < (clipped[name] - start[name]).abs().max() < 1e-6


@pytest.mark.parametrize(
    "precision",
    ["bf16", pytest.param("fp16", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"))],
)
def test_mixed_precision_trains_close_to_float32(run, tmp_path, precision):
    plain, _ = run(tmp_path / "plain")
    mixed, weights = run(tmp_path / "mixed", mixed_precision=precision)
    assert mixed["run"]["mixed_precision"] == precision
    assert all(value.dtype not in (torch.bfloat16, torch.float16) for value in weights.values())
    for one, other in zip(plain["history"], mixed["history"], strict=True):
        assert one["train_loss"] == pytest.approx(other["train_loss"], rel=0.05)
        assert one["train_loss"] != other["train_loss"]


def test_early_stopping_ends_the_run_and_saves_the_best_epoch(run, tmp_path):
    # With a rate this high the loss gets worse after the first epochs.
    report, _ = run(tmp_path / "out", num_epochs=30, learning_rate=0.05, select_best="loss", patience=2)
    losses = [entry["validation_loss"] for entry in report["history"]]
    best = int(np.argmin(losses))
    assert len(losses) == best + 3 < 30
    assert report["run"]["weights"] == f"epoch {best + 1}, by loss"
    assert report["metrics"]["negative_log_likelihood"] == pytest.approx(losses[best], rel=1e-5)


def test_ema_evaluates_and_saves_the_averaged_weights(run, tmp_path):
    _, plain = run(tmp_path / "plain", num_epochs=1, max_steps=3)
    _, averaged = run(tmp_path / "averaged", num_epochs=1, max_steps=3, ema_decay=0.999)
    name = "classifier.weight"
    steps = [run(tmp_path / f"step{n}", num_epochs=1, max_steps=n)[1][name] for n in (1, 2)] + [plain[name]]
    expected = steps[0]
    for number, weights in enumerate(steps[1:], start=2):  # timm's warm-up: decay 1 - (1 + step - 1) ** (-2 / 3)
        decay = min(0.999, 1 - number ** (-2 / 3))
        expected = decay * expected + (1 - decay) * weights
    torch.testing.assert_close(averaged[name], expected)


def test_class_balance_by_loss_weighs_classes_by_the_inverse_of_their_share(faces, tmp_path):
    recipe = train.Recipe(output_dir=str(tmp_path), class_balance="loss", model=MODEL)
    config = train.build_config(recipe, {"label": [0] * 6 + [1] * 3 + [6]})
    assert config.class_weights[:2] == pytest.approx([10 / (3 * 6), 10 / (3 * 3)])
    assert config.class_weights[6] == pytest.approx(10 / 3)


def test_class_balance_by_sampler_draws_each_class_as_often(tmp_path):
    labels = [0] * 900 + [1] * 90 + [2] * 10
    recipe = train.Recipe(output_dir=str(tmp_path), class_balance="sampler", batch_size=10, num_workers=0)
    order = torch.Generator().manual_seed(0)
    loader = train.build_train_loader(range(1000), labels, recipe, order)
    drawn = np.asarray(labels)[list(loader.sampler)]
    assert np.bincount(drawn) / 1000 == pytest.approx([1 / 3] * 3, abs=0.05)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data": "nowhere.zip"}, "nowhere.zip"),
        ({"model": {"branches": "both"}}, "branches"),
        ({"model": {"label_smoothing": 2}}, "label_smoothing"),
        ({"model": {"branches": "vit"}, "frozen": ["rednet"]}, "rednet"),
        ({"rednet_checkpoint": "nowhere.pth"}, "nowhere.pth"),
        ({"pretrained": "nowhere/model"}, "nowhere/model"),
        ({"data": {"one": {"split": "random"}}}, "the source one needs its data"),
        ({"data_dir": "nowhere"}, "nowhere"),
        ({"push_to_hub": True}, "push_to_hub needs hub_model_id"),
        ({"push_to_hub": True, "hub_model_id": "me/faces"}, "there is no token"),
        ({"augmentation": [{"Flop": {}}]}, "Flop"),
        pytest.param(
            {"mixed_precision": "fp16"},
            "fp16 needs a GPU",
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason="of runs on a CPU"),
        ),
        ({"report_to": "swanlab"}, "swanlab"),  # a tracker that is not installed
    ],
    ids=str,
)
def test_a_mistake_ends_in_one_line_and_a_non_zero_exit(run, tmp_path, changes, message):
    with pytest.raises(SystemExit) as stop:
        run(tmp_path / "out", **changes)
    assert isinstance(stop.value.code, str)  # printed, exit status 1
    assert stop.value.code.startswith("error: ")
    assert "\n" not in stop.value.code
    assert message in stop.value.code
    assert not (tmp_path / "out").exists()  # the corrected command finds its folder free


def test_a_folder_with_something_in_it_is_not_touched(run, tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(SystemExit, match="is not empty"):
        run(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_folder_without_a_run_is_not_resumed(run, tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(SystemExit, match="is not empty; choose another output_dir"):
        run(tmp_path, resume=True)


def test_the_working_directory_can_be_the_output_folder(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run(Path(), num_epochs=1, max_steps=1)
    expected = {"model.safetensors", "config.json", "preprocessor_config.json", "report.json", "recipe.yaml"}
    expected |= {"confusion_matrix.png", "training_curves.png", "modeling_involvit.py", "checkpoints"}
    found = {path.name for path in tmp_path.iterdir()}
    assert expected <= found
    assert not [name for name in found if "unfinished" in name]


def test_ctrl_c_says_how_to_go_on_and_the_run_goes_on(run, faces, tmp_path):
    changes = {"num_epochs": 50, "max_steps": 14, "checkpoint_steps": 2, "num_workers": 1}
    _, whole = run(tmp_path / "whole", **changes)
    output_dir = tmp_path / "out"
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "train.py"), *words(faces, output_dir, **changes)],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + 120
    while not list(output_dir.glob("checkpoints/step_*")) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does, the workers too
    _, printed = process.communicate(timeout=60)
    assert process.returncode == 130
    assert printed.splitlines()[-1] == "interrupted; --resume goes on from the last checkpoint"
    assert "Traceback" not in printed
    _, resumed = run(output_dir, resume=True, **changes)
    assert_equal_weights(whole, resumed)


def test_resuming_with_another_recipe_is_refused(run, tmp_path):
    run(tmp_path / "out", num_epochs=1, max_steps=1)
    with pytest.raises(SystemExit, match="another learning_rate"):
        run(tmp_path / "out", num_epochs=1, max_steps=1, resume=True, learning_rate=1.0)


def test_tensorboard_gets_loss_rate_and_scores(run, tmp_path):
    run(tmp_path / "out", num_epochs=2, report_to="tensorboard", log_steps=1)
    events = EventAccumulator(str(next((tmp_path / "out" / "logs").glob("events*")).parent)).Reload()
    assert [event.step for event in events.Scalars("train/loss")] == list(range(1, 13))
    rates = [event.value for event in events.Scalars("train/learning_rate")]
    assert rates == pytest.approx([1e-3 * (1 - step / 12) ** 0.9 for step in range(1, 13)], abs=1e-9)
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    scores = [event.value for event in events.Scalars("validation/accuracy")]
    assert scores == pytest.approx([entry["accuracy"] for entry in report["history"]])


def test_the_class_order_is_the_same_everywhere():
    metric = train.evaluate.load(train.METRIC).compute(predictions=[0], references=[0])
    assert LABELS == MODEL_LABELS == tuple(metric["per_class"])
