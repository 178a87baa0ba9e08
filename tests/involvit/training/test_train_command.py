"""How a run starts, stops and continues, and what a user sees of it."""

import json
import os
import shutil
import signal
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from involvit.training.run_folder import hold_folder

from .training_runs import ROOT, FailedRunError, assert_equal_weights, start, words


@pytest.fixture
def best_run(train, faces, tmp_path):
    """Returns the folder of a run that was killed when it had trained, and the command line of the run."""
    out = tmp_path / "out"
    arguments = words(faces, out, select_best="loss", num_epochs=1, max_steps=1)
    train(arguments)
    (out / "report.json").unlink()
    (out / "best").mkdir()
    for name in ("config.json", "preprocessor_config.json", "model.safetensors"):
        (out / name).rename(out / "best" / name)
    return out, arguments


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data": "nowhere.zip"}, "nowhere.zip"),
        ({"model": {"branches": "both"}}, "branches"),
        ({"model": {"classifier_dropout": 2}}, "classifier_dropout"),
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
    with pytest.raises(FailedRunError, match=r"\Aerror: .*\n\Z") as failure:
        run(tmp_path / "out", **changes)
    assert failure.value.status == 2
    assert message in failure.value.printed
    assert not (tmp_path / "out").exists()  # the corrected command finds its folder free


def test_without_a_folder_for_the_run_the_error_names_it(train):
    with pytest.raises(FailedRunError, match=r"\Aerror: .*output_dir.*\n\Z"):
        train([])


