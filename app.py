"""The app: facial expressions in photos, live video, videos and many files at once, in the browser.

    python app.py
    python app.py --model outputs/faces --face_detector face_detection_yunet_2023mar.onnx

It runs as it stands as a Space of the Hugging Face Hub. Each tab is also an endpoint of the API and a tool for agents
(MCP); the page's footer documents both. Gradio's own environment variables set address and port: GRADIO_SERVER_NAME
and GRADIO_SERVER_PORT.
"""

from __future__ import annotations

import argparse
import base64
import functools
import os
import re
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

FILES = tempfile.TemporaryDirectory(prefix="involvit_app_")  # of all visitors; gone when the app ends
os.environ["GRADIO_TEMP_DIR"] = str(Path(FILES.name, "uploads"))
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ["DISABLE_SAFETENSORS_CONVERSION"] = "1"  # transformers would ask the Hub for it
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

try:
    from spaces import GPU  # before torch: there is one on a Space with ZeroGPU
except ImportError:

    def GPU(function):  # noqa: ANN001, ANN201, N802
        """Stands for the decorator of ZeroGPU where there is none."""
        return function


import cv2
import gradio as gr
import numpy as np
import pandas as pd
from gradio.data_classes import ImageData
from huggingface_hub import ModelCard

from involvit import FacePrediction, Predictor
from involvit.app.probability_bars import CSS, probability_bars
from involvit.app.session_files import SessionFiles
from involvit.app.shared_classifier import SharedClassifier
from involvit.app.uploads import MAX_FILES, MAX_VIDEO_S, Upload, UploadError, check_video, read_photo, unpack
from involvit.colors import class_colors
from involvit.prediction.annotation import draw_faces
from involvit.prediction.classifier import default_model, load_classifier
from involvit.prediction.explanation import explain as explain_face
from involvit.prediction.explanation import overlay
from involvit.prediction.face_detection import Face, align_face, load_face_detector
from involvit.prediction.results import result_rows
from involvit.prediction.tracking import FaceTracker
from involvit.prediction.video_analysis import VideoAnalysis, analyse_video
from involvit.publishing.model_card import read_json

MAX_FILE_SIZE = "200mb"
MAX_WAITING = 64  # requests; later ones are turned away
PHOTO_SIDE = 2048  # what is looked at and shown of a larger photo
LIVE_SIDE = 640
LIVE_EVERY_S = 0.1
LIVE_LIMIT_S = 600
LIVE_VISITORS = 4
VIDEO_FRAMES_PER_S = 10
STRONG = 0.3  # weaker moments are not shown
LOADED_MODELS = 4

NOTICE = """Tells which **expression** a face shows. An expression is not a feeling, and no ground for a decision about
a person; the tab *About* says more. Nothing that you upload is kept after your visit or leaves this server."""
START = "Upload a photo, paste one, or take one with the camera."
NO_FACE = "No face was found. If one fills the picture, take the whole image as the face."
PROGRESS = gr.Progress()
FOR_EVERYBODY = ("Intended use and limits", "Results", "Training data")  # sections of the model card
BRANCHES = {
    "rednet": "Involution branch",
    "vit": "Transformer branch",
    "fused": "Both, fused",
}


@dataclass
class Photo:
    """What was found in the last photo of a session, so that choosing a face need not find it again."""

    path: str
    whole_image: bool
    faces: list[FacePrediction]
    crops: list[np.ndarray]


def photo_input() -> gr.Image:
    """Makes an image component that hands over the file as it was sent, to be read by the rules of `uploads`."""
    component = gr.Image(label="Photo", type="filepath")
    read_by_gradio = component.preprocess

    def preprocess(payload: ImageData | None) -> str | None:
        return payload.path if payload and payload.path else read_by_gradio(payload)

    component.preprocess = preprocess
    return component


# --- Models ---

settings = argparse.Namespace(model=[str(default_model())], face_detector=None)


def offered() -> dict[str, str]:
    """Returns the models that whoever started the app named: name on the page -> folder, file or Hub id."""
    return {Path(model).name if Path(model).exists() else model: model for model in settings.model}


def main_model() -> str:
    """Returns the name of the model that all tabs use."""
    return next(iter(offered()))


