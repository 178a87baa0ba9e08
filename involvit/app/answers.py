"""What the answers of all tabs have in common: a face in JSON, and what cannot be used in one line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import gradio as gr

from ..prediction.predictor import FacePrediction

NO_FACE = "No face was found. If one fills the picture, take the whole image as the face."


def describe(faces: Sequence[FacePrediction]) -> list[dict[str, Any]]:
    """Describes the faces of a photo in JSON, numbered from 1, see `as_dict`."""
    return [as_dict(number, face) for number, face in enumerate(faces, 1)]


def as_dict(number: int, face: FacePrediction) -> dict[str, Any]:
    """Describes a face in JSON: number, label, score, box (x, y, width and height in pixels) and probabilities."""
    return {
        "face": number,
        "label": face.label,
        "score": round(face.score, 4),
        "box": None if face.box is None else [round(value, 1) for value in face.box],
        "probabilities": {label: round(probability, 4) for label, probability in face.probabilities.items()},
    }


@contextmanager
def friendly_errors() -> Iterator[None]:
    """Shows what cannot be used as one line on the page."""
    try:
        yield
    except (ValueError, OSError) as error:
        raise gr.Error(" ".join(str(error).split()), print_exception=False) from None
