from __future__ import annotations

import gzip
import io
import os
import random
import stat
import tarfile
import zipfile
from pathlib import Path

import pytest

from dataset_script import file_tree
from dataset_script.bad_input import BadInput
from dataset_script.file_tree import fingerprint, open_file_tree

KINDS = ["folder", "zip", "tar", "tar.gz", "tar.bz2", "tar.xz"]
FILES = {"b/img_10.png": b"ten", "b/img_2.png": b"two", "a/x.png": b"x", "empty/": b""}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_gives_the_same_names_and_bytes_in_natural_order(write_source, kind):
    tree = open_file_tree(write_source(FILES, kind), BadInput("source", "stop"))
    assert list(tree.files) == ["a/x.png", "b/img_2.png", "b/img_10.png"]
    assert {name: tree.read(name) for name in tree.files} == {k: v for k, v in FILES.items() if v}
    assert tree.folders == {"a", "b", "empty"}


@pytest.mark.parametrize("kind", ["folder", "zip", "tar"])
def test_hidden_files_and_leftovers_of_operating_systems_are_passed_over(write_source, kind):
    junk = {"a/.hidden.png": b"", "__MACOSX/a/._x.png": b"", "a/.DS_Store": b"", "a/Thumbs.db": b"", ".git/config": b""}
    tree = open_file_tree(write_source({**FILES, **junk}, kind), BadInput("source", "stop"))
    assert list(tree.files) == ["a/x.png", "b/img_2.png", "b/img_10.png"]


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz"])
@pytest.mark.parametrize("name", ["../evil.png", "a/../../evil.png", "/tmp/evil.png", "..\\evil.png", "C:\\evil.png"])
def test_an_entry_that_leads_out_of_the_archive_is_refused(write_source, kind, name):
    source = write_source({**FILES, name: b"evil"}, kind)
    with pytest.raises(ValueError, match=r"evil\.png leads out of the archive"):
        open_file_tree(source, BadInput("source", "stop"))
    bad = BadInput("source", "skip")
    assert list(open_file_tree(source, bad).files) == ["a/x.png", "b/img_2.png", "b/img_10.png"]
    assert len(bad.left_out) == 1


def test_a_link_in_an_archive_is_refused(tmp_path):
    tar, zipped = tmp_path / "links.tar", tmp_path / "links.zip"
    with tarfile.open(tar, "w") as archive:
        member = tarfile.TarInfo("a/link.png")
        member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(member)
    with zipfile.ZipFile(zipped, "w") as archive:
        info = zipfile.ZipInfo("a/link.png")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, "/etc/passwd")
    for source in (tar, zipped):
        with pytest.raises(ValueError, match=r"a/link\.png is a link"):
            open_file_tree(source, BadInput("source", "stop"))


def test_links_in_a_folder_are_followed_and_a_loop_ends(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/x.png").write_bytes(b"x")
    root = tmp_path / "root"
    root.mkdir()
    (root / "Angry").symlink_to(tmp_path / "elsewhere")
    (root / "loop").symlink_to(root)
    (root / "there").mkdir()
    (root / "back").mkdir()
    (root / "there/to_back").symlink_to(root / "back")
    (root / "back/to_there").symlink_to(root / "there")
    assert list(open_file_tree(root, BadInput("root", "stop")).files) == ["Angry/x.png"]


def test_a_broken_link_in_a_folder_fails_when_it_is_read(tmp_path):
    (tmp_path / "x.png").symlink_to(tmp_path / "gone.png")
    tree = open_file_tree(tmp_path, BadInput("root", "stop"))
    with pytest.raises(ValueError, match="cannot be read"):
        tree.read("x.png")


def test_a_pipe_in_a_folder_is_not_opened(tmp_path):
    os.mkfifo(tmp_path / "x.png")
    assert open_file_tree(tmp_path, BadInput("root", "stop")).files == {}


def test_a_pipe_on_its_own_is_refused(tmp_path):
    os.mkfifo(tmp_path / "faces.zip")
    with pytest.raises(ValueError, match=r"faces\.zip is a pipe or device"):
        open_file_tree(tmp_path / "faces.zip", BadInput("faces.zip", "stop"))


def test_a_name_that_is_not_utf8_is_refused(tmp_path):
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.png")).touch()
    with pytest.raises(ValueError, match=r"udcff\.png' has a name that is not UTF-8"):
        open_file_tree(tmp_path, BadInput("root", "stop"))


@pytest.mark.parametrize("kind", ["tar", "tar.gz", "tar.bz2", "tar.xz"])
def test_tars_that_were_joined_are_read_to_the_last(write_source, kind):
    first = write_source({"a/x.png": b"x"}, kind).read_bytes()
    source = write_source({"b/y.png": b"y"}, kind)
    source.write_bytes(first + source.read_bytes())
    tree = open_file_tree(source, BadInput("source", "stop"))
    assert {name: tree.read(name) for name in tree.files} == {"a/x.png": b"x", "b/y.png": b"y"}


def zipped(*names):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in names:
            archive.writestr(name, b"old")
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["tar", "tar.gz", "tar.bz2", "tar.xz"])
def test_a_tar_that_ends_in_a_zip_is_a_tar(write_source, kind):
    tree = open_file_tree(write_source({"a/x.png": b"x", "z.zip": zipped("a/y.png")}, kind), BadInput("source", "stop"))
    assert list(tree.files) == ["a/x.png", "z.zip"]


