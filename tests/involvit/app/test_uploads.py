from __future__ import annotations

import os
import re
import struct
import subprocess
import sys
import tempfile
import warnings
import zipfile
import zlib
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from skimage.data import astronaut

from involvit.app import uploads
from involvit.app.uploads import UploadError, check_video, read_photo, unpack
from involvit.prediction.images import read_image

ROOT = Path(__file__).parents[3]
PIXELS = np.random.default_rng(0).integers(0, 256, (20, 32, 3), np.uint8)


def refusal(function, *arguments):
    """Returns what is said when a file is refused: always one line that says what to do and names no folder."""
    with pytest.raises(UploadError) as caught:
        function(*arguments)
    line = str(caught.value)
    assert re.fullmatch(r".*Please .*\.", line)
    assert tempfile.gettempdir() not in line
    return line


def encoded(kind="JPEG", image=PIXELS, **options):
    file = BytesIO()
    Image.fromarray(image).save(file, kind, **options)
    return file.getvalue()


def animation(kind):
    return encoded(kind, save_all=True, append_images=[Image.new("RGB", (32, 20), "red")], duration=100)


def rotated():
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    return encoded(exif=exif)


def cmyk():
    file = BytesIO()
    Image.fromarray(np.dstack([PIXELS, PIXELS[..., 0]]), "CMYK").save(file, "JPEG")
    return file.getvalue()


PHOTOS = {
    "animation.gif": lambda: animation("GIF"),
    "animation.webp": lambda: animation("WEBP"),
    "cmyk.jpg": cmyk,
    "16_bit.png": lambda: encoded("PNG", PIXELS[..., 0].astype(np.uint16) * 257),
    "rotated.jpg": rotated,
    "alpha.png": lambda: encoded("PNG", np.dstack([PIXELS, PIXELS[..., 0]])),
    "avif.avif": lambda: encoded("AVIF"),
    "jpeg.txt": encoded,
    "no_suffix": encoded,
    "jpeg.mp4": encoded,
}


@pytest.mark.parametrize("name", PHOTOS)
def test_a_photo_is_read_as_read_image_reads_it(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(PHOTOS[name]())
    photo = read_photo(path)
    assert photo.dtype == np.uint8
    np.testing.assert_array_equal(photo, read_image(path))


def test_of_an_animation_the_first_frame_is_taken(tmp_path):
    path = tmp_path / "animation.webp"
    path.write_bytes(encoded("WEBP", lossless=True, save_all=True, append_images=[Image.new("RGB", (32, 20))]))
    np.testing.assert_array_equal(read_photo(path), PIXELS)


def float_image():
    file = BytesIO()
    Image.fromarray(np.full((20, 20), 999, np.float32)).save(file, "TIFF")
    return file.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("empty.jpg", b"", "is empty"),
        ("text.jpg", b"hello", "is not a photo"),
        ("program.jpg", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n", "is not a photo"),
        ("drawing.jpg", b'<?xml version="1.0"?>\n<SVG xmlns="http://www.w3.org/2000/svg"/>', r"drawing \(SVG\)"),
        ("phone.jpg", struct.pack(">I", 24) + b"ftypheic" + bytes(500), "HEIC .* save it as JPEG"),
        ("clip.jpg", struct.pack(">I", 24) + b"ftypisom" + bytes(500), "is a video"),
        ("clip.mpg", b"what is this", "is a video"),
        ("cut.jpg", encoded()[:500], "is damaged"),
        ("cut.png", encoded("PNG")[:500], "is damaged"),
        ("corrupt.png", encoded("PNG").replace(b"IDAT", b"IDAT\xff\xff", 1), "is damaged"),
        ("corrupt.avif", encoded("AVIF")[:200], "is not a photo that can be read"),
        ("out_of_range.tif", float_image(), "is damaged or of an unusual kind"),
        ("dot.png", encoded("PNG", PIXELS[:1, :1]), r"too small or too narrow \(1 x 1\)"),
        ("strip.png", encoded("PNG", np.zeros((16, 5000), np.uint8)), r"too narrow \(5000 x 16\)"),
    ],
)
def test_what_is_no_photo_is_told_in_one_line(tmp_path, name, content, said):
    path = tmp_path / name
    path.write_bytes(content)
    assert re.match(f"{re.escape(name)} .*{said}", refusal(read_photo, path))


