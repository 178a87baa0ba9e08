from __future__ import annotations

import logging
import os
import struct
import subprocess
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from involvit.prediction.images import find_files, read_image, read_video
from modeling_involvit import InvolViTImageProcessor

ROOT = Path(__file__).parents[3]


def noise(shape, high=256, dtype=np.uint8):
    return np.random.default_rng(0).integers(0, high, shape).astype(dtype)


def save_rotated(path):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    Image.fromarray(noise((8, 12, 3))).save(path, exif=exif)


def save_palette_with_transparency(path):
    image = Image.fromarray(noise((8, 12, 3))).convert("P", palette=Image.Palette.ADAPTIVE)
    image.save(path, transparency=int(np.asarray(image)[0, 0]))


def save_animation(path):
    frames = [Image.fromarray(noise((8, 12))), Image.new("L", (12, 8))]
    frames[0].save(path, save_all=True, append_images=frames[1:])


IMAGES = {
    "colour.jpg": lambda path: Image.fromarray(noise((8, 12, 3))).save(path),
    "grey.png": lambda path: Image.fromarray(noise((8, 12))).save(path),
    "rotated.jpg": save_rotated,
    "cmyk.jpg": lambda path: Image.fromarray(noise((8, 12, 4)), "CMYK").save(path),
    "alpha.png": lambda path: Image.fromarray(noise((8, 12, 4)), "RGBA").save(path),
    "grey_alpha.png": lambda path: Image.fromarray(noise((8, 12, 2)), "LA").save(path),
    "palette.png": save_palette_with_transparency,
    "bilevel.png": lambda path: Image.fromarray(noise((8, 12))).convert("1").save(path),
    "16_bit.png": lambda path: Image.fromarray(noise((8, 12), 65536, np.uint16)).save(path),
    "16_bit_dark.tif": lambda path: Image.fromarray(noise((8, 12), 200, np.uint16)).save(path),
    "32_bit_of_8.tif": lambda path: Image.fromarray(noise((8, 12), 256, np.int32)).save(path),
    "32_bit_of_16.tif": lambda path: Image.fromarray(noise((8, 12), 65536, np.int32)).save(path),
    "float_of_1.tif": lambda path: Image.fromarray(noise((8, 12), 256, np.float32) / 255).save(path),
    "float_of_255.tif": lambda path: Image.fromarray(noise((8, 12), 256, np.float32)).save(path),
    "animation.gif": save_animation,
}


@pytest.mark.parametrize("name", IMAGES)
def test_an_image_is_read_as_the_image_processor_reads_it(tmp_path, name):
    IMAGES[name](tmp_path / name)
    image = read_image(tmp_path / name)
    expected = InvolViTImageProcessor().process_image(tmp_path / name).permute(1, 2, 0).numpy()
    assert image.dtype == np.uint8
    assert image.flags["C_CONTIGUOUS"]
    np.testing.assert_array_equal(image, expected)


def test_a_16_bit_image_keeps_its_high_byte(tmp_path):
    Image.fromarray(np.arange(256, dtype=np.uint16)[None] * 257).save(tmp_path / "ramp.png")
    np.testing.assert_array_equal(read_image(tmp_path / "ramp.png")[0, :, 1], np.arange(256))


def test_what_is_no_image_is_told_in_one_line(tmp_path):
    whole = tmp_path / "whole.png"
    Image.fromarray(noise((32, 32, 3))).save(whole)
    contents = {
        "text.jpg": b"hello",
        "cut.png": whole.read_bytes()[:500],
        "program.jpg": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n",
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=rf"{name}: cannot be read as an image \(.*remove it$") as caught:
            read_image(tmp_path / name)
        assert "\n" not in str(caught.value)
    Image.fromarray(np.full((4, 4), 999, np.float32)).save(tmp_path / "wide.tif")
    with pytest.raises(ValueError, match=r"wide.tif: .*values range from 999 to 999"):
        read_image(tmp_path / "wide.tif")
    with pytest.raises(FileNotFoundError, match=r"nowhere.jpg: no such file"):
        read_image(tmp_path / "nowhere.jpg")
    with pytest.raises(ValueError, match=r"cannot be read as an image \(it is a folder\)"):
        read_image(tmp_path)


def write_video(path, frames, frames_per_second=12.5, codec="MJPG"):
    height, width = frames[0].shape[:2]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*codec), frames_per_second, (width, height))
    for frame in frames:
        writer.write(frame[..., ::-1].copy())
    writer.release()
    return path


