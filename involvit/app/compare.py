"""The tab Compare: two models on the same photo."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id

from .address import is_open_to_others
from .models import offered, predictor
from .probability_bars import probability_bars
from .tabs import NO_FACE, PRIVATE, as_dict, friendly_errors, photo_input
from .uploads import UploadError
from .visitor_files import read

MAX_NAME = 200  # of a model, letters


@friendly_errors()
def compare(
    image: str | None, whole_image: bool, model_a: str, model_b: str, request: gr.Request
) -> list[dict[str, Any]]:
    """Shows what two models say about the same photo.

    Args:
        image: The photo.
        whole_image: Whether the whole image is one face; otherwise faces are found first.
        model_a: The first model: folder on the server or Hub id.
        model_b: The second model.

    Returns:
        For each model its name and its faces, the largest first, as in the answer for a photo.
    """
    pixels = read(image, request.session_hash)
    answers = []
    for model in (model_a, model_b):
        check_model(model)
        faces = [as_dict(number, face) for number, face in enumerate(predictor(model, whole_image)(pixels), 1)]
        answers.append({"model": model, "faces": faces})
    if not answers[0]["faces"]:
        raise UploadError(NO_FACE)
    return answers


def check_model(model: Any) -> None:
    """Refuses all but ids of the Hub and what was named at the start, unless the page is for this machine only."""
    if not isinstance(model, str) or not 0 < len(model) <= MAX_NAME:
        raise UploadError("Choose two models first, from the list or by their names on the Hub.")
    if model not in offered() and is_open_to_others() and (not _is_hub_id(model) or Path(model).exists()):
        raise UploadError(f"{model} is not on the list; choose a model from the list, or name one on the Hub.")


def _is_hub_id(model: str) -> bool:
    try:
        validate_repo_id(model)
    except HFValidationError:
        return False
    return not model.lower().endswith(".onnx")


def side_by_side(answers: list[dict[str, Any]]) -> str:
    """Draws the probabilities of two models, one table per face."""
    html = ""
    for answer in answers:
        titles = {f"{answer['model']}, face {face['face']}": face["probabilities"] for face in answer["faces"]}
        html += f"<div>{''.join(probability_bars(bars, title) for title, bars in titles.items())}</div>"
    return f"<div class='side_by_side'>{html}</div>"


def layout() -> None:
    """Lays out the tab and connects it."""
    answers = gr.JSON(label="Faces by model", visible=False)
    names = list(offered())
    with gr.Row():
        photo_file = photo_input()
        with gr.Column():
            pair = [
                gr.Dropdown(names, value=name, label=f"{label}: folder or Hub id", allow_custom_value=True)
                for label, name in (("Model A", names[0]), ("Model B", names[-1]))
            ]
            whole_image = gr.Checkbox(False, label="The whole image is one face")
            run = gr.Button("Compare", variant="primary")
    comparison = gr.HTML()
    compared = run.click(compare, [photo_file, whole_image, *pair], answers, api_name="compare")
    compared.success(side_by_side, answers, comparison, **PRIVATE)
