import argparse
import inspect
import subprocess
import sys

from dataset_script import load_fer_dataset
from dataset_script.data_arguments import add_data_arguments
from involvit.training.recipe import Recipe


def parse(*words):
    parser = argparse.ArgumentParser()
    add_data_arguments(parser)
    return vars(parser.parse_args(["--data", "faces.zip", *words]))


def test_flags_are_arguments_of_the_loader_and_fields_of_the_recipe_with_its_defaults():
    words = ("--split", "group", "--seed", "7", "--validation_fraction", "0.2", "--n_folds", "3", "--fold", "1")
    options = parse(*words, "--group_pattern", "(.)", "--on_error", "skip")
    parameters, recipe = inspect.signature(load_fer_dataset).parameters, Recipe(output_dir="outputs/x")
    for name in options.keys() - {"data"}:
        default = parameters[name].default
        assert getattr(recipe, name) == default
        assert default is None or type(options[name]) is type(default)


def test_what_is_not_given_is_left_to_the_loader():
    assert parse() == {"data": "faces.zip"}


def test_a_command_line_answers_without_the_libraries_behind_it():
    script = "import sys, involvit.cli; print({'datasets', 'torch', 'sklearn', 'matplotlib'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True).stdout == "set()\n"
