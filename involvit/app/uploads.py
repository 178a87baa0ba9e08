"""Files from strangers: photos, zip files of photos, and videos, each within limits or refused in a friendly line."""

from __future__ import annotations

import errno
import mmap
import re
import shutil
import stat
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from ..files import is_heic, is_ignored, natural_key
from ..pixels import read_rgb
from ..prediction.file_kinds import (
    HEAD_BYTES,
    IMAGE_SUFFIXES,
    VIDEO_SUFFIXES,
    begins_as_image,
    begins_as_video,
    first_bytes,
    is_shard,
)
from ..prediction.images import open_video
from ..prediction.images import scaled as scaled_by

MAX_PIXELS = 52_000_000  # what phones call 50 megapixels has up to 8192 x 6144
# A JPEG of 8160 x 6120 takes 1.1 s and 860 MB to decode; at half the size, 0.3 s and 210 MB.
MAX_SIDE = 4096
MIN_SIDE = 16

MAX_FILES = 500
MAX_UNPACKED_BYTES = 500_000_000
# An archive may unpack to 20 MB, and beyond that to 100 times its own size: photos hardly shrink, bombs a thousandfold.
UNPACKED_BYTES_AT_LEAST = 20_000_000
MAX_COMPRESSION = 100
# `zipfile` lists all entries when it opens a file: half a kilobyte of memory for each, and a million fit into 55 MB.
MAX_ENTRIES = 20_000
# The other methods of `zipfile` decompress without a limit: 4 KB of bzip2 can be 80 MB, at once.
UNPACKED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)

MAX_VIDEO_S = 120
MAX_VIDEO_PIXELS = 4096 * 2304


class UploadError(ValueError):
    """A file cannot be used; the message is one line for the person who chose it, with its name and what to do."""


class Upload(NamedTuple):
    """One file of a batch: how its user knows it, in an archive `photos.zip/a/b.jpg`, on one line; and where it is."""

    name: str
    path: Path


def read_photo(path: str | Path, name: str | None = None) -> np.ndarray:
    """Reads a photo by the rules of `images.read_image`, if its header keeps within the limits.

    Its suffix does not matter. A long side above `MAX_SIDE` is scaled down to it, JPEGs partly while they are decoded.
    Messages call it by `name`, as its user knows it.

    Raises:
        UploadError: If it is not a photo, empty, damaged, above `MAX_PIXELS` or narrower than `MIN_SIDE`.
    """
    path = Path(path)
    name = _shown(name or path.name)
    head = _check_content(path, name)
    try:
        with path.open("rb") as file:
            return scaled(read_rgb(file, lambda image: _check_size(image, name)), MAX_SIDE)
    except UploadError:
        raise
    except Image.DecompressionBombError as error:
        message = f"{name} has more than {MAX_PIXELS // 10**6} megapixels. Please make it smaller and try again."
        raise UploadError(message) from error
    except UnidentifiedImageError as error:
        raise UploadError(_no_photo(path, head, name)) from error
    except Exception as error:  # decoders raise nearly anything on damaged files
        raise UploadError(
            f"{name} cannot be read: it is damaged or of an unusual kind. Please save it as JPEG or PNG and try again."
        ) from error


def _check_size(image: Image.Image, name: str) -> None:
    """Refuses a photo by the size that its header gives, and lets a large JPEG be decoded at a smaller one."""
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise Image.DecompressionBombError
    if min(width, height) * min(1, MAX_SIDE / max(width, height)) < MIN_SIDE:
        raise UploadError(
            f"{name} is too small or too narrow ({width} x {height}) to show a face. Please choose a larger photo."
        )
    scale = round(max(width, height) / MAX_SIDE)
    if scale > 1:
        image.draft(None, (width // scale, height // scale))


def scaled(image: np.ndarray, side: int) -> np.ndarray:
    """Scales an image down to a long side, if it is larger."""
    scale = side / max(image.shape[:2])
    if scale >= 1:
        return image
    return scaled_by(image, scale)


def unpack(paths: Sequence[str | Path], folder: str | Path) -> list[Upload]:
    """Lists files, and the photos in zip files, which it unpacks one by one and under names of its own.

    Of a zip file those members are taken that are images by their suffix or content, zip files in it and links are not;
    hidden files and what operating systems leave behind are passed over. Whether a photo can be read, `read_photo`
    finds out.

    Args:
        paths: Images and zip files of images. Their order is kept; that of a zip file is the natural one.
        folder: An existing folder; a new one in it gets what is unpacked.

    Raises:
        UploadError: If there is no photo, there are more than `MAX_FILES`, or a zip file is damaged, without photos,
            has a password, leads out of its folder, or unpacks to more than `MAX_UNPACKED_BYTES` (all together) or
            far more than photos do. Nothing of any zip file is left then.
    """
    target = Path(tempfile.mkdtemp(dir=folder))
    uploads: list[Upload] = []
    unpacked_bytes = 0
    try:
        for path in map(Path, paths):
            archive_name = _shown(path.name)
            if not _is_zip(path):
                uploads.append(Upload(archive_name, path))
                _check_count(len(uploads))
                continue
            with _opened_zip(path, archive_name) as archive:
                photos = _photos(archive, archive_name)
                _check_count(len(uploads) + len(photos))
                size = sum(member.file_size for _, member in photos)  # where a header lies, `zipfile` stops there
                unpacked_bytes += size
                allowed = UNPACKED_BYTES_AT_LEAST + MAX_COMPRESSION * path.stat().st_size
                if size > allowed or unpacked_bytes > MAX_UNPACKED_BYTES:
                    raise UploadError(
                        f"{archive_name} is too large when unpacked. Please choose fewer photos at a time."
                    )
                for name, member in photos:
                    upload = Upload(_shown(f"{path.name}/{name}"), target / str(len(uploads)))
                    with archive.open(member) as source, upload.path.open("xb") as file:
                        shutil.copyfileobj(source, file)
                    uploads.append(upload)
        if not uploads:
            raise UploadError("There is no photo yet. Please choose photos, or a zip file of photos.")
    except BaseException:
        shutil.rmtree(target)
        raise
    return uploads


def check_video(path: str | Path) -> None:
    """Checks what a video's header says, and that its first frame can be read.

    How long it is, whoever reads it counts: headers count the sound too, or say nothing.

    Raises:
        UploadError: If it is not a video, empty, damaged or without frames, or its frames have more than
            `MAX_VIDEO_PIXELS`.
    """
    name = _shown(Path(path).name)
    head = _check_content(Path(path), name)
    if not begins_as_video(head, Path(name).suffix):
        raise UploadError(f"{name} is not a video. Please choose an MP4, MOV or WebM file.")
    with open_video(path) as capture:
        width, height = int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)), int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
        if width * height > MAX_VIDEO_PIXELS:
            raise UploadError(f"The picture of {name} is too large ({width} x {height}). Please save it in 4K or less.")
        if not capture.grab():
            raise UploadError(
                f"{name} has no pictures that can be read. Please save it anew as MP4 (H.264), or choose another."
            )


