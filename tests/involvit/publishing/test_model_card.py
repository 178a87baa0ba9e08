import ast
import dataclasses
import json
import re

import pytest
import yaml
from huggingface_hub import ModelCard

from involvit.publishing.model_card import BEGIN, END, write_model_card

LABELS = ("Angry", "Disgust", "Fear", "Happy", "Sad", "Surprise", "Neutral")
CONFIG = {
    "model_type": "involvit",
    "architectures": ["InvolViTForImageClassification"],
    "auto_map": {"AutoConfig": "configuration_involvit.InvolViTConfig"},
    "branches": "fusion",
    "image_size": 64,
    "id2label": {str(index): label for index, label in enumerate(LABELS)},
}
JOINED = {
    "fer": {"data": "/home/anna/data/fer2013.zip", "split": "official"},
    "faces": {"data": "../wildfaces.zip", "split": "group", "repeat": 3},
}
VOTED = {
    "num_voted": 400,
    "voted_accuracy": 0.81111,
    "agreement_with_person": 0.66666,
    "human_accuracy": 0.72222,
    "human_agreement_with_person": 0.63333,
    "human_majority_share": 0.75555,
    "cross_entropy_to_votes": 0.98765,
    "entropy_of_votes": 0.54321,
    "js_divergence_to_votes": 0.12345,
}


def metrics_of(accuracy, support, intervals=None):
    """What the fer_report metric returns, as far as a card needs it; all figures differ from one another."""
    per_class = {
        label: {
            "precision": accuracy - index / 50,
            "recall": accuracy - index / 60,
            "f1": accuracy - index / 70,
            "support": n,
        }
        for index, (label, n) in enumerate(zip(LABELS, support, strict=True))
    }
    averages = {"macro_precision": accuracy - 0.011, "macro_recall": accuracy - 0.022, "macro_f1": accuracy - 0.033}
    report = {"num_images": sum(support), "accuracy": accuracy, **averages, "per_class": per_class}
    return (
        report | {"expected_calibration_error": accuracy / 10} | ({} if intervals is None else {"intervals": intervals})
    )


def report_of(data, sources=None, **recipe):
    report = {
        "metrics": metrics_of(0.61234, (60, 50, 40, 90, 80, 70, 60)),
        "history": [],
        "run": {
            "evaluated_on": "validation",
            "images": {"train": 1800, "validation": 450},
            "weights": "last epoch",
            "parameters": 4_012_345,
            "processes": 1,
            "device": "cpu",
            "mixed_precision": "no",
            "steps": 777,
            "recipe": {"output_dir": "/home/anna/runs/x", "data": data, "split": None, "num_epochs": 3, **recipe},
            "versions": {"torch": "2.15.0"},
        },
    }
    return report | ({} if sources is None else {"sources": sources})


@pytest.fixture
def folder(tmp_path):
    """Returns a function that writes a model's folder without weights."""

    def make(report=None, **config):
        path = tmp_path / "my-model"
        path.mkdir(exist_ok=True)
        (path / "config.json").write_text(json.dumps(CONFIG | config))
        if report is not None:
            (path / "report.json").write_text(json.dumps(report))
        return path

    return make


@pytest.fixture
def joined_report():
    intervals = {"accuracy": [0.6011, 0.6622], "macro_f1": [0.5711, 0.6388]}
    sources = {
        "fer": metrics_of(0.63456, (55, 50, 38, 80, 70, 60, 50), intervals),
        "faces": metrics_of(0.51717, (5, 31, 2, 33, 32, 31, 30)),
    }
    return report_of(JOINED, sources)


def table(text, header):
    """The rows of the Markdown tables whose first cell is `header`, by their first cell."""
    lines = text.splitlines()
    found = []
    for start in (index for index, line in enumerate(lines) if line.startswith(f"| {header} |")):
        rows = {}
        for line in lines[start + 2 :]:
            if not line.startswith("|"):
                break
            name, *cells = [cell.strip() for cell in line.strip("|").split("|")]
            rows[name] = cells
        found.append(rows)
    return found


