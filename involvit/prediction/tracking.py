"""Who is who from frame to frame: faces are followed by the overlap of boxes, and their probabilities smoothed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import linear_sum_assignment

from .face_detection import shared_areas
from .predictor import FacePrediction

SMOOTHING_S = 0.4  # time constant of the probabilities
VELOCITY_SMOOTHING_S = 0.2
MIN_OVERLAP = 0.3  # intersection over union, below which a face begins a track of its own
MAX_GAP_S = 1.0  # how long a face may be out of sight and keep its track
# A face out of sight is expected to move on for this long and not longer: people stop and turn.
MAX_MOTION_S = 0.5


@dataclass(frozen=True, eq=False)
class TrackedFace:
    """A face that is followed."""

    track: int  # number of its track, from 1 in order of appearance
    face: FacePrediction  # where it is now; probabilities, label and score are smoothed over time


@dataclass
class _Track:
    """What is remembered of a face: the box last seen, how fast its centre moves, in pixels/s, and when that was."""

    number: int
    box: np.ndarray
    velocity: np.ndarray
    probabilities: np.ndarray
    time_s: float

    def box_at(self, time_s: float) -> np.ndarray:
        """Returns where the face is expected, so that two that cross keep their tracks."""
        elapsed = min(max(time_s - self.time_s, 0.0), MAX_MOTION_S)
        return np.concatenate([self.box[:2] + self.velocity * elapsed, self.box[2:]])


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
        expected = np.array([track.box_at(time_s) for track in self._tracks]).reshape(-1, 4)
        # Where the whole image is the face, the unit square stands for it: it overlaps with itself.
        boxes = np.array([face.box or (0, 0, 1, 1) for face in faces], np.float64).reshape(-1, 4)
        shared = shared_areas(expected, boxes)
        overlaps = shared / (expected[:, 2:].prod(axis=1)[:, None] + boxes[:, 2:].prod(axis=1) - shared)
        overlaps[overlaps < MIN_OVERLAP] = 0
        assigned = zip(*linear_sum_assignment(overlaps, maximize=True), strict=True)
        known = {column: self._tracks[row] for row, column in assigned if overlaps[row, column] > 0}
        return [self._follow(known.get(n), face, boxes[n], time_s) for n, face in enumerate(faces)]

    def _follow(self, track: _Track | None, face: FacePrediction, box: np.ndarray, time_s: float) -> TrackedFace:
        probabilities = np.array(list(face.probabilities.values()))
        if track is None:
            self._started += 1
            track = _Track(self._started, box, np.zeros(2), probabilities, time_s)
            self._tracks.append(track)
        elapsed = max(time_s - track.time_s, 0.0)
        if elapsed > 0:
            movement = (box[:2] + box[2:] / 2 - track.box[:2] - track.box[2:] / 2) / elapsed
            weight = 1 - math.exp(-elapsed / VELOCITY_SMOOTHING_S)
            track.velocity = track.velocity * (1 - weight) + movement * weight
        weight = 1 - math.exp(-elapsed / SMOOTHING_S)
        track.probabilities = track.probabilities + weight * (probabilities - track.probabilities)
        track.box, track.time_s = box, time_s
        smoothed = dict(zip(face.probabilities, track.probabilities.tolist(), strict=True))
        label = max(smoothed, key=smoothed.__getitem__)
        return TrackedFace(track.number, replace(face, label=label, score=smoothed[label], probabilities=smoothed))
