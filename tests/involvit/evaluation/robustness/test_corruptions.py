import io
import warnings

import cv2
import numpy as np
import pytest
from PIL import Image, ImageEnhance
from scipy import ndimage
from skimage import data, transform

from involvit.evaluation.robustness.corruptions import CORRUPTIONS, FAMILIES, SIDE, corrupt, resize_face

BY_NAME = {corruption.name: corruption for corruption in CORRUPTIONS}
FACE = resize_face(data.astronaut()[0:220, 110:330])
each = pytest.mark.parametrize("corruption", CORRUPTIONS, ids=lambda corruption: corruption.name)


def mean_distance(a, b):
    return np.abs(a.astype(float) - b).mean()


def ramp():
    x, y = np.meshgrid(np.linspace(40, 215, SIDE), np.linspace(60, 160, SIDE))
    return np.dstack([x, y, (x + y) / 2]).astype(np.uint8)


@each
def test_it_is_built_without_a_warning(corruption):
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # albumentations only warns of arguments that it does not know
        for value in corruption.values:
            corruption.build(value)


@each
def test_shape_and_type_stay_and_the_face_changes(corruption):
    for severity in range(1, 6):
        changed = corrupt(FACE, corruption, severity, seed=0, index=0)
        assert changed.shape == FACE.shape and changed.dtype == np.uint8
        assert mean_distance(changed, FACE) > 0.5


@each
def test_severity_grows(corruption):
    distances = [
        np.mean([mean_distance(corrupt(FACE, corruption, severity, 0, index), FACE) for index in range(12)])
        for severity in range(1, 6)
    ]
    assert (np.diff(distances) > 0).all(), distances


@each
def test_the_same_arguments_give_the_same_bytes_in_any_order(corruption):
    first = [corrupt(FACE, corruption, 3, seed=5, index=index) for index in range(3)]
    corrupt(FACE, corruption, 3, seed=6, index=0)
    again = [corrupt(FACE, corruption, 3, seed=5, index=index) for index in (2, 1, 0)][::-1]
    assert all((a == b).all() for a, b in zip(first, again, strict=True))


@pytest.mark.parametrize("changed", [{"seed": 1}, {"index": 7}])
@pytest.mark.parametrize("name", ["eyes bar", "mouth bar", "hand", "blocks", "sunglasses", "mask", "noise"])
def test_another_seed_or_image_gives_other_random_values(name, changed):
    base = {"seed": 0, "index": 0}
    assert (corrupt(FACE, BY_NAME[name], 2, **base) != corrupt(FACE, BY_NAME[name], 2, **base | changed)).any()


def test_names_are_unique_and_each_family_is_there():
    assert len(BY_NAME) == len(CORRUPTIONS)
    assert {corruption.family for corruption in CORRUPTIONS} == set(FAMILIES)


@pytest.mark.parametrize("severity", range(1, 6))
def test_rotation_is_by_the_angle_to_either_side_with_the_border_repeated(severity):
    angle = BY_NAME["rotation"].values[severity - 1]
    references = []
    for sign in (1, -1):
        matrix = cv2.getRotationMatrix2D(((SIDE - 1) / 2, (SIDE - 1) / 2), sign * angle, 1)
        references.append(cv2.warpAffine(FACE, matrix, (SIDE, SIDE), borderMode=cv2.BORDER_REPLICATE))
    closest = []
    for index in range(12):
        distances = [
            mean_distance(corrupt(FACE, BY_NAME["rotation"], severity, 0, index), reference) for reference in references
        ]
        assert min(distances) < 1
        closest.append(int(np.argmin(distances)))
    assert set(closest) == {0, 1}


def test_perspective_brings_the_corners_where_a_pinhole_camera_sees_them():
    angle = np.radians(BY_NAME["perspective"].values[2])
    corners = np.array([[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5]])
    in_space = np.column_stack([corners[:, 0] * np.cos(angle), corners[:, 1], 2 + corners[:, 0] * np.sin(angle)])
    seen = 2 * in_space[:, :2] / in_space[:, 2:]
    references = []
    for quarter in range(4):
        turn = np.linalg.matrix_power(np.array([[0, -1], [1, 0]]), quarter)
        source, target = ((points @ turn.T * SIDE + (SIDE - 1) / 2) for points in (corners, seen))
        projective = transform.ProjectiveTransform.from_estimate(target, source)
        references.append(255 * transform.warp(ramp(), projective, order=1, mode="edge"))
    closest = set()
    for index in range(20):
        distances = [
            mean_distance(corrupt(ramp(), BY_NAME["perspective"], 3, 0, index), reference) for reference in references
        ]
        assert min(distances) < 1
        closest.add(int(np.argmin(distances)))
    assert closest == {0, 1, 2, 3}