def counting_frames(count):
    """Left upper quarter red; the rest has ten times the frame's index as its grey level."""
    frames = [np.full((48, 64, 3), 10 * i, np.uint8) for i in range(count)]
    for frame in frames:
        frame[:24, :32] = (255, 0, 0)
    return frames


@pytest.mark.parametrize("name", ["clip.avi", "clip.mkv", "clip.mp4"])
def test_the_frames_of_a_video_come_in_order_with_their_times(tmp_path, name):
    path = write_video(tmp_path / name, counting_frames(10), codec="mp4v" if name == "clip.mp4" else "MJPG")
    frames = list(read_video(path))
    assert [frame.index for frame in frames] == list(range(10))
    np.testing.assert_allclose([frame.time_s for frame in frames], np.arange(10) / 12.5, atol=1e-3)
    for frame, expected in zip(frames, counting_frames(10), strict=True):
        assert frame.image.dtype == np.uint8
        assert np.abs(frame.image[4:20, 4:28].astype(int) - expected[4:20, 4:28]).max() < 12  # red, so RGB
        assert np.abs(frame.image[28:, 36:].astype(int) - expected[28:, 36:]).max() < 12


def test_a_video_filmed_upright_comes_upright(tmp_path):
    path = write_video(tmp_path / "clip.mp4", counting_frames(3), codec="mp4v")
    data = bytearray(path.read_bytes())
    # The track header's matrix of 16.16 fixed-point numbers (ISO 14496-12): a quarter turn clockwise.
    matrix = data.index(b"tkhd") + 4 + 40
    data[matrix : matrix + 36] = struct.pack(">9i", 0, 1 << 16, 0, -1 << 16, 0, 0, 48 << 16, 0, 1 << 30)
    path.write_bytes(data)
    frame = next(read_video(path))
    assert frame.image.shape == (64, 48, 3)
    np.testing.assert_allclose(frame.image[4:28, 28:44].mean(axis=(0, 1)), [255, 0, 0], atol=12)
    assert frame.image[36:].max() < 12


@pytest.fixture
def released(monkeypatch):
    """The number of times that a video was closed."""
    calls = []

    class Capture:
        def __init__(self, *arguments):
            self.capture = video_capture(*arguments)

        def __getattr__(self, name):
            return getattr(self.capture, name)

        def release(self):
            calls.append(1)
            self.capture.release()

    video_capture = cv2.VideoCapture
    monkeypatch.setattr(cv2, "VideoCapture", Capture)
    return calls


def test_a_video_is_closed_when_its_reader_stops_early(tmp_path, released):
    frames = read_video(write_video(tmp_path / "clip.avi", counting_frames(5)))
    next(frames)
    assert not released
    frames.close()
    assert released


