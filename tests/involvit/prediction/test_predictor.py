from __future__ import annotations

import itertools
import pickle
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from involvit import Predictor
from involvit.prediction import predictor
from involvit.prediction.face_detection import Face, align_face
from involvit.prediction.images import VideoFrame

BATCH = 4


class MeanClassifier:
    """Three classes, the shares of red, green and blue; keeps the size of each batch."""

    labels = ("red", "green", "blue")
    image_size = 8
    name = "mean@0"

    def __init__(self):
        self.batches = []

    def __call__(self, images):
        self.batches.append(len(images))
        means = np.array([image.reshape(-1, 3).mean(axis=0) for image in images])
        return np.float32(means / means.sum(axis=1, keepdims=True))


class PixelDetector:
    """Each white pixel of the first row stands for a face: a box of 4 x 4 below it."""

    name = "pixel"

    def __init__(self):
        self.running = threading.Lock()

    def __call__(self, image):
        assert self.running.acquire(blocking=False), "called by two threads at once"
        time.sleep(0.001)
        self.running.release()
        return [Face((float(x), 1.0, 4.0, 4.0), 0.5) for x in np.flatnonzero((image[0] == 255).all(axis=1))]


def picture(colour, faces=0):
    image = np.zeros((12, 40, 3), np.uint8)
    image[1:] = colour
    image[0, : 5 * faces : 5] = 255
    return image


@pytest.fixture
def classifier():
    return MeanClassifier()


@pytest.fixture
def files(tmp_path):
    """Ten pictures with 0, 1, 2, 3, 0, 1 .. faces, the third of which cannot be read."""
    paths = [tmp_path / f"{number}.png" for number in range(10)]
    for number, path in enumerate(paths):
        Image.fromarray(picture((10, 20 * number, 30), number % 4)).save(path)
    paths[2].write_bytes(b"")
    return paths


def test_the_whole_image_is_the_face(classifier, files):
    (face,) = Predictor(classifier)(picture((0, 0, 200)))
    assert (face.label, face.box, face.landmarks, face.frame) == ("blue", None, None, None)
    assert face.score == face.probabilities["blue"] == pytest.approx(1)
    assert list(face.probabilities) == ["red", "green", "blue"]


def test_paths_pil_images_and_arrays_are_predicted_alike(classifier, files):
    one = Predictor(classifier)
    with Image.open(files[3]) as image:
        image.load()
    predictions = [one(source)[0].probabilities for source in (files[3], str(files[3]), image, np.asarray(image))]
    assert predictions == [predictions[0]] * 4
    assert [[face.probabilities for face in found] for found in one([files[3], image])] == [[predictions[0]]] * 2


def test_faces_are_found_and_cut_out(classifier):
    image = picture((100, 0, 0), faces=2)
    image[1:5, 5:9] = (0, 100, 0)
    first, second = Predictor(classifier, faces=True, face_detector=PixelDetector())(image)
    assert (first.box, second.box) == ((0.0, 1.0, 4.0, 4.0), (5.0, 1.0, 4.0, 4.0))
    assert first.detection_score == 0.5
    assert second.label == "green"
    assert Predictor(classifier, faces=True, face_detector=PixelDetector())(picture((1, 1, 1))) == []


def test_a_face_keeps_what_was_cut_out_and_classified(classifier):
    detector, image = PixelDetector(), picture((100, 0, 0), faces=2)
    image[1:5, 5:9] = (0, 100, 0)
    found = Predictor(classifier, faces=True, face_detector=detector)(image)
    for face, place in zip(found, detector(image), strict=True):
        np.testing.assert_array_equal(face.crop, align_face(image, place, 8))
        assert classifier([face.crop])[0].tolist() == list(face.probabilities.values())
        assert "crop" not in repr(face)
        np.testing.assert_array_equal(pickle.loads(pickle.dumps(face)).crop, face.crop)
    assert Predictor(classifier)(image)[0].crop is None  # photos are large


def test_the_faces_of_a_video_keep_no_pixels(classifier, monkeypatch):
    frames = [VideoFrame(index, index / 25, picture((9, 0, 0), faces=1)) for index in range(3)]
    monkeypatch.setattr(predictor, "read_video", lambda path: iter(frames))
    faces = Predictor(classifier, faces=True, face_detector=PixelDetector())("film.mp4")
    assert [(face.box, face.crop) for face in faces] == [((0.0, 1.0, 4.0, 4.0), None)] * 3


