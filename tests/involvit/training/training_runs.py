"""Whole runs on small pictures, in this process where that will do: imports take seconds."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import torch

ROOT = Path(__file__).parents[3]
MODEL = {
    "image_size": 32,
    "rednet_depths": [1, 1],
    "rednet_widths": [64, 64],
    "rednet_stem_channels": 32,
    "vit_backbone_layers": [1],
    "vit_backbone_channels": [128],
    "vit_stem_channels": 32,
    "vit_hidden_size": 32,
    "vit_num_layers": 1,
    "vit_num_heads": 2,
    "fusion_channels": 32,
}
RECIPE = {
    "split": "random",
    "validation_fraction": 0.25,
    "num_epochs": 2,
    "batch_size": 4,
    "gradient_accumulation_steps": 2,
    "learning_rate": 1e-3,
    "num_workers": 0,
    "mixed_precision": "no",
    "report_to": "none",
    "augmentation": [{"HorizontalFlip": {"p": 0.5}}, {"RandomBrightnessContrast": {"p": 0.5}}],
}


class FailedRunError(Exception):
    """A run that ended with another status than 0, and what it printed on stderr."""

    def __init__(self, status, printed):
        super().__init__(printed)
        self.status = status
        self.printed = printed


def words(faces, output_dir, model=None, **changes):
    recipe = {
        **RECIPE,
        "data": str(faces),
        "output_dir": str(output_dir),
        "model": {**MODEL, **(model or {})},
        **changes,
    }
    return [f"--{name}={value if isinstance(value, str) else json.dumps(value)}" for name, value in recipe.items()]


def start(faces, output_dir, **changes):
    """Starts train.py in a process group of its own, as a terminal does."""
    command = [sys.executable, str(ROOT / "train.py"), *words(faces, output_dir, **changes)]
    return subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def torchrun(faces, output_dir, processes, **changes):
    """Runs `involvit train` in several processes and returns the report."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
    environment = {**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    command += ["-m", "involvit", "train", *words(faces, output_dir, **changes)]
    subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True, timeout=300)
    return json.loads((output_dir / "report.json").read_text())


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def assert_equal_weights(one, other):
    assert one.keys() == other.keys()
    assert [name for name in one if not torch.equal(one[name], other[name])] == []