def test_what_is_no_video_is_told_in_one_line(tmp_path):
    whole = write_video(tmp_path / "whole.mp4", counting_frames(5), codec="mp4v").read_bytes()
    for name, content in {"text.mp4": b"hello", "cut.mp4": whole[: len(whole) // 2]}.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=rf"{name}: cannot be read as a video.*remove it$"):
            next(read_video(tmp_path / name))
    with pytest.raises(FileNotFoundError, match=r"nowhere.mp4: no such file"):
        next(read_video(tmp_path / "nowhere.mp4"))


def test_a_variable_of_opencv_that_keeps_it_from_reading_is_named(tmp_path, monkeypatch):
    path = write_video(tmp_path / "clip.avi", counting_frames(2))
    monkeypatch.setenv("OPENCV_FFMPEG_CAPTURE_OPTIONS", "video_codec;nothing")
    with pytest.raises(ValueError, match="has no frames; unset OPENCV_FFMPEG_CAPTURE_OPTIONS, or convert it"):
        list(read_video(path))


def test_nothing_else_is_written_to_the_terminal_about_a_broken_video(tmp_path):
    (tmp_path / "broken.mp4").write_bytes(b"hello")
    script = (
        "from involvit.prediction.images import read_video\n"
        "try: next(read_video('broken.mp4'))\n"
        "except ValueError: pass"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    result = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert result.stdout + result.stderr == ""


def test_a_video_that_is_cut_off_is_read_as_far_as_it_goes_with_a_warning(tmp_path, caplog):
    path = write_video(tmp_path / "clip.avi", [noise((48, 64, 3)) for _ in range(20)])
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with caplog.at_level(logging.WARNING):
        frames = list(read_video(path))
    assert 1 <= len(frames) < 15
    assert caplog.messages == [f"{path}: the file is cut off; it was read as far as it goes, {len(frames)} frames"]


@pytest.mark.parametrize(
    "name", ["12:30.mp4", "%03d.png", "concat:a.mp4", "http:x.mp4", "-x.mp4", "b\udcff.mp4", "no_suffix"]
)
def test_the_name_of_a_video_is_only_a_name(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)  # a relative path may begin as a protocol does
    write_video(tmp_path / "clip.mp4", counting_frames(3), codec="mp4v").rename(name)
    assert len(list(read_video(name))) == 3


def test_nothing_is_said_of_a_whole_video_whose_header_promises_more(tmp_path, caplog):
    path = write_video(tmp_path / "clip.mkv", counting_frames(10))
    content = path.read_bytes()
    at = content.index(b"\x44\x89\x88") + 3  # Matroska's duration, as it is where the sound goes on
    path.write_bytes(content[:at] + struct.pack(">d", 100_000.0) + content[at + 8 :])
    assert cv2.VideoCapture(str(path)).get(cv2.CAP_PROP_FRAME_COUNT) > 1000
    with caplog.at_level(logging.WARNING):
        assert len(list(read_video(path))) == 10
    assert caplog.messages == []


def test_a_playlist_is_no_video(tmp_path):
    write_video(tmp_path / "other.mp4", counting_frames(3), codec="mp4v")
    (tmp_path / "list.mp4").write_text("ffconcat version 1.0\nfile other.mp4\n")
    with pytest.raises(ValueError, match="cannot be read as a video"):
        next(read_video(tmp_path / "list.mp4"))


def test_threads_that_open_videos_leave_the_level_of_opencvs_log(tmp_path):
    path = write_video(tmp_path / "clip.avi", counting_frames(1))
    level = cv2.utils.logging.getLogLevel()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: list(read_video(path)), range(64)))
    assert cv2.utils.logging.getLogLevel() == level


@pytest.mark.parametrize("name", ["photo.png", "photo.jpg"])
def test_a_broken_exif_block_costs_no_image(tmp_path, name):
    exif = b"Exif\0\0garbage" if name.endswith("jpg") else b"garbage, not TIFF"
    Image.fromarray(noise((8, 12, 3))).save(tmp_path / name, exif=exif)
    Image.fromarray(noise((8, 12, 3))).save(tmp_path / f"plain_{name}")
    np.testing.assert_array_equal(read_image(tmp_path / name), read_image(tmp_path / f"plain_{name}"))


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def test_folders_are_searched_to_the_bottom_in_natural_order(tmp_path):
    wanted = ["a/img_2.jpg", "a/img_10.JPEG", "a2/deep/er/x.webp", "a10/clip.mp4", "b.png", "photo.heic"]
    touch(tmp_path, *wanted, "notes.txt", ".hidden.jpg", ".cache/x.jpg", "__MACOSX/x.jpg", "٣.jpg")
    (tmp_path / "a/back").symlink_to(tmp_path, target_is_directory=True)
    found = [str(path.relative_to(tmp_path)) for path in find_files([tmp_path])]
    assert found == [*wanted, "٣.jpg"]


def test_patterns_files_and_folders_keep_their_order_and_come_once(tmp_path):
    touch(tmp_path, "a/1.jpg", "a/b/2.jpg", "a/3.txt", "odd.bin", "x[1].png")
    found = find_files([tmp_path / "odd.bin", tmp_path / "**/2.*", tmp_path / "a/*", tmp_path / "x[1].png"])
    assert [str(path.relative_to(tmp_path)) for path in found] == ["odd.bin", "a/b/2.jpg", "a/1.jpg", "x[1].png"]


def test_signs_of_patterns_in_the_names_of_folders_are_signs(tmp_path):
    touch(tmp_path, "[v2] faces/1.jpg", "[v2] faces/2.png", "[v2] faces/a*/3.jpg", "v/4.jpg")
    found = find_files([tmp_path / "[v2] faces/*.jpg", tmp_path / "[v2] faces/a*/*", tmp_path / "[v]/*"])
    assert [str(path.relative_to(tmp_path)) for path in found] == ["[v2] faces/1.jpg", "[v2] faces/a*/3.jpg", "v/4.jpg"]


def test_what_a_file_holds_counts_in_folders(tmp_path):
    touch(tmp_path, "empty", "notes.txt", "broken.jpg")
    Image.fromarray(noise((8, 8))).save(tmp_path / "photo", "PNG")
    write_video(tmp_path / "clip.mp4", counting_frames(1), codec="mp4v").rename(tmp_path / "clip.bin")
    os.mkfifo(tmp_path / "pipe.jpg")
    assert [path.name for path in find_files([tmp_path])] == ["broken.jpg", "clip.bin", "photo"]


def test_a_pipe_is_refused_in_one_line(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(ValueError, match=r"pipe.jpg is a pipe or a device; write"):
        find_files([tmp_path / "pipe.jpg"])
    for read in (read_image, lambda path: next(read_video(path))):
        with pytest.raises(ValueError, match=r"\(?it is a pipe or a device, not a file\)"):
            read(tmp_path / "pipe.jpg")


def test_a_tilde_in_quotes_is_the_home_unless_there_is_a_file_of_that_name(tmp_path, monkeypatch):
    touch(tmp_path, "home/a.jpg", "home/b/c.jpg", "work/~x.jpg")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path / "work")
    home = tmp_path / "home"
    assert find_files(["~/*.jpg", "~/b", "~/a.jpg", "~x.jpg"]) == [home / "a.jpg", home / "b/c.jpg", Path("~x.jpg")]
    touch(Path(), "~/d.jpg")
    assert find_files(["~/*.jpg"]) == [Path("~/d.jpg")]


def test_a_path_that_leads_to_nothing_is_named(tmp_path):
    touch(tmp_path, "texts/notes.txt")
    with pytest.raises(FileNotFoundError, match=r"nowhere: no such file or folder"):
        find_files([tmp_path / "nowhere"])
    with pytest.raises(FileNotFoundError, match=r"texts: no image and no video"):
        find_files([tmp_path / "texts"])
    with pytest.raises(FileNotFoundError, match=r"\*.jpg: no image and no video"):
        find_files([str(tmp_path / "*.jpg")])


def test_neither_torch_nor_transformers_is_imported():
    script = (
        "import sys, involvit.prediction.images, involvit.prediction.face_detection;"
        "print({'torch', 'transformers'} & set(sys.modules))"
    )
    result = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "set()"


@pytest.mark.parametrize(("read", "name"), [(read_image, "a.jpg"), (lambda path: next(read_video(path)), "a.mp4")])
def test_an_empty_file_is_called_empty(tmp_path, read, name):
    (tmp_path / name).touch()
    with pytest.raises(ValueError, match=rf"{name} is empty \(0 bytes\); replace or remove it$"):
        read(tmp_path / name)


@pytest.mark.parametrize("name", ["song.mp3", "a.m4a", "notes"])
def test_what_is_neither_is_not_called_an_image(tmp_path, name):
    (tmp_path / name).write_bytes(b"\0\0\0\x20ftypM4A \0\0\0\0")
    with pytest.raises(ValueError, match=rf"{name}: is neither an image nor a video of a known format; leave it out$"):
        read_image(tmp_path / name)


@pytest.mark.parametrize("name", ["faces.zip", "faces", "book.CBZ"])
def test_a_zip_file_is_called_an_archive(tmp_path, name):
    with zipfile.ZipFile(tmp_path / name, "w") as archive:
        archive.writestr("a.png", b"")
    with pytest.raises(ValueError, match=rf"{name}: is an archive; unpack it, and name the folder$"):
        read_image(tmp_path / name)


def test_a_folder_that_may_not_be_read_is_told(tmp_path, nobody):
    touch(tmp_path, "a/1.jpg", "a/b/2.jpg")
    (tmp_path / "a/b").chmod(0)
    told = []
    with nobody():
        for path in ("a", "*"):
            assert find_files([path], told.append) == [Path("a/1.jpg")]
            with pytest.raises(PermissionError, match="'a/b'"):
                find_files([path])
        for path in ("a/b", "a/b/2.jpg"):
            with pytest.raises(PermissionError, match=f"'{path}'"):
                find_files([path], told.append)
        for path in ("a/b/*.jpg", "a/*/2.jpg", "a/b*/*", "*/*/*.jpg", "a/b/**/*"):
            with pytest.raises(PermissionError, match="a/b'"):
                find_files([path], told.append)
        assert find_files(["**/*.jpg"], told.append) == [Path("a/1.jpg")]
        assert find_files(["**"], told.append) == [Path("a/1.jpg")]
    assert [error.filename for error in told] == ["a/b"] * 4
    (tmp_path / "a/b").chmod(0o311)  # may be passed through, as homes often may
    with nobody():
        assert find_files(["*/b/2.jpg"]) == [Path("a/b/2.jpg")]
        with pytest.raises(PermissionError, match="'a/b'"):
            find_files(["a/b/*.jpg"])
    (tmp_path / "a/b").chmod(0o700)


def test_an_empty_path_is_not_the_working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.jpg").touch()
    with pytest.raises(ValueError, match="a path is empty"):
        find_files([""])
    assert find_files(["."]) == [Path("a.jpg")]