def test_a_folder_with_something_in_it_is_not_touched(run, tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(FailedRunError, match="is not empty"):
        run(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_folder_without_a_run_is_not_resumed(run, tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(FailedRunError, match="is not empty; choose another output_dir"):
        run(tmp_path, resume=True)


def test_the_working_directory_can_be_the_output_folder(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run(Path(), num_epochs=1, max_steps=1)
    expected = {"model.safetensors", "config.json", "preprocessor_config.json", "report.json", "recipe.yaml"}
    expected |= {"confusion_matrix.png", "training_curves.png", "modeling_involvit.py", "checkpoints"}
    found = {path.name for path in tmp_path.iterdir()}
    assert expected <= found
    assert not [name for name in found if "unfinished" in name]


def test_resuming_with_another_recipe_is_refused(run, tmp_path):
    run(tmp_path / "out", num_epochs=1, max_steps=1)
    with pytest.raises(FailedRunError, match="another learning_rate"):
        run(tmp_path / "out", num_epochs=1, max_steps=1, resume=True, learning_rate=1.0)


def test_a_run_killed_in_the_middle_of_an_epoch_resumes_to_bit_identical_weights(run, faces, tmp_path):
    changes = {"num_epochs": 3, "ema_decay": 0.9, "checkpoint_steps": 2, "num_workers": 1, "select_best": "loss"}
    changes |= {"mixup_alpha": 0.2, "cutmix_alpha": 1.0, "class_balance": "loss"}
    whole_report, whole = run(tmp_path / "whole", **changes)

    output_dir = tmp_path / "killed"
    process = start(faces, output_dir, **changes)
    in_second_epoch = output_dir / "checkpoints" / "step_00000008"  # 6 steps an epoch
    deadline = time.monotonic() + 120
    while not in_second_epoch.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert in_second_epoch.exists()
    assert not (output_dir / "report.json").exists()

    resumed_report, resumed = run(output_dir, resume=True, **changes)
    assert_equal_weights(whole, resumed)
    assert resumed_report["history"] == whole_report["history"]


def test_ctrl_c_says_how_to_continue_and_the_run_continues(run, faces, tmp_path):
    changes = {"num_epochs": 50, "max_steps": 14, "checkpoint_steps": 2, "num_workers": 1}
    _, whole = run(tmp_path / "whole", **changes)
    output_dir = tmp_path / "out"
    process = start(faces, output_dir, **changes)
    deadline = time.monotonic() + 120
    while not list(output_dir.glob("checkpoints/step_*")) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does, the workers too
    _, printed = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted; --resume continues from the last checkpoint" in printed.splitlines()
    assert "Traceback" not in printed
    _, resumed = run(output_dir, resume=True, **changes)
    assert_equal_weights(whole, resumed)


def test_the_recipe_of_fine_tuning_starts_from_the_default_model_and_trains(train, faces, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    words = ["--config=configs/finetune.yaml", f"--data={faces}", f"--out={tmp_path / 'out'}"]
    train([*words, "--max_steps=1", "--batch_size=4", "--num_workers=0", "--report_to=none"])
    before = load_file(ROOT / "checkpoints" / "involvit-tiny" / "model.safetensors")
    after = load_file(tmp_path / "out" / "model.safetensors")
    assert before.keys() == after.keys()
    for name, value in before.items():
        assert torch.equal(value, after[name]) or ".rednet." not in name, name
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["run"]["weights"] == "epoch 1, by macro_f1"


def test_a_folder_in_which_another_process_trains_is_left_to_it(run, tmp_path):
    out = tmp_path / "out"
    with hold_folder(out):
        for resume in (False, True):
            with pytest.raises(FailedRunError, match=r"\Aerror: .*out is being trained in by another.*\n\Z") as failure:
                run(out, resume=resume)
            assert failure.value.status == 2


def test_a_run_continues_on_its_data_wherever_that_lies_and_on_no_other(run, faces, tmp_path):
    out, data = tmp_path / "out", shutil.copytree(faces, tmp_path / "data")
    run(out, data=str(data), num_epochs=1)
    (out / "report.json").unlink()  # as if it had been killed before
    (data / "Happy" / "person0_0003.png").rename(data / "Happy" / "person9_0003.png")
    with pytest.raises(FailedRunError, match=r"data holds other images or labels than when .*out was begun") as failure:
        run(out, data=str(data), num_epochs=1, resume=True)
    assert failure.value.status == 2
    (data / "Happy" / "person9_0003.png").rename(data / "Happy" / "person0_0003.png")
    moved = data.rename(tmp_path / "moved")
    run(out, data=str(moved), num_epochs=1, resume=True)


def test_the_card_of_a_run_that_was_killed_before_it_is_written_by_resume(run, tmp_path):
    out = tmp_path / "out"
    run(out, num_epochs=1, max_steps=1)
    card = (out / "README.md").read_text()
    (out / "README.md").unlink()
    (out / ".unfinished_README.md").touch()
    run(out, num_epochs=1, max_steps=1, resume=True)
    assert (out / "README.md").read_text() == card
    assert not list(out.glob(".*"))
    for path in (out / "README.md", out / "config.json"):  # as a study keeps a run
        path.unlink()
    run(out, num_epochs=1, max_steps=1, resume=True)


@pytest.mark.parametrize(
    ("name", "damage", "says"),
    [
        ("model.safetensors", lambda path: path.write_bytes(path.read_bytes()[:5000]), "is damaged"),
        ("model.safetensors", Path.unlink, "cannot be read"),
        ("config.json", lambda path: path.write_text("{"), "is damaged"),
        ("preprocessor_config.json", Path.unlink, "cannot be read"),
    ],
)
def test_a_damaged_model_of_an_earlier_epoch_is_named_before_the_training_goes_on(best_run, train, name, damage, says):
    out, arguments = best_run
    damage(out / "best" / name)
    with pytest.raises(FailedRunError, match=rf"\Aerror: .*out.best.{name} {says} .*restore it") as failure:
        train([*arguments, "--resume"])
    assert failure.value.status == 2
    assert not (out / "report.json").exists()


def test_a_run_that_was_killed_while_it_moved_its_best_model_goes_on(best_run, train):
    out, arguments = best_run
    (out / "best" / "config.json").rename(out / "config.json")
    train([*arguments, "--resume"])
    assert (out / "report.json").exists()
