"""What is said of paths that lead to nothing that can be read."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from involvit import Predictor
from involvit.prediction.classifier import load_classifier
from involvit.prediction.file_kinds import is_image_or_video, is_video
from involvit.prediction.images import find_files, read_image
from involvit.prediction.predict_files import predict_files

from .noise_videos import write_video


def test_one_of_several_folders_may_be_empty(tmp_path, write_images, onnx_model, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_images(Path("faces"), "1.png")
    Path("empty").mkdir()
    inputs = ["empty", "faces", "empty/*.jpg"]
    assert predict_files(inputs, str(onnx_model), False, None, None) == 1
    said = capsys.readouterr()
    assert said.out.startswith("faces/1.png: ")
    assert said.err.endswith(
        "empty was left out: no image and no video there\nempty/*.jpg was left out: no image and no video there\n"
    )
    with pytest.raises(FileNotFoundError, match=r"^empty: no image and no video there; give JPEG"):
        predict_files(["empty", "empty"], str(onnx_model), False, None, None)
    with pytest.raises(FileNotFoundError, match=r"^nowhere: no such file or folder"):
        predict_files(["faces", "nowhere"], str(onnx_model), False, None, None)


def test_one_of_several_folders_may_be_forbidden(tmp_path, write_images, nobody):
    write_images(tmp_path / "faces", "1.png")
    (tmp_path / "secret").mkdir(0)
    told = []
    with nobody():
        assert find_files(["secret", "faces"], told.append) == [Path("faces/1.png")]
    assert [error.filename for error in told] == ["secret"]
    (tmp_path / "secret").chmod(0o700)


def test_photos_and_archives_that_are_not_read_are_told_in_a_line(tmp_path, write_images, caplog):
    write_images(tmp_path, "1.png")
    Image.new("RGB", (8, 8)).save(tmp_path / "b.dng", "TIFF")
    (tmp_path / "a.zip").write_bytes(b"PK\3\4")
    (tmp_path / "notes.txt").write_text("hello")
    assert find_files([tmp_path]) == [tmp_path / "1.png"]
    line = f"{tmp_path}: left out raw photos and archives (2, such as {tmp_path}/a.zip); convert or unpack them"
    assert [record.getMessage() for record in caplog.records] == [line]


RAW = {
    **dict.fromkeys(
        ["a.NRW", "a.gpr", "a.sr2", "a.kdc", "a.iiq", "a.dcr", "a.mef", "a.erf", "a.ptx", "a.odd"], b"II*\0"
    ),
    **{"a.x3f": b"FOVb", "a.mrw": b"\0MRM", "a.crw": b"II\x1a\0\0\0HEAPCCDR", "a.raw": b"IIU\0", "x.orf": b"IIRO"},
    **{"no_suffix": b"FUJIFILMCCD-RAW", "a.cr3": b"\0\0\0\x18ftypcrx ", "damaged.dng": b"hello"},
}
ARCHIVES = dict.fromkeys(
    ["a.zip", "a.z01", "a.cbz", "a.rar", "a.iso", "a.tar.zst", "a.TZST", "a.tar.lz4", "a.7z.001"], b""
)
ARCHIVES |= {"a.bin": b"7z\xbc\xaf\x27\x1c", "b": b"Rar!\x1a\x07", "c": b"PK\3\4"}


@pytest.mark.parametrize("name", [*RAW, *ARCHIVES])
def test_every_kind_of_them_is_told_in_a_folder_and_refused_by_name(tmp_path, write_images, caplog, name):
    write_images(tmp_path, "1.png")
    content = RAW.get(name) or ARCHIVES[name]
    (tmp_path / name).write_bytes(content + bytes(60))
    assert find_files([tmp_path]) == [tmp_path / "1.png"]
    assert f"left out raw photos and archives (1, such as {tmp_path / name})" in caplog.text
    what = "a raw photo; convert it to JPEG or PNG" if name in RAW else "an archive; unpack it, and name the folder"
    with pytest.raises(ValueError, match=f"{name}: is {what}$"):
        read_image(tmp_path / name)


def test_other_files_are_left_out_in_silence(tmp_path, write_images, caplog):
    write_images(tmp_path, "1.png")
    for name in ("notes.txt", "table.xlsx", "arrays.npz", "rows.json.zst", "1.001", "texts.tar.gz", "s.r0"):
        (tmp_path / name).write_bytes(b"PK\3\4" if name.endswith(("x", "z")) else b"\x28\xb5\x2f\xfd")
    (tmp_path / "texts.tar.gz").write_bytes(b"")
    assert tmp_path / "1.png" in find_files([tmp_path])
    assert caplog.messages == []


def test_the_preview_in_a_raw_photo_is_not_taken_for_it(tmp_path, onnx_model, capsys):
    Image.new("RGB", (160, 120)).save(tmp_path / "DSC.NEF", "TIFF")
    assert predict_files([str(tmp_path / "DSC.NEF")], str(onnx_model), False, None, None) == 1
    assert capsys.readouterr().out == f"{tmp_path}/DSC.NEF: is a raw photo; convert it to JPEG or PNG\n"


def test_a_jpeg_xl_photo_is_found_and_told(tmp_path):
    (tmp_path / "photo.jxl").write_bytes(b"\xff\x0a" + bytes(60))
    (tmp_path / "photo").write_bytes(b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(60))
    for path in (tmp_path / "photo.jxl", tmp_path / "photo"):
        assert is_image_or_video(path)
    with pytest.raises(ValueError, match=r"photo\.jxl: cannot be read as an image \(unknown format\); convert it to"):
        read_image(tmp_path / "photo.jxl")


@pytest.mark.parametrize("box", [b"uuid", b"styp", b"pnot"])
def test_a_video_may_begin_with_another_box(tmp_path, box):
    content = write_video(tmp_path / "a.mp4").read_bytes()
    (tmp_path / "video").write_bytes(b"\0\0\0\x18" + box + bytes(16) + content)
    assert is_video(tmp_path / "video")


URLS = ["https://example.org/a.jpg", "https://example.org/a.jpg?size=2", "http://x.org/a.mp4", "s3://bucket/*.png"]


@pytest.mark.parametrize("url", URLS)
def test_a_url_is_told_whole(onnx_model, url):
    for read in (lambda: find_files([url]), lambda: Predictor(onnx_model)(url)):
        with pytest.raises((ValueError, FileNotFoundError)) as caught:
            read()
        assert str(caught.value) == f"{url} is a URL, and those are not read; download it first, and name the file"


def test_a_url_of_a_model_is_told():
    for url in ("https://huggingface.co/someone/model", "https://example.org/model.onnx"):
        with pytest.raises(ValueError, match=f"^{url} is a URL; name the model's id on the Hub"):
            load_classifier(url)


def test_what_looks_like_a_url_and_is_there_is_a_file(tmp_path, monkeypatch, write_images):
    monkeypatch.chdir(tmp_path)
    (path,) = write_images(Path("http:/x.org"), "a.png")
    assert find_files(["http://x.org/a.png"]) == [path]
