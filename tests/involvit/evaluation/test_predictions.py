import numpy as np
import pytest

from dataset_script import LABELS
from involvit.evaluation.predictions import class_order, describe_data, load_faces, measure_speed, predict


def test_answers_come_in_the_projects_order_of_classes(grey_faces, colour_classifier):
    backwards = colour_classifier(labels=("neutrality", "surprised", "SADNESS", "joy", "fearful", "disgusted", "anger"))
    probabilities = predict(backwards, grey_faces, "model")
    plain = predict(colour_classifier(), grey_faces, "model")
    assert probabilities.shape == (70, 7)
    np.testing.assert_allclose(probabilities[:, ::-1], plain)
    assert (plain.argmax(axis=1) == grey_faces["label"][:]).mean() > 0.8


@pytest.mark.parametrize("labels", [("cat", "dog"), LABELS[:6], (*LABELS, "Contempt"), (*LABELS[:6], "anger")])
def test_a_model_of_other_classes_is_refused(labels):
    with pytest.raises(ValueError, match=r"pets answers .* labelled Angry, Disgust"):
        class_order("pets", labels)


def test_damaged_weights_are_refused(grey_faces, colour_classifier):
    classifier = colour_classifier(width=float("nan"))
    with pytest.raises(ValueError, match="not finite"):
        predict(classifier, grey_faces, "model")


def test_speed_is_of_images_spread_over_the_data(grey_faces, colour_classifier):
    speed = measure_speed(colour_classifier(), grey_faces, "model", images=8)
    assert speed.rows == [0, 9, 19, 29, 39, 49, 59, 69]
    assert 0 < min(speed.milliseconds) <= speed.median <= speed.percentile_95 <= max(speed.milliseconds)
    assert speed.images_per_s > 0


def test_parts_of_the_data_are_chosen_by_name(grey_folder, tmp_path):
    options = {"split": "group", "validation_fraction": 0.2, "cache_dir": tmp_path}
    parts = {part: load_faces(str(grey_folder), part, **options) for part in ("train", "validation", "all")}
    assert {part: len(rows) for part, rows in parts.items()} == {"train": 56, "validation": 14, "all": 70}
    assert not set(parts["train"]["group"]) & set(parts["validation"]["group"])
    with pytest.raises(ValueError, match="has no part test; choose one of train, validation, all by --part"):
        load_faces(str(grey_folder), "test", **options)


def test_few_images_are_enough_where_all_are_measured(grey_folder, tmp_path):
    few = {"validation_fraction": 0.05, "cache_dir": tmp_path}  # four images, of seven classes
    with pytest.raises(ValueError, match="do not give both sides one of each of 7 classes"):
        load_faces(str(grey_folder), **few)
    assert len(load_faces(str(grey_folder), "all", **few)) == 70


def test_faces_without_labels_are_refused(monkeypatch, grey_faces):
    from involvit.evaluation import predictions

    unlabelled = grey_faces.map(lambda row: {"label": -1}, keep_in_memory=True)
    monkeypatch.setattr(predictions, "load_fer_dataset", lambda data: {"train": grey_faces, "test": unlabelled})
    with pytest.raises(ValueError, match="70 of 70 images of the part test have no label"):
        load_faces("faces", "test")


def test_an_empty_part_is_refused(monkeypatch, grey_faces):
    from involvit.evaluation import predictions

    monkeypatch.setattr(predictions, "load_fer_dataset", lambda data: {"validation": grey_faces.select([])})
    with pytest.raises(ValueError, match="the part validation has no images"):
        load_faces("faces")


def test_data_is_described_without_its_folder(grey_folder):
    assert describe_data(str(grey_folder), "validation", "group") == f"{grey_folder.name}, group split, validation part"
    assert "/" not in describe_data(str(grey_folder), "all", None)
    assert describe_data("owner/faces", "test", "official") == "owner/faces, official split, test part"
