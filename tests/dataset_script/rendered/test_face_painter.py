from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dataset_script.rendered.appearance import sample_appearance
from dataset_script.rendered.face_painter import paint
from dataset_script.rendered.shot import OCCLUDERS

SIZE = 128


@pytest.fixture(scope="module")
def person():
    appearance = sample_appearance(np.random.default_rng(0))
    return replace(appearance, glasses="none", beard=0.0, moustache=0.0, hair_style="bald", fringe=0.0)


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
