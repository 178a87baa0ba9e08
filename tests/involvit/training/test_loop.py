import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate.utils import set_seed
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from transformers import pipeline

from dataset_script import LABELS
from involvit.training.build_model import build_config, build_model
from involvit.training.machine import has_bfloat16
from involvit.training.recipe import Recipe
from modeling_involvit import InvolViTForImageClassification

from .training_runs import MODEL, FailedRunError, assert_equal_weights, torchrun


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
    changes = {**changes, "label_smoothing": 0.1, "num_epochs": 1}
    report, _ = run(tmp_path / "out", data=str(voted_faces), split="official", **changes)
    assert np.isfinite(report["history"][0]["train_loss"])
    assert not report["run"]["votes"]  # its probabilities are no shares of people: other things move them too


def test_an_epoch_may_leave_one_image_over(run, tmp_path):
    report, _ = run(
        tmp_path / "out", batch_size=41, gradient_accumulation_steps=1, num_epochs=1, model={"image_size": 32}
    )
    assert report["run"]["steps"] == 1  # 42 images


@pytest.mark.engines
def test_two_processes_learn_from_votes_like_one(run, voted_faces, tmp_path):
    # 42 images in batches of 4: the last one is filled up, by images that must not count.
    changes = {"model": {"branches": "vit", "classifier_dropout": 0.0}, "label_smoothing": 0.1, "split": "official"}
    one, _ = run(tmp_path / "one", data=str(voted_faces), gradient_accumulation_steps=2, **changes)
    two = torchrun(voted_faces, tmp_path / "two", processes=2, gradient_accumulation_steps=1, **changes)
    for mine, theirs in zip(one["history"], two["history"], strict=True):
        assert mine["train_loss"] == pytest.approx(theirs["train_loss"], rel=1e-4)


def test_a_run_can_start_from_a_trained_model_and_keeps_its_configuration(run, tmp_path):
    _, first = run(tmp_path / "first", num_epochs=1)
    _, again = run(
        tmp_path / "again", pretrained=str(tmp_path / "first"), model={"classifier_dropout": 0.2}, learning_rate=1e-12
    )
    weights = [name for name in first if "running" not in name and "num_batches" not in name]
    assert max((first[name] - again[name]).abs().max() for name in weights) < 1e-6
    saved, changed = (json.loads((tmp_path / name / "config.json").read_text()) for name in ("first", "again"))
    assert changed == saved | {"classifier_dropout": 0.2}
    with pytest.raises(FailedRunError, match="does not fit the model"):
        run(tmp_path / "wider", pretrained=str(tmp_path / "first"), model={"fusion_channels": 64})
    weights = tmp_path / "first" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(
        FailedRunError,
        match=r"first cannot be loaded: .*first/model\.safetensors is cut off or damaged .*; get it again",
    ):
        run(tmp_path / "damaged", pretrained=str(tmp_path / "first"))


def test_the_same_seed_gives_the_same_bits_and_another_seed_does_not(run, tmp_path):
    _, first = run(tmp_path / "first", num_epochs=1)
    _, again = run(tmp_path / "again", num_epochs=1, num_workers=2)
    _, other = run(tmp_path / "other", num_epochs=1, seed=43)
    assert_equal_weights(first, again)
    assert any(not torch.equal(first[name], other[name]) for name in first)


