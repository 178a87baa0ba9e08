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
from .answers import friendly_errors
from .environment import FILES
from .models import main_model, predictor, shared
from .uploads import MAX_FILES, Upload, UploadError, read_photo, unpack
from .visitor_files import PHOTO_SIDE, scaled, sessions

PROGRESS = gr.Progress()


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
    with friendly_errors():
        if not files:
            raise UploadError("Choose photos, or a zip file of photos, first.")
        for file in files:
            sessions.adopt(request.session_hash, file)
        folder = sessions.new_folder(request.session_hash)
        with tempfile.TemporaryDirectory(dir=FILES.name) as unpacked:
            rows = list(rows_of_files(unpack(files, unpacked), predictor(whole_image=whole_image), progress))
        labels = list(shared(main_model()).labels)
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
    """Yields the rows of the table; photos are read as they are needed."""
    failed: list[tuple[int, dict[str, Any]]] = []
    readable: list[int] = []

    def pixels() -> Iterator[np.ndarray]:
        for index, upload in enumerate(uploads):
            progress((index, len(uploads)), unit="files")
            try:
                image = read_photo(upload.path, upload.name)
            except UploadError as error:
                failed.append((index, {"file": upload.name, "status": UNREADABLE, "error": str(error)}))
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


def layout() -> None:
    """Lays out the tab and connects it."""
    labels = list(shared(main_model()).labels)
    files = gr.File(label=f"Photos, or zip files of photos, up to {MAX_FILES}", file_count="multiple", type="filepath")
    whole_image = gr.Checkbox(False, label="Each whole image is one face")
    run = gr.Button("Predict", variant="primary")
    histogram = gr.BarPlot(
        *(None, "expression", "faces"),
        color="expression",
        color_map=class_colors(labels),
        sort=labels,
        label="Faces of each expression",
    )
    table = gr.Dataframe(label="Faces", interactive=False, wrap=True)
    with gr.Row():
        csv = gr.File(label="Table (CSV)", interactive=False)
        json = gr.File(label="Table (JSON)", interactive=False)
    run.click(batch, [files, whole_image], [table, histogram, csv, json], api_name="batch")
