"""The tab Batch: many photos at once."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from typing import Any

import gradio as gr
import numpy as np
import pandas as pd

from ..colors import class_colors
from ..prediction.predictor import Predictor
from ..prediction.results import UNREADABLE, result_rows
from .environment import FILES
from .models import main_model, predictor, shared
from .tabs import PRIVATE, friendly_errors
from .uploads import MAX_FILES, Upload, UploadError, read_photo, scaled, unpack
from .visitor_files import PHOTO_SIDE, adopt, sessions

PROGRESS = gr.Progress()


@friendly_errors()
def batch(
    files: list[str] | None, whole_image: bool, request: gr.Request, progress: gr.Progress = PROGRESS
) -> tuple[pd.DataFrame, pd.DataFrame, str, str]:
    """Predicts for many photos at once.

    Args:
        files: Photos, and zip files of photos.
        whole_image: Whether each whole image is one face; otherwise faces are found first.

    Returns:
        A table with one row for each face (or file without one, or that cannot be read); how many faces show each
        expression; and the table as CSV and as JSON.
    """
    if not files:
        raise UploadError("Choose photos, or a zip file of photos, first.")
    for file in files:
        adopt(request.session_hash, file)
    folder = sessions.new_folder(request.session_hash)
    with tempfile.TemporaryDirectory(dir=FILES.name) as unpacked:
        rows = rows_of_files(unpack(files, unpacked), predictor(whole_image=whole_image), progress)
    labels = list(shared(main_model()).labels)
    columns = ["file", "face", "x", "y", "width", "height", "label", *labels, "status", "error"]
    table = pd.DataFrame(rows).reindex(columns=columns).astype({"face": "Int64"})
    table["face"] += 1
    csv, json = folder / "expressions.csv", folder / "expressions.json"
    table.to_csv(csv, index=False)
    table.to_json(json, orient="records", indent=1)
    counts = table["label"].value_counts().reindex(labels, fill_value=0)
    shown = table[["file", "face", "label", *labels, "error"]].copy()
    shown[labels] = (100 * shown[labels].astype(float)).round()
    shown = shown.rename(columns={label: f"{label} %" for label in labels}).astype(object).fillna("")
    return shown, pd.DataFrame({"expression": labels, "faces": counts.to_numpy()}), str(csv), str(json)


def rows_of_files(uploads: list[Upload], find: Predictor, progress: gr.Progress) -> list[dict[str, Any]]:
    """Returns the rows of the table; photos are read as they are needed."""
    rows: dict[int, list[dict[str, Any]]] = {}
    readable: list[int] = []

    def pixels() -> Iterator[np.ndarray]:
        for index, upload in enumerate(uploads):
            progress((index, len(uploads)), unit="files")
            try:
                image = read_photo(upload.path, upload.name)
            except UploadError as error:
                rows[index] = [{"status": UNREADABLE, "error": str(error)}]
                continue
            readable.append(index)
            yield scaled(image, PHOTO_SIDE)

    for result in find.stream(pixels()):
        rows[readable[result.index]] = list(result_rows(result))
    return [{"file": upload.name, **row} for index, upload in enumerate(uploads) for row in rows[index]]


def layout() -> None:
    """Lays out the tab and connects it."""
    labels = list(shared(main_model()).labels)
    files = gr.File(label=f"Photos, or zip files of photos, up to {MAX_FILES}", file_count="multiple", type="filepath")
    whole_image = gr.Checkbox(False, label="Each whole image is one face")
    run = gr.Button("Predict", variant="primary")
    axes = {"x": "expression", "y": "faces", "color": "expression", "color_map": class_colors(labels), "sort": labels}
    with gr.Column(visible=False) as results:
        histogram = gr.BarPlot(None, **axes, label="Faces of each expression")
        table = gr.Dataframe(label="Faces", interactive=False, wrap=True)
        with gr.Row():
            csv, json = (gr.File(label=f"Table ({kind})", interactive=False) for kind in ("CSV", "JSON"))
    found = [table, histogram, csv, json]
    predicted = run.click(batch, [files, whole_image], found, api_name="batch", show_progress_on=files)
    predicted.success(lambda: gr.Column(visible=True), None, results, **PRIVATE)
