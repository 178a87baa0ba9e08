import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from involvit.training.recipe import Recipe, changed_fields, parse_recipe, write_recipe
from modeling_involvit import InvolViTConfig

CONFIGS = Path(__file__).parents[3] / "configs"


def test_flags_override_the_file_and_keep_its_other_fields(tmp_path):
    file = tmp_path / "recipe.yaml"
    file.write_text("learning_rate: 5e-4\nbatch_size: 4\nmodel: {image_size: 64, vit_num_layers: 2}\n")
    recipe = parse_recipe(["--config", str(file), "--out", "out", "--batch_size", "3", "--model.image_size", "96"])
    assert recipe.learning_rate == 5e-4
    assert recipe.batch_size == 3
    assert recipe.model == {"image_size": 96, "vit_num_layers": 2}
    assert recipe.output_dir == "out"


def test_of_two_files_the_later_one_counts(tmp_path):
    one, other = tmp_path / "one.yaml", tmp_path / "other.yaml"
    one.write_text("batch_size: 4\nnum_epochs: 7\n")
    other.write_text("batch_size: 16\n")
    recipe = parse_recipe([f"--config={one}", f"--config={other}", "--out=out"])
    assert (recipe.batch_size, recipe.num_epochs) == (16, 7)


def test_a_recipe_is_read_as_utf_8_whatever_the_locale(tmp_path):
    for encoding in ("utf-8", "utf-8-sig"):
        text = "data: données/表情\nlearning_rate: 1e-3\n"
        (tmp_path / f"{encoding}.yaml").write_text(text, encoding=encoding)
    script = """
from involvit.training.recipe import parse_recipe
for words in (["--config=utf-8.yaml"], ["--config", "utf-8-sig.yaml"]):
    recipe = parse_recipe([*words, "--out=out"])
    print(ascii(recipe.data), recipe.learning_rate)
"""
    in_ascii = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONPATH": str(CONFIGS.parent)}
    result = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=os.environ | in_ascii, capture_output=True, text=True
    )
    assert result.stdout.splitlines() == [f"{'données/表情'!a} 0.001"] * 2, result.stderr


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_a_recipe_that_comes_with_the_project_is_read_and_can_be_written_and_read_again(path, tmp_path):
    recipe = parse_recipe([f"--config={path}", "--out=out", "--learning_rate=1e-7"])
    write_recipe(recipe, tmp_path / "new" / "recipe.yaml")
    assert parse_recipe([f"--config={tmp_path / 'new' / 'recipe.yaml'}"]) == recipe
    InvolViTConfig(**recipe.model)


def test_what_decides_the_result_is_compared_and_what_does_not_is_not(tmp_path):
    write_recipe(Recipe("out", seed=1, num_workers=3, model={"image_size": 64}), tmp_path / "recipe.yaml")
    changed = Recipe("elsewhere", seed=2, resume=True, model={"image_size": 96})
    assert changed_fields(changed, tmp_path / "recipe.yaml") == ["model", "seed"]


def test_every_field_is_a_flag():
    recipe = Recipe(output_dir="out", resume=True, data="faces.zip", frozen=["vit"], patience=2, select_best="loss")
    values = {field.name: getattr(recipe, field.name) for field in dataclasses.fields(Recipe)}
    flags = [f"--{name}={value if isinstance(value, str) else json.dumps(value)}" for name, value in values.items()]
    assert parse_recipe(flags) == recipe


@pytest.mark.parametrize(
    "word", [["--resume"], ["--resume", "true"], ["--resume=true"], ["--resume", "--batch_size", "4"]]
)
def test_a_switch_needs_no_value(word):
    assert parse_recipe(["--out", "out", *word]).resume


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["--lerning_rate", "1"], "did you mean learning_rate?"),
        (["--batchsize=1"], "did you mean batch_size?"),
        (["--lr", "1"], "the fields are"),  # no short form of lr_power
        (["--model.imge_size", "64"], "did you mean image_size?"),
        (["--learning_rate", "fast"], "learning_rate"),
        (["--learning_rate", "0"], "learning_rate must be > 0$"),
        (["--num_workers=-1"], "num_workers must be >= 0$"),
        (["--max_steps=0"], "max_steps must be > 0$"),
        (["--batch_size=2.5"], "batch_size"),
        (["--max_minutes=0"], "max_minutes must be > 0$"),
        (["--max_minutes=-15"], "max_minutes must be > 0$"),
        (["--max_minutes=inf"], "leave it out for no limit"),
        (["--max_minutes=15", "--max_steps=3"], "max_minutes and max_steps both end the run; give one of them"),
        (["--num_workers=many"], "num_workers"),
        (["--mixed_precision=fp32"], "mixed_precision"),
        (["--split", "films"], "split"),
        (["--split", "train"], "choose another, such as group, or join the data"),
        (["--patience", "3"], "patience needs select_best"),
        (["--ema_decay", "1"], "ema_decay must be > 0 and < 1$"),
        (["--config", "nowhere.yaml"], "nowhere.yaml"),
    ],
)
def test_a_mistake_is_an_error_that_says_what_to_do(words, hint):
    with pytest.raises(ValueError, match=hint.replace("?", r"\?")):
        parse_recipe(["--out", "out", *words])


