"""Expressions of the faces in images and videos, from Python.

from involvit import Predictor

predictor = Predictor(faces=True)
for face in predictor("photo.jpg"):
    print(face.label, face.probabilities)
"""

from __future__ import annotations

import itertools
import os
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..pixels import to_rgb
from .classifier import Classifier, check_finite, load_classifier
from .face_detection import Box, FaceDetector, align_face, load_face_detector
from .file_kinds import is_video
from .forks import check_is_not_forked
from .images import check_rgb, find_files, read_image, read_stored_image, read_video
from .processes import processes
from .shards import Shard, StoredImage, shared

BATCH_SIZE = 32  # larger ones were no faster on a CPU, and take more memory
READERS = 2
# Whole photos wait for their batch in memory: at most so many pixels, 3 bytes each.
PIXELS_IN_BATCH = 64_000_000
# Images without a face wait for a batch of faces too, but not forever.
IMAGES_IN_BATCH = 4

ImageSource = str | Path | Image.Image | np.ndarray


@dataclass(frozen=True, eq=False)
class FacePrediction:
    """The expression of one face.

    Attributes:
        label: The most probable class.
        score: Its probability.
        probabilities: Of all classes, in the model's order; they add up to 1.
        box: x, y, width, height in pixels of the upright image; None where the whole image is the face.
        detection_score: The detector's, 0 to 1, where it gives one.
        landmarks: float32 [5, 2], x and y in pixels of right eye, left eye, nose tip, right and left mouth corner,
            where the detector finds them.
        frame, time_s: In a video, number of the frame from 0 and its time in seconds.
        crop: The face upright, as it was classified: RGB, uint8 [image_size, image_size, 3]. None where the whole image
            is the face, and in videos, which have too many faces to keep the pixels of each.
    """

    label: str
    score: float
    probabilities: dict[str, float]
    box: Box | None = None
    detection_score: float | None = None
    landmarks: np.ndarray | None = None
    frame: int | None = None
    time_s: float | None = None
    crop: np.ndarray | None = field(default=None, repr=False)


@dataclass(frozen=True, eq=False)
class ImageResult:
    """What was found in one image, or one frame of a video.

    Attributes:
        index: Number of the image, video or shard among those given, from 0.
        source: The path, of an image in a shard its name (`part-000.parquet#12`); None for an image that was given as
            such.
        faces: Empty if there is no face, or an error.
        error: Why the image, or the rest of the video or shard, could not be read.
        frame, time_s: In a video, number of the frame from 0 and its time in seconds.
    """

    index: int
    source: str | Path | None
    faces: tuple[FacePrediction, ...] = ()
    error: Exception | None = None
    frame: int | None = None
    time_s: float | None = None


# A result whose faces are not classified yet; for each its pixels, uint8 [H, W, 3], and what else is known of it.
_Prepared = tuple[ImageResult, list[tuple[np.ndarray, dict[str, Any]]]]


