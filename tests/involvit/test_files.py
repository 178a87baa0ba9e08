from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from involvit.files import (
    check_output_folder,
    expand_user,
    is_ignored,
    is_lfs_pointer,
    locked,
    natural_key,
    whole_file,
    whole_folder,
)


def test_natural_order_counts():
    assert sorted(["f10", "f9", "e100", "f9a"], key=natural_key) == ["e100", "f9", "f9a", "f10"]


@pytest.mark.parametrize(
    "path",
    [
        *("a/.DS_Store", "__MACOSX/a.png", "a/Icon\r", "a/Icon\uf00d", "Temporary Items/a.png"),
        *("a/Thumbs.db", "ehthumbs_vista.db", "Desktop.ini", "Thumbs.db:encryptable", "a/b.jpg:Zone.Identifier"),
        *("$RECYCLE.BIN/S-1-5-21/$R1.png", "System Volume Information/a.png", "lost+found/a.png", "a/Picasa.ini"),
        *("a/@eaDir/b.jpg/SYNOPHOTO_THUMB_M.jpg", "#recycle/b.png", "@Recycle/b.png", "~snapshot/daily/b.png"),
    ],
)
def test_hidden_files_and_those_of_systems_file_managers_and_servers_are_ignored(path):
    assert is_ignored(path)


@pytest.mark.parametrize("path", ["a/b.png", "#1/a.png", "@anna/a.png", "Icons/a.png", "recycled/a.png", "12:30.png"])
def test_other_files_are_not_ignored(path):
    assert not is_ignored(path)


@pytest.mark.parametrize("before", [None, "old"])
def test_a_file_appears_whole_or_not_at_all(tmp_path, before):
    path = tmp_path / "new" / "table.csv"
    if before is not None:
        path.parent.mkdir()
        path.write_text(before)
    with pytest.raises(RuntimeError), whole_file(path) as beside:
        assert beside.suffix == ".csv"
        beside.write_text("half")
        raise RuntimeError
    assert [file.read_text() for file in path.parent.iterdir()] == ([] if before is None else [before])
    with whole_file(path) as beside:
        beside.write_text("new")
        assert not path.exists() or path.read_text() == before
    assert [file.read_text() for file in path.parent.iterdir()] == ["new"]


def write(out, overwrite=False, text="new"):
    with whole_folder(out, overwrite, own=("file",)) as folder:
        (folder / "file").write_text(text)


def test_the_folder_appears_whole_with_nothing_beside_it(tmp_path):
    write(tmp_path / "a/out")
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["out"]
    assert (tmp_path / "a/out/file").read_text() == "new"


@pytest.mark.parametrize("there_before", [False, True])
def test_a_failure_leaves_what_was_there(tmp_path, there_before):
    out = tmp_path / "out"
    if there_before:
        write(out, text="old")
    with pytest.raises(RuntimeError), whole_folder(out, True, own=("file",)) as folder:
        (folder / "file").write_text("half")
        raise RuntimeError
    assert [path.name for path in tmp_path.iterdir()] == (["out"] if there_before else [])
    if there_before:
        assert (out / "file").read_text() == "old"


def test_a_folder_that_is_not_empty_is_replaced_only_on_request(tmp_path):
    write(tmp_path / "out", text="old")
    with pytest.raises(FileExistsError, match=r"not empty.*--overwrite"):
        write(tmp_path / "out")
    write(tmp_path / "out", overwrite=True)
    assert (tmp_path / "out/file").read_text() == "new"


def test_a_folder_with_files_of_others_is_never_replaced(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(FileExistsError, match=r"holds 'thesis\.tex'"):
        write(tmp_path, overwrite=True)
    assert (tmp_path / "thesis.tex").exists()


def test_a_file_in_its_place_is_an_error(tmp_path):
    (tmp_path / "out").write_text("")
    with pytest.raises(FileExistsError, match="is a file"):
        write(tmp_path / "out", overwrite=True)


def test_a_tilde_is_the_home_of_a_user_where_there_is_one(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert expand_user("~/x") == tmp_path / "x"
    assert expand_user("~nobody-of-that-name/x") == Path("~nobody-of-that-name/x")


@pytest.mark.parametrize("dangling", [False, True])
def test_a_link_stays_and_what_it_leads_to_is_written(tmp_path, dangling):
    (tmp_path / "there").mkdir()
    for name in ("folder", "file.csv"):
        (tmp_path / f"link_{name}").symlink_to(tmp_path / "there" / name)
    if not dangling:
        write(tmp_path / "there/folder", text="old")
        (tmp_path / "there/file.csv").write_text("old")
    write(tmp_path / "link_folder", overwrite=True)
    with whole_file(tmp_path / "link_file.csv") as beside:
        beside.write_text("new")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link_file.csv", "link_folder", "there"]
    assert all(path.is_symlink() for path in tmp_path.glob("link_*"))
    assert sorted(path.name for path in (tmp_path / "there").iterdir()) == ["file.csv", "folder"]
    assert [(tmp_path / "there" / name).read_text() for name in ("file.csv", "folder/file")] == ["new", "new"]


def test_a_link_that_leads_back_to_itself_is_an_error(tmp_path):
    (tmp_path / "out").symlink_to(tmp_path / "out")
    with pytest.raises(FileExistsError, match="back to itself"):
        write(tmp_path / "out", overwrite=True)
    with pytest.raises(FileExistsError, match="back to itself"), whole_file(tmp_path / "out"):
        pass


def test_where_no_file_can_be_written_is_told_before_the_work(tmp_path, monkeypatch):
    (tmp_path / "report.json").mkdir()
    is_folder = pytest.raises(
        IsADirectoryError, match=r"report\.json is a folder, but is to be a file; move it away, or"
    )
    with is_folder, whole_file(tmp_path / "report.json"):
        pytest.fail("the work began")
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # of root, nothing is ever refused
    is_forbidden = pytest.raises(PermissionError, match="cannot be written to; name another folder")
    with is_forbidden, whole_file(tmp_path / "table.csv"):
        pytest.fail("the work began")


def test_a_lock_that_may_not_be_written_is_named_with_what_to_do(tmp_path, nobody):
    (tmp_path / "theirs").mkdir(mode=0o555)
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared").chmod(0o777)
    (tmp_path / "shared" / "lock").touch(mode=0o444)
    for lock, message in (
        ("theirs/lock", "theirs cannot be written to; name another folder$"),
        ("shared/lock", r"shared/lock cannot be opened for writing \(Permission denied\); if no .* remove it$"),
    ):
        with nobody(), pytest.raises(OSError, match=message), locked(Path(lock), "taken"):
            pass


def test_an_error_of_the_system_names_the_file(tmp_path):
    with pytest.raises(OSError, match=r"No space left on device: .*table\.csv"), whole_file(tmp_path / "table.csv"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_folder_that_cannot_be_made_is_refused_before_the_work(tmp_path, monkeypatch):
    (tmp_path / "photo.jpg").touch()
    with pytest.raises(NotADirectoryError, match=r"photo\.jpg is a file, so .*report cannot be made; name another"):
        check_output_folder(tmp_path / "photo.jpg" / "new" / "report", overwrite=False, own=())
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # of root, nothing is ever refused
    with pytest.raises(PermissionError, match="cannot be written to; name another folder than"):
        check_output_folder(tmp_path / "new" / "report", overwrite=False, own=())


def test_a_git_lfs_pointer_is_known_by_its_first_line():
    pointer = (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2\n"
    )
    assert is_lfs_pointer(pointer[:64])
    assert not is_lfs_pointer(b"version https://example.com")
