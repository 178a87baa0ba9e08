"""What the faces in a video express, over time: a table, the strongest moments, and the video with outlined faces."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd

from ..files import whole_file
from ..names import shown
from .annotation import draw_faces
from .images import open_video, quiet_opencv, read_video, scaled
from .predictor import Predictor
from .tracking import FaceTracker

PICTURE_SIDE = 1280  # of the annotated video, in pixels
MOMENT_SIDE = 160  # where the whole image is the face
TIMELINE_POINTS = 600
SLOWEST = 0.01  # frames a second; less than that is a header's mistake, and VP8 cannot have it
# Faces that are classified at once. Four times as many frames without a face may wait for them, at PICTURE_SIDE.
BATCH_SIZE = 8

_PLACE = {"time_s": "float64", "frame": "int64", "face": "int64", "label": "str", "score": "float64"}
_BOX = dict.fromkeys(("x", "y", "width", "height"), "float64")


@dataclass(frozen=True, eq=False)
class Moment:
    """When one expression was strongest."""

    track: int  # number of the face
    frame: int  # number of the frame, from 0
    time_s: float
    probability: float  # as the model gave it
    # The face as the model saw it, RGB uint8 [image_size, image_size, 3]; where the whole image is the face, the frame,
    # with a long side of MOMENT_SIDE pixels.
    image: np.ndarray


@dataclass(frozen=True, eq=False)
class VideoAnalysis:
    """What was found in a video.

    Attributes:
        labels: Names of the classes, in the model's order.
        table: One row for each face in each frame that was looked at, with the columns `time_s` (seconds), `frame`
            (number from 0), `face` (number of the track, from 1), `label` and `score` (the most probable class and its
            probability), `x`, `y`, `width`, `height` (the box in pixels; NaN where the whole image is the face), and
            for each class its name (the probability that the model gave) and `smoothed_<class>` (see `FaceTracker`).
        moments: For each class its strongest moment over all faces; empty if there is no face.
        num_frames: How many frames were looked at.
        is_cut: Whether frames after `max_seconds` were left out.
    """

    labels: tuple[str, ...]
    table: pd.DataFrame
    moments: dict[str, Moment]
    num_frames: int
    is_cut: bool

    @property
    def tracks(self) -> pd.DataFrame:
        """One row for each face: `face`, `start_s`, `end_s` (first and last time), `frames`; most frames first."""
        times = self.table.groupby("face", as_index=False).agg(
            start_s=("time_s", "min"), end_s=("time_s", "max"), frames=("time_s", "size")
        )
        return times.sort_values("frames", ascending=False, kind="stable", ignore_index=True)

    def timeline(self, track: int) -> pd.DataFrame:
        """Gives the smoothed probabilities of one face for a chart.

        Returns:
            Columns `time_s`, `expression` and `probability`; at most 600 rows per class, for a longer video the means
            of 600 parts.
        """
        rows = self.table[self.table["face"] == track]
        part = np.arange(len(rows)) * TIMELINE_POINTS // max(len(rows), TIMELINE_POINTS)
        means = rows[["time_s", *(f"smoothed_{label}" for label in self.labels)]].groupby(part).mean()
        means.columns = ["time_s", *self.labels]
        return means.melt("time_s", var_name="expression", value_name="probability")


def analyse_video(
    path: str | Path,
    predictor: Predictor,
    annotated: Path | None = None,
    max_seconds: float = math.inf,
    max_rate: float = 10.0,
    progress: Callable[[float], None] | None = None,
) -> VideoAnalysis:
    """Follows the faces in a video and predicts their expressions.

    The pixels of at most some 40 frames are in memory at a time, however long the video is.

    Args:
        path: The video.
        predictor: What finds faces and classifies them.
        annotated: Where to write the frames that were looked at, with outlined faces and smoothed expressions, at the
            speed of the original and a long side of at most 1280 pixels: a `.webm` file (VP8), which all browsers play.
        max_seconds: What comes later in the video is left out.
        max_rate: How many frames of each second are looked at, at most.
        progress: Called with the share that is done, 0 to 1.

    Raises:
        FileNotFoundError: If there is no such file, or no folder for the annotated video.
        ValueError: If the file has no frames that can be read, the annotated video's suffix is not `.webm`, or a class
            has the name of another column of the table.
        OSError: If the annotated video cannot be written.
    """
    labels = tuple(predictor.classifier.labels)
    types = {**_PLACE, **_BOX, **dict.fromkeys([*labels, *(f"smoothed_{label}" for label in labels)], "float64")}
    if len(types) < len(_PLACE) + len(_BOX) + 2 * len(labels):
        raise ValueError(f"a class of the model has the name of another column of the table ({', '.join(types)})")
    samples = _Samples(path, max_seconds, max_rate)
    tracker = FaceTracker()
    rows: list[tuple[Any, ...]] = []
    moments: dict[str, Moment] = {}
    num_frames = 0
    output = nullcontext() if annotated is None else _video_file(annotated, samples.rate)
    with output as write, closing(predictor.stream(samples.images(), BATCH_SIZE)) as results:
        for result in results:
            if result.error is not None:
                raise result.error
            number, time_s, slot, share, picture, scale = samples.waiting.popleft()
            num_frames += 1
            tracked = tracker.update(result.faces, time_s)
            for face, one in zip(result.faces, tracked, strict=True):
                place = (time_s, number, one.track, face.label, face.score, *(face.box or (None,) * 4))
                rows.append((*place, *face.probabilities.values(), *one.face.probabilities.values()))
                for label, probability in face.probabilities.items():
                    if label in moments and probability <= moments[label].probability:
                        continue
                    small = scaled(picture, MOMENT_SIDE / max(picture.shape[:2])) if face.crop is None else face.crop
                    moments[label] = Moment(one.track, number, time_s, probability, small)
            if write is not None:
                boxes = [one.face.box and tuple(np.multiply(one.face.box, scale).tolist()) for one in tracked]
                faces = [replace(one.face, box=box) for one, box in zip(tracked, boxes, strict=True)]
                texts = [f"{one.track} {shown(one.face.label)} {one.face.score:.0%}" for one in tracked]
                write(draw_faces(picture, faces, texts), slot)
            if progress is not None:
                progress(share)
    table = pd.DataFrame(rows, columns=list(types)).astype(types)
    digits = dict.fromkeys(types, 6) | {"time_s": 3} | dict.fromkeys(_BOX, 1)
    return VideoAnalysis(labels, table.round(digits), moments, num_frames, samples.is_cut)


class _Samples:
    """The frames of a video that are looked at: of each slot of 1 / rate seconds the first.

    Attributes:
        rate: Slots per second: the video's own rate, where it is lower than `max_rate`.
        waiting: Of each image handed out its number and time in the video, its slot, how far it is on the way through
            the video (0 to 1), the picture at the size of the annotated video, and its scale in x, y, width and height.
        is_cut: Whether frames after `max_seconds` were left out.
    """

    def __init__(self, path: str | Path, max_seconds: float, max_rate: float) -> None:
        rate = count = 0.0
        with suppress(OSError), open_video(path) as header:  # read_video says what is wrong with it
            rate, count = header.get(cv2.CAP_PROP_FPS), header.get(cv2.CAP_PROP_FRAME_COUNT)
        self._path, self._max_seconds = path, max_seconds
        self.rate = min(rate, max_rate) if rate > SLOWEST else max_rate
        # Live recordings say neither how long they are nor, with some containers, how many frames they show a second.
        self._expected_s = min(count / rate if rate > 0 and count > 0 else math.inf, max_seconds)
        self.waiting: deque[tuple[int, float, int, float, np.ndarray, tuple[float, ...]]] = deque()
        self.is_cut = False

    def images(self) -> Iterator[np.ndarray]:
        """Yields the images of the samples, RGB uint8 [H, W, 3]."""
        first_s, next_slot, size = 0.0, 0, (0, 0)
        with closing(read_video(self._path)) as frames:
            for frame in frames:
                height, width = frame.image.shape[:2]
                if next_slot == 0:
                    first_s, shrink = frame.time_s, min(1.0, PICTURE_SIDE / max(height, width))
                    # VP8 halves the resolution of colours, so both are even.
                    size = tuple(max(2, 2 * round(side * shrink / 2)) for side in (width, height))
                seconds = frame.time_s - first_s
                if seconds > self._max_seconds:
                    self.is_cut = True
                    return
                slot = int(seconds * self.rate + 0.1)  # times may be rounded, to milliseconds
                if slot < next_slot:
                    continue
                next_slot = slot + 1
                picture = cv2.resize(frame.image, size, interpolation=cv2.INTER_AREA)
                share = min(seconds / self._expected_s, 1.0) if self._expected_s > 0 else 1.0
                scale = (size[0] / width, size[1] / height) * 2
                self.waiting.append((frame.index, frame.time_s, slot, share, picture, scale))
                yield frame.image


@contextmanager
def _video_file(path: Path, rate: float) -> Iterator[Callable[[np.ndarray, int], None]]:
    """Gives a function that writes images to the slots of a WebM video, which takes its name when it is whole."""
    if path.suffix.lower() != ".webm":
        raise ValueError(f"{path}: an annotated video ends in .webm")
    if not path.absolute().parent.is_dir():
        raise FileNotFoundError(f"{path}: there is no folder {path.parent}; make it first")
    writer = cv2.VideoWriter()
    shown, num_written = np.empty(0), 0

    def write(image: np.ndarray, slot: int) -> None:
        """Writes an image, RGB uint8 [H, W, 3]; the one before it is shown until its slot comes."""
        nonlocal shown, num_written
        if not writer.isOpened():
            # FFmpeg's WebM has no table of tags, which OpenCV says on the terminal, whatever the tag. It does no harm.
            with quiet_opencv():
                size, codec = (image.shape[1], image.shape[0]), cv2.VideoWriter.fourcc(*"VP80")
                if not writer.open(str(beside.absolute()), cv2.CAP_FFMPEG, codec, rate, size):
                    raise OSError(f"{path.parent}: cannot write a video there; is there room, and are you allowed?")
        for _ in range(num_written, slot):
            writer.write(shown)
        shown, num_written = cv2.cvtColor(image, cv2.COLOR_RGB2BGR), slot + 1
        writer.write(shown)

    with whole_file(path) as beside:
        try:
            yield write
        finally:
            writer.release()
