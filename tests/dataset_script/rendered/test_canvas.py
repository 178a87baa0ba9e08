from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dataset_script.rendered.canvas import Canvas

SIZE = 128


@pytest.mark.parametrize(
    ("angles", "axis"), [({"yaw": 0.3}, (1, 0)), ({"pitch": 0.3}, (0, -1))], ids=["yaw turns right", "pitch looks up"]
)
def test_the_nose_moves_where_the_head_turns(face, frontal, angles, axis):
    straight, turned = (Canvas(SIZE, shot).project(face.nose_tip)[0] for shot in (frontal, replace(frontal, **angles)))
    assert (turned - straight) @ axis > 0.1 * frontal.scale * SIZE


def test_roll_turns_the_picture_of_the_head(face, frontal):
    eyes = np.concatenate([eye.iris for eye in face.eyes])
    left, right = Canvas(SIZE, replace(frontal, roll=0.25)).project(eyes)
    assert np.arctan2(*(right - left)[::-1]) == pytest.approx(0.25)


def test_poses_are_rigid(face, frontal):
    rotation = Canvas(SIZE, replace(frontal, yaw=0.3, pitch=-0.2, roll=0.1)).rotation
    assert rotation @ rotation.T == pytest.approx(np.eye(3))
    assert np.linalg.det(rotation) == pytest.approx(1)
