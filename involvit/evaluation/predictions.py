"""What models answer on labelled faces, with the classes in the project's order."""

from __future__ import annotations

import timeit
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import datasets
import numpy as np
from tqdm.auto import tqdm

from dataset_script import LABELS, load_fer_dataset
from dataset_script.labels import class_places

from ..pixels import to_rgb
from ..prediction.classifier import Classifier, check_finite

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
    if part == "all" and load_arguments.get("split") is None:
        load_arguments["split"] = "random"  # which needs no number of images in each class
    parts = load_fer_dataset(data, **load_arguments)
    if part not in (*parts, "all"):
        raise ValueError(f"{data} has no part {part}; choose one of {', '.join([*parts, 'all'])} by --part")
    names = ("train", "validation") if part == "all" else (part,)
    rows = datasets.concatenate_datasets([parts[name] for name in names])
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
    places = class_places(labels)
    if places is None:
        raise ValueError(
            f"{name} answers {', '.join(labels[:10])}{' ...' if len(labels) > 10 else ''}, but the data is "
            f"labelled {', '.join(LABELS)}: compare models of these seven classes"
        )
    return places


def decoded_batches(rows: datasets.Dataset, description: str) -> Iterator[list[np.ndarray]]:
    """Yields the images of rows as RGB, uint8 [H, W, 3], `BATCH_SIZE` at a time, and shows the progress."""
    with tqdm(total=len(rows), desc=description, unit="image", disable=None, leave=False) as bar:
        for batch in rows.select_columns("image").iter(BATCH_SIZE):
            yield [to_rgb(image) for image in batch["image"]]
            bar.update(len(batch["image"]))


def predict(classifier: Classifier, rows: datasets.Dataset, name: str) -> np.ndarray:
    """Classifies the image of each row as a whole face; errors and the progress bar name the model.

    Returns:
        Probabilities, float64 [N, 7], in the order of `LABELS`; rows add up to 1.

    Raises:
        ValueError: If the model's classes are not the seven expressions, or it answers anything but probabilities.
    """
    order = class_order(name, classifier.labels)
    answers = [classify(classifier, images, name, order) for images in decoded_batches(rows, name)]
    probabilities = np.concatenate(answers)
    return probabilities / probabilities.sum(axis=1, keepdims=True)


def classify(classifier: Classifier, images: Sequence[np.ndarray], name: str, order: Sequence[int]) -> np.ndarray:
    """Classifies one batch of faces, RGB, uint8 [H, W, 3]; `order` is that of `class_order`.

    Returns:
        Probabilities as the model gives them, float64 [N, 7], in the order of `LABELS`.

    Raises:
        ValueError: If it answers anything but probabilities.
    """
    probabilities = np.asarray(classifier(images), np.float64)[:, order]
    check_finite(probabilities, name)
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
    """Times a model in batches and one image at a time, on at most `images` images spread evenly over the rows."""
    chosen = np.unique(np.linspace(0, len(rows) - 1, min(images, len(rows))).astype(int)).tolist()
    decoded = [to_rgb(image) for image in rows.select(chosen)["image"]]
    for image in decoded[:_WARM_UP]:
        classifier([image])
    times = [
        1000 * min(timeit.repeat(partial(classifier, [image]), number=1, repeat=3))
        for image in tqdm(decoded, desc=f"{name}, one at a time", unit="image", disable=None, leave=False)
    ]
    batch = rows.select(chosen[: 2 * BATCH_SIZE])
    return Speed(len(batch) / timeit.timeit(partial(predict, classifier, batch, name), number=1), chosen, times)
