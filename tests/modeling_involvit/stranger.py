"""Loads a saved model in a process that cannot import this project; started by test_saved_repository.py.

`python -I stranger.py REPOSITORY COPY IMAGE RESULTS` loads REPOSITORY by the Auto classes, saves it to COPY, loads that
too, runs the pipeline, and writes what came out to RESULTS.safetensors and RESULTS.json.
"""

import importlib.abc
import json
import sys
from pathlib import Path

PROJECT = ("modeling_involvit", "dataset_script")


class NoProject(importlib.abc.MetaPathFinder):
    """An installed project must not help either."""

    def find_spec(self, name, path=None, target=None):
        if name in PROJECT:
            raise ModuleNotFoundError(name)


sys.meta_path.insert(0, NoProject())
try:
    import modeling_involvit  # noqa: F401
except ModuleNotFoundError:
    pass
else:
    sys.exit("the project can be imported: this run would prove nothing")

import torch  # noqa: E402
from PIL import Image  # noqa: E402
from safetensors.torch import save_file  # noqa: E402
from transformers import (  # noqa: E402
    AutoConfig,
    AutoImageProcessor,
    AutoModel,
    AutoModelForImageClassification,
    pipeline,
)

repository, copy, image_path, results = sys.argv[1:]
remote = {"trust_remote_code": True}
tensors = {}
with torch.inference_mode():
    for name, folder in (("first", repository), ("again", copy)):
        config = AutoConfig.from_pretrained(folder, **remote)
        processor = AutoImageProcessor.from_pretrained(folder, **remote)
        model = AutoModelForImageClassification.from_pretrained(folder, **remote)
        pixel_values = processor(Image.open(image_path), return_tensors="pt")["pixel_values"]
        tensors[f"{name}.pixel_values"] = pixel_values
        tensors[f"{name}.logits"] = model(pixel_values).logits
        tensors[f"{name}.pooled"] = AutoModel.from_pretrained(folder, **remote)(pixel_values).pooler_output
        if folder == repository:
            model.save_pretrained(copy)
            processor.save_pretrained(copy)
classify = pipeline("image-classification", model=repository, **remote)
report = {
    "scores": classify(image_path, top_k=7),
    "labels": config.id2label,
    "used": {type(thing).__name__: type(thing).__module__ for thing in (config, processor, model, classify.model)},
    "project_modules": [name for name in sys.modules if name.partition(".")[0] in PROJECT],
}
save_file(tensors, f"{results}.safetensors")
Path(f"{results}.json").write_text(json.dumps(report))
