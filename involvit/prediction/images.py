"""Files on disk -> upright RGB pixels: images, the frames of videos, and the search for both and for shards. Needs no
torch."""

from __future__ import annotations

import errno
import glob
import io
import logging
import os
import stat
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import BinaryIO

import cv2
import numpy as np
from PIL import UnidentifiedImageError

from ..files import LFS_ADVICE, URL_ADVICE, expand_user, is_ignored, is_lfs_pointer, is_url, natural_key
from ..names import shown
from ..pixels import read_rgb
from .file_kinds import (
    EMPTY,
    HEAD_BYTES,
    IMAGE_SUFFIXES,
    begins_as_video,
    first_bytes,
    is_image_or_video,
    open_regular,
    why_unread,
)
from .shards import StoredImage, has_images
from .video_containers import has_hole, is_cut_off, is_mirrored

logger = logging.getLogger(__name__)

# So many fail in a row at the end of a video. Elsewhere each has read a packet, and so many fill FFmpeg's buffer.
FAILED_READS = 200


@dataclass(frozen=True)
class VideoFrame:
    """One frame of a video: its number from 0, its time in seconds, and its pixels, upright RGB, uint8 [H, W, 3]."""

    index: int
    time_s: float
    image: np.ndarray


_opencv_log = threading.RLock()


@contextmanager
def quiet_opencv() -> Iterator[None]:
    """Keeps OpenCV from writing to the terminal what goes wrong inside, where an error of ours says it.

    Threads take turns: the level is one for all, and each must find the level of before to go back to.
    """
    with _opencv_log:
        level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
        try:
            yield
        finally:
            cv2.utils.logging.setLogLevel(level)


@contextmanager
def open_video(path: str | Path) -> Iterator[cv2.VideoCapture]:
    """Opens a video by FFmpeg, upright and without a word on the terminal; closed in the end. It may have no frames.

    FFmpeg gets the bytes and not the name, in which it would see protocols (`12:30.mp4`) and series (`%03d.mp4`).

    Raises:
        OSError: If the file cannot be opened.
    """
    with open_regular(path) as file, _capture(file) as capture:
        yield capture


@contextmanager
def _capture(file: BinaryIO) -> Iterator[cv2.VideoCapture]:
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # FFmpeg writes to the terminal too
    os.environ.setdefault("OPENCV_FFMPEG_READ_ATTEMPTS", str(2**31))  # sound may be long between two pictures
    with quiet_opencv():
        capture = cv2.VideoCapture(file, cv2.CAP_FFMPEG, [])
    try:
        capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 1)
        yield capture
    finally:
        capture.release()


def check_rgb(image: np.ndarray) -> np.ndarray:
    """Returns an image as it is; raises ValueError if it is not RGB, uint8 [H, W, 3]."""
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise ValueError(f"got an image of {image.dtype} {list(image.shape)}; give RGB as uint8 [H, W, 3]")
    return image


def scaled(image: np.ndarray, scale: float) -> np.ndarray:
    """Scales an image; where it shrinks, pixels are averaged, and at least one is left."""
    size = [max(1, round(side * scale)) for side in image.shape[1::-1]]
    return cv2.resize(image, size, interpolation=cv2.INTER_LINEAR if scale > 1 else cv2.INTER_AREA)


def read_image(path: str | Path) -> np.ndarray:
    """Reads an image file to RGB, uint8 [H, W, 3], see `to_rgb`; of an animation the first frame.

    Raises:
        FileNotFoundError: If there is no file at the path.
        ValueError: If it cannot be read as an image, or its values are out of range.
    """
    try:
        file = open_regular(path)
    except FileNotFoundError:
        raise _not_there(path) from None
    except Exception as error:  # such as a name that no file can have
        raise _unreadable(path, error) from error
    with file:
        if reason := why_unread(path, file.read(HEAD_BYTES)):
            raise ValueError(f"{path}: {reason}")
        file.seek(0)
        return _decoded(file, path, is_called_image=Path(path).suffix.lower() in IMAGE_SUFFIXES)


def read_stored_image(image: StoredImage) -> np.ndarray:
    """Reads an image in a shard, or the file that its row names, as `read_image` does.

    Raises:
        ValueError: If it cannot be read as an image, or its values are out of range.
    """
    if image.data is None and image.path:
        try:
            return read_image(image.path)
        except (FileNotFoundError, ValueError) as error:
            raise ValueError(f"{image.name} names a file: {error}") from error
    if image.data is None:
        raise ValueError(f"{image.name} {image.fault}")
    if is_lfs_pointer(image.data):
        raise ValueError(f"{image.name} {LFS_ADVICE}")
    if begins_as_video(image.data[:HEAD_BYTES], PurePath(image.name).suffix):
        raise ValueError(f"{image.name} is a video; take it out of the shard, and name the file")
    return _decoded(io.BytesIO(image.data), image.name)