@pytest.mark.parametrize("start", [b"Rar!\x1a\7\1\0", b"\x28\xb5\x2f\xfd", b"damaged"])
def test_another_file_that_ends_in_a_zip_is_no_zip(tmp_path, start):
    (tmp_path / "faces").write_bytes(start + bytes(600) + zipped("a/y.png"))
    with pytest.raises(ValueError, match=r"faces is (a RAR archive|compressed by zstd|not a folder)"):
        open_file_tree(tmp_path / "faces", BadInput("source", "stop"))


def test_a_zip_that_unpacks_itself_is_read(tmp_path):
    (tmp_path / "faces.exe").write_bytes(b"MZ" + bytes(600) + zipped("a/y.png"))
    assert list(open_file_tree(tmp_path / "faces.exe", BadInput("source", "stop")).files) == ["a/y.png"]


@pytest.mark.parametrize("kind", ["tar", "tar.gz"])
def test_a_tar_with_a_damaged_header_is_named(write_source, kind):
    data = bytearray(write_source({"a/x.png": b"x", "a/y.png": b"y"}, "tar").read_bytes())
    data[1024:1074] = 50 * b"\xff"  # of the second, where Python's library stops without an error
    source = write_source({}, kind)
    source.write_bytes(gzip.compress(data) if kind == "tar.gz" else data)
    with pytest.raises(ValueError, match=r"source\.tar.* is truncated or damaged \(what is at byte 1024 is no header"):
        open_file_tree(source, BadInput("source", "stop"))


@pytest.mark.parametrize("at", [0, 1])
def test_a_tar_with_an_odd_header_is_named(tmp_path, at):
    source = tmp_path / "source.tar"
    with tarfile.open(source, "w") as archive:
        for number in range(2):
            member = tarfile.TarInfo(f"a/{number}.png")
            member.pax_headers = {"GNU.sparse.size": "x"} if number == at else {}
            archive.addfile(member)
    with pytest.raises(ValueError, match=r"source\.tar is truncated or damaged \(invalid literal"):
        open_file_tree(source, BadInput("source", "stop"))


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_a_second_entry_of_one_name_is_refused(write_source, kind):
    source = write_source({"a/x.png": b"first", "a//x.png": b"second"}, kind)
    with pytest.raises(ValueError, match=r"a//x\.png has the name of an earlier entry"):
        open_file_tree(source, BadInput("source", "stop"))
    bad = BadInput("source", "skip")
    assert open_file_tree(source, bad).read("a/x.png") == b"first"
    assert len(bad.left_out) == 1


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz", "tar.bz2", "tar.xz"])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.8])
def test_a_truncated_archive_is_named(write_source, kind, share):
    noise = random.Random(0).randbytes(20_000)
    source = write_source({f"a/{i}.png": noise for i in range(4)}, kind)
    source.write_bytes(source.read_bytes()[: int(share * source.stat().st_size)])
    with pytest.raises(ValueError, match=rf"source\.{kind}.*damaged.*get it again"):
        open_file_tree(source, BadInput("source", "stop"))


def test_a_file_of_another_kind_is_refused(tmp_path):
    path = tmp_path / "notes.md"
    path.write_text("no archive")
    with pytest.raises(ValueError, match=r"notes\.md is not a folder, zip, tar, csv or Parquet file"):
        open_file_tree(path, BadInput("notes", "stop"))


def test_a_damaged_entry_fails_when_it_is_read(write_source):
    source = write_source({"a/x.png": b"abcdefgh" * 100}, "zip")
    data = bytearray(source.read_bytes())
    data[data.index(b"abcdefgh")] ^= 255
    source.write_bytes(data)
    with pytest.raises(ValueError, match="cannot be read"):
        open_file_tree(source, BadInput("source", "stop")).read("a/x.png")


def test_a_file_over_the_limit_is_not_read_to_its_end(write_source, monkeypatch):
    monkeypatch.setattr(file_tree, "MAX_FILE_BYTES", 10)
    tree = open_file_tree(write_source({"a/x.png": bytes(11), "a/y.png": bytes(10)}, "zip"), BadInput("s", "stop"))
    assert len(tree.read("a/y.png")) == 10
    with pytest.raises(ValueError, match="is larger than"):
        tree.read("a/x.png")


@pytest.mark.parametrize("change", ["add", "remove", "rename", "write"])
def test_the_fingerprint_of_a_folder_sees_a_change(write_source, change):
    source = write_source(FILES)
    before = fingerprint(source)
    assert fingerprint(source) == before
    path = source / "a/x.png"
    if change == "add":
        (source / "a/y.png").write_bytes(b"")
    elif change == "remove":
        path.unlink()
    elif change == "rename":
        path.rename(source / "b/x.png")
    else:
        path.write_bytes(b"longer")
    assert fingerprint(source) != before


