"""What is wrong on this machine when a model is pushed: said as it is, and before the Hub is asked."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from involvit.publishing import hub


@pytest.fixture
def folder(tmp_path):
    """A folder that passes for a model."""
    path = tmp_path / "model"
    path.mkdir()
    config = '{"model_type": "vit", "id2label": {"0": "Happy", "1": "Sad"}}'
    (path / "config.json").write_text(config, encoding="utf-8-sig")  # a codec that nobody may not import
    save_file({"weight": np.zeros(3, np.float32)}, path / "model.safetensors")
    (path / "model.safetensors").chmod(0o644)
    return path


@pytest.fixture
def online(monkeypatch):
    """Lets a push go as far as the Hub, and returns a list of what it asked of it."""
    asked = []

    def create_repo(self, repo_id, **options):
        asked.append(repo_id)
        raise PermissionError(13, "Permission denied", "some_file")

    monkeypatch.setattr(hub.HfApi, "create_repo", create_repo)
    monkeypatch.setattr(hub, "is_offline_mode", lambda: False)
    monkeypatch.setenv("HF_TOKEN", "hf_token")
    return asked


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "model_int8.onnx"])
def test_a_file_that_may_not_be_read_is_named_before_the_hub_is_asked(folder, online, nobody, name):
    (folder / name).touch()
    (folder / name).chmod(0)
    with nobody(), pytest.raises(PermissionError, match=name):
        hub.push_folder(folder.name, "anna/fer")
    assert not online


def test_a_report_that_is_no_runs_is_named_before_the_hub_is_asked(folder, online):
    (folder / "report.json").write_text('{"metrics": {}, "run": {}}')
    with pytest.raises(ValueError, match=r"report\.json is not as train\.py writes it"):
        hub.push_folder(folder, "anna/fer")
    assert not online


def test_a_fault_of_this_machine_is_not_one_of_the_connection(folder, online):
    with pytest.raises(hub.PushError, match=r"anna/fer was not pushed: .*Permission denied: 'some_file'"):
        hub.push_folder(folder, "anna/fer")
    assert online == ["anna/fer"]


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (Path.mkdir, "Is a directory"),
        (lambda path: path.write_bytes(b"\xff"), "can't decode byte 0xff"),
        (lambda path: path.touch(0), "Permission denied"),
    ],
)
def test_a_file_of_the_token_that_cannot_be_read_is_named(tmp_path, monkeypatch, nobody, make, reason):
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr(hub.constants, "HF_TOKEN_PATH", "token")
    make(tmp_path / "token")
    with nobody(), pytest.raises(hub.PushError, match=f"token, the file of the token .* cannot be read .*{reason}"):
        hub.find_token()