def _not_there(path: str | Path) -> FileNotFoundError:
    advice = f" {URL_ADVICE}" if is_url(path) else ": no such file; give the path of an image or a video"
    return FileNotFoundError(f"{path}{advice}")


def _decoded(file: BinaryIO, name: str | Path, is_called_image: bool = True) -> np.ndarray:
    try:
        return read_rgb(file)
    except UnidentifiedImageError:
        if file.seek(0, os.SEEK_END) == 0:
            raise ValueError(f"{name} {EMPTY}") from None
        if not is_called_image:
            raise ValueError(f"{name}: is neither an image nor a video of a known format; leave it out") from None
        advice = "convert it to JPEG or PNG, or remove it"
        raise ValueError(f"{name}: cannot be read as an image (unknown format); {advice}") from None
    except Exception as error:  # decoders raise nearly anything on damaged files
        raise _unreadable(name, error) from error


def _unreadable(name: str | Path, error: Exception) -> ValueError:
    reason = getattr(error, "strerror", None) or error
    return ValueError(f"{name}: cannot be read as an image ({reason}); replace or remove it")


def read_video(path: str | Path) -> Iterator[VideoFrame]:
    """Reads the frames of a video one after the other, in the order in which they are shown.

    Memory holds only the present one. The rotation that phones write beside the pixels is applied. Closing the iterator
    early closes the file. A video that is cut off is read as far as it goes, and one that is damaged in its midst
    beyond that, with a warning in the log.

    Raises:
        FileNotFoundError: If there is no file at the path, when the first frame is asked for.
        ValueError: If not one frame can be read, then too.
    """
    count = 0
    try:
        with open_regular(path) as file:
            head, is_whole, mirrored = file.read(HEAD_BYTES), not is_cut_off(file), is_mirrored(file)
            is_damaged = has_hole(file)
    except FileNotFoundError:
        raise _not_there(path) from None
    except OSError as error:
        raise ValueError(f"{path}: cannot be read as a video ({error.strerror}); replace or remove it") from error
    if not head:
        raise ValueError(f"{path} {EMPTY}")
    if begins_as_video(head, Path(path).suffix):
        with open_regular(path) as file, _capture(file) as capture:
            frames_per_second = capture.get(cv2.CAP_PROP_FPS)
            # OpenCV turns as the matrix turns the upper edge; what that leaves upside down is seen in the turned frame.
            flip = int(capture.get(cv2.CAP_PROP_ORIENTATION_META) % 180 == 90) if mirrored else None
            time_s = -1.0
            for frame in _frames(capture, file):
                if frame is None:
                    is_damaged = True
                    continue
                time_before, time_s = time_s, capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
                if time_s <= time_before and frames_per_second > 0:  # a file without time stamps
                    time_s = count / frames_per_second
                image = cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
                yield VideoFrame(count, time_s, image if flip is None else cv2.flip(image, flip))
                count += 1
    if count == 0 and not is_whole:
        raise ValueError(f"{path}: cannot be read as a video, the file is cut off; copy it again or remove it")
    if count == 0:
        advice = "convert it to MP4 (H.264) or remove it"
        if "OPENCV_FFMPEG_CAPTURE_OPTIONS" in os.environ:  # which OpenCV obeys without a word
            advice = f"unset OPENCV_FFMPEG_CAPTURE_OPTIONS, or {advice}"
        raise ValueError(f"{path}: cannot be read as a video, or has no frames; {advice}")
    if not is_whole:
        logger.warning("%s: the file is cut off; it was read as far as it goes, %d frames", shown(path), count)
    elif is_damaged:
        logger.warning("%s: the file is damaged; frames in it are lost, and %d were read", shown(path), count)


def _frames(capture: cv2.VideoCapture, file: BinaryIO) -> Iterator[np.ndarray | None]:
    """Yields the frames as OpenCV gives them, and None where a part of the file could not be decoded.

    OpenCV says of such a part what it says of the end. But beyond the end the file is read no further.
    """
    failed = furthest = 0
    while failed < FAILED_READS:
        is_read, frame = capture.read()
        if is_read:
            if failed:
                yield None
            yield frame
            failed = 0
        elif failed == 0 or file.tell() > furthest:
            if failed:
                yield None
            failed, furthest = 1, file.tell()
        else:
            failed += 1


