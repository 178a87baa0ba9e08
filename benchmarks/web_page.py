"""The exported page in Chromium beside `involvit predict` on the same model: agreement, and frames a second.

    python -m benchmarks.web_page --faces wildfaces.zip --face_detector face_detection_yunet.onnx --runtime dist

`--runtime` is `dist/` of the npm package onnxruntime-web: npm pack onnxruntime-web@VERSION. Files are chosen at random.
"""

from __future__ import annotations

import argparse
import functools
import http.server
import io
import random
import shutil
import tempfile
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image
from skimage.data import astronaut

from involvit.prediction.predictor import Predictor
from involvit.publishing.web_export import export_web

READY = "#engine:not(:empty), #problem:not(:empty)"
CAMERA_S = 20


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """Serves the files of a folder on loopback, and gives the address."""
    handler = functools.partial(_Quiet, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def write_film(path: Path) -> Path:
    """Writes a film for Chromium's fake camera: one frame a file of motion JPEG."""
    with path.open("wb") as file:
        for shift in range(0, 40, 2):
            frame = np.roll(astronaut()[:480], shift, axis=1)
            Image.fromarray(frame).resize((640, 480)).save(file, "JPEG", quality=90)
    return path


def start_chromium(playwright: Any, film: Path) -> Any:
    """Starts Debian's Chromium, headless, whose camera shows the film."""
    return playwright.chromium.launch(
        executable_path=shutil.which("chromium"),
        args=[
            "--no-sandbox",
            "--use-fake-device-for-media-stream",
            "--use-fake-ui-for-media-stream",
            f"--use-file-for-fake-video-capture={film}",
        ],
    )


def table_of(page: Any, files: list[Path], whole: bool) -> pd.DataFrame:
    """Gives several photos to the page, and returns the table that it offers to download."""
    page.locator("#whole").set_checked(whole)
    page.locator("#files").set_input_files(files)
    page.get_by_text(f"{len(files)} photos", exact=True).wait_for(timeout=600_000)
    with page.expect_download() as download:
        page.get_by_role("link", name="Download the table").click()
    return pd.read_csv(download.value.path(), keep_default_na=False, na_values=[""])


def difference(table: pd.DataFrame, files: list[Path], predictor: Predictor) -> pd.DataFrame:
    """Compares the table of the page with Python's predictions.

    Returns:
        A row for each file: how many faces both found, whether as many, and the largest differences of a box in pixels
        and of a probability.
    """
    rows = []
    for file, faces in zip(files, predictor(list(files)), strict=True):
        found = table[(table["file"] == file.name) & (table["status"] == "ok")]
        rows.append({"file": file.name, "faces": len(faces), "same": len(faces) == len(found)})
        if faces and rows[-1]["same"]:
            ours = np.array([list(face.probabilities.values()) for face in faces])
            theirs = found[list(predictor.classifier.labels)].to_numpy()
            rows[-1]["probability"] = np.abs(ours - theirs).max()
            if faces[0].box is not None:
                boxes = found[["x", "y", "width", "height"]].to_numpy()
                rows[-1]["box"] = np.abs(np.array([face.box for face in faces]) - boxes).max()
    return pd.DataFrame(rows)


def main() -> None:
    """Prints agreement and frame rate."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="checkpoints/involvit-tiny")
    parser.add_argument("--faces", type=Path, required=True, help="zip of photos")
    parser.add_argument("--photos", type=int, default=20)
    parser.add_argument("--face_detector", type=Path)
    parser.add_argument("--runtime", type=Path)
    options = parser.parse_args()
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        site = export_web(options.model, Path(folder) / "site", options.face_detector, options.runtime)
        files = []
        with zipfile.ZipFile(options.faces) as archive:
            names = [name for name in archive.namelist() if name.endswith((".jpg", ".png"))]
            for number, name in enumerate(random.Random(0).sample(names, options.photos)):
                files.append(Path(folder) / f"{number}_{Path(name).name}")
                Image.open(io.BytesIO(archive.read(name))).verify()
                files[-1].write_bytes(archive.read(name))
        browser = start_chromium(playwright, write_film(Path(folder) / "film.mjpeg"))
        context = browser.new_context()
        context.grant_permissions(["camera"])
        page = context.new_page()
        with serving(site) as url:
            page.goto(url)
            page.locator(READY).first.wait_for(state="attached", timeout=120_000)
        print(page.locator("#engine").inner_text())
        for whole in (True, False):
            table = table_of(page, files, whole)
            detector = {} if whole else {"faces": True, "face_detector": options.face_detector}
            compared = difference(table, files, Predictor(site / "model.onnx", **detector))
            print(f"whole picture: {whole}; as many faces in {compared['same'].sum()} of {len(compared)} photos")
            close = (compared["probability"] <= 0.01).sum()
            print(f"probabilities within 0.01: {close} of {compared['probability'].count()} photos with a face")
            print(compared.drop(columns=["file", "same"]).describe().loc[["count", "mean", "50%", "max"]].round(5))
        page.locator("#camera").click()
        page.wait_for_timeout(1000 * CAMERA_S)
        print(page.locator("#rate").inner_text())
        browser.close()


if __name__ == "__main__":
    main()