def test_the_fingerprint_of_an_archive_sees_a_change(write_source):
    before = fingerprint(write_source(FILES, "zip"))
    assert fingerprint(write_source({**FILES, "a/y.png": b""}, "zip")) != before


def test_the_fingerprint_sees_files_elsewhere(tmp_path):
    table, image = tmp_path / "faces.jsonl", tmp_path / "x.png"
    table.touch()
    seen = []
    for data in (None, b"x", b"longer"):
        if data is not None:
            image.write_bytes(data)
        seen.append(fingerprint(table, [str(image), "no\0path", "x" * 5000]))
    assert len({fingerprint(table), *seen}) == 4


def test_the_order_inside_an_archive_does_not_matter(tmp_path):
    first, second = tmp_path / "1.tar", tmp_path / "2.tar"
    for path, names in ((first, ["a/1", "a/2"]), (second, ["a/2", "a/1"])):
        with tarfile.open(path, "w") as archive:
            for name in names:
                member = tarfile.TarInfo(name)
                member.size = 3
                archive.addfile(member, io.BytesIO(name.encode()))
    trees = [open_file_tree(path, BadInput("source", "stop")) for path in (first, second)]
    assert [list(tree.files) for tree in trees] == [["a/1", "a/2"]] * 2
    assert [tree.read("a/2") for tree in trees] == [b"a/2"] * 2


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"


@pytest.mark.parametrize("name", ["faces.zip", "faces.tar.gz", "fer2013.csv", "faces"])
def test_a_git_lfs_pointer_on_its_own_is_refused_as_one(tmp_path, name):
    (tmp_path / name).write_bytes(POINTER)
    with pytest.raises(ValueError, match=rf"{name} is a Git LFS pointer.*run `git lfs pull`"):
        open_file_tree(tmp_path / name, BadInput("source", "stop"))


@pytest.mark.parametrize("kind", ["folder", "zip", "tar"])
def test_a_csv_that_is_a_git_lfs_pointer_is_refused_as_one(write_source, kind):
    tree = open_file_tree(write_source({"fer2013.csv": POINTER}, kind), BadInput("source", "stop"))
    for read in (tree.header, lambda name: list(tree.rows(name))):
        with pytest.raises(ValueError, match=r"fer2013\.csv is a Git LFS pointer.*run `git lfs pull`"):
            read("fer2013.csv")


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("faces.rar", b"Rar!\x1a\7\1\0" + bytes(99), "a RAR archive"),
        ("faces.7z", b"7z\xbc\xaf'\x1c\0\4" + bytes(99), "a 7z archive"),
        ("faces.tar.zst", b"\x28\xb5\x2f\xfd" + bytes(99), "compressed by zstd"),
        ("fer2013.csv.gz", gzip.compress(b"emotion,pixels\n", mtime=0), "compressed and holds no tar"),
    ],
)
def test_what_is_packed_otherwise_is_to_be_unpacked(tmp_path, name, content, kind):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=rf"{name} is {kind}; unpack it"):
        open_file_tree(tmp_path / name, BadInput("source", "stop"))


@pytest.mark.parametrize(
    ("name", "inside", "message"),
    [
        ("fer2013.xlsx", ["[Content_Types].xml", "xl/workbook.xml"], "is an Excel workbook; save the sheet as CSV"),
        ("fer2013.csv", ["[Content_Types].xml", "xl/workbook.xml"], "is an Excel workbook; save the sheet as CSV"),
        (
            "fer2013.ods",
            ["mimetype", "content.xml"],
            "is an OpenDocument file; if it is a sheet, save .* as CSV",
        ),
        ("faces.docx", ["[Content_Types].xml", "word/document.xml"], "is an Office document; save the images as files"),
        ("faces.npz", ["images.npy", "labels.npy"], "holds arrays of NumPy; save the images as files"),
    ],
)
def test_a_document_that_is_a_zip_is_named_as_what_it_is(tmp_path, name, inside, message):
    (tmp_path / name).write_bytes(zipped(*inside))
    with pytest.raises(ValueError, match=f"{name} {message}"):
        open_file_tree(tmp_path / name, BadInput("source", "stop"))


def test_an_old_workbook_is_named_as_what_it_is(tmp_path):
    (tmp_path / "fer2013.xls").write_bytes(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600))
    with pytest.raises(ValueError, match=r"fer2013\.xls is a document of an old Office; .*as CSV"):
        open_file_tree(tmp_path / "fer2013.xls", BadInput("source", "stop"))


def test_arrays_beside_images_are_passed_on(write_source):
    tree = open_file_tree(write_source({"a/x.png": b"x", "landmarks.npy": b"n"}, "zip"), BadInput("source", "stop"))
    assert list(tree.files) == ["a/x.png", "landmarks.npy"]
