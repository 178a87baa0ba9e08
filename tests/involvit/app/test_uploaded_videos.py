from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from involvit.app import uploads
from involvit.app.uploads import check_video, read_photo

from .upload_files import encoded, refusal

ROOT = Path(__file__).parents[3]


def write_video(path, frames, size=(64, 48), rate=10, codec="mp4v"):
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*codec), rate, size)
    assert writer.isOpened()
    for number in range(frames):
        writer.write(np.full((size[1], size[0], 3), number % 256, np.uint8))
    writer.release()
    return path


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        *(("a.mp4", "mp4v"), ("a.mov", "mp4v"), ("a.3gp", "mp4v"), ("a.webm", "VP80"), ("a.mkv", "MJPG")),
        *(("a.avi", "MJPG"), ("a.wmv", "WMV2"), ("a.mpg", "PIM1"), ("a.mts", "MPG2")),
    ],
)
def test_a_video_is_taken_whatever_its_container(tmp_path, name, codec):
    path = write_video(tmp_path / name, 25, rate=25, codec=codec)
    check_video(path)
    path.rename(tmp_path / "no_suffix")
    check_video(tmp_path / "no_suffix")
    assert "is a video" in refusal(read_photo, tmp_path / "no_suffix")


def test_the_frames_of_a_video_may_be_as_large_as_the_limit_and_no_larger(tmp_path, monkeypatch):
    path = write_video(tmp_path / "large.mp4", 2)
    monkeypatch.setattr(uploads, "MAX_VIDEO_PIXELS", 64 * 48)
    check_video(path)
    monkeypatch.setattr(uploads, "MAX_VIDEO_PIXELS", 64 * 48 - 1)
    assert "too large (64 x 48)" in refusal(check_video, path)


def test_what_is_no_video_is_told_in_one_line(tmp_path):
    whole = write_video(tmp_path / "whole.mp4", 5).read_bytes()
    no_frames = write_video(tmp_path / "no_frames.avi", 0, codec="MJPG").read_bytes()
    for name, content, said in [
        ("empty.mp4", b"", "is empty"),
        ("text.mp4", b"hello", "is not a video"),
        ("photo.mp4", encoded(), "is not a video"),
        ("cut.mp4", whole[: len(whole) // 2], "has no pictures"),
        ("no_frames.avi", no_frames, "has no pictures"),
        ("header.mp4", whole[:32], "has no pictures"),
    ]:
        (tmp_path / name).write_bytes(content)
        line = refusal(check_video, tmp_path / name)
        assert line.startswith(name)
        assert said in line


def test_nothing_else_is_written_to_the_terminal_about_a_broken_video(tmp_path):
    whole = write_video(tmp_path / "whole.mp4", 5).read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    script = (
        "from involvit.app.uploads import check_video\ntry: check_video('cut.mp4')\nexcept ValueError as e: print(e)"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    result = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert re.fullmatch(r"cut\.mp4 has no pictures .*\n", result.stdout)
    assert result.stderr == ""


def test_a_playlist_cannot_show_the_video_of_another_user(tmp_path):
    write_video(tmp_path / "secret.mp4", 5)
    path = tmp_path / "mine.mp4"
    path.write_text("ffconcat version 1.0\nfile secret.mp4\n")
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    assert capture.grab()  # FFmpeg would
    capture.release()
    assert "is not a video" in refusal(check_video, path)
    (tmp_path / "list.m3u8").write_text("#EXTM3U\n#EXTINF:10.0,\nsecret.mp4\n#EXT-X-ENDLIST\n")
    assert "is not a video" in refusal(check_video, tmp_path / "list.m3u8")
