"""The tab Video: how the expressions of the faces in a video change."""

from __future__ import annotations

from typing import Any

import gradio as gr

from ..colors import class_colors
from ..prediction.video_analysis import VideoAnalysis, analyse_video
from ..reports.numbers import count
from .models import predictor
from .tabs import PRIVATE, friendly_errors
from .uploads import MAX_VIDEO_S, UploadError, check_video
from .visitor_files import adopt, enlarged, sessions, write

FRAMES_PER_S = 10
STRONG = 0.3  # weaker moments are not shown
PROGRESS = gr.Progress()


@friendly_errors()
def video(
    video: str | None, request: gr.Request, progress: gr.Progress = PROGRESS
) -> tuple[str, str, list[tuple[str, str]], list[dict[str, Any]], VideoAnalysis]:
    """Follows the faces in a video and says how their expressions change.

    Args:
        video: The video, two minutes at most: MP4, WebM or another common format.

    Returns:
        The video with outlined faces; a table (CSV) of all faces in all frames looked at; a picture of the strongest
        moment of each expression; and a list of the faces with first and last second and number of frames.
    """
    if video is None:
        raise UploadError("Choose a video first.")
    adopt(request.session_hash, video)
    check_video(video)
    folder = sessions.new_folder(request.session_hash)
    annotated, table = folder / "faces.webm", folder / "faces.csv"
    analysis = analyse_video(
        *(video, predictor(), annotated, MAX_VIDEO_S, FRAMES_PER_S),
        progress=lambda share: progress(share, desc="Looking at the video"),
    )
    analysis.table.to_csv(table, index=False)
    gallery = []
    for label, moment in analysis.moments.items():
        if moment.probability >= STRONG:
            picture = write(enlarged(moment.image), folder / f"moment_{len(gallery)}.jpg")
            caption = f"{label} {moment.probability:.0%} at {moment.time_s:.1f} s, face {moment.track}"
            gallery.append((picture, caption))
    if analysis.is_cut:
        gr.Info(f"The video is longer than {MAX_VIDEO_S} seconds; the rest was left out.")
    return str(annotated), str(table), gallery, analysis.tracks.to_dict("records"), analysis


def show_tracks(tracks: list[dict[str, Any]]) -> tuple[str, Any, Any, Any, Any]:
    """Turns the faces of a video into what can be chosen from, the longest chosen, and shows what was found."""
    names = [(f"Face {one['face']}: {one['start_s']:.1f} to {one['end_s']:.1f} s", one["face"]) for one in tracks]
    message = f"{count(len(tracks), 'face')} in the video." if tracks else "No face was found in this video."
    choice = gr.Dropdown(names, value=tracks[0]["face"] if tracks else None, visible=len(tracks) > 1)
    return message, choice, gr.Column(visible=True), gr.Column(visible=True), gr.Gallery(visible=bool(tracks))


def timeline(analysis: VideoAnalysis | None, track: int | None) -> Any:
    """Draws the probabilities of one face over time."""
    if analysis is None or track is None:
        return gr.LinePlot(None, visible=False)
    return gr.LinePlot(analysis.timeline(track), color_map=class_colors(analysis.labels), visible=True)


def layout() -> None:
    """Lays out the tab and connects it."""
    analysis, tracks = gr.State(None), gr.JSON(label="List of faces", visible=False)
    with gr.Row():
        video_file = gr.Video(label=f"Video, up to {MAX_VIDEO_S} seconds", sources=["upload", "webcam"])
        with gr.Column(visible=False) as video_column:
            annotated = gr.Video(label="With outlined faces (without sound)", interactive=False, buttons=["download"])
    axes = {"x": "time_s", "y": "probability", "color": "expression", "x_title": "seconds", "y_lim": [0, 1]}
    with gr.Column(visible=False) as results:
        message = gr.Markdown()
        track = gr.Dropdown([], label="Face", visible=False)
        chart = gr.LinePlot(None, **axes, label="Probabilities over time", visible=False)
        label = "The strongest moment of each expression"
        moments = gr.Gallery(label=label, columns=7, height=220, object_fit="contain")
        table = gr.File(label="Table (CSV)", interactive=False)
    found = [annotated, table, moments, tracks, analysis]
    sent = [video_file.upload, video_file.stop_recording]
    looked = gr.on(sent, video, video_file, found, api_name="video", show_progress_on=video_file)
    shown = looked.success(show_tracks, tracks, [message, track, video_column, results, moments], **PRIVATE)
    for event in (shown.then, track.input):
        event(timeline, [analysis, track], chart, **PRIVATE)
