from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dataset_script.rendered.action_units import ACTION_UNITS
from dataset_script.rendered.face_geometry import face_curves, sample_proportions
from dataset_script.rendered.face_painter import OCCLUDERS, _Canvas, paint, sample_appearance, sample_shot

SIZE = 128
STYLES = ("short", "side", "long", "bun", "curly")


@pytest.fixture(scope="module")
def face():
    return face_curves(sample_proportions(np.random.default_rng(0)), dict.fromkeys(ACTION_UNITS, 0.0))


@pytest.fixture(scope="module")
def person():
    appearance = sample_appearance(np.random.default_rng(0))
    return replace(appearance, glasses="none", beard=0.0, moustache=0.0, hair_style="bald", fringe=0.0)


@pytest.fixture(scope="module")
def frontal():
    """A sharp, frontal shot under light from straight ahead."""
    shot = sample_shot(np.random.default_rng(0))
    return replace(
        shot,
        **{"yaw": 0.0, "pitch": 0.0, "roll": 0.0, "offset": (0.0, 0.0), "gaze": (0.0, 0.0), "scale": 0.36},
        **{"light": np.array([0.0, 0.0, 1.0]), "tint": np.ones(3), "blur": 0.0, "noise": 0.0, "occluder": "none"},
    )


def pixels(face, person, shot, size=SIZE):
    return np.asarray(paint(face, person, shot, size), dtype=float)


def test_the_same_arguments_give_the_same_bytes(face, person, frontal):
    assert paint(face, person, frontal, SIZE).tobytes() == paint(face, person, frontal, SIZE).tobytes()


@pytest.mark.parametrize("size", [96, 113, 224, 352])
def test_the_image_has_the_wanted_size_and_the_same_content(face, person, frontal, size):
    image = paint(face, person, frontal, size)
    assert (image.size, image.mode) == ((size, size), "RGB")
    small, reference = (np.asarray(i.resize((32, 32)), float) for i in (image, paint(face, person, frontal, 288)))
    assert np.abs(small - reference).mean() < 8


def test_a_frontal_face_under_frontal_light_is_nearly_symmetric(face, person, frontal):
    head = pixels(face, person, frontal)[30:110, 40:88]
    turned = pixels(face, person, replace(frontal, yaw=0.4))[30:110, 40:88]
    asymmetry = [np.abs(image - image[:, ::-1]).mean() for image in (head, turned)]
    assert asymmetry[0] < 4 < asymmetry[1]


@pytest.mark.parametrize(
    ("angles", "axis"), [({"yaw": 0.3}, (1, 0)), ({"pitch": 0.3}, (0, -1))], ids=["yaw turns right", "pitch looks up"]
)
def test_the_nose_moves_where_the_head_turns(face, frontal, angles, axis):
    straight, turned = (_Canvas(SIZE, shot).project(face.nose_tip)[0] for shot in (frontal, replace(frontal, **angles)))
    assert (turned - straight) @ axis > 0.1 * frontal.scale * SIZE


def test_roll_turns_the_picture_of_the_head(face, frontal):
    eyes = np.concatenate([eye.iris for eye in face.eyes])
    left, right = _Canvas(SIZE, replace(frontal, roll=0.25)).project(eyes)
    assert np.arctan2(*(right - left)[::-1]) == pytest.approx(0.25)


def test_poses_are_rigid(face, frontal):
    rotation = _Canvas(SIZE, replace(frontal, yaw=0.3, pitch=-0.2, roll=0.1)).rotation
    assert rotation @ rotation.T == pytest.approx(np.eye(3))
    assert np.linalg.det(rotation) == pytest.approx(1)


@pytest.mark.parametrize("side", [-1, 1])
def test_the_side_towards_the_lamp_is_brighter(face, person, frontal, side):
    light = np.array([side * 0.8, 0.0, 0.6])
    head = pixels(face, person, replace(frontal, light=light, ambient=0.4))[40:90, 44:84].mean(axis=(0, 2))
    assert side * (head[20:].mean() - head[:20].mean()) > 10


def test_noise_and_blur_have_the_asked_size(face, person, frontal):
    clean = pixels(face, person, frontal, 352)
    noisy = pixels(face, person, replace(frontal, noise=5.0), 352)
    inside = (clean > 30) & (clean < 225)
    assert (noisy - clean)[inside].std() == pytest.approx(5, rel=0.05)

    def detail(image):
        return np.abs(np.diff(image, axis=0)).mean()

    assert detail(pixels(face, person, replace(frontal, blur=0.01), 352)) < 0.8 * detail(clean)


@pytest.mark.parametrize("occluder", OCCLUDERS)
def test_occluders_hide_a_part_of_the_face_and_no_more(face, person, frontal, occluder):
    bare = pixels(face, person, frontal)
    hidden = np.abs(pixels(face, person, replace(frontal, occluder=occluder)) - bare).max(axis=2) > 5
    assert 0.02 < hidden.mean() < 0.25


@pytest.mark.parametrize(
    "change",
    [
        {"glasses": "thin"},
        {"glasses": "thick"},
        {"beard": 0.7},
        {"moustache": 0.7},
        {"fringe": 0.3, "hair_style": "bun"},
    ]
    + [{"hair_style": style} for style in ("short", "side", "long", "bun", "curly")],
    ids=str,
)
def test_what_a_person_wears_is_seen(face, person, frontal, change):
    difference = np.abs(pixels(face, replace(person, **change), frontal) - pixels(face, person, frontal))
    assert (difference.max(axis=2) > 20).mean() > 0.004
