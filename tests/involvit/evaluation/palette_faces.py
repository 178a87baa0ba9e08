"""Data sets whose images show their class by colour, and a network that sees just that."""

import datasets
import numpy as np
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter

from dataset_script import LABELS
from dataset_script.votes import ANSWERS, distribution, one_hot
from involvit.prediction.torch_classifier import TorchClassifier

PALETTE = np.array([[0, 1, 1], [0, 1, 0], [1, 0, 1], [1, 1, 0], [0, 0, 1], [1, 0, 0], [1, 0.5, 0]])
FEATURES = datasets.Features(
    {
        "image": datasets.Image(),
        "label": datasets.ClassLabel(names=list(LABELS)),
        "group": datasets.Value("string"),
        "path": datasets.Value("string"),
    }
)


VOTES = {
    "votes": datasets.List(datasets.Value("float32"), length=7),
    "vote_counts": datasets.List(datasets.Value("int32"), length=10),
}


class PaletteClassifier(TorchClassifier):
    """Its last hidden state is how near the image's mean colour is to that of each class, in 64 channels each."""

    name, device = "palette", "cpu"

    def __init__(self):
        self.network = self

    def processor(self, images, **_):
        means = np.array([image.reshape(-1, 3).mean(axis=0) / 255 for image in images])
        nearness = np.exp(-4 * ((means[:, None] - (0.25 + 0.5 * PALETTE)) ** 2).sum(axis=2))
        return {"pixel_values": torch.from_numpy(nearness.repeat(64, axis=1))[..., None, None]}

    def __call__(self, pixel_values, output_hidden_states):
        return type("Output", (), {"hidden_states": (None, pixel_values)})


def face(label, seed, size=(32, 32)):
    """A picture of the colour of its class, its pattern that of its seed."""
    noise = gaussian_filter(np.random.default_rng(seed).standard_normal((*size, 1)), (1.5, 1.5, 0))
    pixels = 255 * (0.25 + 0.5 * PALETTE[LABELS.index(label)]) + 100 * noise
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def row(image, label, group, path, **votes):
    label = -1 if label is None else LABELS.index(label)
    return {"image": image, "label": label, "group": group, "path": path, **votes}


def part(rows):
    is_voted = any("votes" in item for item in rows)
    return datasets.Dataset.from_list(rows, features=datasets.Features(FEATURES | (VOTES if is_voted else {})))


def voted(label, seed, path, answers):
    """A face with how many people gave which answer, or None where nobody counted."""
    counts = None if answers is None else [answers.get(name, 0) for name in ANSWERS]
    votes = one_hot(LABELS.index(label)) if answers is None else distribution(counts)
    return row(face(label, seed), label, path, path, votes=list(votes), vote_counts=counts)


def clean_rows(count=6, start=0):
    """`count` images of each class, each a group of its own."""
    rows = []
    for index in range(count):
        for label in LABELS:
            seed = start + len(rows)
            path = f"{label}/{start + index}.png"
            rows.append(row(face(label, seed), label, path, path))
    return rows