@functools.lru_cache(LOADED_MODELS)
def load(model: str) -> SharedClassifier:
    """Loads a model by its name on the page, else a folder or Hub id, of which no code is run."""
    known = offered()
    classifier = load_classifier(known.get(model, model), trust_remote_code=model in known)
    return SharedClassifier(classifier, functools.partial(classify, model))


@GPU
def classify(model: str, images: Sequence[np.ndarray]) -> np.ndarray:
    """Runs a model on a batch; on a GPU where the Space has one."""
    return load(model).classifier(images)


@GPU
def heat_maps(model: str, face: np.ndarray, label: str) -> dict[str, np.ndarray]:
    """Explains one class on one face; on a GPU where the Space has one."""
    return explain_face(load(model).classifier, face, label)


load_detector = functools.cache(load_face_detector)


def predictor(model: str | None = None, whole_image: bool = False) -> Predictor:
    """Puts a model and, unless the whole image is the face, the face detector together."""
    classifier = load(model or main_model())
    if whole_image:
        return Predictor(classifier)
    return Predictor(classifier, faces=True, face_detector=load_detector(settings.face_detector))


# --- Files ---

RESULTS = Path(FILES.name, "results")
RESULTS.mkdir()
gr.set_static_paths(RESULTS)  # served as they are: a copy in Gradio's cache would outlive its session
sessions = SessionFiles(RESULTS)


@contextmanager
def friendly_errors() -> Iterator[None]:
    """Shows what cannot be used as one line on the page."""
    try:
        yield
    except (UploadError, ValueError, OSError) as error:
        raise gr.Error(" ".join(str(error).split()), print_exception=False) from None


def read(path: str | None, session: str) -> np.ndarray:
    """Reads a photo of a session, RGB uint8 [H, W, 3], scaled down to what is shown at most."""
    if path is None:
        raise UploadError("Choose a photo first.")
    sessions.adopt(session, path)
    return scaled(read_photo(path), PHOTO_SIDE)


def scaled(image: np.ndarray, side: int) -> np.ndarray:
    """Scales an image down to a long side, if it is larger."""
    height, width = image.shape[:2]
    scale = side / max(height, width)
    if scale >= 1:
        return image
    return cv2.resize(
        image, (max(1, round(width * scale)), max(1, round(height * scale))), interpolation=cv2.INTER_AREA
    )


def write(image: np.ndarray, path: Path) -> str:
    """Writes an RGB image, JPEG or PNG by the suffix, and returns its path."""
    cv2.imwrite(str(path), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    return str(path)


def as_dict(number: int, face: FacePrediction) -> dict[str, Any]:
    """Describes a face in JSON: number from 1, label, score, probabilities and box (x, y, width, height in pixels)."""
    return {
        "face": number,
        "label": face.label,
        "score": round(face.score, 4),
        "box": None if face.box is None else [round(value, 1) for value in face.box],
        "probabilities": {label: round(probability, 4) for label, probability in face.probabilities.items()},
    }


# --- Photo ---


def find_in_photo(path: str | None, whole_image: bool, session: str) -> tuple[Photo, np.ndarray]:
    """Reads a photo and predicts for its faces; returns them and the pixels."""
    image = read(path, session)
    find = predictor(whole_image=whole_image)
    faces = find(image)
    size = find.classifier.image_size
    crops = [
        cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA)
        if face.box is None
        else align_face(image, Face(face.box, face.detection_score, face.landmarks), size)
        for face in faces
    ]
    return Photo(path, whole_image, faces, crops), image


def photo(
    image: str | None, whole_image: bool, request: gr.Request
) -> tuple[str | None, list[dict[str, Any]] | None, Photo | None]:
    """Finds the faces in a photo and tells which expression each shows.

    Args:
        image: The photo: JPEG, PNG, WebP or another usual format.
        whole_image: Whether the whole image is one face; else faces are found first.

    Returns:
        The photo with outlined faces, and a list of the faces, the largest first, each with number, label, score, box
        (x, y, width and height in pixels) and the probabilities of all expressions.
    """
    if image is None:  # taken away
        return None, None, None
    with friendly_errors():
        found, pixels = find_in_photo(image, whole_image, request.session_hash)
        annotated = write(draw_faces(pixels, found.faces), sessions.new_folder(request.session_hash) / "faces.jpg")
        return annotated, [as_dict(number, face) for number, face in enumerate(found.faces, 1)], found