def test_an_unknown_field_in_the_file_is_an_error_that_names_the_nearest(tmp_path):
    file = tmp_path / "recipe.yaml"
    file.write_text("num_epoch: 3\n")
    with pytest.raises(ValueError, match=r"num_epoch.*did you mean num_epochs\?"):
        parse_recipe(["--config", str(file), "--out", "out"])


@pytest.mark.parametrize("name", ["model", "augmentation", "batch_size"])
def test_a_field_left_empty_in_the_file_is_an_error(tmp_path, name):
    file = tmp_path / "recipe.yaml"
    file.write_text(f"num_epochs: 3\n{name}:\n")
    with pytest.raises(ValueError, match=f"{name} needs a value"):
        parse_recipe(["--config", str(file), "--out", "out"])


def test_output_dir_is_required():
    with pytest.raises(ValueError, match="output_dir"):
        parse_recipe([])


def test_the_paper_recipe_is_the_paper_to_the_letter():
    recipe = parse_recipe(["--config", str(CONFIGS / "paper.yaml"), "--out", "out"])
    config = InvolViTConfig(**recipe.model)
    assert config.image_size == 352
    assert (recipe.batch_size, recipe.gradient_accumulation_steps, recipe.num_epochs) == (8, 2, 50)
    assert (recipe.learning_rate, recipe.weight_decay, recipe.lr_power, recipe.warmup_steps) == (5e-4, 5e-4, 0.9, 0)
    assert [name for item in recipe.augmentation for name in item] == ["Affine", "RGBShift", "RandomBrightnessContrast"]
    assert (recipe.split, recipe.validation_fraction) == ("random", 0.1)
    assert (recipe.class_balance, recipe.ema_decay, recipe.max_grad_norm, recipe.label_smoothing) == (
        None,
        None,
        None,
        0,
    )


def test_a_config_that_is_no_text_is_refused_by_its_name(tmp_path):
    latin, pipe = tmp_path / "latin.yaml", tmp_path / "pipe.yaml"
    latin.write_bytes(b"seed: 1  # caf\xe9\n")
    os.mkfifo(pipe)
    for words, problem in (
        (["--config", str(latin)], "latin.yaml is not a text in UTF-8"),
        ([f"--config={pipe}"], "pipe.yaml is not a file"),
    ):
        with pytest.raises(ValueError, match=problem):
            parse_recipe([*words, "--out", "out"])


@pytest.mark.parametrize("content", [b"", b"- seed", b"seed: [", b"\xff\xfe", b"{}x"], ids=str)
def test_a_damaged_record_of_a_run_is_named(tmp_path, content):
    (tmp_path / "recipe.yaml").write_bytes(content)
    with pytest.raises(ValueError, match=r"(?s)recipe.yaml is damaged \(.*\); restore it"):
        changed_fields(Recipe("out"), tmp_path / "recipe.yaml")


def test_the_tilde_is_the_home_of_the_user_also_where_the_shell_leaves_it(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    recipe = parse_recipe(["--out=~/x", "--data_dir=~", "--pretrained=~/model"])
    assert (recipe.output_dir, recipe.data_dir) == (str(tmp_path / "x"), str(tmp_path))
    assert recipe.pretrained == str(tmp_path / "model")


@pytest.mark.parametrize("words", [["--out="], ["--out", ""], ["--out", " "], ["--out=x", "--data_dir="]])
def test_an_empty_name_is_not_the_working_directory(words):
    with pytest.raises(ValueError, match=r"(output_dir|data_dir) is empty; name a folder"):
        parse_recipe(words)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("", "is empty"),
        ("# nothing yet", "is empty"),
        ("- seed\n- fold\n", "holds a list"),
        ("seed", "holds a str"),
        ("seed: 1\n\tfold: 2\n", r"is not YAML \(line 2: .*tab"),
        ("seed: [1", r"is not YAML \(line"),
        ("seed: \0", "is not YAML"),
    ],
)
def test_a_config_without_fields_is_refused_by_its_name(tmp_path, content, problem):
    (tmp_path / "recipe.yaml").write_text(content)
    with pytest.raises(ValueError, match=rf"--config .*recipe\.yaml {problem}"):
        parse_recipe([f"--config={tmp_path / 'recipe.yaml'}", "--out=out"])
