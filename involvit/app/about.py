"""The tab About: the model's card."""

from __future__ import annotations

import re
from pathlib import Path

import gradio as gr
from huggingface_hub import ModelCard

from .models import settings

FOR_EVERYBODY = ("Intended use and limits", "Results", "Training data")  # sections of the model card


def about() -> tuple[str, str]:
    """Returns the model's card in two parts: what everybody should read, and the rest.

    Its pictures are left out: they are files that the page does not have.
    """
    try:
        text = ModelCard.load(Path(settings.models[0]) / "README.md").text
    except (OSError, ValueError):  # no file, or one that is no card
        return "This model has no card.", ""
    text = "\n".join(line for line in text.splitlines() if not line.startswith("!["))
    head, *sections = re.split(r"^(?=## )", text, flags=re.MULTILINE)
    first = [one for title in FOR_EVERYBODY for one in sections if one.startswith(f"## {title}")]
    rest = [one for one in sections if one not in first]
    return "\n".join([head, *first]), "\n".join(rest)


def layout() -> None:
    """Lays out the tab."""
    card, rest = about()
    gr.Markdown(card)
    if rest:
        with gr.Accordion("How to use it in programs, how it was trained, how to cite it", open=False):
            gr.Markdown(rest)
