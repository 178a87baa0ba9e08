"""What several tabs are laid out with."""

from __future__ import annotations

import gradio as gr
from gradio.data_classes import ImageData

# Of events that follow another one: they are not part of the API, and show no progress of their own.
PRIVATE = {"api_visibility": "private", "show_progress": "hidden"}


def photo_input() -> gr.Image:
    """Makes an image component that hands over the file as it was sent, to be read by the rules of `uploads`."""
    component = gr.Image(label="Photo", type="filepath")
    read_by_gradio = component.preprocess

    def preprocess(payload: ImageData | None) -> str | None:
        return payload.path if payload and payload.path else read_by_gradio(payload)

    component.preprocess = preprocess
    return component
