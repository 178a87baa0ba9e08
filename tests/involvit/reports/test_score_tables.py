import pytest

from involvit.reports.score_tables import has_votes, per_class_table, vote_blocks

from ..publishing.card_reports import VOTED as OF_A_CARD

VOTED = OF_A_CARD | {"num_images": 500, "num_voted": 431}


def test_models_stand_beside_one_person():
    _, table = vote_blocks({"a": VOTED, "b": VOTED | {"voted_accuracy": 0.5, "cross_entropy_to_votes": None}})
    assert table.cells == [
        ["a", "81.1", "66.7", "0.988", "0.123"],
        ["b", "50.0", "66.7", "-", "0.123"],
        ["one person", "72.2", "63.3", "-", "-"],
        ["the votes themselves", "100.0", "75.6", "0.543", "0.000"],
    ]
    assert table.is_number == [False, True, True, True, True]


@pytest.mark.parametrize(("images", "said"), [(500, "in 431 of the 500 images"), (431, "in all 431 images")])
def test_it_is_said_on_how_many_images_people_voted(images, said):
    text, table = vote_blocks({"a": VOTED | {"num_images": images}})
    assert said in text.text
    assert ("count as unanimous" in table.caption) == (images > 431)


def test_there_are_votes_where_people_are_measured():
    assert has_votes(VOTED)
    assert not has_votes({"num_voted": 0, "cross_entropy_to_votes": 0.5})


def test_classes_may_lack_a_further_value():
    scores = {"precision": 0.5, "recall": 0.25, "f1": 0.3}
    metrics = {"per_class": {"Angry": scores | {"support": 1000}, "Sad": scores | {"support": 2}}}
    table = per_class_table(metrics, decimals=2, further={"Area": {"Angry": 0.9}})
    assert list(table.header) == ["Class", "Images", "Precision", "Recall", "F1", "Area"]
    assert table.cells == [
        ["Angry", "1,000", "0.50", "0.25", "0.30", "0.90"],
        ["Sad", "2", "0.50", "0.25", "0.30", "-"],
    ]