def cut(text: str, letters: int) -> str:
    """Leaves the middle of a text out where it is longer."""
    return text if len(text) <= letters else f"{text[: letters // 2]}…{text[-letters // 2 :]}"


def _shown(name: str) -> str:
    """Makes a name fit for a message: no line breaks, nothing that turns the direction of writing, not too long."""
    return cut("".join(filter(str.isprintable, name)), 120)


def _check_content(path: Path, name: str) -> bytes:
    """Returns the first bytes of a file, at least one."""
    if head := first_bytes(path):
        return head
    raise UploadError(f"{name} is empty or did not arrive. Please choose it again, or another file.")


def _no_photo(path: Path, head: bytes, name: str) -> str:
    if is_heic(head):
        return f"{name} is a HEIC photo, which cannot be read here. Please save it as JPEG and choose that."
    if b"<svg" in head.lower():
        return f"{name} is a drawing (SVG), not a photo. Please save it as PNG and choose that."
    if begins_as_video(head, Path(name).suffix) or Path(name).suffix.lower() in VIDEO_SUFFIXES:
        return f"{name} is a video. Please choose a photo, or open it under Video."
    if is_shard(path):
        return f"{name} is an archive that is not opened here. Please unpack it, or make a zip file, and choose that."
    return f"{name} is not a photo that can be read. Please choose a JPEG or PNG file."


def _is_zip(path: Path) -> bool:
    return path.suffix.lower() == ".zip" or first_bytes(path).startswith((b"PK\3\4", b"PK\5\6"))


@contextmanager
def _opened_zip(path: Path, name: str) -> Iterator[zipfile.ZipFile]:
    """Opens a zip file; what it makes `zipfile` raise, now and later, is told as damage."""
    _check_content(path, name)
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            entries = sum(1 for _ in re.finditer(b"PK\1\2", content))
        if entries > MAX_ENTRIES:
            raise UploadError(f"{name} holds too many files. Please choose at most {MAX_FILES} photos at a time.")
        with zipfile.ZipFile(path) as archive:
            yield archive
    except UploadError:
        raise
    except Exception as error:  # BadZipFile, zlib.error, EOFError, struct.error, ValueError of a negative offset ...
        if getattr(error, "errno", None) == errno.ENOSPC:  # of the server's disk
            raise
        raise UploadError(f"{name} is damaged. Please make the zip file again and try once more.") from error


def _check_count(count: int) -> None:
    if count > MAX_FILES:
        raise UploadError(f"Those are too many photos. Please choose at most {MAX_FILES} at a time.")


def _photos(archive: zipfile.ZipFile, archive_name: str) -> list[tuple[PurePosixPath, zipfile.ZipInfo]]:
    """Returns the photos of an archive by their names in it, in natural order."""
    photos = []
    for member in archive.infolist():
        name = PurePosixPath(member.filename.replace("\\", "/"))  # as some programs for Windows write it
        is_link = stat.S_ISLNK(member.external_attr >> 16)
        if member.is_dir() or is_link or not _is_photo(archive, member, name.suffix):
            continue
        if name.is_absolute() or ".." in name.parts or PureWindowsPath(name).drive:
            place = f"a photo that lies outside of it ({_shown(str(name))})"
            raise UploadError(f"{archive_name} has {place}. Please make the zip file again.")
        if is_ignored(name):
            continue
        if member.flag_bits & 1:
            raise UploadError(f"{archive_name} has a password. Please make a zip file without one.")
        if member.compress_type not in UNPACKED:
            raise UploadError(f"{archive_name} is of an unusual kind. Please make an ordinary zip file.")
        photos.append((name, member))
    if not photos:
        raise UploadError(
            f"There are no photos in {archive_name} (zip files in it are not opened). Please choose another zip file."
        )
    # As shown, since Python makes no number of more than 4300 digits.
    return sorted(photos, key=lambda photo: natural_key(PurePosixPath(_shown(str(photo[0])))))


def _is_photo(archive: zipfile.ZipFile, member: zipfile.ZipInfo, suffix: str) -> bool:
    """Returns whether a member is an image, by its name or else by how it begins, where it can be read."""
    if suffix.lower() in IMAGE_SUFFIXES:
        return True
    if member.flag_bits & 1 or member.compress_type not in UNPACKED:
        return False
    with suppress(Exception), archive.open(member) as file:  # no harm where it is damaged
        return begins_as_image(file.read(HEAD_BYTES), suffix)
    return False
