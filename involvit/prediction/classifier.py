"""What classifies faces, whatever runs the model: torch or onnxruntime."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from ..files import expand_user


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

    def __call__(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """Classifies a batch of RGB images, uint8 [H, W, 3], whose sizes may differ.

        Returns:
            Probabilities, float32 [N, len(labels)]; rows add up to 1.
        """
        ...


def check_labels(labels: Sequence[str], model: str | Path) -> None:
    """Raises ValueError, which names the model, if its classes are not at least two, each of a name of its own."""
    if len(labels) < 2:
        raise ValueError(f"{model} has fewer than two classes; name a model that chooses one of several")
    if doubled := [label for label, count in Counter(labels).items() if count > 1]:
        raise ValueError(f"{model} has several classes named {doubled[0]!r}; rename them in its configuration")


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
    path = expand_user(model)
    if path.suffix.lower() == ".onnx" and not path.is_dir():
        from .onnx_classifier import OnnxClassifier

        return OnnxClassifier(path)
    from .torch_classifier import TorchClassifier

    return TorchClassifier(model, trust_remote_code)
