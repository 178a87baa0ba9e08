from __future__ import annotations

import io
import struct

import numpy as np
import pytest

from involvit.prediction.images import read_video
from involvit.prediction.video_containers import is_cut_off

from .noise_videos import write_video


@pytest.mark.parametrize(
    ("name", "codec"), [("a.avi", "MJPG"), ("a.mkv", "MJPG"), ("a.webm", "VP80"), ("a.mp4", "mp4v")]
)
def test_a_file_is_cut_off_where_its_container_goes_on(tmp_path, name, codec):
    content = write_video(tmp_path / name, codec).read_bytes()
    (tmp_path / "half").write_bytes(content[: len(content) // 2])
    (tmp_path / "more").write_bytes(content + bytes(100))
    found = []
    for path in (tmp_path / name, tmp_path / "half", tmp_path / "more"):
        with path.open("rb") as file:
            found.append(is_cut_off(file))
    assert found == [False, True, False]


def test_a_length_that_is_not_known_cuts_nothing_off(tmp_path):
    content = bytearray(write_video(tmp_path / "a.avi", "MJPG").read_bytes())
    content[4:8] = b"\xff" * 4  # of what was written to a pipe
    (tmp_path / "a.avi").write_bytes(content)
    (tmp_path / "a.mkv").write_bytes(b"\x1a\x45\xdf\xa3\x80\x18\x53\x80\x67")
    found = []
    for name in ("a.avi", "a.mkv"):
        with (tmp_path / name).open("rb") as file:
            found.append(is_cut_off(file))
    assert found == [False, True]


@pytest.mark.parametrize("ends_before", ["moov", "trak"])
@pytest.mark.parametrize("has_length", [True, False])  # recorders fill it in at the end
def test_an_mp4_file_without_its_index_is_cut_off(tmp_path, ends_before, has_length):
    content = bytearray(write_video(tmp_path / "a.mp4").read_bytes())
    assert content.index(b"mdat") < content.index(b"moov")
    if not has_length:
        at = content.index(b"mdat") - 4
        content[at : at + 4] = bytes(4)
    (tmp_path / "a.mp4").write_bytes(content[: content.index(ends_before.encode()) - 4])
    with pytest.raises(ValueError, match=r"a\.mp4: cannot be read as a video, the file is cut off; copy it again"):
        next(read_video(tmp_path / "a.mp4"))


def test_a_file_of_fragments_is_cut_off_wherever_one_is_not_whole():
    parts = [(b"ftyp", 8), (b"moov", 40), *[(b"moof", 30), (b"mdat", 200)] * 2]
    boxes = [struct.pack(">I4s", 8 + length, kind) + bytes(length) for kind, length in parts]
    content = b"".join(boxes)
    second = len(content) - len(boxes[-1]) - len(boxes[-2])  # where its head begins
    for end in (second, len(content)):
        assert not is_cut_off(io.BytesIO(content[:end]))
    for end in (*range(second + 8, len(content), 5), len(content) - len(boxes[-1]), len(content) - 1):
        assert is_cut_off(io.BytesIO(content[:end])), end


TURNS = [(1, 0, 0, 1), (0, 1, -1, 0), (-1, 0, 0, -1), (0, -1, 1, 0)]
MIRRORED = [(-1, 0, 0, 1), (1, 0, 0, -1), (0, 1, 1, 0), (0, -1, -1, 0)]


@pytest.mark.parametrize("matrix", TURNS + MIRRORED)
@pytest.mark.parametrize("version", [0, 1])
def test_a_video_is_turned_and_mirrored_as_its_matrix_says(tmp_path, matrix, version):
    path = write_video(tmp_path / "clip.mp4")
    plain = next(read_video(path)).image
    a, b, c, d = matrix
    y, x = np.indices(plain.shape[:2])
    x, y = (place - place.min() for place in (a * x + c * y, b * x + d * y))  # ISO 14496-12
    expected = np.empty((y.max() + 1, x.max() + 1, 3), np.uint8)
    expected[y, x] = plain
    content = bytearray(path.read_bytes())
    at = content.index(b"tkhd") + 44
    content[at : at + 20] = struct.pack(">5i", a << 16, b << 16, 0, c << 16, d << 16)
    if version:  # times of 8 bytes; every box around it grows by 12
        start = content.index(b"tkhd") + 4
        flags, times = content[start : start + 4], struct.unpack_from(">5I", content, start + 4)
        content[start : start + 24] = b"\1" + flags[1:] + struct.pack(">QQIIQ", *times)
        for kind in (b"moov", b"trak", b"tkhd"):
            size = content.index(kind) - 4
            content[size : size + 4] = struct.pack(">I", struct.unpack_from(">I", content, size)[0] + 12)
    path.write_bytes(content)
    np.testing.assert_array_equal(next(read_video(path)).image, expected)
