from __future__ import annotations

import functools
import weakref

import cv2
import numpy as np
import pandas as pd
import pytest
from skimage.color import rgb2gray
from skimage.data import astronaut

from involvit import Predictor
from involvit.colors import class_colors
from involvit.prediction import video_analysis
from involvit.prediction.face_detection import Face
from involvit.prediction.images import VideoFrame
from involvit.prediction.video_analysis import VideoAnalysis, analyse_video

RATE = 20
SIDE = 40  # of the squares that stand for faces
COLORS = {"red": (230, 30, 30), "blue": (30, 30, 230)}


class SquareDetector:
    """Finds a red and a blue square."""

    name = "square"

    def __call__(self, image):
        faces = []
        for color in COLORS.values():
            mask = (np.abs(image.astype(int) - color) < 70).all(axis=2)
            if mask.sum() > 16:
                x, y, width, height = cv2.boundingRect(mask.astype(np.uint8))
                landmarks = np.float32([x, y] + np.array([width, height]) * FER_SQUARE)
                faces.append(Face((float(x), float(y), float(width), float(height)), 0.9, landmarks))
        return faces


FER_SQUARE = np.array([[0.317, 0.374], [0.683, 0.374], [0.5, 0.576], [0.348, 0.749], [0.652, 0.749]])


class MeanClassifier:
    """Two classes, the shares of red and blue."""

    labels = ("red", "blue")
    image_size = 8
    name = "mean@0"

    def __call__(self, images):
        means = np.array([image[..., ::2].reshape(-1, 2).mean(axis=0) for image in images])
        return np.float32(means / means.sum(axis=1, keepdims=True))


@pytest.fixture
def predictor():
    return Predictor(MeanClassifier(), faces=True, face_detector=SquareDetector())


@functools.cache
def background(width, height):
    grey = cv2.resize((rgb2gray(astronaut()) * 255).astype(np.uint8), (width, height), interpolation=cv2.INTER_AREA)
    return np.repeat(grey[..., None], 3, axis=2)


def picture(squares, width=320, height=240):
    """The astronaut in grey, with squares: colour -> (x, y); later ones in front."""
    image = background(width, height).copy()
    for color, (x, y) in squares.items():
        image[y : y + SIDE, x : x + SIDE] = COLORS[color]
    return image


def write_video(path, frames, rate=RATE):
    height, width = frames[0].shape[:2]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), rate, (width, height))
    for frame in frames:
        writer.write(frame[..., ::-1].copy())
    writer.release()
    return path


def read_back(path):
    """The frames of a video, RGB, and its rate."""
    capture = cv2.VideoCapture(str(path))
    frames = []
    while (read := capture.read())[0]:
        frames.append(read[1][..., ::-1])
    return frames, capture.get(cv2.CAP_PROP_FPS)


def crossing(frame):
    """One goes from left to right; the other, in front and a little lower, from right to left."""
    return {"red": (20 + 6 * frame, 80), "blue": (260 - 6 * frame, 100)}


@pytest.fixture
def crossing_video(tmp_path):
    return write_video(tmp_path / "crossing.avi", [picture(crossing(frame)) for frame in range(2 * RATE)])


