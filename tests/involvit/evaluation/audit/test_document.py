import dataclasses

import pytest
from datasets import DatasetDict
from matplotlib.colors import to_hex
from PIL import Image

from dataset_script import LABELS
from involvit.colors import CLASS_COLORS
from involvit.evaluation.audit.document import audit_sections, findings
from involvit.evaluation.audit.measure import audit
from involvit.reports.blocks import Bullets, Paragraph, Picture, Table

from ..palette_faces import PaletteClassifier, clean_rows, face, part, row


def blocks(sections, title):
    return next(section.blocks for section in sections if section.title == title)


@pytest.fixture(scope="module")
def clean():
    parts = DatasetDict(train=part(clean_rows()))
    return audit(parts, PaletteClassifier()), parts


@pytest.fixture(scope="module")
def faulty():
    train = [item for item in clean_rows() if LABELS[item["label"]] not in ("Disgust", "Fear")]
    train += [row(face("Disgust", 300 + index), "Disgust", "Ann", f"Disgust/Ann_{index}.png") for index in range(6)]
    train += [
        row(face("Happy", 320), "Happy", "Cid", "Happy/Cid_1.png"),
        row(face("Happy", 320), "Sad", "Cid", "Sad/Cid_2.png"),
        row(Image.new("L", (9, 9)), "Sad", "black", "Sad/black.png"),
    ]
    validation = [
        row(face("Happy", 340), "Happy", "Ann", "Happy/Ann_9.png"),
        row(face("Happy", 320), "Happy", "Eve", "Happy/Eve_1.png"),
        row(face("Happy", 341), "Happy", "Fay", "Happy/Fay_1.png"),
    ]
    test = [row(face("Sad", 350), None, "x", "test/2.png")]
    parts = DatasetDict(train=part(train), validation=part(validation), test=part(test))
    return audit(parts, PaletteClassifier()), parts


def test_a_clean_data_set_has_no_finding(clean):
    assert findings(clean[0]) == []
    sections = audit_sections(*clean, "palette")
    assert blocks(sections, "Findings") == [Bullets(["Nothing was found that calls for action."])]
    assert [type(block) for block in blocks(sections, "Films and persons")] == [Paragraph]
    assert [type(block) for block in blocks(sections, "Duplicates")] == [Paragraph]


def test_findings_are_told_in_the_order_of_their_weight(faulty):
    found = findings(faulty[0])
    starts = [
        "33.3% of the 3 images of validation show a film or person that train shows too",
        "Held-out images that repeat an image of another part: 1.",
        "100.0% of the 6 images of Disgust show one film or person (Ann).",
        "Disgust has 6 images of 1 film or person.",
        "Fear has 0 images.",
        "2 of 3 pairs of duplicates have two labels",
        f"{len(faulty[0].doubtful)} label",
        "1 image of one colour show",
    ]
    places = [next(index for index, text in enumerate(found) if text.startswith(start)) for start in starts]
    assert places == list(range(len(starts)))


def test_what_could_not_be_read_is_told(clean):
    found = findings(dataclasses.replace(clean[0], left_out="left out 1:\n- Sad/1.png is empty (0 bytes)"))
    assert found == ["left out 1: - Sad/1.png is empty (0 bytes)"]


def test_imbalance_is_told_above_ten_to_one(clean):
    classes = clean[0].classes.assign(images=[5, 50, 5, 5, 5, 5, 5])
    assert findings(dataclasses.replace(clean[0], classes=classes)) == []
    classes.loc["Disgust", "images"] = 51
    (told,) = findings(dataclasses.replace(clean[0], classes=classes))
    assert told.startswith("Disgust has 10 times as many images as Angry.")


def test_bars_have_the_colours_and_heights_of_the_classes(faulty):
    sections = audit_sections(*faulty, "palette")
    table, picture = blocks(sections, "Classes")
    assert [axes.get_title() for axes in picture.figure.axes] == ["train (39)", "validation (3)", "test (0)"]
    bars = picture.figure.axes[0].patches
    assert [to_hex(bar.get_facecolor()).upper() for bar in bars] == list(CLASS_COLORS.values())
    assert [bar.get_height() for bar in bars] == [line[1] for line in table.rows]
    assert table.caption.endswith("1 image without a label.")


def test_sections_show_pairs_and_doubtful_labels(faulty):
    sections = audit_sections(*faulty, "palette")
    overview, picture, pairs = blocks(sections, "Duplicates")
    assert overview.rows == [["train", "train", 1, 1, 1], ["train", "validation", 2, 2, 1]]
    assert [text.get_text() for text in picture.figure.axes[0].texts][:2] == ["1a  Happy", "1b  Sad"]
    assert pairs.rows[0] == [1, "Happy/Cid_1.png", "Happy", "Sad/Cid_2.png", "Sad", 0]
    doubtful = blocks(sections, "Doubtful labels")
    assert [type(block) for block in doubtful] == [Paragraph, Paragraph, Table, Table, Picture, Table]
    assert ["Disgust", 6, 0, 0, "-"] in doubtful[2].rows
    assert "Sad/Cid_2.png" in [line[2] for line in doubtful[-1].rows]
    assert "palette" in doubtful[0].text


def test_every_section_is_written_when_nothing_has_two_labels_or_could_be_judged():
    rows = [row(face(label, seed), label, "Ann", f"{label}/Ann_1.png") for seed, label in enumerate(LABELS)]
    rows.append(row(face("Sad", LABELS.index("Sad")), "Sad", "Ann", "Sad/Ann_2.png"))
    parts = DatasetDict(train=part(rows))
    found = audit(parts, PaletteClassifier())
    assert sum(found.judged.values()) == 0
    sections = audit_sections(found, parts, "palette")
    assert [type(block) for block in blocks(sections, "Duplicates")] == [Table]
    assert [type(block) for block in blocks(sections, "Doubtful labels")] == [Paragraph, Paragraph, Table]
    assert "1 pair of images are duplicates, each pair with one label." in findings(found)
