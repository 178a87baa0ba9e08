"""The tab Photo: the faces in a photo, and where the model looked in the one that is chosen."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from html import escape
from typing import Any

import cv2
import gradio as gr
import numpy as np

from ..prediction.annotation import draw_faces
from ..prediction.explanation import overlay
from ..prediction.predictor import FacePrediction
from ..reports.numbers import count
from . import examples
from .models import explained, heat_maps, learned_from_votes, main_model, predictor
from .probability_bars import probability_bars
from .tabs import NO_FACE, PRIVATE, as_dict, friendly_errors, photo_input
from .uploads import UploadError
from .visitor_files import enlarged, read, sessions, write

START = "Upload a photo, paste one, take one with the camera, or click an example."
MAPS = "Where the model looked for this expression, by Grad-CAM: the brighter a spot, the more it counted."
BRANCHES = {"rednet": "Involution branch", "vit": "Transformer branch", "fused": "Both, fused"}


@dataclass
class Photo:
    """What was found in the last photo of a session, so that choosing a face need not find it again."""

    path: str
    whole_image: bool
    faces: list[FacePrediction]  # each with its crop


def find_in_photo(path: str | None, whole_image: bool, session: str) -> tuple[Photo, np.ndarray]:
    """Reads a photo and predicts for its faces; returns them and the pixels."""
    image = read(path, session)
    find = predictor(whole_image=whole_image)
    faces = find(image)
    if whole_image:
        size = (find.classifier.image_size,) * 2
        faces = [replace(faces[0], crop=cv2.resize(image, size, interpolation=cv2.INTER_AREA))]
    return Photo(path, whole_image, faces), image


@friendly_errors()
def photo(
    image: str | None, whole_image: bool, request: gr.Request
) -> tuple[str | None, list[dict[str, Any]] | None, Photo | None]:
    """Finds the faces in a photo and says which expression each shows.

    Args:
        image: The photo: JPEG, PNG, WebP or another common format.
        whole_image: Whether the whole image is one face; otherwise faces are found first.

    Returns:
        The photo with outlined faces, and a list of the faces, the largest first, each with number, label, score, box
        (x, y, width and height in pixels) and the probabilities of all expressions.
    """
    if image is None:  # taken away
        return None, None, None
    found, pixels = find_in_photo(image, whole_image, request.session_hash)
    annotated = write(draw_faces(pixels, found.faces), sessions.new_folder(request.session_hash) / "faces.jpg")
    return annotated, [as_dict(number, face) for number, face in enumerate(found.faces, 1)], found


@friendly_errors()
def explain(
    image: str | None, whole_image: bool, face: int, last_photo: Photo | None, request: gr.Request
) -> tuple[dict[str, Any] | None, str | None, str | None, str | None, str | None]:
    """Explains one face of a photo: its probabilities, its aligned crop, and where each branch of the model looked.

    Args:
        image: The photo.
        whole_image: Whether the whole image is one face; otherwise faces are found first.
        face: Number of the face, from 1, the largest first.

    Returns:
        The face with label, score, box and probabilities; the face turned upright and cut out; and on it heat maps for
        its label of the involution branch, the transformer branch and their fusion.
    """
    if image is None:
        return None, None, None, None, None
    if last_photo is None or (last_photo.path, last_photo.whole_image) != (image, whole_image):
        last_photo, _ = find_in_photo(image, whole_image, request.session_hash)
    if not last_photo.faces:
        raise UploadError(NO_FACE)
    number = int(face or 1)
    if not 1 <= number <= len(last_photo.faces):
        raise UploadError(f"There is no face {number} in this photo; it has {len(last_photo.faces)}.")
    chosen = last_photo.faces[number - 1]
    try:
        maps = heat_maps(main_model(), chosen.crop, chosen.label)
    except ValueError as error:  # a model of another kind
        gr.Info(str(error))
        maps = {}
    folder = sessions.new_folder(request.session_hash)
    crop = enlarged(chosen.crop)
    pictures = {"face": crop, **{branch: overlay(crop, enlarged(heat)) for branch, heat in maps.items()}}
    paths = {name: write(picture, folder / f"{name}.png") for name, picture in pictures.items()}
    return as_dict(number, chosen), *map(paths.get, ("face", *BRANCHES))


def show_faces(faces: list[dict[str, Any]] | None) -> tuple[str, Any, Any, int, Any, Any]:
    """Turns the faces of a photo, None without one, into what can be chosen from, the first chosen; shows the results.

    Returns values of message, choice, button and number, and of the columns of the outlined photo and of the face.
    """
    names = [(f"{face['face']} {face['label']} {face['score']:.0%}", face["face"]) for face in faces or ()]
    message = f"{count(len(names), 'face')}. Choose one here or in the picture." if faces else NO_FACE
    choice = gr.Radio(names, value=1 if faces else None, visible=bool(faces))
    columns = gr.Column(visible=faces is not None), gr.Column(visible=bool(faces))
    return START if faces is None else message, choice, gr.Button(visible=faces == []), 1, *columns


def nothing_shown() -> list[Any]:
    """Empties the tab: results of one photo are not left beside another."""
    return [None, None, None, *show_faces(None), None, "", None, *[None] * len(BRANCHES)]


def face_at(faces: list[dict[str, Any]], click: gr.SelectData) -> tuple[int, int]:
    """Returns the number of the face nearest to a click, for the choice and for the explanation."""

    def distance(face: dict[str, Any]) -> float:
        x, y, width, height = face["box"] or (0, 0, 0, 0)
        return np.hypot(x + width / 2 - click.index[0], y + height / 2 - click.index[1])

    nearest = min(faces, key=distance)["face"]
    return nearest, nearest


def bars_of_face(face: dict[str, Any] | None) -> str:
    """Draws the probabilities of one face, and says what they mean where the model learned from people's votes."""
    if face is None:
        return ""
    bars = probability_bars(face["probabilities"], f"Face {face['face']}: {face['label']}")
    people = f"<p>About {round(10 * face['score'])} of 10 people would say {escape(face['label'])}.</p>"
    return bars + people if learned_from_votes() else bars