def test_a_photo_that_is_gone_is_told_in_one_line(tmp_path):
    assert "did not arrive" in refusal(read_photo, tmp_path / "gone.jpg")


def solid_png(side):
    """A black image of small files, whatever its size."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)  # a bit for each pixel
    rows = zlib.compress(bytes((1 + (side + 7) // 8) * side), 1)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


@pytest.mark.parametrize("side", [8_000, 10_000, 20_000])
@pytest.mark.parametrize("action", ["ignore", "error"])
def test_a_huge_image_is_refused_before_it_is_decoded(tmp_path, monkeypatch, side, action):
    path = tmp_path / "huge.png"
    path.write_bytes(solid_png(side))
    assert path.stat().st_size < 500_000
    monkeypatch.setattr(uploads, "to_rgb", None)
    with warnings.catch_warnings():
        warnings.simplefilter(action)
        assert (
            refusal(read_photo, path) == "huge.png has more than 52 megapixels. Please make it smaller and try again."
        )


@pytest.mark.parametrize("name", ["photo.jpg", "photo.png"])
@pytest.mark.parametrize("max_side", [512, 400, 300, 64])
def test_a_large_photo_is_scaled_down_to_the_longest_side_allowed(tmp_path, monkeypatch, name, max_side):
    monkeypatch.setattr(uploads, "MAX_SIDE", max_side)
    Image.fromarray(astronaut()).save(tmp_path / name, quality=95)
    photo = read_photo(tmp_path / name)
    height, width = photo.shape[:2]
    assert 2 / 3 * max_side <= height == width <= max_side  # JPEGs shrink by whole numbers first
    expected = Image.fromarray(astronaut()).resize((width, height), Image.Resampling.BOX)
    assert np.abs(photo.astype(int) - np.asarray(expected)).mean() < 4


def test_a_large_photo_on_its_side_is_turned_upright_in_its_own_proportions(tmp_path, monkeypatch):
    monkeypatch.setattr(uploads, "MAX_SIDE", 100)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(astronaut()[:256]).save(tmp_path / "photo.jpg", exif=exif)
    photo = read_photo(tmp_path / "photo.jpg")
    assert photo.shape == (100, 50, 3)
    expected = Image.fromarray(np.rot90(astronaut()[:256], -1)).resize((50, 100), Image.Resampling.BOX)
    assert np.abs(photo.astype(int) - np.asarray(expected)).mean() < 6


def test_a_name_that_its_user_knows_is_shown_on_one_line(tmp_path):
    (tmp_path / "0.jpg").write_bytes(b"hello")
    assert refusal(read_photo, tmp_path / "0.jpg", "a.zip/笑顔.jpg").startswith("a.zip/笑顔.jpg is not a photo")
    assert refusal(read_photo, tmp_path / "0.jpg", "two\nlines\u202e.jpg").startswith("twolines.jpg is")
    assert len(refusal(read_photo, tmp_path / "0.jpg", "x" * 50_000 + ".jpg")) < 200


def write_zip(path, members, compression=zipfile.ZIP_DEFLATED):
    """Writes an archive of names, or entries, and their contents."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def link(name):
    member = zipfile.ZipInfo(name)
    member.create_system, member.external_attr = 3, 0o120777 << 16
    return member


@pytest.fixture
def folder(tmp_path):
    """Where archives are unpacked."""
    folder = tmp_path / "unpacked"
    folder.mkdir()
    return folder


def test_photos_and_archives_are_listed_in_order_with_their_content(tmp_path, folder):
    names = ["a/img_2.jpg", "a/img_10.JPEG", "a/笑顔 😀.png", "چهره.webp", "b\\c.bmp"]
    junk = ["__MACOSX/a/._img_2.jpg", "a/.hidden.jpg", "a/notes.txt", "a/folder.jpg/", "a/inner.zip", "a/clip.mp4"]
    members = {name: name.encode() for name in [*reversed(names), *junk]}
    archive = write_zip(tmp_path / "photos.zip", {**members, link("a/link.jpg"): b"/etc/passwd"})
    (tmp_path / "single.txt").write_bytes(b"single")
    found = unpack([str(archive), tmp_path / "single.txt"], folder)
    assert [upload.name for upload in found] == [
        *("photos.zip/a/img_2.jpg", "photos.zip/a/img_10.JPEG", "photos.zip/a/笑顔 😀.png", "photos.zip/b/c.bmp"),
        *("photos.zip/چهره.webp", "single.txt"),
    ]
    assert [upload.path.read_bytes().decode() for upload in found] == [*names[:3], names[4], names[3], "single"]
    assert [upload.path.suffix for upload in found] == [".jpg", ".jpeg", ".png", ".bmp", ".webp", ".txt"]
    assert {upload.path for upload in found[:-1]} == {path for path in folder.rglob("*") if path.is_file()}


