"""What the container of a video says of it: whether its file is cut off or has a hole, and whether it is shown
mirrored."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Sequence
from typing import BinaryIO


def is_cut_off(file: BinaryIO) -> bool:
    """Returns whether an AVI, MP4, MOV, MKV or WebM file ends before the part of it that holds the pictures does.

    How many frames or seconds a header promises says nothing: it counts sound, a late start, or is an estimate.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    head = file.read(64)
    if head.startswith(b"RIFF"):
        length = int.from_bytes(head[4:8], "little")  # some writers count the eight bytes before it, some do not
        return size < length < 2**32 - 1  # which stands for a length that is not known
    if at := _segment(head):
        if at >= size:
            return True
        _, end = _matroska_content(file, at)
        return end is not None and end > size
    kinds, kind = set(), b""
    for kind, _, end in _boxes(file, 0, size):
        kinds.add(kind)
        if kind in (b"mdat", b"moov", b"moof") and end > size:
            return True
        if b"moof" in kinds and (end > size or not kind.isalnum()):  # parts follow each other up to a hole
            return True
    # Many write last where the frames are (moov); those of a fragment follow its head (moof).
    return (b"mdat" in kinds and b"moov" not in kinds) or kind == b"moof"


def has_hole(file: BinaryIO) -> bool:
    """Returns whether in an MKV or WebM file the parts do not follow each other up to the end: FFmpeg goes on after it.

    A file that does not say how long its parts are, such as a live recording, is not called one with a hole.
    """
    file.seek(0)
    if not (at := _segment(file.read(64))):
        return False
    begin, stop = _matroska_content(file, at)
    while stop is not None and begin < stop:
        file.seek(begin)
        first = file.read(1)
        if not first or first[0] < 0x10:  # the names of parts have 1 to 4 bytes
            return True
        begin, end = _matroska_content(file, begin + 9 - first[0].bit_length())
        if end is None:
            return False
        if end > stop:
            return True
        begin = end
    return False


def _segment(head: bytes) -> int:
    """Returns where the length of Matroska's segment stands; 0 in other files."""
    at = head.find(b"\x18\x53\x80\x67")
    return at + 4 if at > 0 else 0


def _matroska_content(file: BinaryIO, at: int) -> tuple[int, int | None]:
    """Returns where the content of a part begins and ends, whose length, 7 bits for each byte, stands at a place.

    The end is None if the length is not known.
    """
    file.seek(at)
    field = file.read(8)
    length = 9 - (field[0].bit_length() if field else 0)
    largest = (1 << 7 * length) - 1  # stands for a length that is not known
    value = int.from_bytes(field[:length], "big") & largest
    return at + length, None if value == largest else at + length + value


def is_mirrored(file: BinaryIO) -> bool:
    """Returns whether the frames of an MP4 or MOV file are shown mirrored, and perhaps turned, see ISO 14496-12."""
    for start in _starts(file, 0, file.seek(0, os.SEEK_END), (b"moov", b"trak", b"tkhd")):
        file.seek(start)
        header = file.read(96)
        at = 52 if header[:1] == b"\1" else 40  # its version, whose times have 8 bytes
        if len(header) >= at + 40:
            a, b, _, c, d, *_, width = struct.unpack_from(">10i", header, at)
            if width:  # sound has none
                return a * d < b * c
    return False


def _starts(file: BinaryIO, start: int, stop: int, kinds: Sequence[bytes]) -> Iterator[int]:
    """Yields where the boxes within boxes of these kinds begin."""
    for kind, begin, end in _boxes(file, start, stop):
        if kind == kinds[0]:
            yield from _starts(file, begin, end, kinds[1:]) if kinds[1:] else [begin]


def _boxes(file: BinaryIO, start: int, stop: int) -> Iterator[tuple[bytes, int, int]]:
    """Yields of each box of MP4 its kind, where its content begins, and where it ends, which may be after `stop`."""
    while start + 8 <= stop:
        file.seek(start)
        head = file.read(16)
        length, at = int.from_bytes(head[:4], "big"), 8
        if length == 1:
            length, at = int.from_bytes(head[8:], "big"), 16
        elif length == 0:  # up to the end
            length = stop - start
        if length < at:  # it is none
            return
        yield head[4:8], start + at, start + length
        start += length
