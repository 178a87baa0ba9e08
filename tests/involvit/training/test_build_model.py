import pytest

from involvit.training.build_model import build_config
from involvit.training.recipe import Recipe

from .training_runs import MODEL


def test_class_balance_by_loss_weighs_classes_by_the_inverse_of_their_share(tmp_path):
    recipe = Recipe(output_dir=str(tmp_path), class_balance="loss", model=MODEL)
    config = build_config(recipe, {"label": [0] * 6 + [1] * 3 + [6]})
    assert config.class_weights[:2] == pytest.approx([10 / (3 * 6), 10 / (3 * 3)])
    assert config.class_weights[6] == pytest.approx(10 / 3)
