from __future__ import annotations

import logging
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import cv2
import huggingface_hub.constants
import numpy as np
import pytest
from matplotlib.cbook import get_sample_data
from skimage.data import astronaut
from skimage.transform import ProjectiveTransform, resize, warp

from involvit.prediction import face_detection
from involvit.prediction.face_detection import Face, LBPDetector, YuNetDetector, align_face, load_face_detector
from involvit.prediction.images import read_image

ROOT = Path(__file__).parents[3]
RED = (255, 0, 0)
# Where the stand-in for YuNet sees the landmarks, in fractions of the box.
LANDMARKS = np.array([[0.25, 0.25], [0.75, 0.25], [0.5, 0.5], [0.25, 0.75], [0.75, 0.75]])


class RedSquares:
    """Stands in for the network: answers, in its format of 15 columns, to each red patch of the BGR image it gets."""

    score = 0.9

    def setInputSize(self, size):  # noqa: N802 -- OpenCV's name
        self.size = size

    def detect(self, image):
        assert (image.shape[1], image.shape[0]) == self.size
        is_red = (image[..., 2] > 127) & (image[..., :2].max(axis=2) < 128)
        count, _, patches, _ = cv2.connectedComponentsWithStats(is_red.astype(np.uint8))
        rows = [
            [x, y, width, height, *(LANDMARKS * [width, height] + [x, y]).ravel(), self.score]
            for x, y, width, height, _ in patches[1:count]
        ]
        return 1, np.array(rows, np.float32) if rows else None


@pytest.fixture
def red_squares(monkeypatch, tmp_path):
    """A YuNetDetector around the stand-in, and the stand-in."""
    net = RedSquares()
    monkeypatch.setattr(cv2.FaceDetectorYN, "create", lambda *arguments: net)
    (tmp_path / "model.onnx").write_bytes(b"anything")
    return YuNetDetector(tmp_path / "model.onnx"), net


def painted(height, width, *squares):
    """A grey image with red squares of x, y, side."""
    image = np.full((height, width, 3), 128, np.uint8)
    for x, y, side in squares:
        image[y : y + side, x : x + side] = RED
    return image


@pytest.mark.parametrize("size", [(48, 48), (300, 30), (480, 640), (3000, 2000)])
def test_boxes_and_landmarks_are_in_pixels_of_the_image_whatever_its_size(red_squares, size):
    detect, _ = red_squares
    height, width = size
    side = min(size) // 2
    x, y = width // 4, height // 3
    (face,) = detect(painted(height, width, (x, y, side)))
    accuracy = max(size) / 48  # one pixel or two of the view
    np.testing.assert_allclose(face.box, (x, y, side, side), atol=accuracy)
    assert face.landmarks.dtype == np.float32
    np.testing.assert_allclose(face.landmarks, LANDMARKS * side + [x, y], atol=accuracy)
    assert face.score == pytest.approx(0.9)


def test_a_face_that_fills_the_image_is_seen_on_a_margin(red_squares, monkeypatch):
    detect, net = red_squares
    views = []
    monkeypatch.setattr(net, "detect", lambda image: (views.append(image), RedSquares.detect(net, image))[1])
    (face,) = detect(painted(2000, 2000, (0, 0, 2000)))
    np.testing.assert_allclose(face.box, (0, 0, 2000, 2000), atol=10)
    assert max(max(view.shape) for view in views) == 1280
    assert any((view[0] == 0).all() and (view[-1] == 0).all() and (view[:, 0] == 0).all() for view in views)


def test_several_faces_come_largest_first_and_none_gives_an_empty_list(red_squares):
    detect, _ = red_squares
    squares = [(10, 10, 40), (100, 20, 80), (250, 100, 60)]
    assert [round(face.box[2] / 10) for face in detect(painted(240, 320, *squares))] == [8, 6, 4]
    assert detect(painted(240, 320)) == []


def test_an_unsure_answer_and_a_part_of_a_face_are_no_faces(red_squares, monkeypatch):
    detect, net = red_squares
    image = painted(240, 320, (100, 60, 80))

    def with_part(image):
        _, rows = RedSquares.detect(net, image)
        x, y, width, height = rows[0, :4]
        part = rows[0].copy()
        part[:4] = x + width / 4, y + height / 4, width / 3, height / 3
        part[14] = 0.99
        return 1, np.stack([part, rows[0]])

    with monkeypatch.context() as patch:
        patch.setattr(net, "detect", with_part)
        (face,) = detect(image)
    np.testing.assert_allclose(face.box, (100, 60, 80, 80), atol=3)
    net.score = 0.7
    assert detect(image) == []


def test_an_image_of_another_kind_is_refused(red_squares):
    detect, _ = red_squares
    for image in (np.zeros((8, 8), np.uint8), np.zeros((8, 8, 3)), np.zeros((0, 8, 3), np.uint8)):
        with pytest.raises(ValueError, match=r"give RGB as uint8 \[H, W, 3\]"):
            detect(image)