# ---- what the Hub reads


def test_the_metadata_names_licence_library_task_and_tags(folder, joined_report):
    data = ModelCard.load(write_model_card(folder(joined_report))).data
    assert (data.license, data.library_name, data.pipeline_tag) == (
        "apache-2.0",
        "transformers",
        "image-classification",
    )
    assert data.tags == ["facial-expression-recognition", "involution", "vision-transformer", "custom_code"]
    assert data.metrics == ["accuracy", "f1"]
    assert data.datasets is None  # local files are nothing that the Hub knows


def test_the_model_index_has_a_result_a_source_with_the_reports_figures(folder, joined_report):
    card = ModelCard.load(write_model_card(folder(joined_report)))
    (model,) = card.data.to_dict()["model-index"]
    assert model["name"] == "my-model"
    assert [result["dataset"]["name"] for result in model["results"]] == ["fer", "faces"]
    for result in model["results"]:
        expected = joined_report["sources"][result["dataset"]["name"]]
        assert {metric["type"]: metric["value"] for metric in result["metrics"]} == {
            "accuracy": expected["accuracy"],
            "f1": expected["macro_f1"],
        }
        assert result["task"]["type"] == "image-classification"
        assert result["dataset"]["split"] == "validation"
        assert re.fullmatch(r"(?:[\w-]+/)?[\w.-]+", result["dataset"]["type"])  # the Hub's rule


def test_a_data_set_of_the_hub_is_named_in_the_metadata(folder):
    data = ModelCard.load(write_model_card(folder(report_of("anna/faces")))).data
    assert data.datasets == ["anna/faces"]
    assert {(result.dataset_type, result.dataset_name) for result in data.eval_results} == {
        ("anna/faces", "anna/faces")
    }


def test_a_local_folder_that_looks_like_a_hub_id_is_not_taken_for_one(folder, tmp_path):
    (tmp_path / "data/faces").mkdir(parents=True)
    data = ModelCard.load(write_model_card(folder(report_of("data/faces", data_dir=str(tmp_path))))).data
    assert data.datasets is None
    assert {(result.dataset_type, result.dataset_name) for result in data.eval_results} == {("imagefolder", "faces")}


# ---- the text


def test_the_tables_hold_the_figures_of_the_report(folder, joined_report):
    text = ModelCard.load(write_model_card(folder(joined_report))).text
    (results,) = table(text, "Data")
    rows = joined_report["sources"] | {"all together": joined_report["metrics"]}
    assert list(results) == list(rows)
    for name, metrics in rows.items():
        split, images, accuracy, precision, recall, f1, largest = results[name]
        assert split == {"fer": "official", "faces": "group"}.get(name, "")
        assert int(images) == metrics["num_images"]
        got = [float(cell.split()[0]) for cell in (accuracy, precision, recall, f1)]
        keys = ("accuracy", "macro_precision", "macro_recall", "macro_f1")
        assert got == pytest.approx([metrics[key] for key in keys], abs=5e-5)
        supports = [values["support"] for values in metrics["per_class"].values()]
        assert float(largest) == pytest.approx(max(supports) / sum(supports), abs=5e-5)
    assert re.findall(r"[\d.]+", results["fer"][2])[1:] == ["0.6011", "0.6622"]
    assert re.findall(r"[\d.]+", results["fer"][5])[1:] == ["0.5711", "0.6388"]
    for rows, metrics in zip(table(text, "Class"), joined_report["sources"].values(), strict=True):
        for label, values in metrics["per_class"].items():
            expected = [values["support"], values["precision"], values["recall"], values["f1"]]
            assert [float(cell) for cell in rows[label]] == pytest.approx(expected, abs=5e-5)
    assert "say much: Angry (5), Fear (2)." in text
    assert "4.01 M parameters" in text


