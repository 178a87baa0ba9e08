"""The tab Live: the faces in front of the camera."""

from __future__ import annotations

import base64
import time
from dataclasses import dataclass, field
from typing import Any

import cv2
import gradio as gr
import numpy as np

from ..prediction.annotation import draw_faces
from ..prediction.tracking import FaceTracker
from .models import predictor
from .probability_bars import probability_bars
from .tabs import PRIVATE, as_dict, friendly_errors
from .uploads import scaled

FRAME_SIDE = 640
EVERY_S = 0.1
LIMIT_S = 600
VISITORS = 4  # at once


@dataclass
class LiveState:
    """What is remembered of the camera's stream from frame to frame."""

    tracker: FaceTracker = field(default_factory=FaceTracker)
    time_s: float = 0.0
    frames_per_s: float = 0.0


@friendly_errors()
def live(frame: np.ndarray | None, state: LiveState | None) -> tuple[str, list[dict[str, Any]], LiveState | None]:
    """Says which expressions the faces in one frame of a camera show, smoothed over the frames before.

    Args:
        frame: The frame.

    Returns:
        The frame with outlined faces, probabilities and the rate as HTML; and a list of the faces, each with the number
        of its track, label, score, box and probabilities.
    """
    if frame is None:
        return "", [], state
    now = time.monotonic()
    state = state or LiveState()
    image = scaled(frame, FRAME_SIDE)
    tracked = state.tracker.update(predictor()(image), now)
    if state.time_s:
        rate = 1 / max(now - state.time_s, 1e-3)
        state.frames_per_s = 0.9 * state.frames_per_s + 0.1 * rate if state.frames_per_s else rate
    state.time_s = now
    texts = [f"{one.track} {one.face.label} {one.face.score:.0%}" for one in tracked]
    annotated = draw_faces(image, [one.face for one in tracked], texts)
    _, jpeg = cv2.imencode(".jpg", cv2.cvtColor(annotated, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 80])
    names = ", ".join(f"face {one.track} {one.face.label}" for one in tracked) or "no face"
    html = (
        f"<img alt='Webcam: {names}' src='data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}'>"
        f"<p>{state.frames_per_s:.1f} frames a second</p>"
        + "".join(probability_bars(one.face.probabilities, f"Face {one.track}") for one in tracked)
    )
    return html, [as_dict(one.track, one.face) for one in tracked], state


def layout() -> None:
    """Lays out the tab and connects it."""
    gr.Markdown("This needs the camera of your device. Tell the people in view.")
    state, faces = gr.State(None), gr.JSON(label="List of faces", visible=False)
    with gr.Row():
        camera = gr.Image(label="Camera", sources=["webcam"], type="numpy", streaming=True)
        view = gr.HTML(label="Faces", elem_classes="live")
    event = {"fn": live, "inputs": [camera, state], "outputs": [view, faces, state]}
    gr.Button(visible=False).click(**event, api_name="live")  # for programs, which cannot stream
    camera.stream(**event, **PRIVATE, stream_every=EVERY_S, time_limit=LIMIT_S, concurrency_limit=VISITORS)
