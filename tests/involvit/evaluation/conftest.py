import datasets
import numpy as np
import pytest

from dataset_script import LABELS


class ColourClassifier:
    """Answers by the brightness of an image: the class whose seventh of the range it falls into, blurred by `width`."""

    def __init__(self, labels=LABELS, width=0.5, shift=0.0):
        self.labels, self.width, self.shift = tuple(labels), width, shift
        self.image_size, self.name = 8, f"colour@{width}"

    def __call__(self, images):
        values = np.array([image.mean() / 256 * len(self.labels) - 0.5 + self.shift for image in images])
        scores = np.exp(-(((values[:, None] - np.arange(len(self.labels))) / self.width) ** 2))
        return (scores / scores.sum(axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="session")
def colour_classifier():
    return ColourClassifier


@pytest.fixture(scope="session")
def grey_faces():
    """70 noisy images, their brightness that of their class; ten persons with one image of each class."""
    rng = np.random.default_rng(0)
    rows = {"image": [], "label": [], "group": [], "path": []}
    for person in range(10):
        for label in range(7):
            level = (label + 0.5) / 7 * 256 + rng.normal(scale=14)
            pixels = np.clip(level + rng.normal(scale=10, size=(12, 12, 3)), 0, 255).astype(np.uint8)
            rows["image"].append(datasets.Image().encode_example(pixels))
            rows["label"].append(label)
            rows["group"].append(f"person{person}")
            rows["path"].append(f"{LABELS[label]}/person{person}_{label}.png")
    features = datasets.Features(
        {
            "image": datasets.Image(),
            "label": datasets.ClassLabel(names=list(LABELS)),
            "group": datasets.Value("string"),
            "path": datasets.Value("string"),
        }
    )
    return datasets.Dataset.from_dict(rows, features=features)


@pytest.fixture(scope="session")
def voted_faces(grey_faces):
    """The same with ten people's votes: 7 for the label, 2 for the class before, one unknown; none of person9's faces.

    As everywhere, the vote of a single person is left out of the distribution.
    """
    rows = {"votes": [], "vote_counts": []}
    for row in grey_faces.remove_columns("image"):
        counts = [0] * 10
        counts[row["label"]], counts[row["label"] - 1 if row["label"] else 6], counts[8] = 7, 2, 1
        is_voted = row["group"] != "person9"
        rows["vote_counts"].append(counts if is_voted else None)
        rows["votes"].append([count / 9 for count in counts[:7]] if is_voted else np.eye(7)[row["label"]].tolist())
    types = {
        "votes": datasets.List(datasets.Value("float32"), length=7),
        "vote_counts": datasets.List(datasets.Value("int32"), length=10),
    }
    columns = datasets.Dataset.from_dict(rows, features=datasets.Features(types))
    return datasets.concatenate_datasets([grey_faces, columns], axis=1)


@pytest.fixture(scope="session")
def grey_folder(grey_faces, tmp_path_factory):
    """The same as class folders."""
    folder = tmp_path_factory.mktemp("grey_faces")
    for row in grey_faces:
        path = folder / row["path"]
        path.parent.mkdir(exist_ok=True)
        row["image"].save(path)
    return folder
