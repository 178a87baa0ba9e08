"""Prediction beside the packages that others use: python -m benchmarks.predict [--data DIR] [--model DIR]

One 64 px face is the whole image. Images/s in batches and the latency of one image, of our classifiers by torch and by
onnxruntime, and of PyPI's `fer` and `deepface`, each in an environment and a process of its own, made for the occasion
(they bring TensorFlow; `deepface` also downloads weights). Writes results/predict_cpu.md.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from benchmarks.predict_peer import measure
from benchmarks.timing import RESULTS, describe_machine, markdown_table
from dataset_script import LABELS, load_fer_dataset
from dataset_script.rendered_faces import rendered_faces
from involvit import Predictor
from involvit.classifier import default_model

IMAGE_SIZE, NUM_IMAGES, BATCH_SIZE = 64, 512, 64
PEERS = {"fer": ["fer", "setuptools<81"], "deepface": ["deepface", "tf-keras", "flask"]}
ROW = ("images_per_s", "p50_ms", "p95_ms", "accuracy")


def load_faces(data: str | None) -> tuple[np.ndarray, list[str]]:
    """Returns images, RGB uint8 [N, 64, 64, 3], and their labels: rendered ones, or a validation part's first."""
    if data is None:
        faces = [(face.image, LABELS[face.label]) for face in rendered_faces(NUM_IMAGES, 96, seed=0)]
    else:
        rows = load_fer_dataset(data)["validation"].shuffle(seed=0)
        rows = rows.select(range(min(NUM_IMAGES, rows.num_rows)))
        faces = [(row["image"], LABELS[row["label"]]) for row in rows]
    size = (IMAGE_SIZE, IMAGE_SIZE)
    images = [image.convert("RGB").resize(size, Image.Resampling.BILINEAR) for image, _ in faces]
    return np.stack([np.asarray(image) for image in images]), [label for _, label in faces]


def classify_with(predictor: Predictor) -> Callable[[list[np.ndarray]], list[str]]:
    """Returns the function that is timed: the whole way from arrays to results."""

    def classify(images: list[np.ndarray]) -> list[str]:
        if len(images) == 1:
            return [predictor(images[0])[0].label]
        return [result.faces[0].label for result in predictor.stream(images, BATCH_SIZE)]

    return classify


def measure_ours(model: str | Path, images: np.ndarray, labels: list[str]) -> list[list[object]]:
    """Returns a row for torch, and for ONNX in float32 and int8 where the model can be exported."""
    measured = measure(classify_with(Predictor(model)), list(images), labels)
    rows = [["InvolViT, torch", *(measured[key] for key in ROW), None]]
    for quantize in (None, "int8"):
        name = f"InvolViT, onnxruntime, {quantize or 'float32'}"
        with tempfile.TemporaryDirectory() as folder:
            try:
                from involvit.onnx_export import export_onnx

                exported = export_onnx(model, Path(folder) / "model.onnx", quantize)
                measured = measure(classify_with(Predictor(exported)), list(images), labels)
            except (ValueError, ImportError) as error:
                rows.append([name, *[None] * len(ROW), str(error)])
            else:
                rows.append([name, *(measured[key] for key in ROW), None])
    return rows


def measure_peer(name: str, images: np.ndarray, labels: list[str]) -> list[object]:
    """Installs a package into a temporary environment and returns its row, or one that says why there is none."""
    uv = [sys.executable, "-m", "uv"] if importlib.util.find_spec("uv") else ["uv"]
    with tempfile.TemporaryDirectory() as folder:
        python = Path(folder) / "venv" / "bin" / "python"
        np.save(Path(folder) / "images.npy", images)
        (Path(folder) / "labels.json").write_text(json.dumps(labels))
        script = Path(__file__).with_name("predict_peer.py")
        try:
            for command in (
                [*uv, "venv", "--quiet", "--python", sys.executable, python.parents[1]],
                [*uv, "pip", "install", "--quiet", "--python", python, *PEERS[name]],
                [python, script, name, f"{folder}/images.npy", f"{folder}/labels.json"],
            ):
                result = subprocess.run(command, capture_output=True, text=True, check=True)
        except FileNotFoundError:
            return [name, *[None] * len(ROW), "not installed: there is no uv"]
        except subprocess.CalledProcessError as error:
            lines = error.stderr.strip().splitlines() or [f"exit status {error.returncode}"]
            return [name, *[None] * len(ROW), lines[-1].replace(folder, "").replace("|", "/")[:120]]
    measured = json.loads(result.stdout.splitlines()[-1])
    return [name, *(measured[key] for key in ROW), "one image a call" if name == "fer" else None]


def main() -> None:
    """Measures, prints and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="labelled faces, as for train.py (default: rendered faces)")
    parser.add_argument("--model", default=default_model(), help="folder of the model (default: that of the package)")
    options = parser.parse_args()
    images, labels = load_faces(options.data)
    rows = measure_ours(options.model, images, labels)
    rows += [measure_peer(name, images, labels) for name in PEERS]
    header = [f"faces of {IMAGE_SIZE} px", "images/s in batches", "one image, p50 ms", "p95 ms", "accuracy", ""]
    source = "rendered faces" if options.data is None else Path(options.data).name
    text = (
        f"{describe_machine(torch.device('cpu'))}; {len(images)} images ({source}), ours in batches of {BATCH_SIZE}\n\n"
        f"{markdown_table(header, rows)}\n"
    )
    print(text)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "predict_cpu.md").write_text(text)


if __name__ == "__main__":
    main()