def explain(
    image: str | None, whole_image: bool, face: int, last_photo: Photo | None, request: gr.Request
) -> tuple[dict[str, Any] | None, str | None, str | None, str | None, str | None]:
    """Explains one face of a photo: its probabilities, its aligned crop, and where each branch of the model looked.

    Args:
        image: The photo.
        whole_image: Whether the whole image is one face; else faces are found first.
        face: Number of the face, from 1, the largest first.

    Returns:
        The face with label, score, box and probabilities; the face turned upright and cut out; and on it heat maps for
        its label of the involution branch, the transformer branch and their fusion.
    """
    if image is None:
        return None, None, *[None] * len(BRANCHES)
    with friendly_errors():
        if last_photo is None or (last_photo.path, last_photo.whole_image) != (image, whole_image):
            last_photo, _ = find_in_photo(image, whole_image, request.session_hash)
        if not last_photo.faces:
            raise UploadError(NO_FACE)
        number = int(face or 1)
        if not 1 <= number <= len(last_photo.faces):
            raise UploadError(f"There is no face {number} in this photo; it has {len(last_photo.faces)}.")
        chosen, crop = last_photo.faces[number - 1], last_photo.crops[number - 1]
        try:
            maps = heat_maps(main_model(), crop, chosen.label)
        except ValueError as error:  # a model of another kind
            gr.Info(str(error))
            maps = {}
        folder = sessions.new_folder(request.session_hash)
        pictures = [write(enlarged(crop), folder / "face.png")]
        for branch in BRANCHES:
            picture = overlay(enlarged(crop), enlarged(maps[branch])) if branch in maps else None
            pictures.append(None if picture is None else write(picture, folder / f"{branch}.png"))
        return as_dict(number, chosen), *pictures


def enlarged(image: np.ndarray, side: int = 288) -> np.ndarray:
    """Enlarges a small square image for the page."""
    return cv2.resize(image, (side, side), interpolation=cv2.INTER_LINEAR)


def show_faces(faces: list[dict[str, Any]] | None) -> tuple[str, Any, Any, int]:
    """Turns the faces of a photo, None without one, into what can be chosen from; the first is chosen."""
    if faces is None:
        return START, gr.Radio([], visible=False), gr.Button(visible=False), 1
    names = [(f"{face['face']} {face['label']} {face['score']:.0%}", face["face"]) for face in faces]
    count = "1 face" if len(faces) == 1 else f"{len(faces)} faces"
    message = f"{count}. Choose one here or in the picture." if faces else NO_FACE
    choice = gr.Radio(names, value=1 if faces else None, visible=bool(faces))
    return message, choice, gr.Button(visible=not faces), 1


def nothing_shown() -> list[Any]:
    """Empties the tab: results of one photo are not left beside another."""
    hidden = [gr.Radio([], visible=False), gr.Button(visible=False)]
    return [None, None, None, START, *hidden, None, "", None, *[None] * len(BRANCHES)]


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
    return bars + people if learned_from_votes(settings.model[0]) else bars


@functools.cache
def learned_from_votes(model: str) -> bool:
    """Returns whether a model was trained on the votes of several people per face, as its folder's report says."""
    try:
        return bool(read_json(Path(model) / "report.json")["run"].get("votes"))
    except (OSError, ValueError, KeyError, AttributeError, TypeError):  # no report, or none of ours
        return False


# --- Live ---


@dataclass
class LiveState:
    """What is remembered of the webcam's stream from frame to frame."""

    tracker: FaceTracker
    time_s: float = 0.0
    frames_per_s: float = 0.0


def live(frame: np.ndarray | None, state: LiveState | None) -> tuple[str, list[dict[str, Any]], LiveState | None]:
    """Tells the expressions of the faces in one frame of a webcam, smoothed over the frames before.

    Args:
        frame: The frame.

    Returns:
        The frame with outlined faces, probabilities and the rate as HTML; and a list of the faces, each with the number
        of its track, label, score, box and probabilities.
    """
    if frame is None:
        return "", [], state
    with friendly_errors():
        now = time.monotonic()
        state = state or LiveState(FaceTracker())
        image = scaled(frame, LIVE_SIDE)
        tracked = state.tracker.update(predictor()(image), now)
        if state.time_s:
            rate = 1 / max(now - state.time_s, 1e-3)
            state.frames_per_s = 0.9 * state.frames_per_s + 0.1 * rate if state.frames_per_s else rate
        state.time_s = now
        faces = [one.face for one in tracked]
        annotated = draw_faces(image, faces, [f"{one.track} {one.face.label} {one.face.score:.0%}" for one in tracked])
        _, jpeg = cv2.imencode(".jpg", cv2.cvtColor(annotated, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 80])
        names = ", ".join(f"face {one.track} {one.face.label}" for one in tracked) or "no face"
        html = (
            f"<img alt='Webcam: {names}' src='data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}'>"
            f"<p>{state.frames_per_s:.1f} frames a second</p>"
            + "".join(probability_bars(one.face.probabilities, f"Face {one.track}") for one in tracked)
        )
        return html, [as_dict(one.track, one.face) for one in tracked], state


