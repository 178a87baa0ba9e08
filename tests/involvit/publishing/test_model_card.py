"""What the card says of the model, its data, its limits and its use."""

import ast
import dataclasses
import json
import re

import pytest
import yaml
from huggingface_hub import ModelCard
from transformers import ViTConfig, ViTForImageClassification

from involvit.publishing.model_card import write_model_card

from .card_reports import JOINED, VOTED, metrics_of, report_of


def test_two_sources_that_share_a_paper_cite_it_once(folder):
    both = {"ferplus": {"data": "ferplus.zip"}, "fer2013": {"data": "fer2013.zip"}}
    metrics = metrics_of(0.5, (9,) * 7)
    text = write_model_card(folder(report_of(both, {"ferplus": metrics | VOTED, "fer2013": metrics}))).read_text()
    assert text.count("goodfellow2013challenges") == text.count("barsoum2016training") == 1


def test_classes_that_transformers_does_not_save_are_named_as_it_names_them(tmp_path):
    ViTForImageClassification(ViTConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=1)).save_pretrained(
        tmp_path
    )
    assert "id2label" not in json.loads((tmp_path / "config.json").read_text())
    text = write_model_card(tmp_path).read_text()
    assert "LABEL_0" in text and "LABEL_1" in text and "LABEL_2" not in text


@pytest.mark.parametrize(
    ("data", "there", "not_there"),
    [
        ("fer2013.csv", ["FER2013", "ODbL", "65%", "48 x 48", "goodfellow2013"], ["muxspace", "12 images", "SFEW"]),
        ("wildfaces_extra.zip", ["6,000", "muxspace", "calm and smiling"], ["12 images of Fear", "FER2013"]),
        ("wildfaces.zip", ["muxspace", "12 images of Fear", "few persons"], ["FER2013", "ODbL", "65%", "goodfellow"]),
        ("SFEW_2.0.zip", ["SFEW", "feature films"], ["FER2013", "muxspace"]),
        ("rendered", ["drawings", "showing no person"], ["FER2013", "muxspace"]),
        ("my_own_faces", ["its licence was not recorded"], ["FER2013", "muxspace", "SFEW", "drawings"]),
    ],
)
def test_only_the_data_trained_on_is_spoken_of(folder, data, there, not_there):
    text = " ".join(write_model_card(folder(report_of(data))).read_text().split())
    assert all(word in text for word in there), [word for word in there if word not in text]
    assert not any(word in text for word in not_there)


FER_PLUS = ("Barsoum", "1608.01041", "MIT", "Ten people", "barsoum2016")


def test_fer2013_is_fer_plus_where_people_voted_and_ferplus_always(folder):
    report = report_of("fer2013.zip")
    without = " ".join(write_model_card(folder(report)).read_text().split())
    assert not any(word in without for word in FER_PLUS)
    assert "65%" in without
    report["metrics"] |= VOTED
    for voted in (report, report_of("ferplus.zip")):
        text = " ".join(write_model_card(folder(voted)).read_text().split())
        assert all(word in text for word in (*FER_PLUS, "ODbL", "goodfellow2013"))
        assert "65%" not in text


def test_a_source_that_is_not_measured_has_votes_if_the_run_learned_from_some(folder):
    data = {"faces": {"data": "faces.zip"}, "fer": {"data": "fer2013.zip", "split": "train"}}
    report = report_of(data, {"faces": metrics_of(0.5, (40,) * 7)})
    assert "Barsoum" not in write_model_card(folder(report)).read_text()
    report["run"]["votes"] = True
    assert "Barsoum" in write_model_card(folder(report)).read_text()


def test_limits_law_and_the_science_are_stated_for_every_model(folder):
    text = " ".join(write_model_card(folder()).read_text().split())
    assert "10.1177/1529100619832930" in text
    assert "Regulation (EU) 2024/1689" in text
    for part in ("Article 5(1)(f) prohibits", "except for medical or safety reasons", "Annex III", "Article 50(3)"):
        assert part in text
    assert "Not for decisions about people" in text
    assert "Privacy" in text


@pytest.mark.parametrize(
    ("config", "tags"),
    [
        ({"branches": "rednet"}, {"involution", "custom_code"}),
        ({"branches": "vit"}, {"vision-transformer", "custom_code"}),
        ({"model_type": "vit", "auto_map": None, "architectures": ["ViTForImageClassification"]}, set()),
    ],
)
def test_another_architecture_is_not_called_a_fusion(folder, config, tags):
    card = ModelCard.load(write_model_card(folder(**config)))
    assert set(card.data.tags) == {"facial-expression-recognition", *tags}
    assert "side by side" not in card.text
    assert ("trust_remote_code" in card.text) == ("custom_code" in tags)


def test_the_examples_name_the_model_and_are_python(folder):
    text = write_model_card(folder(), "anna/fer").read_text()
    blocks = re.findall(r"```python\n(.*?)```", text, re.S)
    assert len(blocks) == 2
    for block in blocks:
        ast.parse(block)
        assert '"anna/fer"' in block
    assert 'pipeline("image-classification", model="anna/fer", trust_remote_code=True)' in blocks[0]
    assert "involvit predict photos/ --model anna/fer" in text


def test_the_recipe_in_the_card_is_the_one_of_the_run_without_its_machine(folder, tmp_path):
    from involvit.training.recipe import parse_recipe

    arguments = ["--config", "configs/demo.yaml", "--out", "/home/anna/runs/x", "--data_dir", "/home/anna"]
    recipe = dataclasses.asdict(parse_recipe([*arguments, "--num_workers", "7"])) | {"data": JOINED}
    report = report_of(JOINED)
    report["run"]["recipe"] = json.loads(json.dumps(recipe))
    text = write_model_card(folder(report)).read_text()
    assert "anna" not in text
    (block,) = re.findall(r"```yaml\n(.*?)```", text, re.S)
    assert yaml.safe_load(block)["data"] == {
        "fer": {"data": "fer2013.zip", "split": "official"},
        "faces": {"data": "wildfaces.zip", "split": "group", "repeat": 3},
    }
    (tmp_path / "recipe.yaml").write_text(block)
    again = dataclasses.asdict(parse_recipe(["--config", str(tmp_path / "recipe.yaml"), "--out", "outputs/x"]))
    free = ("output_dir", "data_dir", "num_workers", "checkpoint_steps", "data")
    assert {k: v for k, v in again.items() if k not in free} == {k: v for k, v in recipe.items() if k not in free}


def test_weights_that_the_run_started_from_are_named(folder):
    text = write_model_card(folder(report_of("faces.zip", pretrained="/home/anna/base-model"))).read_text()
    assert "started from the weights `base-model`" in text
