"""The images in a tar, read one after the other."""

from __future__ import annotations

import lzma
import tarfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

from ..files import is_ignored
from .file_kinds import HEAD_BYTES, IMAGE_SUFFIXES, VIDEO_SUFFIXES, begins_as_image, begins_as_video, open_regular
from .shards import DamagedShardError, StoredImage

LARGEST_BYTES = 2**30  # of an image; a few bytes of a tar can claim any length
_OF_ODD_HEADERS = (OverflowError, MemoryError, RecursionError)


def tar_images(path: Path, is_wanted: Callable[[str], bool]) -> Iterator[StoredImage]:
    """Yields the images, known by their names or else by their content, whose names are wanted.

    Of a video only the beginning is read. Hidden members are passed over. A second image of one name is `NAME (2)`.

    Args:
        path: The file.
        is_wanted: Is asked for each image, in order.

    Raises:
        DamagedShardError: If the file cannot be read, or no further.
    """
    seen: Counter[str] = Counter()
    try:
        with open_regular(path) as file, tarfile.open(fileobj=file) as tar:
            while (member := tar.next()) is not None:
                tar.members.clear()  # it would keep an account of each
                if not _is_image_or_video(tar, member):
                    continue
                seen[member.name] += 1
                name = f"{path}#{member.name}" + (f" ({n})" if (n := seen[member.name]) > 1 else "")
                if is_wanted(name):
                    yield StoredImage(name, _data(tar, member))
            tar.fileobj.seek(tar.offset)
            if any(tar.fileobj.read(tarfile.BLOCKSIZE)):  # the end would be zeros; the library stops without a word
                raise tarfile.ReadError(f"what is at byte {tar.offset} is no header")
    # The library does not look at what a header says: lengths and depths that cannot be end in errors of every kind.
    except (OSError, EOFError, ValueError, tarfile.TarError, zlib.error, lzma.LZMAError, *_OF_ODD_HEADERS) as error:
        reason = getattr(error, "strerror", None) or str(error).partition("\n")[0].rstrip(":") or "a damaged header"
        raise DamagedShardError(f"{path}: cannot be read as a tar ({reason}); replace or remove it") from error


def _is_image_or_video(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bool:
    if member.isdir() or is_ignored(member.name):
        return False
    suffix = PurePosixPath(member.name).suffix.lower()
    if suffix in IMAGE_SUFFIXES | VIDEO_SUFFIXES:  # links too, which lead to an error: better than left out in silence
        return True
    if not member.isreg():
        return False
    head = tar.extractfile(member).read(HEAD_BYTES)
    return begins_as_image(head, suffix) or begins_as_video(head)


def _data(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes | None:
    if not member.isreg() or member.size > LARGEST_BYTES:
        return None
    file = tar.extractfile(member)
    head = file.read(HEAD_BYTES)
    return head if begins_as_video(head) else head + file.read()