class Predictor:
    """Finds faces, if asked to, and classifies their expressions.

    It can be copied and sent to other processes, where models are loaded anew. They are to be spawned, not forked.

    Args:
        model: A classifier, or what `load_classifier` takes; by default the model of the package.
        faces: Whether to find and align faces first; else the whole image is the face.
        face_detector: A detector, or what `load_face_detector` takes; only with `faces=True`.

    Raises:
        FileNotFoundError: If there is no such file or folder.
        ValueError: If a model cannot be loaded, or a detector is given without `faces=True`; here and later, in a
            process that was forked after a model was loaded.
    """

    def __init__(
        self,
        model: str | Path | Classifier | None = None,
        faces: bool = False,
        face_detector: str | Path | FaceDetector | None = None,
    ) -> None:
        if face_detector is not None and not faces:
            raise ValueError("a face detector was given, but faces are not looked for: add faces=True (--faces)")
        is_loaded = callable(face_detector) or not faces
        self.detector = face_detector if is_loaded else load_face_detector(face_detector)
        self.classifier = model if callable(model) else load_classifier(model)
        if not all(hasattr(self.classifier, name) for name in ("labels", "image_size", "name")):
            raise ValueError(
                f"a {type(model).__name__} is no classifier; give a model as its folder, after save_pretrained, or id"
            )
        self._detecting = threading.Lock()  # detectors keep state

    def __reduce__(self) -> tuple[type, tuple[Any, ...]]:
        return type(self), (self.classifier, self.detector is not None, self.detector)

    def __call__(self, images: ImageSource | list[ImageSource]) -> list[FacePrediction] | list[list[FacePrediction]]:
        """Predicts for one image or video, or for each of a list.

        Args:
            images: Path of an image, video or shard (Parquet or tar), PIL image, or RGB array, uint8 [H, W, 3]; or a
                list of them.

        Returns:
            One prediction for each face, of a video those of all frames, of a shard those of all images; for a list, a
            list of such lists.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If something cannot be read as an image or video, or the model answers no finite values.
        """
        sources = images if isinstance(images, list) else [images]
        found: list[list[FacePrediction]] = [[] for _ in sources]
        for result in self._results(shared(sources, 0, 1), BATCH_SIZE):
            if result.error is not None:
                raise result.error
            found[result.index] += result.faces
        return found if isinstance(images, list) else found[0]

    def stream(
        self, images: ImageSource | Iterable[ImageSource | Shard], batch_size: int = BATCH_SIZE
    ) -> Iterator[ImageResult]:
        """Predicts for many images and videos while it reads ahead; faces of several images share a batch.

        Where `accelerate launch` or `torchrun` started several processes, each takes every n-th image, of a
        shard too.

        Args:
            images: What `__call__` takes, or the path of a folder, file or glob.
            batch_size: How many faces are classified at once.

        Yields:
            One result for each image, in shards too, and each frame of a video, in order. What cannot be read has an
            `error`.

        Raises:
            ValueError: If `batch_size` is below 1, or the model answers no finite values.
        """
        if batch_size < 1:
            raise ValueError(f"batch_size is {batch_size}; it must be at least 1")
        if isinstance(images, str | os.PathLike):
            images = find_files([images])
        elif not isinstance(images, Iterable) or (isinstance(images, np.ndarray) and images.ndim < 4):
            images = [images]
        group = processes()
        yield from self._results(shared(images, group.process_index, group.num_processes), batch_size)

    def _results(self, sources: Iterable[tuple[int, ImageSource | Shard]], batch_size: int) -> Iterator[ImageResult]:
        check_is_not_forked()
        waiting: list[_Prepared] = []
        num_faces = num_pixels = 0
        for result, faces in self._prepared(sources):
            waiting.append((result, faces))
            num_faces += len(faces)
            num_pixels += sum(pixels.size // 3 for pixels, _ in faces)
            is_full = num_faces >= batch_size or num_pixels >= PIXELS_IN_BATCH
            if is_full or len(waiting) >= IMAGES_IN_BATCH * batch_size:
                yield from self._classified(waiting, batch_size)
                waiting, num_faces, num_pixels = [], 0, 0
        yield from self._classified(waiting, batch_size)

    def _classified(self, waiting: list[_Prepared], batch_size: int) -> Iterator[ImageResult]:
        images = [pixels for _, faces in waiting for pixels, _ in faces]
        batches = (images[start : start + batch_size] for start in range(0, len(images), batch_size))
        rows = itertools.chain.from_iterable(map(self.classifier, batches))
        for result, faces in waiting:
            place = {"frame": result.frame, "time_s": result.time_s}
            found = []
            for _, known in faces:
                row = next(rows)
                check_finite(row, self.classifier.name)
                probabilities = dict(zip(self.classifier.labels, row.tolist(), strict=True))
                label = max(probabilities, key=probabilities.__getitem__)
                found.append(FacePrediction(label, probabilities[label], probabilities, **place, **known))
            yield replace(result, faces=tuple(found))

    def _prepared(self, sources: Iterable[tuple[int, ImageSource | Shard]]) -> Iterator[_Prepared]:
        """Reads images and finds faces in some threads, a little ahead of what is asked for, and keeps the order."""
        pool = ThreadPoolExecutor(READERS)
        ahead: deque[Future[_Prepared]] = deque()
        try:
            for result, image in _frames(sources):
                ahead.append(pool.submit(self._prepare, result, image))
                if len(ahead) > 2 * READERS:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)

    def _prepare(self, result: ImageResult, image: ImageSource | StoredImage | None) -> _Prepared:
        if result.error is not None:
            return result, []
        try:
            pixels = _pixels(image)
            if self.detector is None:
                return result, [(pixels, {})]
            with self._detecting:
                faces = self.detector(pixels)
            prepared = []
            for face in faces:
                crop = align_face(pixels, face, self.classifier.image_size)
                known = {"box": face.box, "detection_score": face.score, "landmarks": face.landmarks}
                prepared.append((crop, known | {"crop": crop if result.frame is None else None}))
            return result, prepared
        except Exception as error:  # whatever a decoder raises on one damaged file, the others are still read
            return replace(result, error=error), []


def _frames(
    sources: Iterable[tuple[int, ImageSource | Shard]],
) -> Iterator[tuple[ImageResult, ImageSource | StoredImage | None]]:
    """Yields each image and each frame of the videos, with what is known of it before it is read."""
    for index, source in sources:
        if isinstance(source, Shard):
            try:
                for image in source.images():
                    yield ImageResult(index, image.name), image
            except Exception as error:
                yield ImageResult(index, source.path, error=error), None
            continue
        result = ImageResult(index, source if isinstance(source, str | os.PathLike) else None)
        if result.source is None or not is_video(source):
            yield result, source
            continue
        try:
            for frame in read_video(source):
                yield replace(result, frame=frame.index, time_s=frame.time_s), frame.image
        except Exception as error:
            yield replace(result, error=error), None


def _pixels(image: ImageSource | StoredImage) -> np.ndarray:
    """Reads a path or an image in a shard, brings a PIL image to RGB, and checks an array."""
    if isinstance(image, StoredImage):
        return read_stored_image(image)
    if isinstance(image, str | os.PathLike):
        return read_image(image)
    if isinstance(image, Image.Image):
        return to_rgb(image)
    if not isinstance(image, np.ndarray):
        raise ValueError(f"{type(image).__name__} is not an image; give a path, PIL image or array, or a list of them")
    return check_rgb(image)
