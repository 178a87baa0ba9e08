"""Classifies faces with onnxruntime, without torch and transformers.

The file carries in its metadata, as JSON, what a folder has in its configuration: `labels`, `image_size`, `image_mean`,
`image_std` and `resample`.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.special import softmax

from ..names import file_name
from .classifier import check_labels, reason_of
from .file_kinds import open_regular
from .forks import check_is_not_forked

METADATA = ("labels", "image_size", "image_mean", "image_std", "resample")


class OnnxClassifier:
    """A `Classifier` on the CPU from a `.onnx` file that `involvit export` wrote.

    It uses as many threads as there are cores, or the first number of OMP_NUM_THREADS. A copy loads the file again.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no ONNX model, or lacks the metadata, or two classes have one name.
        ModuleNotFoundError: If onnxruntime is not installed.
    """

    def __init__(self, path: Path) -> None:
        check_is_not_forked()
        try:
            import onnxruntime
        except ModuleNotFoundError:
            raise ModuleNotFoundError(f"{path} needs onnxruntime: pip install 'involvit[onnx]'") from None
        try:
            with open_regular(path) as file:
                content = file.read()
        except FileNotFoundError:
            raise FileNotFoundError(f"{path}: no such file; write it by `involvit export DIR --format onnx`") from None
        except IsADirectoryError:
            raise ValueError(f"{path} is a folder; name a file that `involvit export` wrote") from None
        except OSError as error:
            raise ValueError(f"{path}: cannot be read ({error.strerror}); name another file") from error
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = _num_threads()
        options.log_severity_level = 3  # errors only
        try:
            self._session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # its exceptions derive from Exception directly, one class for each status
            raise ValueError(f"{path}: onnxruntime cannot load it ({error}); export it again") from error
        is_half = self._session.get_inputs()[0].type == "tensor(float16)"  # as tools make of float32
        self._type = np.float16 if is_half else np.float32
        metadata = self._session.get_modelmeta().custom_metadata_map
        if missing := [key for key in METADATA if key not in metadata]:
            raise ValueError(f"{path} has no {missing[0]!r} in its metadata; write it by `involvit export`")
        self._path = path.absolute()
        self.name = f"{file_name(path.name)}@{hashlib.sha256(content).hexdigest()[:8]}"
        try:
            labels, self.image_size, mean, std, resample = (json.loads(metadata[key]) for key in METADATA)
            if not (isinstance(labels, list) and all(isinstance(label, str) for label in labels)):
                raise TypeError(f"labels are {labels}")
            self.labels = tuple(labels)
            self._settings = self.image_size, mean, std, resample
            with np.errstate(all="ignore"):  # refused below
                black = pixel_values_of([np.zeros((1, 1, 3), np.uint8)], *self._settings)
            if not np.isfinite(black).all():
                raise ValueError(f"image_size is {self.image_size}, image_std {metadata['image_std']}")
        except Exception as error:
            raise ValueError(
                f"{path} has metadata that cannot be used ({reason_of(error)}); export it again"
            ) from error
        check_labels(self.labels, path)

    def __reduce__(self) -> tuple[type, tuple[Path]]:
        return type(self), (self._path,)

    def __call__(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """Classifies a batch; see `Classifier`."""
        if not images:
            return np.empty((0, len(self.labels)), np.float32)
        pixel_values = self.preprocess(images).astype(self._type, copy=False)
        (logits,) = self._session.run(["logits"], {"pixel_values": pixel_values})
        return softmax(logits.astype(np.float32, copy=False), axis=1)

    def preprocess(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """Resizes and normalises as the model's image processor does, to within one grey level.

        Returns:
            `pixel_values`, float32 [N, 3, image_size, image_size].
        """
        return pixel_values_of(images, *self._settings)


def pixel_values_of(
    images: Sequence[np.ndarray], image_size: int, mean: Sequence[float], std: Sequence[float], resample: str
) -> np.ndarray:
    """Resizes images and normalises them by what a file's metadata says.

    Returns:
        float32 [N, 3, image_size, image_size].
    """
    method = Image.Resampling[resample.upper()]
    pixels = np.stack([np.asarray(Image.fromarray(image).resize((image_size, image_size), method)) for image in images])
    # pixel * scale + shift = (pixel / 255 - mean) / std
    mean, std = (np.array(of_channels, np.float32).reshape(3, 1, 1) for of_channels in (mean, std))
    return pixels.transpose(0, 3, 1, 2) * (1 / (255 * std)) + -mean / std


def _num_threads() -> int:
    """Returns how many threads OMP_NUM_THREADS asks for, as torch reads it; 0 stands for all cores."""
    number = re.match(r"\s*\+?(\d+)", os.environ.get("OMP_NUM_THREADS", ""))
    return int(number[1]) if number and len(number[1]) < 10 else 0
