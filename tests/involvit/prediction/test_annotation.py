from __future__ import annotations

import cv2
import numpy as np
import pytest
from PIL import ImageColor

from involvit import FacePrediction
from involvit.colors import CLASS_COLORS
from involvit.prediction.annotation import draw_faces


def face(box, label="Happy", score=0.93):
    return FacePrediction(label, score, dict.fromkeys(CLASS_COLORS, (1 - score) / 6) | {label: score}, box)


def grey(height=400, width=600):
    return np.full((height, width, 3), 90, np.uint8)


def rgb(label):
    return np.array(ImageColor.getrgb(CLASS_COLORS[label]))


def is_colored(image, label):
    return (image == rgb(label)).all(axis=-1)


def tag_of(image, label, box):
    """The tag above a box: its rows and columns in the class's colour, letters and all."""
    above = is_colored(image, label)[: round(box[1]) - 4]
    rows, columns = np.nonzero(above.any(axis=1))[0], np.nonzero(above.any(axis=0))[0]
    return image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def test_faces_are_outlined_in_the_colours_of_their_labels():
    image = grey()
    drawn = draw_faces(image, [face((100, 100, 120, 150)), face((350, 200, 100, 90), "Sad")])
    for label, (x, y, width, height) in {"Happy": (100, 100, 120, 150), "Sad": (350, 200, 100, 90)}.items():
        middle_x, middle_y = x + width // 2, y + height // 2
        for point in [(middle_y, x), (middle_y, x + width), (y, middle_x), (y + height, middle_x)]:
            np.testing.assert_array_equal(drawn[point], rgb(label))
        inside = drawn[y + 5 : y + height - 5, x + 5 : x + width - 5]
        assert (inside == 90).all()
    assert (image == 90).all()
    assert drawn.dtype == np.uint8


def test_the_tag_tells_number_label_and_score():
    faces = [face((100, 100, 120, 150)), face((350, 200, 100, 90), "Sad", 0.5)]
    drawn = draw_faces(grey(), faces)
    np.testing.assert_array_equal(drawn, draw_faces(grey(), faces, ["1 Happy 93%", "2 Sad 50%"]))
    assert (drawn != draw_faces(grey(), faces, ["7 Happy 93%", "2 Sad 50%"])).any()
    with pytest.raises(ValueError):
        draw_faces(grey(), faces, ["1 Happy 93%"])


@pytest.mark.parametrize("x", [-40, 0, 240, 480, 560])
@pytest.mark.parametrize("y", [-40, 0, 3, 250, 380])
def test_the_tag_is_whole_wherever_the_face_is(x, y):
    box = (x, y, 120, 150)
    tag = tag_of(draw_faces(grey(), [face((240, 200, 120, 150))]), "Happy", (240, 200))
    drawn = draw_faces(grey(), [face(box)])
    assert cv2.matchTemplate(drawn, tag, cv2.TM_CCOEFF_NORMED).max() > 0.999


@pytest.mark.parametrize("label", CLASS_COLORS)
def test_the_letters_stand_out_from_their_tag(label):
    box = (100, 100, 200, 200)
    tag = tag_of(draw_faces(grey(800, 800), [face(box, label)]), label, box) / 255
    linear = np.where(tag <= 0.04045, tag / 12.92, ((tag + 0.055) / 1.055) ** 2.4) @ [0.2126, 0.7152, 0.0722]
    assert (linear.max() + 0.05) / (linear.min() + 0.05) >= 4.5  # WCAG 2, level AA
    assert linear.min() < 1e-3 or linear.max() > 0.99  # black or white


def test_lines_and_letters_grow_with_the_image():
    heights = {}
    for scale in (1, 4):
        box = tuple(scale * value for value in (100, 100, 120, 150))
        drawn = draw_faces(grey(400 * scale, 600 * scale), [face(box)])
        heights[scale] = tag_of(drawn, "Happy", box).shape[0]
    assert heights[1] >= 15
    assert 3 * heights[1] <= heights[4] <= 5 * heights[1]


def test_a_face_without_a_box_is_the_whole_image():
    drawn = draw_faces(grey(), [face(None)])
    colored = is_colored(drawn, "Happy")
    assert colored[:4, 300].any() and colored[-4:, 300].any() and colored[200, :4].any() and colored[200, -4:].any()
    assert (drawn[60:-8, 8:-8] == 90).all()


def test_an_image_without_faces_comes_back_as_it_is():
    image = grey()
    drawn = draw_faces(image, [])
    np.testing.assert_array_equal(drawn, image)
    assert drawn is not image


@pytest.mark.parametrize("shape", [(1, 1), (8, 8), (24, 3), (16, 500)])
def test_small_images_are_drawn_upon_too(shape):
    drawn = draw_faces(grey(*shape), [face((1, 1, 5, 5)), face((-50.0, -50.0, 20.0, 20.0))])
    assert drawn.shape == (*shape, 3)
