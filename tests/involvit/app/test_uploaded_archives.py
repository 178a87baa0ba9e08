from __future__ import annotations

import struct
import zipfile

import numpy as np
import pytest

from involvit.app import uploads
from involvit.app.uploads import UploadError, read_photo, unpack
from involvit.prediction.images import read_image

from .upload_files import encoded, refusal


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
    assert {upload.path for upload in found[:-1]} == {path for path in folder.rglob("*") if path.is_file()}


def test_a_photo_in_an_archive_is_known_by_its_content_too(tmp_path, folder):
    members = {"photo": encoded(), "b.jpg_large": encoded("PNG"), "notes.md": b"BMW", "raw.nef": encoded("TIFF")}
    found = unpack([write_zip(tmp_path / "photos.zip", members)], folder)
    assert [upload.name for upload in found] == ["photos.zip/b.jpg_large", "photos.zip/photo"]


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


def test_a_bomb_is_not_unpacked(tmp_path, folder, monkeypatch):
    monkeypatch.setattr(uploads, "UNPACKED_BYTES_AT_LEAST", 1_000_000)
    path = write_zip(tmp_path / "bomb.zip", {"x.bmp": bytes(30_000_000)})  # shrinks a thousand times
    assert path.stat().st_size < 40_000
    monkeypatch.setattr(zipfile.ZipFile, "open", None)  # nothing of it is unpacked
    assert "bomb.zip is too large when unpacked" in refused_archive(path, folder)


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