def find_files(paths: Iterable[str | Path], onerror: Callable[[OSError], None] | None = None) -> list[Path]:
    """Finds the images, videos and shards that files, folders and glob patterns stand for.

    What exists is taken by its name, whatever signs are in it; a file that is named itself is taken whatever it is. A
    leading `~` that is no name there is the home folder. Of folders and patterns (`**` stands for any number of
    folders) the images, videos and shards with images are taken, see `is_image_or_video` and `has_images`. Folders are
    searched to the bottom, links followed; hidden files are passed over; so are raw photos and archives, with a line
    in the log.

    Args:
        paths: What is searched.
        onerror: Called with the error, which names it, of each folder that cannot be read and each of `paths` that
            leads to no image, video or shard, where others hold files; by default it is raised.

    Returns:
        Each file once, in the order of `paths` and below each in natural order: `img_2` before `img_10`.

    Raises:
        FileNotFoundError: If one of `paths` does not exist, or leads to no image, video or shard.
        OSError: If one of them, or a folder in it, cannot be read.
        ValueError: If one of them is empty, a URL, a pipe or a device.
    """
    found: dict[Path, None] = {}
    faults: dict[str, OSError] = {}
    for given in paths:
        if given == "":  # which `Path` would take for the working folder
            raise ValueError("a path is empty; give images, videos, folders of them or patterns")
        path, mode = Path(given), 0
        if path.parts and not os.path.lexists(path.parts[0]):
            path = expand_user(path)  # the shell leaves a `~` in quotes
        errors: list[OSError] = []
        try:
            mode = path.stat().st_mode
        except PermissionError:
            if not glob.has_magic(str(path)):
                raise
        except (OSError, ValueError):
            pass
        if stat.S_ISREG(mode):
            found[path] = None
            continue
        if stat.S_ISDIR(mode):
            files = _files_below(path, errors.append)
        elif is_url(path):
            raise ValueError(f"{given} {URL_ADVICE}")
        elif mode:
            raise ValueError(f"{path} is a pipe or a device; write what it gives to a file, and name that")
        elif glob.has_magic(str(path)):
            there = next(parent for parent in path.parents if os.access(parent, os.F_OK))
            start, parts = Path(glob.escape(str(there))), path.relative_to(there).parts
            matches = map(Path, glob.glob(str(start.joinpath(*parts)), recursive=True))  # noqa: PTH207 -- absolute too
            files = [
                file
                for match in matches
                for file in (_files_below(match, errors.append) if os.path.isdir(match) else [match])  # noqa: PTH112
            ]
            errors += _denied(start, parts)
        else:
            raise FileNotFoundError(f"{path}: no such file or folder; give images, videos, folders of them or patterns")
        taken, unread = [], []
        for file in files:
            if is_image_or_video(file) or has_images(file):
                taken.append(file)
            elif why_unread(file, first_bytes(file)):
                unread.append(file)
        if unread:
            which = f"{len(unread)}, such as {shown(min(unread, key=natural_key))}"
            logger.warning("%s: left out raw photos and archives (%s); convert or unpack them", shown(path), which)
        if not (taken or errors):
            errors.append(NothingThereError(errno.ENOENT, "no image and no video there", str(path)))
        if errors and onerror is None:
            raise errors[0]
        faults.update((error.filename, error) for error in errors)
        found.update(dict.fromkeys(sorted(taken, key=natural_key)))
    if faults and not found:
        raise next(iter(faults.values()))
    for error in faults.values():
        onerror(error)
    return list(found)


class NothingThereError(FileNotFoundError):
    """A folder or pattern that leads to no image, video or shard."""

    def __str__(self) -> str:
        """Returns one line that says what to do."""
        return f"{self.filename}: {self.strerror}; give JPEG, PNG or MP4 files, for example"


def _denied(start: Path, parts: Sequence[str]) -> Iterator[OSError]:
    """Yields an error for each folder on the way of a pattern that may not be searched: `glob` passes over them."""
    for number, part in enumerate(parts):
        needed = os.X_OK | (os.R_OK if glob.has_magic(part) else 0)
        folders = os.path.join(start, *parts[:number], "")  # noqa: PTH118 -- it ends in a slash
        for folder in glob.glob(folders, recursive=True):  # noqa: PTH207
            if not os.access(folder, needed):
                yield PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(Path(folder)))


def _files_below(root: Path, onerror: Callable[[OSError], None]) -> Iterator[Path]:
    seen = set()
    for folder, subfolders, names in os.walk(root, onerror=onerror, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:  # a link may lead back up, or to a folder that was searched already
            subfolders.clear()
            continue
        seen.add(real)
        subfolders[:] = sorted(name for name in subfolders if not is_ignored(name))
        yield from (Path(folder, name) for name in names if not is_ignored(name))