@pytest.mark.parametrize("severity", range(1, 6))
def test_blur_is_that_of_scipy(severity):
    sigma = BY_NAME["blur"].values[severity - 1]
    reference = ndimage.gaussian_filter(FACE.astype(float), (sigma, sigma, 0), mode="mirror")
    assert mean_distance(corrupt(FACE, BY_NAME["blur"], severity, 0, 0), reference) < 1


@pytest.mark.parametrize("severity", range(1, 6))
def test_jpeg_is_that_of_pillow(severity):
    file = io.BytesIO()
    Image.fromarray(FACE).save(file, "JPEG", quality=BY_NAME["JPEG"].values[severity - 1], subsampling="4:2:0")
    with Image.open(file) as reference:
        assert mean_distance(corrupt(FACE, BY_NAME["JPEG"], severity, 0, 0), np.array(reference)) < 0.5


@pytest.mark.parametrize("severity", range(1, 6))
def test_noise_has_its_standard_deviation(severity):
    grey = np.full((SIDE, SIDE, 3), 128, np.uint8)
    std = BY_NAME["noise"].values[severity - 1]
    noise = np.trunc(np.random.default_rng(0).normal(0, 255 * std, 100_000))  # the library rounds towards 0
    reference = (128 + noise).clip(0, 255).std()
    assert corrupt(grey, BY_NAME["noise"], severity, 0, 0).std() == pytest.approx(reference, rel=0.03)


@pytest.mark.parametrize("severity", range(1, 6))
def test_low_resolution_keeps_the_means_of_blocks(severity):
    side = int(BY_NAME["low resolution"].values[severity - 1])
    step = SIDE // side
    means = FACE.reshape(side, step, side, step, 3).mean(axis=(1, 3))
    reference = cv2.resize(means.round().astype(np.uint8), (SIDE, SIDE), interpolation=cv2.INTER_LINEAR)
    assert mean_distance(corrupt(FACE, BY_NAME["low resolution"], severity, 0, 0), reference) < 0.6


@pytest.mark.parametrize(
    ("name", "enhance"),
    [
        ("darker", ImageEnhance.Brightness),
        ("brighter", ImageEnhance.Brightness),
        ("low contrast", ImageEnhance.Contrast),
    ],
)
@pytest.mark.parametrize("severity", [1, 5])
def test_light_is_changed_as_by_pillow(name, enhance, severity):
    reference = np.array(enhance(Image.fromarray(FACE)).enhance(BY_NAME[name].values[severity - 1]))
    assert mean_distance(corrupt(FACE, BY_NAME[name], severity, 0, 0), reference) < 1


def test_a_colour_cast_shifts_grey_by_its_levels_to_one_of_four_sides():
    grey = np.full((SIDE, SIDE, 3), 128, np.uint8)
    shifts = {tuple(corrupt(grey, BY_NAME["colour cast"], 3, 0, index)[0, 0].astype(int) - 128) for index in range(30)}
    assert shifts == {(50, 0, -50), (-50, 0, 50), (-25, 50, -25), (25, -50, 25)}


@pytest.mark.parametrize("severity", range(1, 6))
def test_four_blocks_cover_no_more_than_their_area(severity):
    side = int(BY_NAME["blocks"].values[severity - 1] * SIDE)
    covered = [(corrupt(FACE, BY_NAME["blocks"], severity, 0, index) != FACE).any(axis=2).sum() for index in range(20)]
    assert side**2 < min(covered)
    assert max(covered) <= 4 * side**2
    assert max(covered) > 3 * side**2


def test_any_image_is_brought_to_one_size():
    assert resize_face(np.full((48, 60, 3), 9, np.uint8)).shape == (SIDE, SIDE, 3)
    checker = np.indices((4 * SIDE, 4 * SIDE)).sum(axis=0) % 2 * 200
    shrunk = resize_face(np.dstack([checker] * 3).astype(np.uint8))
    assert (np.abs(shrunk.astype(int) - 100) <= 1).all()  # averaged, not sampled


@pytest.mark.parametrize("wrong", [{"severity": 0}, {"severity": 6}, {"seed": -1}])
def test_what_is_out_of_range_is_refused(wrong):
    with pytest.raises(ValueError, match="give 1 to 5 and a seed of at least 0"):
        corrupt(FACE, CORRUPTIONS[0], **{"severity": 1, "seed": 0, "index": 0} | wrong)