def test_a_stream_keeps_the_order_and_shares_batches_between_images(classifier, files):
    stream = Predictor(classifier, faces=True, face_detector=PixelDetector()).stream(files, batch_size=BATCH)
    results = list(stream)
    assert [(result.index, result.source) for result in results] == list(enumerate(files))
    assert [len(result.faces) for result in results] == [0, 1, 0, 3, 0, 1, 2, 3, 0, 1]
    assert [result.index for result in results if result.error] == [2]
    assert "2.png" in str(results[2].error)
    for number, result in enumerate(results):
        for face in result.faces:
            assert face.probabilities["green"] == pytest.approx(20 * number / (40 + 20 * number), abs=0.1)
    assert sum(classifier.batches) == 11
    assert max(classifier.batches) == BATCH
    assert len(classifier.batches) < 6


def test_what_cannot_be_read_is_an_error_of_the_call(classifier, files, tmp_path):
    one = Predictor(classifier)
    with pytest.raises(ValueError, match=r"2\.png"):
        one(files[2])
    with pytest.raises(FileNotFoundError):
        one(tmp_path / "nowhere.png")
    with pytest.raises(ValueError, match="float64"):
        one(np.zeros((4, 4, 3)))


def test_a_stream_reads_only_a_little_ahead(classifier):
    threads, taken = threading.active_count(), itertools.count()
    images = (picture((next(taken), 5, 5)) for _ in range(1000))
    stream = Predictor(classifier).stream(images, batch_size=BATCH)
    for _ in range(BATCH):
        next(stream)
    assert next(taken) <= 3 * BATCH
    stream.close()
    assert threading.active_count() == threads


def test_large_images_do_not_wait_for_a_whole_batch(classifier, monkeypatch):
    monkeypatch.setattr(predictor, "PIXELS_IN_BATCH", 2 * 12 * 40)
    list(Predictor(classifier).stream([picture((1, 2, 3))] * 6, batch_size=64))
    assert classifier.batches == [2, 2, 2]


def test_images_without_a_face_do_not_hold_up_the_others(classifier):
    images = itertools.chain([picture((1, 2, 3), 1)], itertools.repeat(picture((1, 2, 3))))
    stream = Predictor(classifier, faces=True, face_detector=PixelDetector()).stream(images, batch_size=BATCH)
    assert len(next(stream).faces) == 1
    stream.close()


def test_each_frame_of_a_video_is_a_result_with_its_time(classifier, files, monkeypatch):
    def read_video(path):
        for index in range(5):
            yield VideoFrame(index, index / 25, picture((index + 1, 0, 0)))
        raise ValueError(f"{path} breaks off")

    monkeypatch.setattr(predictor, "read_video", read_video)
    results = list(Predictor(classifier).stream([files[0], "film.mp4", files[1]]))
    assert [result.index for result in results] == [0, 1, 1, 1, 1, 1, 1, 2]
    frames = results[1:6]
    assert [(result.frame, result.time_s) for result in frames] == [(n, n / 25) for n in range(5)]
    assert [(face.frame, face.time_s) for result in frames for face in result.faces] == [(n, n / 25) for n in range(5)]
    assert str(results[6].error) == "film.mp4 breaks off"
    assert (results[0].frame, results[7].frame, results[7].error) == (None, None, None)


def test_a_stream_of_a_folder_takes_the_images_in_it(classifier, files):
    sources = [Path(result.source) for result in Predictor(classifier).stream(files[0].parent)]
    assert sources == files


def test_a_stream_may_be_of_one_image(classifier):
    red = picture((200, 0, 0))
    for image in (red, Image.fromarray(red), [red], np.stack([red])):
        (result,) = Predictor(classifier).stream(image)
        assert result.faces[0].label == "red"
    (result,) = Predictor(classifier).stream(3)
    assert str(result.error) == "int is not an image; give a path, PIL image or array, or a list of them"


def test_each_process_takes_its_share_of_a_stream(classifier, files, monkeypatch):
    shares = []
    for index in range(3):
        group = type("Group", (), {"process_index": index, "num_processes": 3})
        monkeypatch.setattr(predictor, "processes", lambda group=group: group)
        shares.append([result.index for result in Predictor(classifier).stream(iter(files))])
    assert shares == [[0, 3, 6, 9], [1, 4, 7], [2, 5, 8]]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_model_whose_answers_are_not_finite_is_refused(value):
    class Broken(MeanClassifier):
        def __call__(self, images):
            return np.full((len(images), 3), value, np.float32)

    with pytest.raises(ValueError, match="mean@0 answers values that are not finite: its weights are damaged"):
        Predictor(Broken())(picture((1, 2, 3)))


def test_mistakes_are_told(classifier):
    with pytest.raises(ValueError, match="batch_size is 0; it must be at least 1"):
        next(Predictor(classifier).stream([], batch_size=0))
    with pytest.raises(ValueError, match=r"add faces=True \(--faces\)"):
        Predictor(classifier, face_detector=PixelDetector())


def test_what_is_no_classifier_is_refused():
    with pytest.raises(ValueError, match="a function is no classifier; give a model as its folder"):
        Predictor(lambda images: images)