# --- Video ---


def video(
    video: str | None, request: gr.Request, progress: gr.Progress = PROGRESS
) -> tuple[str, str, list[tuple[str, str]], list[dict[str, Any]], VideoAnalysis]:
    """Follows the faces in a video and tells how their expressions change.

    Args:
        video: The video, two minutes at most: MP4, WebM or another usual format.

    Returns:
        The video with outlined faces; a table (CSV) of all faces in all frames looked at; a picture of the strongest
        moment of each expression; and a list of the faces with first and last second and number of frames.
    """
    with friendly_errors():
        if video is None:
            raise UploadError("Choose a video first.")
        sessions.adopt(request.session_hash, video)
        check_video(video)
        folder = sessions.new_folder(request.session_hash)
        annotated, table = folder / "faces.webm", folder / "faces.csv"
        analysis = analyse_video(
            *(video, predictor(), annotated, MAX_VIDEO_S, VIDEO_FRAMES_PER_S),
            progress=lambda share: progress(share, desc="Looking at the video"),
        )
        analysis.table.to_csv(table, index=False)
        gallery = [
            (
                write(moment.image, folder / f"moment_{number}.jpg"),
                f"{label} {moment.probability:.0%} at {moment.time_s:.1f} s, face {moment.track}",
            )
            for number, (label, moment) in enumerate(analysis.moments.items())
            if moment.probability >= STRONG
        ]
        if analysis.is_cut:
            gr.Info(f"The video is longer than {MAX_VIDEO_S} seconds; the rest was left out.")
        return str(annotated), str(table), gallery, analysis.tracks.to_dict("records"), analysis


def show_tracks(tracks: list[dict[str, Any]]) -> tuple[str, Any]:
    """Turns the faces of a video into what can be chosen from; the longest is chosen."""
    names = [(f"Face {one['face']}: {one['start_s']:.1f} to {one['end_s']:.1f} s", one["face"]) for one in tracks]
    count = "1 face" if len(tracks) == 1 else f"{len(tracks)} faces"
    return f"{count} in the video." if tracks else "No face was found in this video.", gr.Dropdown(
        names, value=tracks[0]["face"] if tracks else None, visible=len(tracks) > 1
    )


def timeline(analysis: VideoAnalysis | None, track: int | None) -> Any:
    """Draws the probabilities of one face over time."""
    if analysis is None or track is None:
        return gr.LinePlot(None, visible=False)
    return gr.LinePlot(analysis.timeline(track), color_map=class_colors(analysis.labels), visible=True)


# --- Batch ---


def batch(
    files: list[str] | None, whole_image: bool, request: gr.Request, progress: gr.Progress = PROGRESS
) -> tuple[pd.DataFrame, pd.DataFrame, str, str]:
    """Predicts for many photos at once.

    Args:
        files: Photos, and zip files of photos.
        whole_image: Whether each whole image is one face; else faces are found first.

    Returns:
        A table with a row for each face (or file without one, or that cannot be read); how many faces show each
        expression; and the table as CSV and as JSON.
    """
    with friendly_errors():
        if not files:
            raise UploadError("Choose photos, or a zip file of photos, first.")
        for file in files:
            sessions.adopt(request.session_hash, file)
        folder = sessions.new_folder(request.session_hash)
        with tempfile.TemporaryDirectory(dir=FILES.name) as unpacked:
            rows = list(rows_of_files(unpack(files, Path(unpacked)), predictor(whole_image=whole_image), progress))
        labels = list(load(main_model()).labels)
        columns = ["file", "face", "x", "y", "width", "height", "label", *labels, "status", "error"]
        table = pd.DataFrame(rows).reindex(columns=columns).astype({"face": "Int64"})
        counts = table["label"].value_counts().reindex(labels, fill_value=0)
        table.to_csv(folder / "expressions.csv", index=False)
        table.to_json(folder / "expressions.json", orient="records", indent=1)
        shown = table[["file", "face", "label", *labels, "error"]].copy()
        shown[labels] = (100 * shown[labels].astype(float)).round()
        return (
            shown.rename(columns={label: f"{label} %" for label in labels})
            .astype(object)
            .where(shown.notna().values, ""),
            pd.DataFrame({"expression": labels, "faces": counts.to_numpy()}),
            str(folder / "expressions.csv"),
            str(folder / "expressions.json"),
        )


