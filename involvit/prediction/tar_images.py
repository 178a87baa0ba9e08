"""The images in a tar, read one after the other."""

from __future__ import annotations

import posixpath
import re
import tarfile
from collections import Counter
from collections.abc import Callable, Container, Iterator
from pathlib import Path, PurePosixPath

from ..files import is_ignored
from ..names import file_name
from ..tars import naming_tar_damage, tar_members
from .file_kinds import HEAD_BYTES, IMAGE_SUFFIXES, VIDEO_SUFFIXES, begins_as_image, begins_as_video, open_regular
from .shards import DamagedShardError, StoredImage

LARGEST_BYTES = 2**30  # of an image; a few bytes of a tar can claim any length
_WAY_OUT = re.compile(r"((.*[/\\])?\.\.[/\\]|[A-Za-z]:(?=[/\\])|[/\\])*", re.DOTALL)


def tar_images(path: Path, is_wanted: Callable[[str], bool]) -> Iterator[StoredImage]:
    """Yields the images, known by their names or else by their content, whose names are wanted.

    Of a video only the beginning is read, of a link nothing. Hidden members are passed over. `../x` and `/x` are named
    `x`, and a second image of one name `NAME (2)`.

    Args:
        path: The file.
        is_wanted: Is asked for each image, in order.

    Raises:
        DamagedShardError: If the file cannot be read, or no further.
    """
    seen: Counter[str] = Counter()
    try:
        with naming_tar_damage(), open_regular(path) as file, tarfile.open(fileobj=file, encoding="utf-8") as tar:
            for member in tar_members(tar):
                name = _without_way_out(member.name)
                if not _is_image_or_video(tar, member, name, seen):
                    continue
                seen[name] += 1
                while (number := seen[name]) > 1:
                    name += f" ({number})"
                    seen[name] += 1
                if is_wanted(full_name := f"{path}#{name}"):
                    yield _stored(tar, member, full_name)
    except (OSError, tarfile.ReadError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DamagedShardError(f"{path}: cannot be read as a tar ({reason}); replace or remove it") from error


def _without_way_out(name: str) -> str:
    return file_name(name[_WAY_OUT.match(name).end() :])


def _is_image_or_video(tar: tarfile.TarFile, member: tarfile.TarInfo, name: str, seen: Container[str]) -> bool:
    if member.isdir() or is_ignored(name):
        return False
    suffix = PurePosixPath(name).suffix.lower()
    if suffix in IMAGE_SUFFIXES | VIDEO_SUFFIXES:
        return True
    if member.issym():
        return posixpath.normpath(posixpath.join(posixpath.dirname(name), member.linkname)) in seen
    if member.islnk():
        return _without_way_out(member.linkname) in seen
    if not member.isreg():
        return False
    head = tar.extractfile(member).read(HEAD_BYTES)
    return begins_as_image(head, suffix) or begins_as_video(head, suffix)


def _stored(tar: tarfile.TarFile, member: tarfile.TarInfo, name: str) -> StoredImage:
    if member.issym() or member.islnk():
        advice = "make the tar anew without links (tar --dereference --hard-dereference)"
        return StoredImage(name, None, fault=f"is a link to {member.linkname}, and links are not followed; {advice}")
    if not member.isreg():
        return StoredImage(name, None)
    if member.size > LARGEST_BYTES:
        return StoredImage(name, None, fault=f"has {member.size:,} bytes, more than an image can have; remove it")
    file = tar.extractfile(member)
    head = file.read(HEAD_BYTES)
    return StoredImage(name, head if begins_as_video(head, PurePosixPath(name).suffix) else head + file.read())
