import os
import subprocess
import sys

import pytest
import yaml
from accelerate import Accelerator

from involvit.training import run_folder
from involvit.training.recipe import Recipe, write_recipe
from involvit.training.run_folder import hold_folder, hold_run_folder


@pytest.fixture
def accelerator():
    return Accelerator(cpu=True)


def test_the_recipe_is_in_the_folder_of_a_run_that_begins(accelerator, tmp_path):
    run_folder.open_run_folder(Recipe(output_dir=str(tmp_path / "out"), seed=7), accelerator)
    assert yaml.safe_load((tmp_path / "out" / "recipe.yaml").read_text())["seed"] == 7


def test_machines_that_do_not_share_the_folder_are_refused_and_leave_nothing(accelerator, tmp_path, monkeypatch):
    monkeypatch.setattr(run_folder, "gather_object", lambda found: [*found, False])
    recipe, problem = Recipe(output_dir=str(tmp_path / "out")), r"not every machine finds .*out.recipe\.yaml.* share"
    with pytest.raises(ValueError, match=problem), hold_run_folder(recipe, accelerator):
        run_folder.open_run_folder(recipe, accelerator)
    assert not (tmp_path / "out").exists()


def test_a_run_that_continues_keeps_its_recipe_when_its_folder_is_not_shared(accelerator, tmp_path, monkeypatch):
    recipe = Recipe(output_dir=str(tmp_path))
    run_folder.open_run_folder(recipe, accelerator)
    monkeypatch.setattr(run_folder, "gather_object", lambda found: [*found, False])
    with pytest.raises(ValueError, match="not every machine"):
        run_folder.open_run_folder(recipe, accelerator)
    assert (tmp_path / "recipe.yaml").exists()


LOCKER = """
import sys, time
from filelock import FileLock
with FileLock(sys.argv[1]):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_folder_is_of_one_process_until_that_ends_or_is_killed(tmp_path):
    lock = tmp_path / "out" / ".lock"
    refused = pytest.raises(ValueError, match="out is being trained in by another process")
    with hold_folder(lock.parent), refused, hold_folder(lock.parent):
        pass
    assert not lock.parent.exists()

    lock.parent.mkdir()
    other = subprocess.Popen([sys.executable, "-c", LOCKER, str(lock)], stdout=subprocess.PIPE)
    other.stdout.readline()
    with pytest.raises(ValueError, match="by another process"), hold_folder(lock.parent):
        pass
    other.kill()
    other.communicate()
    assert lock.exists()
    with hold_folder(lock.parent):
        pass


def test_only_the_folders_that_were_made_and_stay_empty_are_removed(tmp_path):
    with hold_folder(tmp_path / "new" / "out"):
        assert (tmp_path / "new" / "out").is_dir()
    assert list(tmp_path.iterdir()) == []
    with hold_folder(tmp_path / "new" / "out"):
        (tmp_path / "new" / "out" / "recipe.yaml").touch()
    assert [path.name for path in (tmp_path / "new" / "out").iterdir()] == ["recipe.yaml"]


@pytest.mark.parametrize("name", ["file", "file/out", "link", "link/out", "nul\0"])
def test_what_cannot_be_a_folder_is_refused_by_name(tmp_path, name):
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "link")
    with pytest.raises(ValueError, match=f"{name} cannot be made a folder"), hold_folder(tmp_path / name):
        pass


@pytest.mark.parametrize("resume", [True, False])
def test_what_a_kill_left_before_the_recipe_was_written_is_cleared(accelerator, tmp_path, resume):
    for name in (".unfinished_recipe.yaml", ".lock"):
        (tmp_path / name).touch()
    with hold_run_folder(Recipe(output_dir=str(tmp_path), resume=resume), accelerator) as is_finished:
        assert not is_finished
        assert [path.name for path in tmp_path.iterdir()] == [".lock"]


def test_a_folder_of_others_keeps_its_files(accelerator, tmp_path):
    names = {".unfinished_results.csv", "thesis.txt"}
    for name in names:
        (tmp_path / name).touch()
    with (
        pytest.raises(ValueError, match="is not empty"),
        hold_run_folder(Recipe(output_dir=str(tmp_path)), accelerator),
    ):
        pass
    assert set(os.listdir(tmp_path)) == names  # noqa: PTH208


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"metrics": {}, "run"'])
def test_a_damaged_report_is_not_taken_for_a_finished_run(accelerator, tmp_path, content):
    recipe = Recipe(output_dir=str(tmp_path), resume=True)
    write_recipe(recipe, tmp_path / "recipe.yaml")
    (tmp_path / "report.json").write_text(content)
    with pytest.raises(ValueError, match=r"report.json is damaged .*; remove it"), hold_run_folder(recipe, accelerator):
        pass
    (tmp_path / "report.json").write_text('{"metrics": {}, "run": {}}')
    with hold_run_folder(recipe, accelerator) as is_finished:
        assert is_finished