def rows_of_files(uploads: list[Upload], find: Predictor, progress: gr.Progress) -> Iterator[dict[str, Any]]:
    """Yields the rows of the batch table; photos are read as they are needed."""
    failed: list[tuple[int, dict[str, Any]]] = []
    readable: list[int] = []

    def pixels() -> Iterator[np.ndarray]:
        for index, upload in enumerate(uploads):
            progress((index, len(uploads)), unit="files")
            try:
                image = read_photo(upload.path, upload.name)
            except UploadError as error:
                failed.append((index, {"file": upload.name, "status": "unreadable", "error": str(error)}))
                continue
            readable.append(index)
            yield scaled(image, PHOTO_SIDE)

    rows = [
        (index, {"file": uploads[index].name, **row})
        for result in find.stream(pixels())
        for index in [readable[result.index]]
        for row in result_rows(result)
    ]
    for _, row in sorted(rows + failed, key=lambda item: item[0]):
        if row.get("face") is not None:
            row["face"] += 1
        yield row


# --- Compare ---


def compare(
    image: str | None, whole_image: bool, model_a: str, model_b: str, request: gr.Request
) -> list[dict[str, Any]]:
    """Shows what two models say of the same photo.

    Args:
        image: The photo.
        whole_image: Whether the whole image is one face; else faces are found first.
        model_a: The first model: folder on the server or Hub id.
        model_b: The second model.

    Returns:
        For each model its name and its faces, the largest first, as in the answer for a photo.
    """
    with friendly_errors():
        pixels = read(image, request.session_hash)
        answers = []
        for model in (model_a, model_b):
            check_model(model)
            faces = predictor(model, whole_image)(pixels)
            answers.append({"model": model, "faces": [as_dict(number, face) for number, face in enumerate(faces, 1)]})
        if not answers[0]["faces"]:
            raise UploadError(NO_FACE)
        return answers


def check_model(model: str | None) -> None:
    """Refuses folders that whoever started the app did not name, unless the page is for this machine only."""
    if not model:
        raise UploadError("Choose two models first.")
    is_local = os.environ.get("GRADIO_SERVER_NAME", "127.0.0.1") in ("127.0.0.1", "localhost")
    if model not in offered() and Path(model).exists() and (not is_local or "SPACE_ID" in os.environ):
        raise UploadError(f"{model} is not on the list; choose a model of the list, or name one of the Hub.")


def side_by_side(answers: list[dict[str, Any]]) -> str:
    """Draws the probabilities of two models, a row a face."""
    cells = [
        "".join(
            probability_bars(face["probabilities"], f"{answer['model']}, face {face['face']}")
            for face in answer["faces"]
        )
        for answer in answers
    ]
    return "<div class='side_by_side'>" + "".join(f"<div>{cell}</div>" for cell in cells) + "</div>"


# --- The page ---