def layout() -> None:
    """Lays out the tab and connects it."""
    last_photo = gr.State(None)
    faces = gr.JSON(label="List of faces", visible=False)
    face = gr.JSON(label="Chosen face", visible=False)
    number = gr.Number(1, label="Number of the face", precision=0, visible=False)
    with gr.Row():
        with gr.Column():
            photo_file = photo_input()
            whole_image = gr.Checkbox(False, label="The whole image is one face")
            picked = examples.layout(photo_file)
        with gr.Column():
            with gr.Column(visible=False) as photo_column:
                outlined = gr.Image(label="Faces", interactive=False, buttons=["download", "fullscreen"])
            message = gr.Markdown(START)
            choice = gr.Radio([], label="Face", visible=False)
            take_whole = gr.Button("Take the whole image as the face", visible=False)
    shown = {"interactive": False, "buttons": [], "height": 230}
    with gr.Column(visible=False) as face_column:
        bars = gr.HTML(label="Probabilities")
        gr.Markdown(MAPS if explained() else "")
        with gr.Row():
            crop = gr.Image(label="The face, upright", **shown)
            heat = [
                gr.Image(label=name, min_width=220, visible=branch in explained(), **shown)
                for branch, name in BRANCHES.items()
            ]
    asked, found = [photo_file, whole_image], [outlined, faces, last_photo]
    choices = [message, choice, take_whole, number, photo_column, face_column]

    def explain_after(event: Any, **options: Any) -> None:
        """Explains the chosen face once an event is over."""
        event.success(explain, [*asked, number, last_photo], [face, crop, *heat], **options).then(
            bars_of_face, face, bars, **PRIVATE
        )

    def look_after(event: Callable[..., Any], photo_options: dict[str, Any], explain_options: dict[str, Any]) -> None:
        """Looks at the photo after an event, and explains its first face."""
        looked = event(photo, asked, found, **photo_options)
        looked.failure(nothing_shown, None, [*found, *choices, face, bars, crop, *heat], **PRIVATE)
        explain_after(looked.success(show_faces, faces, choices, **PRIVATE), **explain_options)

    progress = {"show_progress": "minimal", "show_progress_on": photo_file}
    changed = functools.partial(gr.on, [photo_file.input, whole_image.change])
    look_after(changed, {"api_name": "photo", **progress}, {"api_name": "explain", "show_progress": "minimal"})
    look_after(picked.success, {**progress, "api_visibility": "private"}, PRIVATE)
    take_whole.click(lambda: True, None, whole_image, **PRIVATE)
    explain_after(choice.input(lambda n: n, choice, number, **PRIVATE), **PRIVATE)
    explain_after(outlined.select(face_at, faces, [choice, number], **PRIVATE), **PRIVATE)
