"""What the container of a video says of it: whether its file is cut off, and whether it is shown mirrored."""

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
    if (at := head.find(b"\x18\x53\x80\x67") + 4) > 4:  # Matroska's segment and its length: 7 bits for each byte
        file.seek(at)
        if not (field := file.read(8)):
            return True
        length = 9 - field[0].bit_length()
        largest = (1 << 7 * length) - 1  # stands for a length that is not known
        value = int.from_bytes(field[:length], "big") & largest
        return value < largest and at + length + value > size
    kinds = set()
    for kind, _, end in _boxes(file, 0, size):
        kinds.add(kind)
        if kind in (b"mdat", b"moov", b"moof") and end > size:
            return True
    return b"mdat" in kinds and b"moov" not in kinds  # which many write last: where the frames are


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