@pytest.mark.parametrize(
    ("model", "fraction"),
    # The transformer branch has no BatchNorm, whose statistics depend on how images share batches: with it the last,
    # short batch (42 images, 4 a batch) and the evaluation must agree as well.
    [
        pytest.param({"branches": "vit", "classifier_dropout": 0.0}, 0.25, id="vit, padded last batch"),
        pytest.param({"classifier_dropout": 0.0}, 0.28, id="fusion, 40 images", marks=pytest.mark.engines),
    ],
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
    with pytest.raises(FailedRunError, match=r"error: step \d+: .*person\d_000\d\.png") as error:
        run(tmp_path / "out", learning_rate=1e30, checkpoint_steps=1)
    assert error.value.status == 1
    step = int(re.search(r"error: step (\d+):", error.value.printed)[1])
    (checkpoint,) = (tmp_path / "out" / "checkpoints").iterdir()
    assert checkpoint.name == f"step_{step - 1:08d}"
    assert not (tmp_path / "out" / "model.safetensors").exists()


def test_scores_that_are_not_finite_stop_the_run_before_it_reports(run, tmp_path):
    with pytest.raises(FailedRunError, match="evaluation: the scores of 14 of 14 images are not finite"):
        run(tmp_path / "out", learning_rate=1e30, max_steps=1)
    assert not (tmp_path / "out" / "model.safetensors").exists()


def test_only_the_files_of_the_batch_whose_loss_is_not_finite_are_named(run, faces, tmp_path, monkeypatch):
    cross_entropy = torch.nn.functional.cross_entropy
    losses = iter([1.0, torch.nan])  # of the two batches of the first step
    monkeypatch.setattr(
        torch.nn.functional, "cross_entropy", lambda *args, **kwargs: cross_entropy(*args, **kwargs) * next(losses)
    )
    with pytest.raises(FailedRunError, match=r"step 1: loss nan.* at the weights that the run started from") as error:
        run(tmp_path / "out")
    assert error.value.printed.count(".png") == 4


def test_of_a_large_batch_the_first_images_are_named_and_the_others_counted(run, tmp_path, monkeypatch):
    cross_entropy = torch.nn.functional.cross_entropy
    monkeypatch.setattr(
        torch.nn.functional, "cross_entropy", lambda *args, **kw: cross_entropy(*args, **kw) * torch.nan
    )
    with pytest.raises(FailedRunError, match=r"_000\d\.png and 34 more\. Look at") as error:
        run(tmp_path / "out", batch_size=42)
    assert error.value.printed.count(".png") == 8


@pytest.mark.parametrize("kind", ["classifier.weight", "running_var"])
def test_a_model_with_weights_that_are_not_finite_is_not_started_from(run, tmp_path, kind):
    recipe = Recipe("out", model=MODEL)
    model = build_model(recipe, build_config(recipe))
    name = next(name for name in model.state_dict() if name.endswith(kind))
    model.state_dict()[name].view(-1)[0] = torch.nan
    model.save_pretrained(tmp_path / "model")
    with pytest.raises(FailedRunError, match=rf"\Aerror: the weights of .*model are damaged: {name} is not") as error:
        run(tmp_path / "out", pretrained=str(tmp_path / "model"), model={})
    assert error.value.status == 2


def test_frozen_branches_keep_weights_and_statistics(run, tmp_path):
    model = InvolViTForImageClassification
    _, weights = run(tmp_path / "out", num_epochs=1, frozen=["rednet"], learning_rate=1e-2)
    set_seed(42)
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
    [
        pytest.param("bf16", marks=pytest.mark.skipif(not has_bfloat16("cpu"), reason="needs instructions for it")),
        pytest.param("fp16", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")),
    ],
)
@pytest.mark.gpu
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


def test_tensorboard_gets_loss_rate_and_scores(run, tmp_path):
    run(tmp_path / "out", num_epochs=2, report_to="tensorboard", log_steps=1)
    events = EventAccumulator(str(next((tmp_path / "out" / "logs").glob("events*")).parent)).Reload()
    assert [event.step for event in events.Scalars("train/loss")] == list(range(1, 13))
    rates = [event.value for event in events.Scalars("train/learning_rate")]
    assert rates == pytest.approx([1e-3 * (1 - step / 12) ** 0.9 for step in range(1, 13)], abs=1e-9)
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    scores = [event.value for event in events.Scalars("validation/accuracy")]
    assert scores == pytest.approx([entry["accuracy"] for entry in report["history"]])
