from __future__ import annotations

import pytest

from dataset_script.labels import LABELS, canonical_label, class_places, is_class_name


def test_order_is_that_of_fer2013():
    # "emotion" of the official csv: 0=Angry, 1=Disgust, 2=Fear, 3=Happy, 4=Sad, 5=Surprise, 6=Neutral
    assert LABELS == ("Angry", "Disgust", "Fear", "Happy", "Sad", "Surprise", "Neutral")


@pytest.mark.parametrize(
    ("name", "label"),
    [
        *((label, label) for label in LABELS),
        *((label.upper(), label) for label in LABELS),
        ("anger", "Angry"),
        ("disgusted", "Disgust"),
        ("fearful", "Fear"),
        ("happiness", "Happy"),
        ("Sadness", "Sad"),
        ("SURPRISED", "Surprise"),
        (" neutral ", "Neutral"),
        ("3_Happy", "Happy"),
        ("0-angry", "Angry"),
    ],
)
def test_names_in_any_case_and_synonyms_mean_their_class(name, label):
    assert canonical_label(name) == label
    assert is_class_name(name)


@pytest.mark.parametrize("name", ["Contempt", "", "3", "sadly", "unhappy"])
def test_an_unknown_name_is_an_error_that_lists_the_classes(name):
    assert not is_class_name(name)
    with pytest.raises(ValueError, match="Angry, Disgust, Fear, Happy, Sad, Surprise, Neutral"):
        canonical_label(name)


def test_class_names_in_any_order_and_spelling_are_placed():
    assert class_places(["anger", "disgust", "fear", "happiness", "NEUTRAL", "sadness", "surprised"]) == [
        *(0, 1, 2, 3, 5, 6, 4)
    ]


@pytest.mark.parametrize("names", [[*LABELS, "Contempt"], LABELS[:6], [*LABELS[:6], "joy"], ["LABEL_0"] * 7])
def test_other_classes_have_no_places(names):
    assert class_places(names) is None
