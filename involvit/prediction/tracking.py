"""Who is who from frame to frame: faces are followed by the overlap of boxes, and their probabilities smoothed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import linear_sum_assignment

from .predictor import FacePrediction

SMOOTHING_S = 0.4  # time constant of the probabilities
VELOCITY_SMOOTHING_S = 0.2
MIN_OVERLAP = 0.3  # intersection over union, below which a face begins a track of its own
MAX_GAP_S = 1.0  # how long a face may be out of sight and keep its track
# A face out of sight is expected to move on for this long and not longer: people stop and turn.
MAX_MOTION_S = 0.5

Box = tuple[float, float, float, float]


@dataclass(frozen=True, eq=False)
class TrackedFace:
    """A face that is followed.

    Attributes:
        track: Number of its track, from 1 in order of appearance.
        face: Where it is now; probabilities, label and score are smoothed over time.
    """

    track: int
    face: FacePrediction


@dataclass
class _Track:
    """What is remembered of a face: the box last seen, how fast it moves, in pixels/s, and when that was."""

    number: int
    box: Box
    velocity: tuple[float, float]
    probabilities: dict[str, float]
    time_s: float

    def box_at(self, time_s: float) -> Box:
        """Returns where the face is expected, so that two that cross keep their tracks."""
        x, y, width, height = self.box
        elapsed = min(max(time_s - self.time_s, 0.0), MAX_MOTION_S)
        return x + self.velocity[0] * elapsed, y + self.velocity[1] * elapsed, width, height


class FaceTracker:
    """Follows the faces of one video or camera.

    In each frame the faces are assigned to the tracks so that the sum of intersection over union, between the boxes
    found and those expected from the movement so far, is largest. The probabilities p of a face are smoothed
    exponentially: s += (1 - exp(-dt / SMOOTHING_S)) (p - s), where dt is the time since it was last seen.

    It is plain state: it can be deep-copied and pickled. Threads must not share it.
    """

    def __init__(self) -> None:
        self._tracks: list[_Track] = []
        self._started = 0

    def update(self, faces: Sequence[FacePrediction], time_s: float) -> list[TrackedFace]:
        """Assigns the faces of the next frame to tracks.

        Args:
            faces: The faces found in it, possibly none. One without a box is the whole image.
            time_s: The frame's time in seconds, from any origin; it should not go backwards.

        Returns:
            One for each of `faces`, in their order.
        """
        self._tracks = [track for track in self._tracks if time_s - track.time_s <= MAX_GAP_S]
        boxes = [_box(face) for face in faces]
        overlaps = _overlaps([track.box_at(time_s) for track in self._tracks], boxes)
        overlaps[overlaps < MIN_OVERLAP] = 0
        known = {
            column: self._tracks[row]
            for row, column in zip(*linear_sum_assignment(overlaps, maximize=True), strict=True)
            if overlaps[row, column] > 0
        }
        return [self._follow(known.get(number), face, time_s) for number, face in enumerate(faces)]

    def _follow(self, track: _Track | None, face: FacePrediction, time_s: float) -> TrackedFace:
        if track is None:
            self._started += 1
            track = _Track(self._started, _box(face), (0.0, 0.0), dict(face.probabilities), time_s)
            self._tracks.append(track)
            return TrackedFace(track.number, face)
        elapsed = max(time_s - track.time_s, 0.0)
        if elapsed > 0:
            movement = np.subtract(_centre(_box(face)), _centre(track.box)) / elapsed
            weight = _weight(elapsed, VELOCITY_SMOOTHING_S)
            track.velocity = tuple((np.array(track.velocity) * (1 - weight) + movement * weight).tolist())
        weight = _weight(elapsed, SMOOTHING_S)
        track.probabilities = {
            label: track.probabilities[label] + weight * (new - track.probabilities[label])
            for label, new in face.probabilities.items()
        }
        track.box, track.time_s = _box(face), time_s
        label = max(track.probabilities, key=track.probabilities.__getitem__)
        smoothed = replace(face, label=label, score=track.probabilities[label], probabilities=dict(track.probabilities))
        return TrackedFace(track.number, smoothed)


def _weight(elapsed_s: float, time_constant_s: float) -> float:
    """Returns how much the newest value counts in exponential smoothing."""
    return 1 - math.exp(-elapsed_s / time_constant_s)


def _box(face: FacePrediction) -> Box:
    # Where the whole image is the face, the unit square stands for it: it overlaps with itself.
    return face.box or (0.0, 0.0, 1.0, 1.0)


def _centre(box: Box) -> tuple[float, float]:
    x, y, width, height = box
    return x + width / 2, y + height / 2


def _overlaps(first: Sequence[Box], second: Sequence[Box]) -> np.ndarray:
    """Returns the intersection over union of all pairs of boxes, float64 [N, M]."""
    a = np.array(first, np.float64).reshape(-1, 1, 4)
    b = np.array(second, np.float64).reshape(1, -1, 4)
    low = np.maximum(a[..., :2], b[..., :2])
    high = np.minimum(a[..., :2] + a[..., 2:], b[..., :2] + b[..., 2:])
    shared = np.clip(high - low, 0, None).prod(axis=-1)
    union = a[..., 2:].prod(axis=-1) + b[..., 2:].prod(axis=-1) - shared
    return shared / union
