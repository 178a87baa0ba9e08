"""The models and the face detector that the app runs, loaded once for all visitors; on a GPU where a Space has one."""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from transformers.utils import cached_file

from ..evaluation.named_models import name_models
from ..files import expand_user
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
    return name_models(settings.models)


def main_model() -> str:
    """Returns the name of the model that all tabs use."""
    return next(iter(offered()))


@functools.lru_cache(LOADED_MODELS)
def loaded(model: str) -> Classifier:
    """Loads a model by its name on the page, or from a folder or the Hub, and then runs no code that it brings."""
    known = offered()
    return load_classifier(known.get(model, model), trust_remote_code=model in {*known, *known.values()})


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


@functools.cache
def explained() -> frozenset[str]:
    """Returns which heat maps the main model's explanations have; none if it is of another kind."""
    face = np.full((64, 64, 3), 128, np.uint8)
    label = predictor(whole_image=True)(face)[0].label
    try:
        return frozenset(heat_maps(main_model(), face, label))
    except ValueError:  # only InvolViT models are explained
        return frozenset()


@functools.cache
def file_of(model: str, name: str) -> Path | None:
    """Returns a file that lies beside a model's weights, in its folder or on the Hub; None where there is none."""
    if expand_user(model).is_file():  # all that is known of an ONNX file is in it
        return None
    reasons = ("gated_repo", "missing_entries", "connection_errors")
    quiet = {f"_raise_exceptions_for_{reason}": False for reason in reasons}
    path = cached_file(str(expand_user(model)), name, **quiet)
    return path and Path(path)


def learned_from_votes() -> bool:
    """Returns whether the main model was trained on the votes of several people per face, as its report says."""
    try:
        return bool(json.loads(file_of(offered()[main_model()], "report.json").read_bytes())["run"].get("votes"))
    except (OSError, ValueError, KeyError, AttributeError, TypeError):  # no report, or none of ours
        return False


def warm_up() -> None:
    """Loads and compiles everything once, so that the first visitor need not wait for it."""
    for model in offered():
        shared(model)
    predictor()(np.full((64, 64, 3), 128, np.uint8))
    explained()
