"""The models and the face detector that the app runs, loaded once for all visitors; on a GPU where a Space has one."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..prediction.classifier import Classifier, default_model, load_classifier
from ..prediction.explanation import explain
from ..prediction.face_detection import load_face_detector
from ..prediction.predictor import Predictor
from .environment import GPU
from .shared_classifier import SharedClassifier

LOADED_MODELS = 4


@dataclass
class Settings:
    """What the person who starts the app chooses: models, the first for all tabs, the others to compare; a detector."""

    models: list[str] = field(default_factory=lambda: [str(default_model())])
    face_detector: str | None = None


settings = Settings()
load_detector = functools.cache(load_face_detector)


def offered() -> dict[str, str]:
    """Returns the models that were named at the start: name on the page -> folder, file or Hub id."""
    return {Path(model).name if Path(model).exists() else model: model for model in settings.models}


def main_model() -> str:
    """Returns the name of the model that all tabs use."""
    return next(iter(offered()))


@functools.lru_cache(LOADED_MODELS)
def loaded(model: str) -> Classifier:
    """Loads a model by its name on the page, or from a folder or the Hub, and then runs no code that it brings."""
    known = offered()
    return load_classifier(known.get(model, model), trust_remote_code=model in known)


@GPU
def classify(model: str, images: Sequence[np.ndarray]) -> np.ndarray:
    """Runs a model on a batch; see `Classifier`."""
    return loaded(model)(images)


@GPU
def heat_maps(model: str, face: np.ndarray, label: str) -> dict[str, np.ndarray]:
    """Explains one class on one face; see `explain`."""
    return explain(loaded(model), face, label)


@functools.lru_cache(LOADED_MODELS)
def shared(model: str) -> SharedClassifier:
    """Returns what the threads of all visitors call to run a model."""
    return SharedClassifier(loaded(model), functools.partial(classify, model))


def predictor(model: str | None = None, whole_image: bool = False) -> Predictor:
    """Puts a model, by default the main one, and the face detector together, or takes the whole image as the face."""
    detector = None if whole_image else load_detector(settings.face_detector)
    return Predictor(shared(model or main_model()), not whole_image, detector)


def warm_up() -> None:
    """Loads and compiles everything once, so that the first visitor need not wait for it."""
    for model in offered():
        shared(model)
    face = np.full((64, 64, 3), 128, np.uint8)
    label = predictor(whole_image=True)(face)[0].label
    predictor()(face)
    with suppress(ValueError):  # only InvolViT models are explained
        heat_maps(main_model(), face, label)