def test_the_model_stands_beside_one_person_where_people_voted(folder, joined_report):
    joined_report["sources"]["fer"] |= VOTED
    joined_report["metrics"] |= VOTED  # of other images than the accuracy: no table of their own
    text = ModelCard.load(write_model_card(folder(joined_report))).text
    assert text.count("### Against what people say") == 1
    assert "### Against what people say, fer\n" in text
    assert "in 400 of the 403 images" in text
    assert "the others count as unanimous" in text
    (rows,) = table(text, "Answers of")
    assert rows == {
        "the model": ["81.1", "66.7", "0.988", "0.123"],
        "one person": ["72.2", "63.3", "-", "-"],
        "the votes themselves": ["100.0", "75.6", "0.543", "0.000"],
    }


def test_nothing_is_said_of_people_where_nobody_voted(folder, joined_report):
    joined_report["metrics"]["num_voted"] = joined_report["sources"]["fer"]["num_voted"] = 0
    text = write_model_card(folder(joined_report)).read_text()
    assert "what people say" not in text
    assert "of 10 people" not in text


def test_a_model_of_votes_says_what_its_probabilities_mean(folder, joined_report):
    joined_report["run"]["votes"] = True
    text = " ".join(write_model_card(folder(joined_report)).read_text().split())
    assert "0.6 for Happy means that about 6 of 10 people would say Happy." in text


def test_two_sources_that_share_a_paper_cite_it_once(folder):
    both = {"ferplus": {"data": "ferplus.zip"}, "fer2013": {"data": "fer2013.zip"}}
    metrics = metrics_of(0.5, (9,) * 7)
    text = write_model_card(folder(report_of(both, {"ferplus": metrics | VOTED, "fer2013": metrics}))).read_text()
    assert text.count("goodfellow2013challenges") == text.count("barsoum2016training") == 1


def test_a_run_on_one_source_has_one_row_and_no_brackets(folder):
    text = ModelCard.load(write_model_card(folder(report_of("faces.zip", split="group")))).text
    (results,) = table(text, "Data")
    assert list(results) == ["faces"]
    assert results["faces"][:2] == ["group", "450"]
    assert "bracket" not in text


def test_a_best_epoch_chosen_on_the_measured_images_is_owned_up_to(folder):
    fixed = write_model_card(folder(report_of("faces.zip"))).read_text()
    chosen = write_model_card(folder(report_of("faces.zip", select_best="accuracy"))).read_text()
    assert "too high" not in fixed
    assert "too high" in chosen


def test_without_a_report_it_says_that_nothing_was_measured(folder):
    card = ModelCard.load(write_model_card(folder()))
    assert "None were measured" in card.text
    assert "model-index" not in card.data.to_dict()
    assert card.data.metrics is None
    assert not table(card.text, "Data")
    assert "FER2013" not in card.text


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


@pytest.mark.parametrize("data", ["ferplus.zip", "fer2013.zip"])
def test_the_images_of_fer2013_are_fer_plus_where_people_voted_whatever_their_file_is_called(folder, data):
    report = report_of(data)
    without = " ".join(write_model_card(folder(report)).read_text().split())
    assert not any(word in without for word in FER_PLUS)
    assert "65%" in without
    report["metrics"] |= VOTED
    text = " ".join(write_model_card(folder(report)).read_text().split())
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

    arguments = ["--config", "configs/demo.yaml", "--output_dir", "/home/anna/runs/x", "--data_dir", "/home/anna"]
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
    again = dataclasses.asdict(parse_recipe(["--config", str(tmp_path / "recipe.yaml"), "--output_dir", "outputs/x"]))
    free = ("output_dir", "data_dir", "num_workers", "checkpoint_steps", "data")
    assert {k: v for k, v in again.items() if k not in free} == {k: v for k, v in recipe.items() if k not in free}


def test_weights_that_the_run_started_from_are_named(folder):
    text = write_model_card(folder(report_of("faces.zip", pretrained="/home/anna/base-model"))).read_text()
    assert "started from the weights `base-model`" in text


# ---- what people wrote


HAND_WRITTEN = f"""---
license: cc-by-nc-4.0
language: en
tags:
- my-tag
- involution
base_model: anna/older
---

# A better title

Words of mine before.

{BEGIN}
Stale 0.1111
{END}

## Thanks

Words of mine after. 0.1111 is mine here.
"""