def test_the_table_has_each_face_where_and_when_it_was(crossing_video, predictor):
    analysis = analyse_video(crossing_video, predictor, max_rate=RATE / 2)
    table = analysis.table
    assert analysis.num_frames == RATE
    assert not analysis.is_cut
    assert sorted(set(table["frame"])) == list(range(0, 2 * RATE, 2))
    np.testing.assert_allclose(table["time_s"], table["frame"] / RATE, atol=1e-3)
    assert len(table) == 2 * RATE
    blue = table[table["label"] == "blue"]
    expected = [(*crossing(frame)["blue"], SIDE, SIDE) for frame in blue["frame"]]
    np.testing.assert_allclose(blue[["x", "y", "width", "height"]], expected, atol=2)
    np.testing.assert_allclose(table[["red", "blue"]].sum(axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(table[["red", "blue"]].max(axis=1), table["score"])


def test_two_faces_that_cross_keep_their_numbers(crossing_video, predictor):
    table = analyse_video(crossing_video, predictor).table
    assert set(table["face"]) == {1, 2}
    assert table.groupby("label")["face"].nunique().to_dict() == {"red": 1, "blue": 1}


def test_the_annotated_video_shows_the_same_in_the_same_time(crossing_video, predictor, tmp_path):
    shares = []
    analyse_video(crossing_video, predictor, tmp_path / "faces.webm", max_rate=10, progress=shares.append)
    frames, rate = read_back(tmp_path / "faces.webm")
    assert rate == pytest.approx(10)
    assert len(frames) == 20  # two seconds
    assert (tmp_path / "faces.webm").read_bytes()[:4] == b"\x1aE\xdf\xa3"  # EBML
    for number in (0, 5, 19):
        squares = crossing(2 * number)
        before, after = picture(squares).astype(int), frames[number].astype(int)
        assert after.shape == before.shape
        assert np.abs(after - before)[190:].mean() < 6  # below the faces
        for name, (x, y) in squares.items():
            inside = after[y + 26 : y + SIDE - 6, x + 6 : x + SIDE - 6].mean(axis=(0, 1))
            np.testing.assert_allclose(inside, COLORS[name], atol=40)
            edge = after[y + SIDE - 2 : y + SIDE + 3, x + SIDE // 2]
            color = np.array([int(class_colors(["red", "blue"])[name][i : i + 2], 16) for i in (1, 3, 5)])
            assert np.abs(edge - color).max(axis=1).min() < 60
    assert shares == sorted(shares)
    assert 0 <= shares[0] <= shares[-1] <= 1
    assert shares[-1] > 0.9


@pytest.mark.parametrize(("gap_s", "tracks"), [(0.5, 1), (1.5, 2)])
def test_a_face_that_vanishes_and_returns(gap_s, tracks, predictor, tmp_path):
    seen, gap = [picture({"red": (100, 80)})] * RATE, [picture({})] * int(gap_s * RATE)
    path = write_video(tmp_path / "gap.avi", seen + gap + seen[:10])
    analysis = analyse_video(path, predictor, max_rate=10)
    assert len(analysis.tracks) == tracks
    assert analysis.tracks["frames"].sum() == 15
    first = analysis.tracks.iloc[0]
    end_s = 0.9 if tracks == 2 else 1 + gap_s + 0.4
    assert (first["face"], first["start_s"]) == (1, 0)
    assert first["end_s"] == pytest.approx(end_s)


def test_a_video_without_a_face(predictor, tmp_path):
    path = write_video(tmp_path / "empty.avi", [picture({})] * RATE)
    analysis = analyse_video(path, predictor, tmp_path / "faces.webm", max_rate=10)
    assert (len(analysis.table), len(analysis.tracks), len(analysis.timeline(1))) == (0, 0, 0)
    assert {"time_s", "face", "red", "smoothed_blue"} <= set(analysis.table.columns)
    assert analysis.moments == {}
    assert analysis.num_frames == 10
    assert len(read_back(tmp_path / "faces.webm")[0]) == 10


def test_what_is_no_video_leaves_nothing(predictor, tmp_path):
    text = tmp_path / "text.mp4"
    text.write_text("hello")
    with pytest.raises(ValueError, match=r"text.mp4: cannot be read as a video"):
        analyse_video(text, predictor, tmp_path / "faces.webm")
    with pytest.raises(FileNotFoundError, match=r"nowhere.mp4: no such file"):
        analyse_video(tmp_path / "nowhere.mp4", predictor, tmp_path / "faces.webm")
    assert list(tmp_path.iterdir()) == [text]


def test_an_interruption_leaves_what_was_there(crossing_video, predictor, tmp_path):
    annotated = tmp_path / "faces.webm"
    annotated.write_text("of an earlier video")

    def interrupt(share):
        if share > 0.5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        analyse_video(crossing_video, predictor, annotated, progress=interrupt)
    assert sorted(tmp_path.iterdir()) == [crossing_video, annotated]
    assert annotated.read_text() == "of an earlier video"


def test_a_long_video_is_cut(crossing_video, predictor, tmp_path):
    analysis = analyse_video(crossing_video, predictor, tmp_path / "faces.webm", max_seconds=0.8, max_rate=10)
    assert analysis.is_cut
    assert analysis.table["time_s"].max() == 0.8
    assert len(read_back(tmp_path / "faces.webm")[0]) == 9


def test_a_large_video_is_shown_smaller_but_measured_as_it_is(predictor, tmp_path):
    squares = {"red": (1300, 500), "blue": (200, 100)}
    path = write_video(tmp_path / "large.avi", [picture(squares, 1601, 902)] * 2)
    analysis = analyse_video(path, predictor, tmp_path / "faces.webm")
    boxes = analysis.table.groupby("label")[["x", "y", "width", "height"]].first()
    for name, corner in squares.items():
        np.testing.assert_allclose(boxes.loc[name], [*corner, SIDE, SIDE], atol=2)
    frames, _ = read_back(tmp_path / "faces.webm")
    assert frames[0].shape == (722, 1280, 3)
    x, y = (round(value * 1280 / 1601) for value in squares["red"])
    np.testing.assert_allclose(frames[0][y + 22 : y + 27, x + 8 : x + 24].mean(axis=(0, 1)), COLORS["red"], atol=40)


def test_the_strongest_moment_of_each_class(predictor, tmp_path):
    frames = []
    for frame in range(10):
        image = picture({"red": (100, 80)})
        image[85:115, 105 : 105 + 4 * abs(frame - 6)] = (190, 60, 100)  # purest at frame 6
        frames.append(image)
    analysis = analyse_video(write_video(tmp_path / "pure.avi", frames), predictor, max_rate=RATE)
    assert list(analysis.moments) == ["red", "blue"]
    for label, moment in analysis.moments.items():
        row = analysis.table.loc[analysis.table[label].idxmax()]
        assert (moment.frame, moment.track) == (row["frame"], row["face"])
        assert (moment.time_s, moment.probability) == pytest.approx((row["time_s"], row[label]), abs=1e-3)
        assert moment.image.shape == (8, 8, 3)  # as the classifier saw it
        assert moment.image.dtype == np.uint8
    assert analysis.moments["red"].frame == 6
    np.testing.assert_allclose(analysis.moments["red"].image[2:6, 2:6].mean(axis=(0, 1)), COLORS["red"], atol=15)


def test_the_timeline_of_a_face_is_its_smoothed_probabilities(crossing_video, predictor):
    analysis = analyse_video(crossing_video, predictor, max_rate=10)
    line = analysis.timeline(2)
    assert list(line.columns) == ["time_s", "expression", "probability"]
    rows = analysis.table[analysis.table["face"] == 2]
    for label in analysis.labels:
        of_label = line[line["expression"] == label]
        np.testing.assert_allclose(of_label["time_s"], rows["time_s"])
        np.testing.assert_allclose(of_label["probability"], rows[f"smoothed_{label}"])


def test_a_long_timeline_is_thinned_to_means():
    time_s = np.arange(6000) / 10
    columns = {"time_s": time_s, "face": 1, "smoothed_red": time_s / 600, "smoothed_blue": 1 - time_s / 600}
    line = VideoAnalysis(("red", "blue"), pd.DataFrame(columns), {}, 6000, False).timeline(1)
    assert line.groupby("expression").size().to_dict() == {"red": 600, "blue": 600}
    red = line[line["expression"] == "red"]
    np.testing.assert_allclose(red["time_s"], time_s.reshape(600, 10).mean(axis=1))
    np.testing.assert_allclose(red["probability"], red["time_s"] / 600)


def test_the_whole_image_may_be_the_face(crossing_video, tmp_path):
    analysis = analyse_video(crossing_video, Predictor(MeanClassifier()), tmp_path / "faces.webm", max_rate=5)
    assert set(analysis.table["face"]) == {1}
    assert analysis.table["x"].isna().all()
    assert analysis.moments["red"].image.shape == (120, 160, 3)
    assert len(read_back(tmp_path / "faces.webm")[0]) == 10


def test_frames_at_uneven_times_are_shown_in_their_time(predictor, tmp_path, monkeypatch):
    times = [5.0, 5.01, 5.1, 6.0, 6.1]  # a recording seldom begins at 0
    images = [picture({"red": (20 + 50 * number, 80)}) for number in range(5)]
    monkeypatch.setattr(
        video_analysis, "read_video", lambda path: (VideoFrame(n, times[n], images[n]) for n in range(5))
    )
    analysis = analyse_video("live.webm", predictor, tmp_path / "faces.webm", max_rate=10)
    assert list(analysis.table["time_s"]) == [5.0, 5.1, 6.0, 6.1]
    frames, rate = read_back(tmp_path / "faces.webm")
    assert (len(frames), rate) == (12, pytest.approx(10))
    shown = [SquareDetector()(frame)[0].box[0] for frame in frames]
    np.testing.assert_allclose(shown, [20, *[120] * 9, 170, 220], atol=4)


def test_a_rate_that_no_video_has_is_not_believed(predictor, tmp_path):
    path = tmp_path / "odd.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 10, (320, 240))
    for number in range(5):
        writer.write(picture({"red": (20 + 50 * number, 80)}))
    writer.release()
    content = bytearray(path.read_bytes())
    scale = content.index(b"mdhd") + 16
    content[scale : scale + 4] = b"\xff" * 4
    path.write_bytes(content)
    assert cv2.VideoCapture(str(path)).get(cv2.CAP_PROP_FPS) < 0.001
    assert analyse_video(path, predictor, tmp_path / "faces.webm").num_frames >= 1
    assert read_back(tmp_path / "faces.webm")[1] == pytest.approx(10)


@pytest.mark.parametrize("squares", [{}, {"red": (100, 80), "blue": (20, 20)}])
def test_only_some_frames_are_in_memory(squares, predictor, monkeypatch):
    gone = []
    most = 0

    def read_video(path):
        nonlocal most
        for number in range(100):
            frame = picture(squares)
            weakref.finalize(frame, gone.append, number)
            most = max(most, number + 1 - len(gone))
            yield VideoFrame(number, number / 10, frame)

    monkeypatch.setattr(video_analysis, "read_video", read_video)
    assert analyse_video("long.mp4", predictor).num_frames == 100
    assert most <= 45


def test_mistakes_are_told(crossing_video, predictor, tmp_path):
    with pytest.raises(ValueError, match=r"faces.mp4: an annotated video ends in .webm"):
        analyse_video(crossing_video, predictor, tmp_path / "faces.mp4")
    with pytest.raises(FileNotFoundError, match=r"there is no folder .*nowhere; make it first"):
        analyse_video(crossing_video, predictor, tmp_path / "nowhere/faces.webm")
    predictor.classifier.labels = ("score", "blue")
    with pytest.raises(ValueError, match="a class of the model has the name of another column"):
        analyse_video(crossing_video, predictor)
