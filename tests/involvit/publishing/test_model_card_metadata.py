"""What the Hub reads of a card."""

import re

from huggingface_hub import ModelCard

from involvit.publishing.model_card import write_model_card

from .card_reports import report_of


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
