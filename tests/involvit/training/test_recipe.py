import dataclasses
import json
from pathlib import Path

import pytest

from involvit.training.recipe import Recipe, parse_recipe
from modeling_involvit import InvolViTConfig

CONFIGS = Path(__file__).parents[3] / "configs"


def test_flags_override_the_file_and_keep_its_other_fields(tmp_path):
    file = tmp_path / "recipe.yaml"
    file.write_text("learning_rate: 5e-4\nbatch_size: 4\nmodel: {image_size: 64, vit_num_layers: 2}\n")
    recipe = parse_recipe(
        ["--config", str(file), "--output_dir", "out", "--batch_size", "3", "--model.image_size", "96"]
    )
    assert recipe.learning_rate == 5e-4
    assert recipe.batch_size == 3
    assert recipe.model == {"image_size": 96, "vit_num_layers": 2}
    assert recipe.output_dir == "out"


def test_every_field_is_a_flag():
    recipe = Recipe(output_dir="out", resume=True, data="faces.zip", frozen=["vit"], patience=2, select_best="loss")
    values = {field.name: getattr(recipe, field.name) for field in dataclasses.fields(Recipe)}
    flags = [f"--{name}={value if isinstance(value, str) else json.dumps(value)}" for name, value in values.items()]
    assert parse_recipe(flags) == recipe


@pytest.mark.parametrize(
    "word", [["--resume"], ["--resume", "true"], ["--resume=true"], ["--resume", "--batch_size", "4"]]
)
def test_a_switch_needs_no_value(word):
    assert parse_recipe(["--output_dir", "out", *word]).resume


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["--lerning_rate", "1"], "did you mean learning_rate?"),
        (["--batchsize=1"], "did you mean batch_size?"),
        (["--lr", "1"], "the fields are"),  # no short form of lr_power
        (["--model.imge_size", "64"], "did you mean image_size?"),
        (["--learning_rate", "fast"], "learning_rate"),
        (["--learning_rate", "0"], "learning_rate must be above 0"),
        (["--split", "films"], "split"),
        (["--patience", "3"], "patience needs select_best"),
        (["--ema_decay", "1"], "ema_decay must lie between 0 and 1"),
        (["--config", "nowhere.yaml"], "nowhere.yaml"),
    ],
)
def test_a_mistake_is_an_error_that_says_what_to_do(words, hint):
    with pytest.raises(ValueError, match=hint.replace("?", r"\?")):
        parse_recipe(["--output_dir", "out", *words])


def test_an_unknown_field_in_the_file_is_an_error_that_names_the_nearest(tmp_path):
    file = tmp_path / "recipe.yaml"
    file.write_text("num_epoch: 3\n")
    with pytest.raises(ValueError, match=r"num_epoch.*did you mean num_epochs\?"):
        parse_recipe(["--config", str(file), "--output_dir", "out"])


@pytest.mark.parametrize("name", ["model", "augmentation", "batch_size"])
def test_a_field_left_empty_in_the_file_is_an_error(tmp_path, name):
    file = tmp_path / "recipe.yaml"
    file.write_text(f"num_epochs: 3\n{name}:\n")
    with pytest.raises(ValueError, match=f"{name} needs a value"):
        parse_recipe(["--config", str(file), "--output_dir", "out"])


def test_output_dir_is_required():
    with pytest.raises(ValueError, match="output_dir"):
        parse_recipe([])


def test_the_paper_recipe_is_the_paper_to_the_letter():
    recipe = parse_recipe(["--config", str(CONFIGS / "paper.yaml"), "--output_dir", "out"])
    config = InvolViTConfig(**recipe.model)
    assert config.image_size == 352
    assert (recipe.batch_size, recipe.gradient_accumulation_steps, recipe.num_epochs) == (8, 2, 50)
    assert (recipe.learning_rate, recipe.weight_decay, recipe.lr_power, recipe.warmup_steps) == (5e-4, 5e-4, 0.9, 0)
    assert [name for item in recipe.augmentation for name in item] == ["Affine", "RGBShift", "RandomBrightnessContrast"]
    assert (recipe.split, recipe.validation_fraction) == ("random", 0.1)
    assert (recipe.class_balance, recipe.ema_decay, recipe.max_grad_norm, config.label_smoothing) == (
        None,
        None,
        None,
        0,
    )
