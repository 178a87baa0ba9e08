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
