import resource
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator

from involvit.training.run_checkpoints import checkpoint_folders, load_newest_checkpoint, save_checkpoint


@pytest.fixture
def accelerator():
    accelerator = Accelerator(cpu=True)
    accelerator.model = accelerator.prepare(torch.nn.Linear(2, 2))
    return accelerator


def test_the_newest_checkpoint_replaces_the_one_before_and_brings_everything_back(accelerator, tmp_path):
    average = torch.nn.Linear(2, 2)
    save_checkpoint(accelerator, tmp_path, 1, {"step": 1}, average)
    saved = [{name: value.clone() for name, value in m.state_dict().items()} for m in (accelerator.model, average)]
    save_checkpoint(accelerator, tmp_path, 2, {"step": 2}, average)
    assert [folder.name for folder in checkpoint_folders(tmp_path)] == ["step_00000002"]
    draw = torch.rand(3)
    with torch.no_grad():
        for module in (accelerator.model, average):
            module.weight.zero_()
    assert load_newest_checkpoint(accelerator, tmp_path, average) == {"step": 2}
    for module, before in zip((accelerator.model, average), saved, strict=True):
        torch.testing.assert_close(dict(module.state_dict()), before, rtol=0, atol=0)
    assert torch.equal(torch.rand(3), draw)


def test_what_a_kill_left_unfinished_is_not_loaded(accelerator, tmp_path):
    (tmp_path / "unfinished").mkdir()
    assert load_newest_checkpoint(accelerator, tmp_path, None) is None
    save_checkpoint(accelerator, tmp_path, 1, {"step": 1}, None)
    assert [path.name for path in tmp_path.iterdir()] == ["step_00000001"]


def test_another_number_of_processes_is_refused(accelerator, tmp_path, monkeypatch):
    save_checkpoint(accelerator, tmp_path, 1, {}, None)
    monkeypatch.setattr(Accelerator, "num_processes", 2)
    with pytest.raises(ValueError, match="step_00000001 is of 1 processes; continue with as many, not 2"):
        load_newest_checkpoint(accelerator, tmp_path, None)


def test_the_average_comes_back_on_one_of_several_processes_of_a_cpu(accelerator, tmp_path, monkeypatch):
    average = torch.nn.Linear(2, 2)
    save_checkpoint(accelerator, tmp_path, 1, {}, average)
    monkeypatch.setattr(Accelerator, "device", torch.device("cpu", 0))  # what accelerate calls it there
    restored = torch.nn.Linear(2, 2)
    load_newest_checkpoint(accelerator, tmp_path, restored)
    assert torch.equal(restored.weight, average.weight)


FILES = ["progress.json", "checksums.json", "model.safetensors", "average.safetensors", "optimizer.bin"]
DAMAGES = {
    "missing": lambda path: path.unlink(),
    "empty": lambda path: path.write_bytes(b""),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-3]),
    "other object": lambda path: path.write_text("{}"),
    "other kind": lambda path: path.write_text("[]"),
    "other byte": lambda path: path.write_bytes(path.read_bytes()[:-9] + b"!" + path.read_bytes()[-8:]),
}


@pytest.mark.parametrize("name", [*FILES, "random_states_0.pkl"])
def test_a_damaged_checkpoint_is_named_and_not_loaded(accelerator, tmp_path, name):
    accelerator.prepare(torch.optim.AdamW(accelerator.model.parameters()))
    save_checkpoint(accelerator, tmp_path, 1, {"step": 1}, torch.nn.Linear(2, 2))
    path = tmp_path / "step_00000001" / name
    whole, weight = path.read_bytes(), accelerator.model.weight.clone()
    for damage in DAMAGES.values():
        damage(path)
        problem = r"step_00000001 is damaged \(.*\.\w+ is missing or not as it was written\); remove it"
        with pytest.raises(ValueError, match=problem):
            load_newest_checkpoint(accelerator, tmp_path, torch.nn.Linear(2, 2))
        assert torch.equal(accelerator.model.weight, weight)
        path.write_bytes(whole)
    assert load_newest_checkpoint(accelerator, tmp_path, torch.nn.Linear(2, 2)) == {"step": 1}


@pytest.mark.parametrize("make", [Path.mkdir, Path.touch, lambda path: path.symlink_to("nowhere")])
def test_whatever_has_the_name_of_a_checkpoint_and_is_none_is_damaged(accelerator, tmp_path, make):
    save_checkpoint(accelerator, tmp_path, 1, {"step": 1}, None)
    (tmp_path / "step_notes.txt").touch()
    (tmp_path / "step_1_backup").mkdir()
    assert load_newest_checkpoint(accelerator, tmp_path, None) == {"step": 1}
    make(tmp_path / "step_99999999")
    with pytest.raises(ValueError, match="step_99999999 is damaged"):
        load_newest_checkpoint(accelerator, tmp_path, None)


@pytest.mark.parametrize("make", [Path.touch, lambda path: path.symlink_to("nowhere")])
def test_what_is_no_folder_of_checkpoints_is_named(accelerator, tmp_path, make):
    make(tmp_path / "checkpoints")
    with pytest.raises(NotADirectoryError, match="checkpoints is not a folder; remove it to start anew"):
        load_newest_checkpoint(accelerator, tmp_path / "checkpoints", None)


def test_a_checkpoint_may_be_a_link(accelerator, tmp_path):
    save_checkpoint(accelerator, tmp_path / "other_disk", 1, {"step": 1}, None)
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "step_00000001").symlink_to(tmp_path / "other_disk" / "step_00000001")
    assert load_newest_checkpoint(accelerator, tmp_path / "checkpoints", None) == {"step": 1}
    save_checkpoint(accelerator, tmp_path / "checkpoints", 2, {"step": 2}, None)
    assert [path.name for path in checkpoint_folders(tmp_path / "checkpoints")] == ["step_00000002"]


@pytest.mark.parametrize("limit", [0, 300, 2000])  # the weights, the optimizer, the random states do not fit
def test_a_full_disk_is_an_error_of_the_system_with_the_name(accelerator, tmp_path, limit):
    accelerator.prepare(torch.optim.AdamW(accelerator.model.parameters()))
    save_checkpoint(accelerator, tmp_path, 1, {"step": 1}, None)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limits[1]))
    try:
        with pytest.raises(OSError, match=f"{tmp_path} cannot be written .*full"):
            save_checkpoint(accelerator, tmp_path, 2, {"step": 2}, None)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert load_newest_checkpoint(accelerator, tmp_path, None) == {"step": 1}
