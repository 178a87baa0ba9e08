import json
import math

import pytest
from datasets import DatasetDict, concatenate_datasets

from involvit.evaluation.audit.document import audit_sections, findings
from involvit.evaluation.audit.measure import audit
from involvit.evaluation.audit.votes import vote_blocks
from involvit.reports.blocks import Picture, Table

from ..palette_faces import PaletteClassifier, clean_rows, face, part, row, voted


@pytest.fixture(scope="module")
def divided():
    """Five faces that people voted on in two parts, one of them unlabelled, among faces that nobody voted on."""
    unvoted = [
        item | {"votes": [float(index == item["label"]) for index in range(7)], "vote_counts": None}
        for item in clean_rows(2)
    ]
    train = [
        *unvoted,
        voted("Happy", 100, "Happy/sure.png", {"Happy": 10}),
        voted("Sad", 101, "Sad/three.png", {"Sad": 4, "Fear": 3, "Neutral": 3}),
        voted("Sad", 102, "Sad/most.png", {"Sad": 8, "Neutral": 2}),
    ]
    validation = [
        voted("Angry", 103, "Angry/noisy.png", {"Angry": 3, "Disgust": 2, "Fear": 1, "Contempt": 2, "Unknown": 2}),
        row(face("Fear", 104), None, "x", "x.png", votes=[0.5, 0.5, 0, 0, 0, 0, 0], vote_counts=[5, 5] + [0] * 8),
    ]
    parts = DatasetDict(train=part(train), validation=part(validation))
    return audit(parts, PaletteClassifier()), parts


def test_agreement_is_that_of_the_people_who_answered(divided):
    images = divided[0].images.set_index("path")
    assert images.loc["Happy/sure.png", ["agreement", "vote_entropy"]].tolist() == [1, 0]
    three = -(0.4 * math.log(0.4) + 2 * 0.3 * math.log(0.3))
    assert images.loc["Sad/three.png", ["agreement", "vote_entropy"]].tolist() == pytest.approx([0.4, three])
    # single votes and other answers are no part of the distribution, but their people did not give the label
    noisy = -(0.6 * math.log(0.6) + 0.4 * math.log(0.4))
    assert images.loc["Angry/noisy.png", ["agreement", "vote_entropy"]].tolist() == pytest.approx([0.3, noisy])
    assert images["agreement"].notna().sum() == 4


def test_the_least_agreed_come_first_and_classes_are_summed_up(divided):
    found, _ = divided
    assert found.voted["path"].tolist() == ["Angry/noisy.png", "Sad/three.png", "Sad/most.png", "Happy/sure.png"]
    assert found.divided["path"].tolist() == ["Angry/noisy.png", "Sad/three.png"]
    assert list(found.agreement.index) == ["Angry", "Happy", "Sad"]
    sad = found.agreement.loc["Sad"]
    assert (sad["images"], sad["divided"], sad["agreement"]) == (2, 1, pytest.approx(0.6))
    results = found.results
    assert [item["path"] for item in results["divided"]] == found.divided["path"].tolist()
    json.dumps({key: results[key] for key in ("votes", "divided")}, allow_nan=False)


def test_the_section_shows_classes_and_the_most_divided_images(divided):
    found, parts = divided
    classes, picture, images = vote_blocks(found, concatenate_datasets(list(parts.values())))
    assert isinstance(classes, Table) and isinstance(picture, Picture)
    rows = {line[0]: line[1:] for line in classes.rows}
    assert rows["Happy"] == [1, "100.0%", 0, 0]
    assert rows["Sad"][:2] == [2, "60.0%"]
    assert (rows["all"][0], rows["all"][3]) == (4, 2)
    captions = [text.get_text() for text in picture.figure.axes[0].texts]
    assert captions[:2] == ["1  Angry 3\nDisgust 2", "2  Sad 4\nFear 3"]
    assert captions[3] == "4  Happy 10\n"
    assert images.rows[0] == [
        1,
        "validation",
        "Angry/noisy.png",
        "Angry",
        "Angry 3, Disgust 2, Contempt 2, Unknown 2, Fear 1",
    ]


def test_the_section_is_there_where_people_voted_and_only_there(divided):
    found, parts = divided
    titles = [section.title for section in audit_sections(found, parts, "palette")]
    assert titles[-2:] == ["What people say", "Doubtful labels"]
    told = [text for text in findings(found) if text.startswith("People are divided")]
    assert told == [
        "People are divided on 50.0% of 4 images with votes; on average 62.5% of the people gave the label. Train on "
        "votes, and compare models with one person's accuracy."
    ]
    plain = DatasetDict(train=part(clean_rows(2)))
    without = audit(plain, PaletteClassifier())
    assert "What people say" not in [section.title for section in audit_sections(without, plain, "palette")]
    assert without.results["votes"] == {} and without.results["divided"] == []
    assert not any("People" in text for text in findings(without))