THEME = gr.themes.Default(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"])  # no web fonts
PAGE_CSS = f"""{CSS}
.side_by_side {{ display: flex; flex-wrap: wrap; gap: 2rem; }}
.side_by_side > div {{ flex: 1 1 18rem; }}
.live img {{ width: 100%; border-radius: 6px; }}
"""


# Gradio leaves pictures without a name for screen readers; they have that of their frame.
PAGE_HEAD = """<script>
new MutationObserver(() => document.querySelectorAll("img[alt='']").forEach((image) => {
  const label = image.closest(".block")?.querySelector("label, [data-testid='block-label']")?.innerText.trim();
  if (label) image.alt = label;
})).observe(document, { childList: true, subtree: true });
</script>"""


def about() -> tuple[str, str]:
    """Returns the model's card in two parts: what everybody should read, and the rest.

    Its pictures are left out: they are files that the page does not have.
    """
    try:
        text = ModelCard.load(Path(settings.model[0]) / "README.md").text
    except OSError:
        return "This model has no card.", ""
    text = "\n".join(line for line in text.splitlines() if not line.startswith("!["))
    head, *sections = re.split(r"^(?=## )", text, flags=re.MULTILINE)
    first = [one for title in FOR_EVERYBODY for one in sections if one.startswith(f"## {title}")]
    rest = [one for one in sections if one not in first]
    return "\n".join([head, *first]), "\n".join(rest)


def build() -> gr.Blocks:
    """Lays out the page and connects it."""
    private = {"api_visibility": "private", "show_progress": "hidden"}
    with gr.Blocks(title="InvolViT: facial expressions", delete_cache=(60, 3600), analytics_enabled=False) as page:
        gr.Markdown(f"# InvolViT\n\n{NOTICE}")
        with gr.Tab("Photo"):
            last_photo = gr.State(None)
            faces = gr.JSON(label="List of faces", visible=False)
            face = gr.JSON(label="Chosen face", visible=False)
            number = gr.Number(1, label="Number of the face", precision=0, visible=False)
            with gr.Row():
                with gr.Column():
                    photo_file = photo_input()
                    whole_image = gr.Checkbox(False, label="The whole image is one face")
                with gr.Column():
                    outlined = gr.Image(label="Faces", interactive=False, buttons=["download", "fullscreen"])
                    message = gr.Markdown(START)
                    choice = gr.Radio([], label="Face", visible=False)
                    take_whole = gr.Button("Take the whole image as the face", visible=False)
            bars = gr.HTML(label="Probabilities")
            gr.Markdown("Where the model looked for this expression, by Grad-CAM; the brighter, the more it counted:")
            with gr.Row():
                crop = gr.Image(label="The face, upright", interactive=False, buttons=[], height=230)
                heat = [
                    gr.Image(label=name, interactive=False, buttons=[], height=230, min_width=220)
                    for name in BRANCHES.values()
                ]

            def explain_after(event: Any, **options: Any) -> None:
                """Explains the chosen face once an event is over."""
                event.success(
                    explain, [photo_file, whole_image, number, last_photo], [face, crop, *heat], **options
                ).then(bars_of_face, face, bars, **private)

            results = [outlined, faces, last_photo, message, choice, take_whole, face, bars, crop, *heat]
            looked = gr.on(
                [photo_file.input, whole_image.change],
                photo,
                [photo_file, whole_image],
                [outlined, faces, last_photo],
                api_name="photo",
                show_progress="minimal",
            )
            looked.failure(nothing_shown, None, results, **private)
            shown = looked.success(show_faces, faces, [message, choice, take_whole, number], **private)
            explain_after(shown, api_name="explain", show_progress="minimal")
            take_whole.click(lambda: True, None, whole_image, **private)
            explain_after(choice.input(lambda n: n, choice, number, **private), **private)
            explain_after(outlined.select(face_at, faces, [choice, number], **private), **private)
        with gr.Tab("Live"):
            gr.Markdown("Needs the camera of this device. Inform the people in view.")
            live_state, live_faces = gr.State(None), gr.JSON(label="List of faces", visible=False)
            with gr.Row():
                camera = gr.Image(label="Camera", sources=["webcam"], type="numpy", streaming=True)
                live_view = gr.HTML(label="Faces", elem_classes="live")
            live_io = {
                "fn": live,
                "inputs": [camera, live_state],
                "outputs": [live_view, live_faces, live_state],
            }
            gr.Button(visible=False).click(**live_io, api_name="live")  # for programs, which cannot stream
            camera.stream(
                **live_io,
                **private,
                stream_every=LIVE_EVERY_S,
                time_limit=LIVE_LIMIT_S,
                concurrency_limit=LIVE_VISITORS,
            )
        with gr.Tab("Video"):
            analysis, tracks = gr.State(None), gr.JSON(label="List of faces", visible=False)
            with gr.Row():
                video_file = gr.Video(label=f"Video, up to {MAX_VIDEO_S:.0f} seconds", sources=["upload", "webcam"])
                annotated = gr.Video(
                    label="With outlined faces (without sound)", interactive=False, buttons=["download"]
                )
            video_message = gr.Markdown()
            track = gr.Dropdown([], label="Face", visible=False)
            chart = gr.LinePlot(
                *(None, "time_s", "probability"),
                color="expression",
                x_title="seconds",
                y_lim=[0, 1],
                label="Probabilities over time",
                visible=False,
            )
            moments = gr.Gallery(
                label="The strongest moment of each expression", columns=7, height=220, object_fit="contain"
            )
            video_csv = gr.File(label="Table (CSV)", interactive=False)
            gr.on(
                [video_file.upload, video_file.stop_recording],
                video,
                video_file,
                [annotated, video_csv, moments, tracks, analysis],
                api_name="video",
            ).success(show_tracks, tracks, [video_message, track], **private).then(
                timeline, [analysis, track], chart, **private
            )
            track.input(timeline, [analysis, track], chart, **private)
        with gr.Tab("Batch"):
            batch_files = gr.File(
                label=f"Photos, or zip files of photos, up to {MAX_FILES}", file_count="multiple", type="filepath"
            )
            batch_whole = gr.Checkbox(False, label="Each whole image is one face")
            run_batch = gr.Button("Predict", variant="primary")
            histogram = gr.BarPlot(
                *(None, "expression", "faces"),
                color="expression",
                color_map=class_colors(load(main_model()).labels),
                sort=list(load(main_model()).labels),
                label="Faces of each expression",
            )
            table = gr.Dataframe(label="Faces", interactive=False, wrap=True)
            with gr.Row():
                batch_csv = gr.File(label="Table (CSV)", interactive=False)
                batch_json = gr.File(label="Table (JSON)", interactive=False)
            run_batch.click(
                batch, [batch_files, batch_whole], [table, histogram, batch_csv, batch_json], api_name="batch"
            )
        with gr.Tab("Compare"):
            answers = gr.JSON(label="Faces by model", visible=False)
            with gr.Row():
                compare_file = photo_input()
                with gr.Column():
                    names = list(offered())
                    pair = [
                        gr.Dropdown(names, value=name, label=f"{label}: folder or Hub id", allow_custom_value=True)
                        for label, name in (("Model A", names[0]), ("Model B", names[-1]))
                    ]
                    compare_whole = gr.Checkbox(False, label="The whole image is one face")
                    run_compare = gr.Button("Compare", variant="primary")
            comparison = gr.HTML()
            run_compare.click(compare, [compare_file, compare_whole, *pair], answers, api_name="compare").success(
                side_by_side, answers, comparison, **private
            )
        with gr.Tab("About"):
            card, rest = about()
            gr.Markdown(card)
            if rest:
                with gr.Accordion("How it is used in programs, how it was trained, how to cite it", open=False):
                    gr.Markdown(rest)

        def forget(request: gr.Request) -> None:
            """Deletes what is left of a session when its page is closed."""
            sessions.forget(request.session_hash)
            page.state_holder.session_data.pop(request.session_hash, None)  # Gradio would keep it for an hour

        page.unload(forget)
    return page.queue(max_size=MAX_WAITING, default_concurrency_limit=2)


def warm_up() -> None:
    """Loads and compiles everything once, so that the first visitor need not wait for it."""
    face = np.full((64, 64, 3), 128, np.uint8)
    label = predictor(whole_image=True)(face)[0].label
    predictor()(face)
    with suppress(ValueError):  # only InvolViT models are explained
        heat_maps(main_model(), face, label)


def main() -> int:
    """Starts the app; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--model",
        nargs="+",
        metavar="MODEL",
        help="folder, Hub id or .onnx file; more are offered for comparison (default: the model of the package)",
    )
    parser.add_argument("--face_detector", help="YuNet's .onnx file (default: from the Hub or its cache)")
    parser.parse_args(namespace=settings)
    try:
        for model in offered():
            load(model)
        warm_up()
    except (ValueError, OSError, ImportError) as error:
        print("error:", " ".join(str(error).split()), file=sys.stderr)
        return 2
    build().launch(
        inbrowser=sys.stdout.isatty(),  # where a person starts it
        theme=THEME,
        css=PAGE_CSS,
        head=PAGE_HEAD,
        max_file_size=MAX_FILE_SIZE,
        run_history=False,
        mcp_server=True,
        ssr_mode=False,
        footer_links=["api", "settings"],
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
