"""What classifies faces, whatever runs the model: torch or onnxruntime."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from textwrap import shorten
from typing import Protocol

import numpy as np

from ..files import expand_user, is_url


class Classifier(Protocol):
    """Turns images of faces into probabilities.

    Attributes:
        labels: Names of the classes.
        image_size: Height and width in pixels of the model's input; images of any size are resized to it.
        name: The model's name and a digest of its weights, to tell results of different models apart.
    """

    labels: tuple[str, ...]
    image_size: int
    name: str

    def preprocess(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """Resizes and normalises as the model's image processor does.

        Returns:
            `pixel_values`, float32 [N, 3, height, width].
        """
        ...

    def __call__(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """Classifies a batch of RGB images, uint8 [H, W, 3], whose sizes may differ.

        Returns:
            Probabilities, float32 [N, len(labels)]; rows add up to 1.
        """
        ...


def check_labels(labels: Sequence[str], model: str | Path) -> None:
    """Raises ValueError, which names the model, if its classes are not two or more, each of a text of its own."""
    if len(labels) < 2:
        raise ValueError(f"{model} has fewer than two classes; name a model that chooses one of several")
    if odd := [label for label in labels if not (isinstance(label, str) and label and label == _readable(label))]:
        raise ValueError(f"{model} has a class named {odd[0]!r}; give it a text as its name in its configuration")
    if doubled := [label for label, count in Counter(labels).items() if count > 1]:
        raise ValueError(f"{model} has several classes named {doubled[0]!r}; rename them in its configuration")


def _readable(label: str) -> str:
    return label.encode("utf-8", "replace").decode()


def check_finite(probabilities: np.ndarray, model: str) -> None:
    """Raises ValueError, which names the model, if an answer is infinite or not a number."""
    if not np.isfinite(probabilities).all():
        raise ValueError(
            f"{model} answers values that are not finite: its weights are damaged, or too large for their precision"
        )


def default_model() -> Path:
    """Returns the folder of the model that comes with the package, or with the checkout."""
    installed = Path(__file__).parents[1] / "default_model"
    return installed if installed.exists() else Path(__file__).parents[2] / "checkpoints" / "involvit-tiny"


def load_classifier(model: str | Path | None = None, trust_remote_code: bool = True) -> Classifier:
    """Loads a model for inference.

    Args:
        model: A file ending in `.onnx` as `involvit export` writes it, which is run without torch; or a folder or Hub
            id that `AutoModelForImageClassification` loads; by default the model that comes with the package.
        trust_remote_code: Whether code that a model brings is run; see `TorchClassifier`.

    Raises:
        FileNotFoundError: If there is no such file or folder.
        ValueError: If it cannot be loaded; the message says what would work.
        ModuleNotFoundError: If onnxruntime is needed and not installed.
    """
    if model == "":
        raise ValueError("the name of the model is empty; name a model, or leave it out for the one of the package")
    model = default_model() if model is None else model
    if is_url(model):
        raise ValueError(f"{model} is a URL; name the model's id on the Hub (user/name), or a folder with its files")
    path = expand_user(model)
    is_onnx = path.suffix.lower() == ".onnx" and not path.is_dir()
    try:
        if is_onnx:
            from .onnx_classifier import OnnxClassifier

            classifier: Classifier = OnnxClassifier(path)
        else:
            from .torch_classifier import TorchClassifier

            classifier = TorchClassifier(model, trust_remote_code)
    except (ValueError, OSError, ImportError):  # they name the model
        raise
    except Exception as error:  # settings of every kind, from anywhere
        raise ValueError(f"{model} has settings that cannot be used: {reason_of(error)}") from error
    _try_out(classifier, model)
    return classifier


def _try_out(classifier: Classifier, model: str | Path) -> None:
    """Raises ValueError, which names the model, if it does not take images of any size, or answers something else."""
    images = [np.full((height, width, 3), 128, np.uint8) for height, width in ((40, 40), (24, 48))]
    try:
        pixel_values, answers = classifier.preprocess(images), classifier(images)
    except Exception as error:
        raise ValueError(f"{model} cannot classify images, its settings do not fit it: {reason_of(error)}") from error
    if not np.isfinite(pixel_values).all():
        settings = "image_mean, image_std (which may not be 0) or rescale_factor"
        raise ValueError(
            f"{model} makes pixels that are not finite: correct {settings} in its preprocessor_config.json"
        )
    if answers.shape != (2, len(classifier.labels)):
        given = f"{len(classifier.labels)} labels, but answers {list(answers.shape[1:])} values an image"
        raise ValueError(f"{model} has {given}; correct its labels, or export it again")


def reason_of(error: Exception) -> str:
    """Returns the kind and text of a library's error, on one line and not too long."""
    return shorten(f"{type(error).__name__}: {error}", 300)
