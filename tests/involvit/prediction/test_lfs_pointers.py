"""Files of a clone without Git LFS: their pointers are told wherever a file is read."""

from __future__ import annotations

import io
import tarfile

import pytest

from involvit.prediction.classifier import load_classifier
from involvit.prediction.face_detection import load_face_detector
from involvit.prediction.images import read_image, read_stored_image, read_video
from involvit.prediction.shards import Shard

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 1234\n"

READERS = {
    "photo.png": read_image,
    "clip.mp4": lambda path: next(read_video(path)),
    "faces.parquet": lambda path: next(Shard(path).images()),
    "faces.tar": lambda path: next(Shard(path).images()),
    "model.onnx": load_classifier,
    "yunet.onnx": load_face_detector,
}


@pytest.mark.parametrize("name", READERS)
def test_a_pointer_is_told(tmp_path, name):
    (tmp_path / name).write_bytes(POINTER)
    with pytest.raises(ValueError, match=rf"{name}.*it is a Git LFS pointer, .* run `git lfs pull`") as caught:
        READERS[name](tmp_path / name)
    assert "\n" not in str(caught.value)


def test_a_pointer_in_a_tar_is_told(tmp_path):
    with tarfile.open(tmp_path / "faces.tar", "w") as tar:
        member = tarfile.TarInfo("a.png")
        member.size = len(POINTER)
        tar.addfile(member, io.BytesIO(POINTER))
    (image,) = Shard(tmp_path / "faces.tar").images()
    with pytest.raises(ValueError, match=r"faces\.tar#a\.png is a Git LFS pointer, .* run `git lfs pull`"):
        read_stored_image(image)
