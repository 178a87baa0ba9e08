"""Faces in an image: where they are, by YuNet or by a cascade of local binary patterns, and upright crops of them."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from ..console import one_line
from .file_kinds import open_regular
from .images import check_rgb, quiet_opencv, scaled

YUNET_REPO = "opencv/face_detection_yunet"
YUNET_FILE = "face_detection_yunet_2023mar.onnx"
HUB_TIMEOUT_S = 3.0

# In 19 of scikit-image's pictures, none of a face, YuNetDetector sees seven faces with scores above 0.6 and one above
# 0.75, where it finds 97.4% of 28,545 images of FER2013 and 98.7% of 300 faces in photos.
YUNET_MIN_SCORE = 0.75
YUNET_MAX_OVERLAP = 0.3  # intersection over union of the boxes of two faces; OpenCV's default
YUNET_VIEWS = ((96, 1280, 0.0), (320, 320, 0.25))
"""How an image is looked at: least and largest long side in pixels, and a black margin in fractions of it."""

# Mean positions of YuNet's landmarks in FER2013, in fractions of width and height: right eye, left eye, nose tip, right
# and left mouth corner, of the person, so that the right eye is on the left. Measured on 27,510 of 28,545 training
# images, those in which YuNetDetector finds one face with a score above 0.8; the standard deviations are 0.06 to 0.10.
# Left and right, which differ by less than 0.004, are averaged, since training mirrors images.
FER_LANDMARKS = np.array([[0.318, 0.373], [0.682, 0.373], [0.5, 0.576], [0.348, 0.744], [0.652, 0.744]])
# The side of a FER2013 image in mean widths of the cascade's box, measured on 3,418 of 5,000 random training images,
# those in which LBPDetector finds one face, wider than 0.4 of the image (with 3 neighbours 3,835, and 1.06). Their
# centres agree within 0.006.
FER_SIDE_IN_BOXES = 1.05
# With 3, the cascade finds 92% of 150 faces in photos, and false ones in seven of those 19 pictures; with 5, it finds
# 88%, and false ones in three.
LBP_MIN_NEIGHBORS = 5

MAX_SUPERSAMPLING = 16

Box = tuple[float, float, float, float]  # x, y, width and height

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Face:
    """A face in an image, in pixels from its left upper corner; parts may lie outside of it."""

    box: Box
    score: float | None = None  # how sure the detector is, 0 to 1, if it says so
    # Right eye, left eye, nose tip, right and left mouth corner (the person's right), float32 [5, 2] of x and y, if the
    # detector finds them.
    landmarks: np.ndarray | None = None


class FaceDetector(Protocol):
    """Finds faces; its name stands in results and logs."""

    name: str

    def __call__(self, image: np.ndarray) -> list[Face]:
        """Returns the faces in an image, RGB uint8 [H, W, 3], the largest first.

        Raises:
            ValueError: If the image is of another type or shape.
        """
        ...


class YuNetDetector:
    """YuNet (Wu, Peng and Yu, "YuNet: A Tiny Millisecond-level Face Detector", 2023), run by OpenCV.

    It misses faces in small images and those that fill a large one. So each image is looked at twice: at its own size,
    scaled to a long side of 96 to 1280 pixels, and as a whole on a black margin, at 320 pixels. It finds faces down to
    some 3% of the long side of a photo, and heads turned in the plane up to some 30 degrees.

    Threads may share a detector; they take turns. A copy loads the model again.

    Args:
        path: The model, the file `face_detection_yunet_2023mar.onnx` of the Hub's `opencv/face_detection_yunet`.

    Raises:
        FileNotFoundError: If there is no file at the path.
        ValueError: If the file is not a YuNet model.
    """

    name = "yunet"

    def __init__(self, path: str | Path) -> None:
        advice = f"give {YUNET_FILE} of the Hub's {YUNET_REPO} to --face_detector, or leave the flag out"
        self._lock = threading.Lock()  # the network's input size and its run are two steps
        self._path = Path(path).absolute()
        try:
            with open_regular(path) as file:
                model = np.frombuffer(file.read(), np.uint8)
            with quiet_opencv():
                self._net = cv2.FaceDetectorYN.create(
                    *("onnx", model, np.empty(0, np.uint8), (320, 320)), YUNET_MIN_SCORE, YUNET_MAX_OVERLAP
                )
                self(np.zeros((32, 32, 3), np.uint8))  # other networks are read without complaint
        except FileNotFoundError:
            raise FileNotFoundError(f"{path}: no such file; {advice}") from None
        except OSError as error:
            raise ValueError(f"{path}: cannot be read ({error.strerror}); {advice}") from None
        except cv2.error:
            raise ValueError(f"{path}: is not a YuNet face detector; {advice}") from None

    def __reduce__(self) -> tuple[type, tuple[Path]]:
        return type(self), (self._path,)

    def __call__(self, image: np.ndarray) -> list[Face]:
        """Finds the faces in an image; see `FaceDetector`."""
        check_rgb(image)
        rows = np.concatenate([self._detect(image, *view) for view in YUNET_VIEWS])
        # Both views find most faces: of boxes that overlap, the one with the highest score is kept.
        kept = cv2.dnn.NMSBoxes(rows[:, :4].tolist(), rows[:, 14].tolist(), YUNET_MIN_SCORE, YUNET_MAX_OVERLAP)
        return _largest_distinct(
            Face(tuple(row[:4].tolist()), min(float(row[14]), 1.0), row[4:14].reshape(5, 2).astype(np.float32))
            for row in rows[list(kept)]
        )

    def _detect(self, image: np.ndarray, min_side: int, max_side: int, margin: float) -> np.ndarray:
        """Returns [N, 15]: box, landmarks as x, y pairs, score, in pixels of the image."""
        view, scale, shift = _view(image, min_side, max_side, margin)
        with self._lock:
            self._net.setInputSize((view.shape[1], view.shape[0]))
            _, rows = self._net.detect(cv2.cvtColor(view, cv2.COLOR_RGB2BGR))
        rows = np.empty((0, 15)) if rows is None else rows.astype(np.float64)
        rows[:, np.r_[0:2, 4:14]] -= shift
        rows[:, :14] /= scale
        return rows


class LBPDetector:
    """The cascade of local binary patterns that scikit-image ships: frontal faces only, no scores, no landmarks.

    Images are first scaled to a long side of 96 to 320 pixels and get a margin, so that it finds faces from 7.5% of the
    long side up to the whole image. Threads may share a detector; they take turns.
    """

    name = "lbp"

    def __init__(self) -> None:
        from skimage.data import lbp_frontal_face_cascade_filename
        from skimage.feature import Cascade

        self._lock = threading.Lock()
        self._cascade = Cascade(lbp_frontal_face_cascade_filename())

    def __reduce__(self) -> tuple[type, tuple[()]]:
        return type(self), ()

    def __call__(self, image: np.ndarray) -> list[Face]:
        """Finds the faces in an image; see `FaceDetector`."""
        check_rgb(image)
        view, scale, shift = _view(image, 96, 320, margin=0.25)
        sizes = {"min_size": (24, 24), "max_size": (max(view.shape),) * 2}  # 24: the size that it was trained at
        with self._lock:
            found = self._cascade.detect_multi_scale(
                view, scale_factor=1.1, step_ratio=1, **sizes, min_neighbor_number=LBP_MIN_NEIGHBORS
            )
        boxes = np.array([[box["c"] - shift, box["r"] - shift, box["width"], box["height"]] for box in found]) / scale
        return _largest_distinct(Face(tuple(box)) for box in boxes.tolist())


def load_face_detector(path: str | Path | None = None) -> FaceDetector:
    """Loads the best face detector at hand.

    Args:
        path: A YuNet model. By default that of the Hub's `opencv/face_detection_yunet`: from the cache, else downloaded
            once. Where neither works, as with no network, scikit-image's cascade takes its place; the log says so in
            one line.

    Raises:
        FileNotFoundError: If there is no file at the path.
        ValueError: If the file is not a YuNet model.
    """
    try:
        path = path or cached_yunet()
    except NoYuNetError as reason:
        logger.warning(
            f"faces are found by scikit-image's LBP cascade, which misses many, because {reason}; for better "
            f"detection, get {YUNET_FILE} of the Hub's {YUNET_REPO} and pass its path with --face_detector"
        )
        return LBPDetector()
    return YuNetDetector(path)


class NoYuNetError(OSError):
    """YuNet is neither here nor can it be downloaded. The message says why."""


def cached_yunet() -> str:
    """Returns the model in the Hub's cache, downloading it where it is not.

    Raises:
        NoYuNetError: Where that does not work.
    """
    from huggingface_hub import hf_hub_download, try_to_load_from_cache

    from ..hub_answer import fault_of_hub

    if isinstance(cached := try_to_load_from_cache(YUNET_REPO, YUNET_FILE), str):
        return cached
    reason = fault_of_hub(YUNET_REPO, YUNET_FILE, HUB_TIMEOUT_S)
    if reason is None:
        try:
            return hf_hub_download(YUNET_REPO, YUNET_FILE)
        except Exception as error:  # of the Hub, of the connection, of the disk: there is another detector
            reason = one_line(error)
    raise NoYuNetError(f"YuNet is not in the cache and cannot be downloaded ({reason})")


def align_face(image: np.ndarray, face: Face, size: int) -> np.ndarray:
    """Cuts out a face upright, framed as FER2013 frames faces.

    With landmarks it is the similarity transform (turn, scale and shift) that brings them closest to their mean
    positions in FER2013, in the sense of least squares. Without, it is a square around the box, made for boxes of
    `LBPDetector`. What lies outside the image repeats its border.

    Args:
        image: RGB, uint8 [H, W, 3].
        face: A face in this image.
        size: Width and height of the result in pixels, at least 1.

    Raises:
        ValueError: If the image is of another type or shape, the size is below 1 or the box is empty.
    """
    check_rgb(image)
    x, y, width, height = face.box
    if size < 1 or not min(width, height) > 0:
        raise ValueError(f"cannot cut a face of {width:g} x {height:g} pixels out at size {size}; give more than 0")
    transform = None if face.landmarks is None else _similarity(face.landmarks, FER_LANDMARKS * size)
    if transform is None:
        scale = size / (FER_SIDE_IN_BOXES * max(width, height))
        centre = np.array([x + width / 2, y + height / 2])
        transform = np.column_stack([np.eye(2) * scale, size / 2 - scale * centre])
    # warpAffine reads four pixels for each that it writes. To shrink without aliasing, write at about the image's own
    # scale and average.
    factor = int(np.clip(np.round(1 / np.hypot(*transform[:, 0])), 1, MAX_SUPERSAMPLING))
    transform = transform * factor
    # Here whole numbers are the borders of pixels, in OpenCV their centres.
    transform[:, 2] += transform[:, :2] @ [0.5, 0.5] - 0.5
    crop = cv2.warpAffine(image, transform, (size * factor,) * 2, borderMode=cv2.BORDER_REPLICATE)
    return cv2.resize(crop, (size, size), interpolation=cv2.INTER_AREA)


def _similarity(source: np.ndarray, target: np.ndarray) -> np.ndarray | None:
    """Returns the least-squares similarity transform [2, 3] between points [N, 2], None if they do not define one."""
    from skimage.transform import SimilarityTransform

    if not np.isfinite(source).all():
        return None
    transform = SimilarityTransform.from_estimate(source.astype(np.float64), target)
    # Points that are all in one place, or in no way alike, give no transform or one that shrinks them to nothing.
    return transform.params[:2] if transform and transform.scale > 1e-6 else None


def _view(image: np.ndarray, min_side: int, max_side: int, margin: float) -> tuple[np.ndarray, float, int]:
    """Scales an image, with a black margin in fractions of its long side, to a long side in a range of pixels.

    Returns:
        The view, its scale, and where it has the image's left upper corner: `view = scale * image + shift`.
    """
    padded = max(image.shape[:2]) * (1 + 2 * margin)
    scale = min(max(padded, min_side), max_side) / padded
    image = scaled(image, scale)
    border = round(margin * max(image.shape[:2]))
    return cv2.copyMakeBorder(image, *(border,) * 4, cv2.BORDER_CONSTANT), scale, border


def _largest_distinct(faces: Iterable[Face]) -> list[Face]:
    """Sorts by area, the largest first, and leaves out those half inside a larger one: detectors see parts of faces."""
    faces = sorted(faces, key=lambda face: face.box[2] * face.box[3], reverse=True)
    boxes = [face.box for face in faces]
    shared = shared_areas(boxes, boxes)
    kept: list[int] = []
    for number in range(len(faces)):
        if (shared[number, kept] < 0.5 * shared[number, number]).all():
            kept.append(number)
    return [faces[number] for number in kept]


def shared_areas(first: Sequence[Box], second: Sequence[Box]) -> np.ndarray:
    """Returns the area of the intersection of all pairs of boxes, float64 [N, M]."""
    a, b = np.array(first, np.float64).reshape(-1, 1, 4), np.array(second, np.float64).reshape(1, -1, 4)
    low = np.maximum(a[..., :2], b[..., :2])
    high = np.minimum(a[..., :2] + a[..., 2:], b[..., :2] + b[..., 2:])
    return np.clip(high - low, 0, None).prod(axis=-1)
