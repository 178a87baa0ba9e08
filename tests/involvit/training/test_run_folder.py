import pytest
import yaml
from accelerate import Accelerator

from involvit.training import run_folder
from involvit.training.recipe import Recipe


@pytest.fixture
def accelerator():
    return Accelerator(cpu=True)


def test_the_recipe_is_in_the_folder_of_a_run_that_begins(accelerator, tmp_path):
    run_folder.open_run_folder(Recipe(output_dir=str(tmp_path / "out"), seed=7), accelerator)
    assert yaml.safe_load((tmp_path / "out" / "recipe.yaml").read_text())["seed"] == 7


def test_machines_that_do_not_share_the_folder_are_refused_and_leave_nothing(accelerator, tmp_path, monkeypatch):
    monkeypatch.setattr(run_folder, "gather_object", lambda found: [*found, False])
    with pytest.raises(ValueError, match=r"not every machine finds .*out.recipe\.yaml.* that all of them share"):
        run_folder.open_run_folder(Recipe(output_dir=str(tmp_path / "out")), accelerator)
    assert not (tmp_path / "out").exists()


def test_a_run_that_continues_keeps_its_recipe_when_its_folder_is_not_shared(accelerator, tmp_path, monkeypatch):
    recipe = Recipe(output_dir=str(tmp_path))
    run_folder.open_run_folder(recipe, accelerator)
    monkeypatch.setattr(run_folder, "gather_object", lambda found: [*found, False])
    with pytest.raises(ValueError, match="not every machine"):
        run_folder.open_run_folder(recipe, accelerator)
    assert (tmp_path / "recipe.yaml").exists()
