from __future__ import annotations

from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
from scipy.stats import f_oneway
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from dataset_script.labels import LABELS
from dataset_script.rendered import rendered_faces as module
from dataset_script.rendered.action_units import ACTION_UNITS
from dataset_script.rendered.rendered_faces import contact_sheet, rendered_faces
from dataset_script.rendered.shot import sample_shot


def content(faces):
    return [(face.path, face.label, face.group, face.image.tobytes()) for face in faces]


def test_one_seed_gives_the_same_bytes_and_another_does_not():
    first = content(rendered_faces(8, 96, seed=1))
    assert content(rendered_faces(8, 96, seed=1)) == first
    assert all(one[3] != other[3] for one, other in zip(first, content(rendered_faces(8, 96, seed=2)), strict=True))


def test_more_images_begin_with_the_same_ones():
    assert content(rendered_faces(3, 96, seed=1)) == content(islice(rendered_faces(700, 96, seed=1), 3))


def test_each_person_shows_each_expression_once():
    faces = list(rendered_faces(21, 96, seed=0))
    assert [face.label for face in faces] == list(range(7)) * 3
    assert [face.group for face in faces] == [f"Person{i // 7:04d}" for i in range(21)]
    assert len({face.path for face in faces}) == 21
    assert all(face.path.startswith(f"{LABELS[face.label]}/{face.group}_") for face in faces)


@pytest.fixture
def one_shot(monkeypatch):
    """Photographs all faces alike, from the front."""
    shot = replace(sample_shot(np.random.default_rng(0)), yaw=0.0, pitch=0.0, roll=0.0, occluder="none", noise=2.0)
    monkeypatch.setattr(module, "sample_shot", lambda rng: shot)


def test_beside_the_shot_only_the_expression_tells_the_classes_apart(one_shot, monkeypatch):
    monkeypatch.setattr(module, "sample_action_units", lambda label, rng: dict.fromkeys(ACTION_UNITS, 0.0))
    for person in np.reshape(list(rendered_faces(21, 96, seed=5)), (3, 7)):
        assert len({face.image.tobytes() for face in person}) == 1


def test_shots_are_drawn_without_regard_to_the_expression(monkeypatch):
    shots = []
    monkeypatch.setattr(module, "sample_shot", lambda rng: shots.append(sample_shot(rng)) or shots[-1])
    monkeypatch.setattr(module, "paint", lambda *arguments: None)
    labels = np.array([face.label for face in rendered_faces(1400, 96, seed=0)])
    for name in ("yaw", "pitch", "roll", "scale", "ambient", "noise", "blur"):
        values = np.array([getattr(shot, name) for shot in shots])
        assert f_oneway(*(values[labels == label] for label in range(7))).pvalue > 1e-3


def test_the_expression_is_seen_on_persons_that_were_not_learnt_from(one_shot):
    faces = list(rendered_faces(140, 96, seed=5))
    pictures = np.stack([np.asarray(face.image.convert("L").resize((32, 32))).ravel() for face in faces])
    classifier = make_pipeline(StandardScaler(), LogisticRegression(C=1e-2))
    labels, groups = [face.label for face in faces], [face.group for face in faces]
    accuracy = cross_val_score(classifier, pictures, labels, groups=groups, cv=GroupKFold(4)).mean()
    assert accuracy > 3 / 7


def test_the_contact_sheet_has_a_row_an_expression_and_a_column_a_person():
    sheet = np.asarray(contact_sheet(2, 96, seed=3))
    assert sheet.shape == (7 * 96, 2 * 96, 3)
    for index, face in enumerate(rendered_faces(14, 96, seed=3)):
        row, column = face.label * 96, index // 7 * 96
        assert np.array_equal(sheet[row : row + 96, column : column + 96], np.asarray(face.image))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 96, 0), "number of rendered images is 0; it must be at least 1"),
        ((7, 95, 0), "size of rendered images is 95; it must be from 96 to 352"),
        ((7, 353, 0), "size of rendered images is 353"),
        ((7, 96, -1), "seed of rendered images is -1"),
    ],
)
def test_arguments_out_of_range_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        next(rendered_faces(*arguments))
