"""Videos that are damaged in their midst: what can be decoded is read, and a line says that frames are lost."""

from __future__ import annotations

import struct

import cv2
import numpy as np
import pytest

from involvit.prediction.images import read_video

from .noise_videos import NOISE, write_video

KINDS = [
    *(
        ("a.mp4", "mp4v"),
        ("a.mov", "MJPG"),
        ("a.3gp", "mp4v"),
        ("a.webm", "VP80"),
        ("a.mkv", "MJPG"),
        ("a.avi", "MJPG"),
    ),
    *(("a.wmv", "WMV2"), ("a.mpg", "PIM1"), ("a.vob", "MPG2"), ("a.ts", "MPG2"), ("a.flv", "FLV1"), ("a.ogv", "THEO")),
]


def with_hole(path, start, stop, fill=None):
    """Writes zeros, or `fill`, over a part of the pictures of an MP4, or of another file; returns the path."""
    content = bytearray(path.read_bytes())
    first, length = 0, len(content)
    if (at := content.find(b"mdat")) > 0:
        first, length = at + 4, int.from_bytes(content[at - 4 : at], "big") - 8
    start, stop = first + int(start * length), first + int(stop * length)
    content[start:stop] = bytes(stop - start) if fill is None else (fill * stop)[: stop - start]
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("fill", [None, np.random.default_rng(1).bytes(997)])
def test_what_follows_a_hole_is_read_with_its_own_times(tmp_path, caplog, fill):
    path = write_video(tmp_path / "a.mov", "MJPG")
    whole = {round(frame.time_s, 3): frame.image for frame in read_video(path)}
    assert len(whole) == 20
    found = list(read_video(with_hole(path, 0.35, 0.7, fill)))
    times = [round(frame.time_s, 3) for frame in found]
    assert 8 <= len(found) <= 13 and times[0] == 0 and times[-1] == max(whole) and set(times) < set(whole)
    for time_s, frame in ((times[0], found[0]), (times[-1], found[-1])):
        np.testing.assert_array_equal(frame.image, whole[time_s])
    assert caplog.messages == [f"{path}: the file is damaged; frames in it are lost, and {len(found)} were read"]


@pytest.mark.parametrize(("name", "codec"), [("a.mp4", "mp4v"), ("a.mkv", "MJPG"), ("a.webm", "VP80")])
@pytest.mark.parametrize(("start", "stop"), [(0.35, 0.7), (0.6, 1.0)])
def test_lost_frames_are_told(tmp_path, caplog, name, codec, start, stop):
    path = with_hole(write_video(tmp_path / name, codec, 200), start, stop)
    count = len(list(read_video(path)))
    assert 50 < count < 180
    assert caplog.messages == [f"{path}: the file is damaged; frames in it are lost, and {count} were read"]


@pytest.mark.parametrize(("name", "codec"), KINDS)
def test_nothing_is_said_of_a_whole_video(tmp_path, caplog, name, codec):
    try:
        path = write_video(tmp_path / name, codec)
    except AssertionError:
        pytest.skip(f"this OpenCV cannot write {name}")
    assert len(list(read_video(path))) == 20
    assert caplog.messages == []


def part(name, content):
    """A part of a Matroska file: its name, its length, its content."""
    return bytes.fromhex(name) + (1 << 56 | len(content)).to_bytes(8, "big") + content


def test_sound_between_two_pictures_may_be_long(tmp_path, caplog):
    picture = cv2.imencode(".jpg", NOISE)[1].tobytes()
    video = part("D7", b"\1") + part("73C5", b"\1") + part("83", b"\1") + part("86", b"V_MJPEG")
    video += part("E0", part("B0", b"\x40") + part("BA", b"\x30"))
    sound = part("D7", b"\2") + part("73C5", b"\2") + part("83", b"\2") + part("86", b"A_PCM/INT/LIT")
    sound += part("E1", part("B5", struct.pack(">f", 8000)) + part("6264", b"\x10"))
    blocks = [b"\x82" + struct.pack(">hB", time, 0x80) + bytes(16) for time in range(6000)]
    for time in (0, 5999):
        blocks.insert(time, b"\x81" + struct.pack(">hB", time, 0x80) + picture)
    cluster = part("1F43B675", part("E7", b"\0") + b"".join(part("A3", block) for block in blocks))
    tracks = part("1654AE6B", part("AE", video) + part("AE", sound))
    path = tmp_path / "a.mkv"
    path.write_bytes(part("1A45DFA3", part("4282", b"matroska")) + part("18538067", tracks + cluster))
    assert [round(frame.time_s, 3) for frame in read_video(path)] == [0, 5.999]
    assert caplog.messages == []
