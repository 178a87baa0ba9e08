"""What the tabs have in common: an input for photos, a face in JSON, and what cannot be used in one line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import gradio as gr

from ..prediction.predictor import FacePrediction
from .uploads import cut

NO_FACE = "No face was found. If one fills the picture, take the whole image as the face."

MAX_LINE = 500  # letters

# Of events that follow another one: they are not part of the API, and show no progress of their own.
PRIVATE = {"api_visibility": "private", "show_progress": "hidden"}


def photo_input() -> gr.Image:
    """Makes an image component that hands over the file as it was sent, to be read by the rules of `uploads`."""
    component = gr.Image(label="Photo", type="filepath")
    read_by_gradio = component.preprocess
    component.preprocess = lambda sent: sent.path if sent and sent.path else read_by_gradio(sent)
    return component


def as_dict(number: int, face: FacePrediction) -> dict[str, Any]:
    """Describes a face in JSON: number, label, score, box (x, y, width and height in pixels) and probabilities."""
    return {
        "face": number,
        "label": face.label,
        "score": round(face.score, 4),
        "box": None if face.box is None else [round(value, 1) for value in face.box],
        "probabilities": {label: round(probability, 4) for label, probability in face.probabilities.items()},
    }


def one_line(error: object) -> gr.Error:
    """Returns an error as one line, in which nobody's input is repeated at length; the terminal shows no traceback."""
    return gr.Error(cut(" ".join(str(error).split()), MAX_LINE), print_exception=False)


@contextmanager
def friendly_errors() -> Iterator[None]:
    """Shows what cannot be used as one line on the page, and nothing on the terminal."""
    try:
        yield
    except (ValueError, OSError) as error:
        raise one_line(error) from None
