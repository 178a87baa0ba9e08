"""Keeps the tests off the network and out of the user's caches. The libraries read these variables when imported."""

from __future__ import annotations

import os
import shutil
import tempfile

# A core for each of pytest's workers: threads that compute together and share cores wait for each other.
if "PYTEST_XDIST_WORKER" in os.environ and hasattr(os, "sched_setaffinity"):
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[int(os.environ["PYTEST_XDIST_WORKER"].removeprefix("gw")) % len(cores)]})

import torch

CACHE = tempfile.mkdtemp(prefix="involvit-tests-")

# A user's own settings of the single caches would win over HF_HOME.
for name in ("HF_DATASETS_CACHE", "HF_EVALUATE_CACHE", "HF_HUB_CACHE", "HF_METRICS_CACHE", "HF_MODULES_CACHE"):
    os.environ.pop(name, None)
os.environ.update(
    HF_HOME=CACHE,
    HF_HUB_OFFLINE="1",
    HF_DATASETS_OFFLINE="1",
    HF_EVALUATE_OFFLINE="1",
    NO_ALBUMENTATIONS_UPDATE="1",
    ORT_DISABLE_TELEMETRY="1",
    TQDM_DISABLE="1",  # a failing test shows its output
)


def pytest_configure(config):
    """Hides a GPU from all tests but those that `pytest -m gpu` runs on it: their references are a CPU's.

    Without one Triton's kernels run on the CPU, where it looks when it is imported, by whatever test does so first.
    """
    if config.option.markexpr != "gpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    if not torch.cuda.is_available():
        os.environ["TRITON_INTERPRET"] = "1"


def pytest_unconfigure():
    shutil.rmtree(CACHE, ignore_errors=True)
