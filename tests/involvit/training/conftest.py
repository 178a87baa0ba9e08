import json

import numpy as np
import pytest
from accelerate.state import AcceleratorState, GradientState
from datasets import Dataset, Features, concatenate_datasets, disable_progress_bars
from PIL import Image
from safetensors.torch import load_file

from dataset_script import LABELS, load_fer_dataset
from dataset_script.fer_dataset import VOTE_FEATURES
from involvit.cli import main

from .training_runs import FailedRunError, words


@pytest.fixture(scope="session")
def faces(tmp_path_factory):
    """56 pictures in class folders, 42 of them for training: a bar at one of seven heights on noise."""
    folder = tmp_path_factory.mktemp("faces")
    rng = np.random.default_rng(0)
    for index, label in enumerate(LABELS):
        (folder / label).mkdir()
        for number in range(8):
            pixels = rng.integers(0, 100, (35, 35, 3), dtype=np.uint8)
            pixels[5 * index : 5 * index + 5] += 150
            Image.fromarray(pixels).save(folder / label / f"person{number}_{index:04d}.png")
    return folder


@pytest.fixture(scope="session")
def voted_faces(faces, tmp_path_factory):
    """The same pictures as Parquet, each with what ten people say: half of them mistake a class for the next one."""
    folder = tmp_path_factory.mktemp("voted")
    rows = load_fer_dataset(faces, "random", validation_fraction=0.25, cache_dir=folder / "cache")
    for part, pictures in rows.items():
        counts = np.zeros((len(pictures), 10), dtype=np.int32)
        for row, label in enumerate(pictures["label"]):
            counts[row, [label, (label + 1) % 7]] = 6, 4
        columns = {"votes": (counts[:, :7] / 10).tolist(), "vote_counts": counts.tolist()}
        votes = Dataset.from_dict(columns, features=Features(VOTE_FEATURES))
        (folder / "data").mkdir(exist_ok=True)
        concatenate_datasets([pictures, votes], axis=1).to_parquet(folder / "data" / f"{part}.parquet")
    return folder / "data"


@pytest.fixture
def train(capsys):
    """Runs `involvit train` in this process, and raises `FailedRunError` if its status is not 0."""

    def train(arguments):
        disable_progress_bars()  # else the first test that reads the faces has more than an error on stderr
        AcceleratorState._reset_state(reset_partial_state=True)
        GradientState._reset_state()
        capsys.readouterr()
        try:
            status = main(["train", *arguments])
        except SystemExit as stop:
            status = stop.code
        if status:
            raise FailedRunError(status, capsys.readouterr().err)

    return train


@pytest.fixture
def run(faces, train):
    """Runs `involvit train` in this process and returns the finished run's report and weights."""

    def run(output_dir, **changes):
        train(words(faces, output_dir, **changes))
        return json.loads((output_dir / "report.json").read_text()), load_file(output_dir / "model.safetensors")

    return run
