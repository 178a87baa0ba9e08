"""Files from strangers: photos, zip files of photos, and videos, each within limits or refused in a friendly line."""

from __future__ import annotations

import mmap
import re
import shutil
import stat
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from ..files import IMAGE_FORMATS, IMAGE_SUFFIXES, is_ignored, is_video, natural_key
from ..pixels import to_rgb
from ..prediction.images import open_video

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

MAX_VIDEO_S = 120
MAX_VIDEO_PIXELS = 4096 * 2304

_CHUNK_BYTES = 2**18
_MAX_NAME = 120

# The containers of `VIDEO_SUFFIXES`. FFmpeg goes by content, and what it takes for a video can be a text that names
# other files on the disk (ffconcat, HLS playlists), such as those of other users.
_VIDEO = re.compile(
    rb".{4}(ftyp(?!avi[fs])|moov|mdat|wide|free|skip)"  # MP4, MOV, 3GP, but not AVIF
    rb"|\x1aE\xdf\xa3"  # MKV, WebM
    rb"|RIFF.{4}AVI "
    rb"|\x00\x00\x01[\xb3\xba]"  # MPEG
    rb"|G.{187}G|.{4}G.{191}G"  # MPEG transport streams, MTS
    rb"|0&\xb2u",  # WMV
    re.DOTALL,
)
_HEIC = re.compile(rb".{4}ftyp(hei|hev|mif1|msf1)", re.DOTALL)


class UploadError(ValueError):
    """A file cannot be used; the message is one line for the person who chose it, with its name and what to do."""


@dataclass(frozen=True)
class Upload:
    """One file of a batch.

    Attributes:
        name: How its user knows it; for a file in an archive `photos.zip/a/b.jpg`. Printable, on one line.
        path: Where it is.
    """

    name: str
    path: Path