def test_a_file_that_is_no_detector_is_told_in_one_line(tmp_path, capfd):
    (tmp_path / "text.onnx").write_bytes(b"no network")
    (tmp_path / "empty.onnx").write_bytes(b"")
    for name in ("text.onnx", "empty.onnx"):
        with pytest.raises(ValueError, match=rf"{name}: is not a YuNet .*face_detection_yunet to --face_detector"):
            load_face_detector(tmp_path / name)
    with pytest.raises(FileNotFoundError, match=r"nowhere.onnx: no such file; .*--face_detector"):
        load_face_detector(str(tmp_path / "nowhere.onnx"))
    os.mkfifo(tmp_path / "pipe.onnx")
    with pytest.raises(ValueError, match=r"cannot be read \(it is a pipe or a device, not a file\)"):
        load_face_detector(tmp_path / "pipe.onnx")
    with pytest.raises(ValueError, match=r"cannot be read \(it is a folder\)"):
        load_face_detector(tmp_path)
    assert capfd.readouterr().err == ""


def test_another_network_than_yunet_is_refused(monkeypatch, tmp_path):
    class Other:
        def setInputSize(self, size):  # noqa: N802 -- OpenCV's name
            pass

        def detect(self, image):
            raise cv2.error("no output of this name")

    monkeypatch.setattr(cv2.FaceDetectorYN, "create", lambda *arguments: Other())
    (tmp_path / "other.onnx").write_bytes(b"anything")
    with pytest.raises(ValueError, match=r"other.onnx: is not a YuNet face detector"):
        YuNetDetector(tmp_path / "other.onnx")


def test_with_neither_cache_nor_network_the_cascade_takes_over_and_one_line_says_so(caplog):
    with caplog.at_level(logging.INFO):
        detector = load_face_detector()
    assert detector.name == "lbp"
    (record,) = caplog.records
    assert "--face_detector" in record.getMessage()
    assert "opencv/face_detection_yunet" in record.getMessage()
    assert "(OfflineModeIsEnabled: " in record.getMessage()


def test_the_hubs_cache_is_enough(red_squares, caplog):
    folder = Path(huggingface_hub.constants.HF_HUB_CACHE, "models--opencv--face_detection_yunet")
    try:
        snapshot = f"snapshots/{'0' * 40}/{face_detection.YUNET_FILE}"
        for name, content in {"refs/main": "0" * 40, snapshot: "anything"}.items():
            (folder / name).parent.mkdir(parents=True)
            (folder / name).write_text(content)
        assert load_face_detector().name == "yunet"
    finally:
        shutil.rmtree(folder)
    assert not caplog.records