def test_names_in_an_archive_may_be_long_and_odd(tmp_path, folder):
    path = write_zip(tmp_path / "photos.zip", {"9" * 9000 + ".jpg": b"1", "two\nlines\u202e.jpg": b"2"})
    found = unpack([path], folder)
    assert [upload.path.read_bytes() for upload in found] == [b"1", b"2"]
    assert found[0].name.startswith("photos.zip/99")
    assert len(found[0].name) < 200
    assert found[1].name == "photos.zip/twolines.jpg"


def test_archives_of_the_same_names_do_not_mix(tmp_path, folder):
    first = write_zip(tmp_path / "first.zip", {"x.jpg": b"1"})
    second = write_zip(tmp_path / "second", {"x.jpg": b"2"})  # an archive by its content
    found = unpack([first, second], folder) + unpack([first], folder)
    assert [upload.name for upload in found] == ["first.zip/x.jpg", "second/x.jpg", "first.zip/x.jpg"]
    assert [upload.path.read_bytes() for upload in found] == [b"1", b"2", b"1"]


def refused_archive(path, folder, good=()):
    line = refusal(unpack, [*good, path], folder)
    assert list(folder.iterdir()) == []
    return line


@pytest.mark.parametrize("name", ["../x.jpg", "a/../../x.jpg", "/etc/x.jpg", "C:/x.jpg", "C:\\x.jpg", "..\\x.jpg"])
def test_an_archive_that_leads_out_of_its_folder_is_refused(tmp_path, folder, name):
    path = write_zip(tmp_path / "photos.zip", {"good.jpg": encoded(), name: encoded()})
    assert "photos.zip has a photo that lies outside of it" in refused_archive(path, folder)
    assert sorted(tmp_path.iterdir()) == [path, folder]


@pytest.mark.parametrize("members", [{}, {"notes.txt": b""}, {"inner.zip": b""}, {link("x.jpg"): b"/etc/passwd"}])
def test_an_archive_without_photos_is_refused(tmp_path, folder, members):
    path = write_zip(tmp_path / "photos.zip", members)
    assert "There are no photos in photos.zip" in refused_archive(path, folder)


def test_nothing_chosen_is_told(folder):
    assert "There is no photo yet" in refusal(unpack, [], folder)


def patched(path, position, value):
    """Sets a field of the only entry of an archive, in the central directory and, two bytes less far in, beside it."""
    data = bytearray(path.read_bytes())
    for start in [data.index(b"PK\1\2") + position, data.index(b"PK\3\4") + position - 2]:
        data[start : start + len(value)] = value
    path.write_bytes(data)
    return path


def test_an_encrypted_archive_is_refused(tmp_path, folder):
    path = patched(write_zip(tmp_path / "photos.zip", {"x.jpg": encoded()}), 8, b"\1\0")
    assert "has a password" in refused_archive(path, folder)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_methods_that_unpack_without_a_limit_are_refused(tmp_path, folder, method):
    path = write_zip(tmp_path / "photos.zip", {"x.jpg": encoded()}, method)
    assert "Please make an ordinary zip file" in refused_archive(path, folder)


def test_a_damaged_archive_is_refused_as_a_whole(tmp_path, folder):
    good = write_zip(tmp_path / "good.zip", {"1.jpg": encoded()})
    whole = write_zip(tmp_path / "whole.zip", {"1.jpg": encoded(), "2.jpg": encoded()}).read_bytes()
    path = tmp_path / "photos.zip"
    middle = len(whole) // 2
    for content in [
        b"PK\3\4 but no more",
        b"no zip at all",
        whole[:middle],
        whole[middle:],
        whole[: middle + 200] + bytes(99) + whole[middle + 299 :],
        whole.replace(b"2.jpgPK", b"2.jpgKP"),
        whole[:-6] + b"\xff\xff\xff\x7f" + whole[-2:],
    ]:
        path.write_bytes(content)
        assert "photos.zip is damaged" in refused_archive(path, folder, good=[good])
    path.write_bytes(b"")
    assert "photos.zip is empty" in refused_archive(path, folder, good=[good])


