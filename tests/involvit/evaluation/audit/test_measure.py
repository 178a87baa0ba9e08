import io
import json

import numpy as np
import pytest
from datasets import DatasetDict
from PIL import Image, ImageEnhance

from dataset_script import LABELS
from involvit.evaluation.audit.measure import audit

from ..palette_faces import PaletteClassifier, clean_rows, face, part, row


def jpeg(image):
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=60)
    return Image.open(buffer)


@pytest.fixture(scope="module")
def clean():
    return audit(DatasetDict(train=part(clean_rows())), PaletteClassifier())


@pytest.fixture(scope="module")
def planted():
    """A data set with known faults.

    Disgust is one person's but for one image; that person stands in validation too. Three photographs repeat: one in
    train with two labels, one in train and validation with the same, one in train and in the unlabelled test part.
    """
    train = [item for item in clean_rows() if item["label"] != LABELS.index("Disgust")]
    train += [row(face("Disgust", 300 + index), "Disgust", "Ann", f"Disgust/Ann_{index}.png") for index in range(7)]
    train.append(row(face("Disgust", 310), "Disgust", "Bob", "Disgust/Bob_1.png"))
    train += [
        row(face("Happy", 320), "Happy", "Cid", "Happy/Cid_1.png"),
        row(face("Happy", 320), "Sad", "Cid", "Sad/Cid_2.png"),
        row(Image.new("RGB", (32, 32)), "Sad", "black", "Sad/black.png"),
        row(Image.new("RGB", (20, 40)), "Happy", "black", "Happy/black.png"),
    ]
    original = face("Angry", 330)
    train.append(row(original, "Angry", "Dan", "Angry/Dan_1.png"))
    validation = [
        row(ImageEnhance.Brightness(original).enhance(0.8), "Angry", "Eve", "Angry/Eve_1.png"),
        row(face("Happy", 340), "Happy", "Ann", "Happy/Ann_9.png"),
    ]
    test = [row(face("Happy", 320), None, "unknown", "test/1.png"), row(face("Sad", 350), None, "x", "test/2.png")]
    parts = DatasetDict(train=part(train), validation=part(validation), test=part(test))
    return audit(parts, PaletteClassifier())


def test_a_clean_data_set_has_nothing(clean):
    assert clean.duplicates.empty and clean.doubtful.empty and clean.shared_groups.empty
    assert clean.dominated.empty and clean.contradicting.empty
    assert (clean.class_counts["train"] == 6).all()
    assert set(clean.judged.values()) == {6}
    assert not clean.images["is_grey"].any() and not clean.images["is_uniform"].any()
    np.testing.assert_array_equal(clean.joint[~np.eye(7, dtype=bool)], 0)


def test_classes_are_counted_by_part_without_what_has_no_label(planted):
    counts = planted.class_counts
    assert list(counts.columns) == ["train", "validation", "test"]
    assert counts["train"].to_dict() == {**dict.fromkeys(LABELS, 6), "Disgust": 8, "Happy": 8, "Sad": 8, "Angry": 7}
    assert counts["validation"].sum() == 2 and counts["test"].sum() == 0


def test_one_person_who_makes_up_a_class_is_found(planted):
    assert list(planted.dominated.index) == ["Disgust"]
    assert planted.classes.loc["Disgust"].to_dict() == {
        "images": 8,
        "groups": 2,
        "largest_group": "Ann",
        "largest_group_images": 7,
    }


def test_a_person_on_both_sides_is_found(planted):
    assert planted.shared_groups.to_dict(orient="index") == {
        "validation": {"images": 2, "of_train_groups": 1},
        "test": {"images": 2, "of_train_groups": 0},
    }


def test_duplicates_are_found_in_and_across_parts_but_not_among_images_of_one_colour(planted):
    pairs = {
        (pair["path_a"], pair["path_b"]): (pair["part_b"], pair["is_exact"], pair["is_contradicting"])
        for pair in planted.duplicates.to_dict(orient="records")
    }
    assert pairs == {
        ("Happy/Cid_1.png", "Sad/Cid_2.png"): ("train", True, True),
        ("Happy/Cid_1.png", "test/1.png"): ("test", True, False),
        ("Sad/Cid_2.png", "test/1.png"): ("test", True, False),
        ("Angry/Dan_1.png", "Angry/Eve_1.png"): ("validation", False, False),
    }
    for side in "ab":
        paths = planted.images.loc[planted.duplicates[f"row_{side}"], "path"]
        assert paths.tolist() == planted.duplicates[f"path_{side}"].tolist()


def test_images_of_one_colour_are_found(planted):
    assert planted.images.loc[planted.images["is_uniform"], "path"].tolist() == ["Sad/black.png", "Happy/black.png"]


def test_a_wrong_label_is_found_among_images_of_all_parts_and_no_unlabelled_one(planted):
    assert "Sad/Cid_2.png" in planted.doubtful["path"].tolist()
    assert planted.images.loc[planted.doubtful["row"], "path"].tolist() == planted.doubtful["path"].tolist()
    assert "test" not in planted.doubtful["part"].tolist()
    assert sum(planted.judged.values()) <= planted.images["label"].notna().sum()


def test_sizes_and_grey_are_those_of_the_pixels():
    grey = face("Sad", 0, size=(20, 30)).convert("L")
    images = [grey, grey.convert("RGB"), jpeg(face("Sad", 1, size=(50, 40)).convert("L").convert("RGB"))]
    rows = [row(image, "Sad", f"{index}", f"Sad/{index}.png") for index, image in enumerate(images)]
    rows.append(row(face("Happy", 2, size=(40, 40)), "Happy", "3", "Happy/3.png"))
    found = audit(DatasetDict(train=part(rows)), PaletteClassifier())
    assert found.images["is_grey"].tolist() == [True, True, True, False]
    assert found.sizes.loc["train"].to_dict() == {
        "images": 4,
        "width": [30, 35, 40],
        "height": [20, 30, 50],
        "square": 0.25,
        "grey": 0.75,
        "uniform": 0,
    }


def test_a_class_of_one_image_is_not_judged(planted):
    rows = [*clean_rows(4), row(face("Fear", 99), "Fear", "x", "Fear/x.png")]
    rows = [item for item in rows if item["label"] != LABELS.index("Fear") or item["path"] == "Fear/x.png"]
    found = audit(DatasetDict(train=part(rows)), PaletteClassifier())
    assert found.judged == {**dict.fromkeys(LABELS, 4), "Fear": 0}


def test_results_hold_every_pair_and_label_as_json(planted):
    results = planted.results
    assert len(results["duplicates"]) == 4
    assert {item["path"] for item in results["doubtful_labels"]} == set(planted.doubtful["path"])
    assert results["class_counts"]["train"]["Disgust"] == 8
    json.dumps({**results, "confident_joint": results["confident_joint"].tolist()})