def test_a_network_that_does_not_answer_costs_seconds(tmp_path):
    script = (
        "import time, involvit.prediction.face_detection as f, huggingface_hub; "
        "f.HUB_TIMEOUT_S = 0.5; start = time.monotonic(); print(f.load_face_detector().name, time.monotonic() - start)"
    )
    with socket.create_server(("127.0.0.1", 0)) as server:  # takes connections and never says a word
        environment = {
            **{name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")},
            "HF_ENDPOINT": f"http://127.0.0.1:{server.getsockname()[1]}",
            "HF_HOME": str(tmp_path),
            "HF_HUB_OFFLINE": "0",
        }
        result = subprocess.run(
            [sys.executable, "-c", script],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
    name, seconds = result.stdout.split()
    assert name == "lbp"
    assert 0.5 < float(seconds) < 20  # hf_hub_download alone would ask for six minutes
    assert len(result.stderr.splitlines()) == 1


@pytest.fixture(scope="module")
def lbp():
    return LBPDetector()


@pytest.fixture(scope="module")
def grace_hopper():
    with get_sample_data("grace_hopper.jpg", asfileobj=True) as file:
        return read_image(file.name)


# Where the eyes and the mouth are in the portraits, read off by eye: x, y.
PORTRAITS = {"astronaut": [(205, 110), (245, 108), (225, 145)], "grace_hopper": [(228, 195), (303, 195), (265, 285)]}


@pytest.mark.parametrize("name", PORTRAITS)
def test_the_cascade_finds_the_face_of_a_portrait(lbp, grace_hopper, name):
    image = astronaut() if name == "astronaut" else grace_hopper
    face = lbp(image)[0]
    x, y, width, height = face.box
    assert all(x < px < x + width and y < py < y + height for px, py in PORTRAITS[name])
    assert face.score is None
    assert face.landmarks is None


def test_the_cascade_finds_a_face_that_fills_a_small_or_a_large_image(lbp):
    face = astronaut()[55:185, 160:290]
    for side in (48, 900):
        image = cv2.resize(face, (side, side), interpolation=cv2.INTER_AREA if side < 130 else cv2.INTER_CUBIC)
        x, y, width, height = lbp(image)[0].box
        assert width > side / 2
        assert abs(x + width / 2 - side / 2) < side / 4
        assert abs(y + height / 2 - side / 2) < side / 4


def test_the_cascade_finds_no_face_in_noise(lbp):
    assert lbp(np.random.default_rng(0).integers(0, 256, (200, 300, 3), np.uint8)) == []


def smooth_image(height, width):
    """An image without fine detail, so that two ways of resampling it agree."""
    coarse = np.random.default_rng(0).random((8, 8, 3))
    return (resize(coarse, (height, width), order=3, anti_aliasing=False).clip(0, 1) * 255).astype(np.uint8)


def turned_face(angle_deg, side, centre):
    """A face of which the landmarks are FER2013's, turned clockwise about the centre."""
    points = (face_detection.FER_LANDMARKS - 0.5) * side
    cos, sin = np.cos(np.radians(angle_deg)), np.sin(np.radians(angle_deg))
    landmarks = points @ np.array([[cos, sin], [-sin, cos]]) + centre
    x, y = landmarks.min(axis=0)
    width, height = np.ptp(landmarks, axis=0)
    return Face((float(x), float(y), float(width), float(height)), 0.9, landmarks.astype(np.float32))


@pytest.mark.parametrize("angle_deg", [0, 30, -75, 180])
def test_alignment_is_the_least_squares_similarity_transform(angle_deg):
    image = smooth_image(200, 240)
    face = turned_face(angle_deg, 80, (120, 95))
    # Off the template, as true faces are.
    landmarks = face.landmarks + np.random.default_rng(1).normal(0, 4, (5, 2)).astype(np.float32)
    face = Face(face.box, 0.9, landmarks)
    # scikit-image takes whole numbers for the centres of pixels.
    # With points as complex numbers z, every similarity transform without reflection is a z + b.
    z, w = (points @ [1, 1j] for points in (landmarks - 0.5, face_detection.FER_LANDMARKS * 64 - 0.5))
    a, b = np.linalg.lstsq(np.column_stack([z, np.ones(5)]), w)[0]
    transform = ProjectiveTransform(np.array([[a.real, -a.imag, b.real], [a.imag, a.real, b.imag], [0, 0, 1]]))
    expected = warp(image, transform.inverse, output_shape=(64, 64), order=1, mode="edge") * 255
    aligned = align_face(image, face, 64)
    assert aligned.dtype == np.uint8
    assert np.abs(aligned - expected).max() < 6
    assert np.abs(aligned - expected).mean() < 1


def test_a_face_that_is_framed_already_stays_as_it_is():
    image = smooth_image(64, 64)
    np.testing.assert_array_equal(align_face(image, turned_face(0, 64, (32, 32)), 64), image)


def test_a_tilted_head_comes_upright():
    upright = smooth_image(200, 200)
    tilted = cv2.warpAffine(upright, cv2.getRotationMatrix2D((99.5, 99.5), -40, 1), (200, 200))  # clockwise
    expected = align_face(upright, turned_face(0, 100, (100, 100)), 48)
    aligned = align_face(tilted, turned_face(40, 100, (100, 100)), 48)
    assert np.abs(aligned.astype(int) - expected).mean() < 1.5


def test_shrinking_averages_instead_of_picking_pixels():
    stripes = np.zeros((1200, 1200, 3), np.uint8)
    stripes[:, ::2] = 255
    for face in (turned_face(10, 1000, (600, 600)), Face((200, 200, 800, 800))):
        aligned = align_face(stripes, face, 48)
        assert np.abs(aligned.astype(int) - 127).max() <= 12


def test_what_lies_outside_the_image_repeats_its_border():
    image = np.full((100, 100, 3), 50, np.uint8)
    image[:, 0] = 200
    aligned = align_face(image, turned_face(0, 100, (0, 50)), 64)
    assert (aligned[:, :30] == 200).all()
    assert (aligned[:, 36:] == 50).all()


def test_without_landmarks_the_crop_is_a_square_about_the_box():
    image = smooth_image(300, 300)
    # A box that gives a crop of 64 pixels, moved to whole ones: then it is a slice of the image.
    side = 64 / face_detection.FER_SIDE_IN_BOXES
    centre = np.array([150, 140])
    expected = image[140 - 32 : 140 + 32, 150 - 32 : 150 + 32]
    aligned = align_face(image, Face((*map(float, centre - side / 2), side, side)), 64)
    np.testing.assert_allclose(aligned, expected, atol=1)
    degenerate = Face((*map(float, centre - side / 2), side, side), 0.9, np.full((5, 2), 7, np.float32))
    np.testing.assert_array_equal(align_face(image, degenerate, 64), aligned)


def test_a_face_or_size_without_extent_is_refused():
    image = np.zeros((10, 10, 3), np.uint8)
    for face, size in ((Face((0, 0, 5, 0)), 8), (Face((0, 0, 5, 5)), 0)):
        with pytest.raises(ValueError, match=r"give more than 0"):
            align_face(image, face, size)