def read_photo(path: str | Path, name: str | None = None) -> np.ndarray:
    """Reads a photo by the rules of `images.read_image`, if its header keeps within the limits.

    A long side above `MAX_SIDE` is scaled down to it, JPEGs partly while they are decoded.

    Args:
        path: The photo; its suffix does not matter.
        name: How its user knows it; by default the file's own name.

    Returns:
        RGB, uint8 [H, W, 3]; H and W up to `MAX_SIDE`.

    Raises:
        UploadError: If it is not a photo, empty, damaged, above `MAX_PIXELS` or narrower than `MIN_SIDE`.
    """
    path = Path(path)
    name = _shown(name or path.name)
    head = _check_content(path, name)
    try:
        with Image.open(path, formats=IMAGE_FORMATS) as image:
            _check_size(image.width, image.height, name)
            scale = round(max(image.size) / MAX_SIDE)
            if scale > 1:
                image.draft(None, (image.width // scale, image.height // scale))
            pixels = to_rgb(image)
    except UploadError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:  # some programs raise warnings
        raise UploadError(_too_large(name)) from error
    except UnidentifiedImageError as error:
        raise UploadError(_no_photo(head, name)) from error
    except Exception as error:  # decoders raise nearly anything on damaged files
        raise UploadError(
            f"{name} cannot be read: it is damaged or of an unusual kind. Please save it as JPEG or PNG and try again."
        ) from error
    height, width = pixels.shape[:2]
    scale = MAX_SIDE / max(height, width)
    if scale < 1:
        pixels = cv2.resize(pixels, (round(width * scale), round(height * scale)), interpolation=cv2.INTER_AREA)
    return pixels


def unpack(paths: Sequence[str | Path], folder: str | Path) -> list[Upload]:
    """Lists files, and the photos in zip files, which it unpacks one by one and under names of its own.

    Of a zip file those members are taken whose suffix is one of an image, zip files in it and links are not; hidden
    files and what operating systems leave behind are passed over. Whether a photo can be read, `read_photo` finds out.

    Args:
        paths: Images and zip files of images.
        folder: An existing folder; a new one in it gets what is unpacked.

    Returns:
        At least one, in the order of `paths`; those of a zip file in natural order: `img_2` before `img_10`.

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
            if not _is_zip(path):
                uploads.append(Upload(_shown(path.name), path))
                _check_count(len(uploads))
                continue
            with _opened_zip(path) as archive:
                photos = _photos(archive, path.name)
                _check_count(len(uploads) + len(photos))
                allowed = unpacked_bytes + UNPACKED_BYTES_AT_LEAST + MAX_COMPRESSION * path.stat().st_size
                allowed = min(allowed, MAX_UNPACKED_BYTES)
                for name, member in photos:
                    upload = Upload(_shown(f"{path.name}/{name}"), target / f"{len(uploads)}{name.suffix.lower()}")
                    unpacked_bytes += _extract(archive, member, upload.path, allowed - unpacked_bytes, path.name)
                    uploads.append(upload)
        if not uploads:
            raise UploadError("There is no photo yet. Please choose photos, or a zip file of photos.")
    except BaseException:
        shutil.rmtree(target)
        raise
    return uploads


def check_video(path: str | Path) -> None:
    """Checks what a video's header says, and that its first frame can be read.

    Not every header gives the length, so the reader of the video counts the seconds too.

    Args:
        path: The video.

    Raises:
        UploadError: If it is not a video, empty, damaged or without frames, longer than `MAX_VIDEO_S`, or its frames
            have more than `MAX_VIDEO_PIXELS`.
    """
    name = _shown(Path(path).name)
    head = _check_content(Path(path), name)
    if _HEIC.match(head) or not _VIDEO.match(head):
        raise UploadError(f"{name} is not a video. Please choose an MP4, MOV or WebM file.")
    with open_video(path) as capture:
        width, height = (int(capture.get(key)) for key in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT))
        if width * height > MAX_VIDEO_PIXELS:
            raise UploadError(f"The picture of {name} is too large ({width} x {height}). Please save it in 4K or less.")
        frames, rate = capture.get(cv2.CAP_PROP_FRAME_COUNT), capture.get(cv2.CAP_PROP_FPS)
        seconds = round(frames / rate) if rate > 0 else 0
        if seconds > MAX_VIDEO_S:
            raise UploadError(f"{name} is {seconds} seconds long. Please cut it to {MAX_VIDEO_S} seconds or less.")
        if not capture.grab():
            raise UploadError(
                f"{name} has no pictures that can be read. Please choose another video, or save it again as MP4."
            )


def _shown(name: str) -> str:
    """Makes a name fit for a message: no line breaks, nothing that turns the direction of writing, not too long."""
    name = "".join(character for character in name if character.isprintable())
    half = _MAX_NAME // 2
    return name if len(name) <= _MAX_NAME else f"{name[:half]}…{name[-half:]}"


def _first_bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(4096)
    except OSError:
        return b""


def _check_content(path: Path, name: str) -> bytes:
    """Returns the first bytes of a file, at least one."""
    head = _first_bytes(path)
    if not head:
        raise UploadError(f"{name} is empty or did not arrive. Please choose it again, or another file.")
    return head


def _check_size(width: int, height: int, name: str) -> None:
    if width * height > MAX_PIXELS:
        raise UploadError(_too_large(name))
    if min(width, height) * min(1, MAX_SIDE / max(width, height)) < MIN_SIDE:
        raise UploadError(
            f"{name} is too small or too narrow ({width} x {height}) to show a face. Please choose a larger photo."
        )


def _too_large(name: str) -> str:
    return f"{name} has more than {MAX_PIXELS // 10**6} megapixels. Please make it smaller and try again."


def _no_photo(head: bytes, name: str) -> str:
    if _HEIC.match(head):
        return f"{name} is a HEIC photo, which cannot be read here. Please save it as JPEG and choose that."
    if b"<svg" in head.lower():
        return f"{name} is a drawing (SVG), not a photo. Please save it as PNG and choose that."
    if is_video(name) or _VIDEO.match(head):
        return f"{name} is a video. Please choose a photo, or open it under Video."
    return f"{name} is not a photo that can be read. Please choose a JPEG or PNG file."


def _is_zip(path: Path) -> bool:
    return path.suffix.lower() == ".zip" or _first_bytes(path).startswith((b"PK\3\4", b"PK\5\6"))


@contextmanager
def _opened_zip(path: Path) -> Iterator[zipfile.ZipFile]:
    name = _shown(path.name)
    _check_content(path, name)
    with _naming_damage(name):
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            entries = sum(1 for _ in re.finditer(b"PK\1\2", content))
        archive = zipfile.ZipFile(path) if entries <= MAX_ENTRIES else None
    if archive is None:
        raise UploadError(f"{name} holds too many files. Please choose at most {MAX_FILES} photos at a time.")
    with archive:
        yield archive


@contextmanager
def _naming_damage(name: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # BadZipFile, zlib.error, EOFError, struct.error, ValueError of a negative offset ...
        raise UploadError(f"{name} is damaged. Please make the zip file again and try once more.") from error


def _check_count(count: int) -> None:
    if count > MAX_FILES:
        raise UploadError(f"Those are too many photos. Please choose at most {MAX_FILES} at a time.")


def _photos(archive: zipfile.ZipFile, archive_name: str) -> list[tuple[PurePosixPath, zipfile.ZipInfo]]:
    """Returns the photos of an archive by their names in it, in natural order."""
    archive_name = _shown(archive_name)
    photos = []
    for member in archive.infolist():
        name = PurePosixPath(member.filename.replace("\\", "/"))  # as some programs for Windows write it
        is_link = stat.S_ISLNK(member.external_attr >> 16)
        if member.is_dir() or is_link or name.suffix.lower() not in IMAGE_SUFFIXES:
            continue
        if name.is_absolute() or ".." in name.parts or PureWindowsPath(name).drive:
            raise UploadError(
                f"{archive_name} has a photo that lies outside of it ({_shown(str(name))}). "
                "Please make the zip file again."
            )
        if is_ignored(name):
            continue
        if member.flag_bits & 1:
            raise UploadError(f"{archive_name} has a password. Please make a zip file without one.")
        # The other methods of `zipfile` decompress without a limit: 4 KB of bzip2 can be 80 MB, at once.
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise UploadError(f"{archive_name} is of an unusual kind. Please make an ordinary zip file.")
        photos.append((name, member))
    if not photos:
        raise UploadError(
            f"There are no photos in {archive_name} (zip files in it are not opened). Please choose another zip file."
        )
    # As shown, since Python makes no number of more than 4300 digits.
    return sorted(photos, key=lambda photo: natural_key(PurePosixPath(_shown(str(photo[0])))))


def _extract(archive: zipfile.ZipFile, member: zipfile.ZipInfo, path: Path, max_bytes: int, archive_name: str) -> int:
    """Writes a member to a path, counting what comes out, since its header may lie, and returns the count in bytes."""
    count = 0
    with path.open("xb") as file:
        for chunk in _chunks(archive, member, archive_name):
            count += len(chunk)
            if count > max_bytes:
                raise UploadError(
                    f"{_shown(archive_name)} is too large when unpacked. Please choose fewer photos at a time."
                )
            file.write(chunk)
    return count


def _chunks(archive: zipfile.ZipFile, member: zipfile.ZipInfo, archive_name: str) -> Iterator[bytes]:
    with _naming_damage(_shown(archive_name)), archive.open(member) as source:
        while chunk := source.read(_CHUNK_BYTES):
            yield chunk
