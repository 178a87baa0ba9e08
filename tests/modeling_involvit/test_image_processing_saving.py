"""The processor saved, in other processes, in a pipeline, and where this project cannot be imported."""

import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader
from transformers import ViTConfig, ViTForImageClassification, pipeline

from modeling_involvit import InvolViTImageProcessor, InvolViTImageProcessorPil

from .example_images import LEVELS_16, noise, saved


def test_pickles_into_data_loader_workers(processor):
    clone = pickle.loads(pickle.dumps(processor))
    assert clone.to_dict() == processor.to_dict()
    images = [noise(seed=i) for i in range(4)]

    def collate(batch):
        return clone(batch, return_tensors="pt").pixel_values

    batches = list(DataLoader(images, batch_size=2, num_workers=1, collate_fn=collate))
    assert torch.equal(torch.cat(batches), processor(images, return_tensors="pt").pixel_values)


def test_pipeline_uses_it(processor, tmp_path):
    torch.manual_seed(0)
    config = ViTConfig(
        image_size=32, patch_size=16, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_labels=7
    )
    model = ViTForImageClassification(config).eval()
    exif = Image.Exif()
    exif[0x0112] = 6
    image = Image.fromarray(noise())
    images = [image, str(saved(image, tmp_path / "turned.png", exif=exif)), image.convert("L")]
    with torch.no_grad():
        expected = model(processor(images, return_tensors="pt").pixel_values).logits.softmax(-1)
    results = pipeline("image-classification", model=model, image_processor=processor)(images, top_k=7)
    for scores, by_hand in zip(results, expected, strict=True):
        by_pipeline = {score["label"]: score["score"] for score in scores}
        assert [by_pipeline[config.id2label[i]] for i in range(7)] == pytest.approx(by_hand.tolist(), abs=1e-6)


LOAD_ELSEWHERE = """
import importlib.util, sys
import numpy as np, torch

class NoProject:  # the package may be installed here; on a user's machine it is not
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "modeling_involvit":
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, NoProject())

folder, again, *backends = sys.argv[1:]
if backends == ["pil"]:
    sys.modules["torchvision"] = None  # it cannot be imported here
from transformers import AutoImageProcessor

for target in (folder, again):
    for backend in backends:
        options = {"backend": backend} if len(backends) > 1 else {}
        processor = AutoImageProcessor.from_pretrained(target, trust_remote_code=True, **options)
        assert type(processor).__module__.startswith("transformers_modules."), type(processor)
        assert processor.backend == backend
        pixel_values = processor([f"{folder}/face.png", f"{folder}/deep.png"], return_tensors="pt").pixel_values
        assert torch.equal(pixel_values, torch.from_numpy(np.load(f"{folder}/{backend}.npy")))
    processor.save_pretrained(again)
assert "modeling_involvit" not in sys.modules
print("loaded twice")
"""


@pytest.mark.parametrize("backends", [["torchvision", "pil"], ["pil"]], ids=["either backend", "no torchvision"])
def test_loads_and_saves_again_where_the_project_cannot_be_imported(tmp_path, backends):
    settings = {"size": 24, "image_mean": [0.4, 0.5, 0.6], "image_std": [0.3, 0.2, 0.1]}
    folder = tmp_path / "saved"
    InvolViTImageProcessor(**settings).save_pretrained(folder)
    assert sorted(path.name for path in folder.iterdir()) == [
        "image_processing_involvit.py",
        "preprocessor_config.json",
    ]
    paths = [
        saved(Image.fromarray(noise(channels=4)), folder / "face.png"),
        saved(Image.fromarray(LEVELS_16), folder / "deep.png"),
    ]
    for processor in (InvolViTImageProcessor(**settings), InvolViTImageProcessorPil(**settings)):
        np.save(folder / f"{processor.backend}.npy", processor(paths, return_tensors="np").pixel_values)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    environment |= {"HF_HOME": str(tmp_path / "cache"), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    result = subprocess.run(
        [sys.executable, "-I", "-c", LOAD_ELSEWHERE, str(folder), str(tmp_path / "again"), *backends],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == "loaded twice"


def test_settings_survive_saving(tmp_path):
    processor = InvolViTImageProcessor(size=24, image_mean=[0.4, 0.5, 0.6], do_normalize=False, resample=3)
    processor.save_pretrained(tmp_path)
    loaded = InvolViTImageProcessor.from_pretrained(tmp_path)
    settings = loaded.to_dict()
    assert settings["size"] == {"height": 24, "width": 24} and tuple(settings["image_mean"]) == (0.4, 0.5, 0.6)
    assert settings["do_normalize"] is False and settings["resample"] == 3
    image = noise()
    assert torch.equal(
        loaded(image, return_tensors="pt").pixel_values, processor(image, return_tensors="pt").pixel_values
    )
