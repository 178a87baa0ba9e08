"""What models answer on labelled faces, with the classes in the project's order."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
import numpy as np
from tqdm.auto import tqdm

from dataset_script import LABELS, load_fer_dataset
from dataset_script.labels import canonical_label

from ..pixels import to_rgb
from ..prediction.classifier import Classifier

BATCH_SIZE = 64
_WARM_UP = 3


def load_faces(data: str, part: str = "validation", **load_arguments: Any) -> datasets.Dataset:
    """Loads the labelled faces of one part of a data set.

    Args:
        data: See `load_fer_dataset`.
        part: `"train"`, `"validation"` or `"test"`, or `"all"` for train and validation together.
        **load_arguments: Of `load_fer_dataset`.

    Returns:
        Rows of `image`, `label` (0 to 6, in the order of `LABELS`), `group` and `path`, and of `votes` and
        `vote_counts` where the data has them.

    Raises:
        FileNotFoundError: If there is no such data.
        ValueError: If the data cannot be used, or the part is missing, empty or without labels.
    """
    parts = load_fer_dataset(data, **load_arguments)
    if part == "all":
        rows = datasets.concatenate_datasets([parts["train"], parts["validation"]])
    elif part not in parts:
        raise ValueError(f"{data} has no part {part}; choose one of {', '.join([*parts, 'all'])} by --part")
    else:
        rows = parts[part]
    if not len(rows):
        raise ValueError(f"{data}: the part {part} has no images; choose another part or split")
    if unlabelled := int((np.array(rows["label"][:]) < 0).sum()):
        raise ValueError(
            f"{data}: {unlabelled} of {len(rows)} images of the part {part} have no label, and nothing can be measured "
            f"on them; choose another part by --part"
        )
    return rows


def describe_data(data: str, part: str, split: str | None) -> str:
    """Says which faces were measured, without the folder they are in: a report may be published."""
    name = Path(data).stem if Path(data).exists() else data
    if part == "all":
        return f"{name}, training and validation parts"
    return f"{name}, {split or 'its own or stratified'} split, {part} part"


def class_order(name: str, labels: Sequence[str]) -> list[int]:
    """Finds the place of each class of `LABELS` among those of a model.

    Args:
        name: The model, for the error.
        labels: Its classes, in any order and in any of the usual names (`"happiness"`).

    Returns:
        For each of `LABELS` its place in `labels`.

    Raises:
        ValueError: If the classes are not the seven expressions, each once.
    """
    places: dict[str, list[int]] = {label: [] for label in LABELS}
    unknown = []
    for place, label in enumerate(labels):
        try:
            places[canonical_label(label)].append(place)
        except ValueError:
            unknown.append(label)
    missing = [label for label, found in places.items() if len(found) != 1]
    if unknown or missing:
        raise ValueError(
            f"{name} answers {', '.join(map(str, labels[:10]))}{' ...' if len(labels) > 10 else ''}, but the data is "
            f"labelled {', '.join(LABELS)}: compare models of these seven classes"
        )
    return [found[0] for found in places.values()]


def predict(classifier: Classifier, rows: datasets.Dataset, name: str) -> np.ndarray:
    """Classifies each image as a whole face.

    Args:
        classifier: The model.
        rows: Rows with `image`.
        name: The model, for errors and the progress bar.

    Returns:
        Probabilities, float64 [N, 7], in the order of `LABELS`; rows add up to 1.

    Raises:
        ValueError: If the model's classes are not the seven expressions, or it answers anything but probabilities.
    """
    order = class_order(name, classifier.labels)
    answers = []
    with tqdm(total=len(rows), desc=name, unit="image", disable=None, leave=False) as bar:
        for start in range(0, len(rows), BATCH_SIZE):
            images = [to_rgb(image) for image in rows[start : start + BATCH_SIZE]["image"]]
            answers.append(classify(classifier, images, name, order))
            bar.update(len(images))
    probabilities = np.concatenate(answers)
    return probabilities / probabilities.sum(axis=1, keepdims=True)


def classify(classifier: Classifier, images: Sequence[np.ndarray], name: str, order: Sequence[int]) -> np.ndarray:
    """Classifies one batch of faces.

    Args:
        classifier: The model.
        images: RGB, uint8 [H, W, 3].
        name: The model, for errors.
        order: Where it has each class, see `class_order`.

    Returns:
        Probabilities as the model gives them, float64 [N, 7], in the order of `LABELS`.

    Raises:
        ValueError: If it answers anything but probabilities.
    """
    probabilities = np.asarray(classifier(images), np.float64)[:, order]
    if not np.isfinite(probabilities).all():
        raise ValueError(f"{name} answers values that are not finite; its weights are damaged")
    return probabilities


@dataclass(frozen=True)
class Speed:
    """How fast a model is on this machine.

    Args:
        images_per_s: In batches, decoding and preprocessing included.
        rows: Which images were classified one at a time.
        milliseconds: What each of them took from the decoded image to probabilities, the best of three tries.
    """

    images_per_s: float
    rows: list[int]
    milliseconds: list[float]

    @property
    def median(self) -> float:
        """Milliseconds for one image: the median."""
        return float(np.median(self.milliseconds))

    @property
    def percentile_95(self) -> float:
        """Milliseconds for one image: the 95th percentile."""
        return float(np.percentile(self.milliseconds, 95))


def measure_speed(classifier: Classifier, rows: datasets.Dataset, name: str, images: int = 200) -> Speed:
    """Times a model, in batches and one image at a time.

    Args:
        classifier: The model.
        rows: Rows with `image`.
        name: The model, for the progress bar.
        images: How many images are classified one at a time, at most; they are spread evenly over the rows.
    """
    chosen = np.unique(np.linspace(0, len(rows) - 1, min(images, len(rows))).astype(int)).tolist()
    decoded = [to_rgb(image) for image in rows.select(chosen)["image"]]
    for image in decoded[:_WARM_UP]:
        classifier([image])
    times = []
    for image in tqdm(decoded, desc=f"{name}, one at a time", unit="image", disable=None, leave=False):
        of_this = []
        for _ in range(3):
            started = time.perf_counter()
            classifier([image])
            of_this.append(time.perf_counter() - started)
        times.append(1000 * min(of_this))
    batch = rows.select(chosen[: 2 * BATCH_SIZE])
    started = time.perf_counter()
    predict(classifier, batch, name)
    return Speed(len(batch) / (time.perf_counter() - started), chosen, times)