def test_hand_written_text_and_metadata_survive_and_the_figures_are_new(folder, joined_report):
    path = folder(joined_report)
    (path / "README.md").write_text(HAND_WRITTEN)
    write_model_card(path)
    text = (path / "README.md").read_text()
    before, generated, after = re.split(f"{BEGIN}|{END}", text.split("\n---\n", 1)[1])
    old_before, _, old_after = re.split(f"{BEGIN}|{END}", HAND_WRITTEN.split("\n---\n", 1)[1])
    assert (before, after) == (old_before, old_after)
    assert "Stale" not in generated
    assert "0.6346" in generated
    data = ModelCard.load(path / "README.md").data
    assert data.license == "cc-by-nc-4.0"
    assert data.to_dict()["language"] == "en"
    assert data.base_model == "anna/older"
    assert sorted(data.tags) == sorted(
        ["facial-expression-recognition", "involution", "vision-transformer", "custom_code", "my-tag"]
    )
    assert len(data.eval_results) == 4

    write_model_card(path)
    assert (path / "README.md").read_text() == text


def test_writing_twice_gives_the_same_card_and_new_figures_replace_old_ones(folder):
    first = write_model_card(folder(report_of("faces.zip"))).read_text()
    assert write_model_card(folder()).read_text() == first
    report = report_of("faces.zip")
    report["metrics"] = metrics_of(0.7345, (10, 20, 30, 40, 50, 60, 70))
    second = write_model_card(folder(report)).read_text()
    assert "0.7345" in second
    assert "0.6123" not in second


@pytest.mark.parametrize("text", ["# Mine\n\nAll by hand.\n", "---\nlicense: mit\n---\nAll by hand.\n"])
def test_a_card_without_the_two_lines_is_kept_whole_above_the_generated_part(folder, text):
    path = folder()
    (path / "README.md").write_text(text)
    card = ModelCard.load(write_model_card(path))
    body = text.rpartition("---\n")[2]
    assert card.text.lstrip().startswith(body)
    assert card.text.count(BEGIN) == card.text.count(END) == 1
    assert card.data.license == ("mit" if "mit" in text else "apache-2.0")


def test_the_card_of_the_hub_lends_its_text_where_the_folders_has_none(folder):
    path = folder()
    write_model_card(path)
    card = ModelCard.load(write_model_card(path, "anna/fer", HAND_WRITTEN))
    assert "Words of mine before." in card.text
    assert "Words of mine after." in card.text
    assert "Stale" not in card.text
    assert card.data.license == "cc-by-nc-4.0"

    (path / "README.md").write_text((path / "README.md").read_text().replace("Words of mine before.", "Newer words."))
    card = ModelCard.load(write_model_card(path, "anna/fer", HAND_WRITTEN))
    assert "Newer words." in card.text
    assert "Words of mine before." not in card.text


# ---- mistakes


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("README.md", f"mine {BEGIN} and no end", "must be there once each"),
        ("README.md", f"{END}\n{BEGIN}", "must be there once each"),
        ("README.md", "---\nlicense: [\n---\nmine", "not valid YAML"),
        ("README.md", b"\xff\xfe\x00", "UTF-8"),
        ("report.json", "{", "not valid JSON"),
        ("report.json", "[]", "not hold a JSON object"),
        ("report.json", '{"metrics": {}}', "not as train.py writes it"),
        ("config.json", "", "not valid JSON"),
    ],
)
def test_what_cannot_be_used_is_named_in_one_line_and_nothing_is_changed(folder, name, content, message):
    path = folder()
    (path / "README.md").write_text("mine")
    (path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    before = {file.name: file.read_bytes() for file in path.iterdir()}
    with pytest.raises(ValueError, match=message) as error:
        write_model_card(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)
    assert {file.name: file.read_bytes() for file in path.iterdir()} == before


def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"config\.json is missing"):
        write_model_card(tmp_path)
