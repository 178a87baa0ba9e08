from involvit.training.public_recipe import public_recipe


def test_a_public_recipe_keeps_falsy_values_that_mean_something():
    recipe = {"warmup_steps": 0, "drop_duplicates": False, "model": {}, "patience": None, "vit_pretrained": "timm/x"}
    assert public_recipe(recipe) == {"warmup_steps": 0, "drop_duplicates": False, "vit_pretrained": "timm/x"}
