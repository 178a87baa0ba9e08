from __future__ import annotations

import os
import socket

import cv2
import numpy as np
import pytest
from PIL import Image

from involvit.files import IMAGE_FORMATS
from involvit.prediction.file_kinds import is_image_or_video, is_video, open_regular
from involvit.prediction.images import read_video

from .noise_videos import NOISE, write_video


@pytest.mark.parametrize("kind", IMAGE_FORMATS)
def test_every_kind_of_image_is_known_by_its_content(tmp_path, kind):
    for name in ("photo", "photo.mp4"):
        Image.fromarray(NOISE).save(tmp_path / name, kind)
        assert is_image_or_video(tmp_path / name)
        assert not is_video(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        *(("a.mp4", "mp4v"), ("a.mov", "mp4v"), ("a.3gp", "mp4v"), ("a.webm", "VP80"), ("a.mkv", "MJPG")),
        *(("a.avi", "MJPG"), ("a.wmv", "WMV2"), ("a.mpg", "PIM1"), ("a.mts", "MPG2"), ("a.vob", "MPG2")),
        *(("a.ts", "MPG2"), ("a.m2ts", "MPG2"), ("a.flv", "FLV1"), ("a.ogv", "THEO"), ("a.mxf", "MPG2")),
    ],
)
def test_every_kind_of_video_is_known_by_its_content(tmp_path, name, codec):
    path = tmp_path / name
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), 25, (64, 48))
    if not writer.isOpened():
        pytest.skip(f"this OpenCV cannot write {name}")
    for number in range(20):
        writer.write(np.roll(NOISE, number))
    writer.release()
    for new in ("video", "video.jpg", "video.txt"):
        path = path.rename(tmp_path / new)
        assert is_video(path)
        assert is_image_or_video(path)


@pytest.mark.parametrize("name", ["clip.mjpeg", "CLIP.MJPG"])
def test_jpeg_images_in_a_row_are_a_video_by_the_name(tmp_path, name):
    frames = [cv2.imencode(".jpg", np.roll(NOISE, 10 * number))[1].tobytes() for number in range(5)]
    (tmp_path / name).write_bytes(b"".join(frames))
    assert is_video(tmp_path / name)
    assert is_image_or_video(tmp_path / name)
    assert [frame.index for frame in read_video(tmp_path / name)] == [0, 1, 2, 3, 4]


def test_a_transport_stream_may_begin_within_a_packet(tmp_path):
    content = write_video(tmp_path / "a.ts", "MPG2").read_bytes()
    (tmp_path / "late").write_bytes(content[100:])
    assert is_video(tmp_path / "late")


@pytest.mark.parametrize("unit", [0x06, 0x09, 0x27, 0x67, 0x40])
def test_a_video_in_no_container_may_begin_with_its_parameters_or_what_stands_before_them(tmp_path, unit):
    (tmp_path / "raw").write_bytes(bytes([0, 0, 0, 1, unit]) + bytes(60))
    assert is_video(tmp_path / "raw")


TEXTS = ["", "BMW P2P", "P2 networks and P3 plans", "The free software", "With wide eyes", "G" * 4000, "GATTACA" * 900]


@pytest.mark.parametrize("text", TEXTS)
def test_a_text_is_neither(tmp_path, text):
    (tmp_path / "notes").write_text(text)
    assert not is_image_or_video(tmp_path / "notes")
    assert not is_video(tmp_path / "notes")


def test_sound_and_raw_photos_are_left_out(tmp_path):
    Image.fromarray(NOISE).save(tmp_path / "photo.nef", "TIFF")
    (tmp_path / "song").write_bytes(b"\0\0\0\x20ftypM4A \0\0\0\0")
    (tmp_path / "song.opus").write_bytes(b"OggS" + bytes(24) + b"OpusHead")
    (tmp_path / "song.mka").write_bytes(write_video(tmp_path / "a.mkv", "MJPG").read_bytes())
    assert not any(is_image_or_video(tmp_path / name) for name in ("photo.nef", "song", "song.opus", "song.mka"))


def test_an_ogg_file_is_a_video_where_it_has_pictures(tmp_path):
    for name, codec in (("clip", b"\x80theora"), ("sound", b"\1vorbis")):
        (tmp_path / name).write_bytes(b"OggS" + bytes(24) + b"fishead\0" + bytes(80) + b"OggS" + bytes(24) + codec)
    assert is_video(tmp_path / "clip")
    assert not is_video(tmp_path / "sound")


def test_a_damaged_file_is_what_its_name_says(tmp_path):
    for name in ("broken.jpg", "broken.MP4", "photo.heic"):
        (tmp_path / name).write_bytes(b"hello")
        assert is_image_or_video(tmp_path / name)
    (tmp_path / "link.jpg").symlink_to(tmp_path / "nowhere")
    assert is_image_or_video(tmp_path / "link.jpg")
    assert is_video(tmp_path / "broken.MP4")
    assert not is_video(tmp_path / "broken.jpg")


def test_pipes_sockets_and_devices_are_not_waited_for(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "pipe.jpg")
    monkeypatch.chdir(tmp_path)  # the name of a socket is short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket.jpg")
        for path in (tmp_path / "pipe.jpg", tmp_path / "socket.jpg", "/dev/zero"):
            assert not is_image_or_video(path)
            with pytest.raises(OSError, match="it is a pipe or a device, not a file"):
                open_regular(path)
    with pytest.raises(IsADirectoryError):
        open_regular(tmp_path)
