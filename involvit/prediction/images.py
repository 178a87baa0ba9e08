"""Files on disk -> upright RGB pixels: images, the frames of videos, and the search for both. Needs no torch."""

from __future__ import annotations

import glob
import logging
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from ..files import IMAGE_FORMATS, IMAGE_SUFFIXES, VIDEO_SUFFIXES, is_ignored, natural_key
from ..pixels import to_rgb

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class VideoFrame:
    """One frame of a video.

    Attributes:
        index: Its number, from 0.
        time_s: When it is shown, in seconds from the start of the video.
        image: Its pixels, upright: RGB, uint8 [H, W, 3].
    """

    index: int
    time_s: float
    image: np.ndarray


@contextmanager
def quiet_opencv() -> Iterator[None]:
    """Keeps OpenCV from writing to the terminal what goes wrong inside, where an error of ours says it."""
    level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        cv2.utils.logging.setLogLevel(level)


@contextmanager
def open_video(path: str | Path) -> Iterator[cv2.VideoCapture]:
    """Opens a video by FFmpeg, upright and without a word on the terminal; closed in the end. It may have no frames."""
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # FFmpeg writes to the terminal too
    # This backend by name, since others take a `%03d` in the path for a series of images.
    with quiet_opencv():
        capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    try:
        capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 1)
        yield capture
    finally:
        capture.release()


def read_image(path: str | Path) -> np.ndarray:
    """Reads an image file, see `to_rgb`; of an animation the first frame.

    Args:
        path: The image.

    Returns:
        RGB, uint8 [H, W, 3].

    Raises:
        FileNotFoundError: If there is no file at the path.
        ValueError: If it cannot be read as an image, or its values are out of range.
    """
    try:
        with Path(path).open("rb") as file, Image.open(file, formats=IMAGE_FORMATS) as image:
            return to_rgb(image)
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: no such file; give the path of an image or a video") from None
    except UnidentifiedImageError:
        raise ValueError(
            f"{path}: cannot be read as an image (unknown format); convert it to JPEG or PNG, or remove it"
        ) from None
    except Exception as error:  # decoders raise nearly anything on damaged files
        reason = getattr(error, "strerror", None) or error
        raise ValueError(f"{path}: cannot be read as an image ({reason}); replace or remove it") from error


def read_video(path: str | Path) -> Iterator[VideoFrame]:
    """Reads the frames of a video one after the other, so that memory holds only the present one.

    The rotation that phones write beside the pixels is applied. Closing the iterator early closes the file. A video
    that ends before its header says so is read as far as it goes, with a warning in the log.

    Args:
        path: The video.

    Yields:
        The frames in the order in which they are shown.

    Raises:
        FileNotFoundError: If there is no file at the path, when the first frame is asked for.
        ValueError: If not one frame can be read, then too.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path}: no such file; give the path of an image or a video")
    with open_video(path) as capture:
        expected = capture.get(cv2.CAP_PROP_FRAME_COUNT)  # an estimate, and of some containers 0 or below
        frames_per_second = capture.get(cv2.CAP_PROP_FPS)
        index, time_s = 0, -1.0
        while True:
            is_read, frame = capture.read()
            if not is_read:
                break
            time_before, time_s = time_s, capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
            if time_s <= time_before and frames_per_second > 0:  # a file without time stamps
                time_s = index / frames_per_second
            yield VideoFrame(index, time_s, cv2.cvtColor(frame, cv2.COLOR_BGR2RGB))
            index += 1
    if index == 0:
        raise ValueError(f"{path}: cannot be read as a video, or has no frames; convert it to MP4 (H.264) or remove it")
    if index < 0.95 * expected:
        logger.warning("%s: only %d of some %d frames could be read; the file is cut off", path, index, expected)


def find_files(paths: Iterable[str | Path]) -> list[Path]:
    """Finds the images and videos that files, folders and glob patterns stand for.

    Of folders and patterns those files are taken whose suffix is one of an image or video; a file that is named itself
    is taken whatever its suffix. Folders are searched to the bottom, links followed; hidden files are passed over.

    Args:
        paths: Files, folders, or patterns in which `**` stands for any number of folders.

    Returns:
        Each file once, in the order of `paths` and below each in natural order: `img_2` before `img_10`.

    Raises:
        FileNotFoundError: If one of `paths` does not exist, or leads to no image and no video.
    """
    found: dict[Path, None] = {}
    for path in map(Path, paths):
        if path.is_file():
            found[path] = None
            continue
        if path.is_dir():
            files = _files_below(path)
        elif glob.has_magic(str(path)):
            files = []
            for match in map(Path, glob.glob(str(path), recursive=True)):  # noqa: PTH207 -- absolute patterns too
                files += _files_below(match) if match.is_dir() else [match]
        else:
            raise FileNotFoundError(f"{path}: no such file or folder; give images, videos, folders of them or patterns")
        files = [file for file in files if file.suffix.lower() in IMAGE_SUFFIXES | VIDEO_SUFFIXES]
        if not files:
            raise FileNotFoundError(f"{path}: no image and no video there; give files that end in .jpg, .png or .mp4")
        found.update(dict.fromkeys(sorted(files, key=natural_key)))
    return list(found)


def _files_below(root: Path) -> list[Path]:
    files, seen = [], set()
    for folder, subfolders, names in os.walk(root, followlinks=True):
        # A link may lead back up, or to a folder that was searched already.
        real = os.path.realpath(folder)
        if real in seen:
            subfolders.clear()
            continue
        seen.add(real)
        subfolders[:] = sorted(name for name in subfolders if not is_ignored(name))
        files += [Path(folder, name) for name in names if not is_ignored(name)]
    return files
