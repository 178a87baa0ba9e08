from __future__ import annotations

import itertools

import numpy as np
import pytest
from PIL import ImageColor
from skimage.color import deltaE_ciede2000, rgb2lab

from involvit.colors import CLASS_COLORS, class_colors
from modeling_involvit import LABELS

# Machado, Oliveira and Fernandes, 2009: how those see linear RGB who lack one kind of cone.
SIGHT = {
    "full": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
}


def test_each_class_has_a_colour():
    assert list(CLASS_COLORS) == list(LABELS)
    assert class_colors(LABELS) == CLASS_COLORS


@pytest.mark.parametrize("sight", SIGHT)
def test_no_two_colours_look_alike(sight):
    rgb = np.array([ImageColor.getrgb(color) for color in CLASS_COLORS.values()]) / 255
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4) @ np.transpose(SIGHT[sight])
    seen = linear.clip(0, 1)
    lab = rgb2lab(np.where(seen <= 0.0031308, 12.92 * seen, 1.055 * seen ** (1 / 2.4) - 0.055))
    assert min(deltaE_ciede2000(a, b) for a, b in itertools.combinations(lab, 2)) > 10  # 1 is just noticeable


def test_labels_of_other_models_get_the_same_colours():
    assert class_colors(["happy", "SAD"]) == {"happy": CLASS_COLORS["Happy"], "SAD": CLASS_COLORS["Sad"]}
    colors = class_colors([*LABELS, "Contempt"])
    assert colors == {**CLASS_COLORS, "Contempt": CLASS_COLORS["Angry"]}
    others = class_colors([f"class {number}" for number in range(9)])
    assert list(others.values()) == list(itertools.islice(itertools.cycle(CLASS_COLORS.values()), 9))


def test_a_label_of_its_own_takes_a_colour_that_is_free():
    assert class_colors(["Contempt", "Angry"]) == {
        "Contempt": CLASS_COLORS["Disgust"],
        "Angry": CLASS_COLORS["Angry"],
    }
