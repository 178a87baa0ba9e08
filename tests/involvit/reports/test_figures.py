import numpy as np
import pandas as pd
import pytest

from involvit.reports.figures import image_grid, series_style


def test_images_of_a_grid_keep_their_shape_in_cells_of_one_size():
    images = [np.zeros((40, 20, 3), np.uint8), np.zeros((10, 30, 3), np.uint8), *[np.zeros((5, 5, 3), np.uint8)] * 5]
    figure = image_grid(images, [f"{index}" for index in range(7)], ["Sad"] * 7)
    (axes,) = figure.axes
    extents = pd.DataFrame([image.get_extent() for image in axes.images], columns=["left", "right", "bottom", "top"])
    width, height = extents["right"] - extents["left"], extents["bottom"] - extents["top"]
    np.testing.assert_allclose(width / height, [0.5, 3, 1, 1, 1, 1, 1])
    np.testing.assert_allclose(np.maximum(width, height), 1)
    box = figure.get_size_inches() / [abs(np.diff(axes.get_xlim())[0]), abs(np.diff(axes.get_ylim())[0])]
    assert box[0] == pytest.approx(box[1], rel=0.03)  # a unit is as long across as down


def test_the_first_seven_series_differ_in_colour_marker_and_line():
    styles = [series_style(index) for index in range(7)]
    for key in ("color", "marker", "linestyle"):
        assert len({str(style[key]) for style in styles}) == 7
    assert series_style(7) == styles[0]