def test_a_damaged_photo_does_not_stop_the_others(tmp_path, folder):
    (tmp_path / "empty.jpg").touch()
    path = write_zip(tmp_path / "photos.zip", {"1.jpg": b"", "2.jpg": encoded()})
    found = unpack([tmp_path / "empty.jpg", tmp_path / "gone.jpg", path], folder)
    assert len(found) == 4
    np.testing.assert_array_equal(read_photo(found[3].path), read_image(found[3].path))
    assert refusal(read_photo, found[2].path, found[2].name).startswith("photos.zip/1.jpg is empty")


def test_a_bomb_is_stopped_on_its_way(tmp_path, folder, monkeypatch):
    monkeypatch.setattr(uploads, "UNPACKED_BYTES_AT_LEAST", 1_000_000)
    path = write_zip(tmp_path / "bomb.zip", {"x.bmp": bytes(30_000_000)})  # shrinks a thousand times
    assert path.stat().st_size < 40_000
    written = []
    chunks = uploads._chunks
    monkeypatch.setattr(
        uploads, "_chunks", lambda *arguments: (written.append(len(chunk)) or chunk for chunk in chunks(*arguments))
    )
    assert "bomb.zip is too large when unpacked" in refused_archive(path, folder)
    assert sum(written) < 6_000_000


def test_a_bomb_whose_header_lies_unpacks_no_more_than_it_says(tmp_path, folder):
    path = write_zip(tmp_path / "bomb.zip", {"x.bmp": bytes(30_000_000)})
    patched(path, 24, struct.pack("<I", 1000))
    assert "bomb.zip is damaged" in refused_archive(path, folder)


def test_several_archives_share_the_space(tmp_path, folder, monkeypatch):
    monkeypatch.setattr(uploads, "MAX_UNPACKED_BYTES", 250_000)
    paths = [
        write_zip(tmp_path / f"{number}.zip", {"x.jpg": bytes(100_000)}, zipfile.ZIP_STORED) for number in range(3)
    ]
    assert len(unpack(paths[:2], folder)) == 2
    with pytest.raises(UploadError, match=r"^2\.zip is too large when unpacked"):
        unpack(paths, folder)
    assert len(list(folder.iterdir())) == 1


def test_an_image_of_one_colour_is_no_bomb(tmp_path, folder):
    image = encoded("BMP", np.zeros((400, 400, 3), np.uint8))
    path = write_zip(tmp_path / "photos.zip", {"x.bmp": image})
    assert path.stat().st_size < len(image) / 400
    assert unpack([path], folder)[0].path.read_bytes() == image


def test_too_many_photos_are_refused(tmp_path, folder, monkeypatch):
    monkeypatch.setattr(uploads, "MAX_FILES", 3)
    path = write_zip(tmp_path / "photos.zip", {f"{number}.jpg": b"" for number in range(3)})
    single = tmp_path / "single.jpg"
    assert len(unpack([path], folder)) == 3
    for paths in [[single, path], [path, single], [single] * 4]:
        assert "at most 3 at a time" in refusal(unpack, paths, folder)
    assert len(list(folder.iterdir())) == 1


def test_an_endless_list_of_entries_is_not_read(tmp_path, folder, monkeypatch):
    monkeypatch.setattr(uploads, "MAX_ENTRIES", 100)
    path = write_zip(tmp_path / "photos.zip", {f"{number}.txt": b"" for number in range(101)})
    monkeypatch.setattr(zipfile, "ZipFile", None)
    assert "photos.zip holds too many files" in refused_archive(path, folder)


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


def test_a_video_may_last_as_long_as_the_limit_and_no_longer(tmp_path, monkeypatch):
    path = write_video(tmp_path / "long.mp4", 30)
    monkeypatch.setattr(uploads, "MAX_VIDEO_S", 3)
    check_video(path)
    monkeypatch.setattr(uploads, "MAX_VIDEO_S", 2)
    assert refusal(check_video, path) == "long.mp4 is 3 seconds long. Please cut it to 2 seconds or less."


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
