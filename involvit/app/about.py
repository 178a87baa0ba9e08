"""The tab About: what a visitor needs of the model's card."""

from __future__ import annotations

import re

import gradio as gr
from huggingface_hub import constants

from ..cards import readable_card
from ..files import expand_user
from .models import file_of, main_model, offered


def about() -> str:
    """Returns what the model is, its scores and its limits, from its card, and says where the whole card is.

    Pictures are left out: they are files that the page does not have.
    """
    model = offered()[main_model()]
    if (card := readable_card(file_of(model, "README.md"))) is None:
        return "This model has no card."
    text = re.sub(r"^!\[.*\n?|<!--.*?-->\n?", "", card.text, flags=re.MULTILINE)
    head, *sections = re.split(r"^(?=## )", text, flags=re.MULTILINE)
    wanted = [one for title in ("Results", "Intended use") for one in sections if one.startswith(f"## {title}")]
    short = [re.split(r"^### ", one, maxsplit=1, flags=re.MULTILINE)[0] for one in wanted]
    name = "README.md in the model's folder"
    where = name if expand_user(model).exists() else f"[{model}]({constants.ENDPOINT}/{model})"
    return "\n".join([head, *short, f"\nThe whole model card, with how it was trained and on what: {where}."])


def layout() -> None:
    """Lays out the tab."""
    gr.Markdown(about())
