"""What a finished run measured, of its model and of itself."""

from __future__ import annotations

import resource
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import datasets
import timm
import torch
import transformers
from accelerate import Accelerator
from torch.utils.data import DataLoader

from modeling_involvit import InvolViTConfig, InvolViTForImageClassification

from .loaders import trains_on_votes
from .progress import Progress
from .recipe import Recipe, public_recipe
from .scoring import measure, predict_rows

BOOTSTRAP_SAMPLES = 2000


@dataclass(frozen=True)
class MeasuredRun:
    """What a finished run measured.

    Args:
        metrics: Result of the `fer_report` metric on the test part where its labels are known, else on the validation
            part.
        sources: Name of each of several joined sources -> the same on its images alone.
        history: One mapping per evaluation: `epoch`, `step`, `train_loss`, `learning_rate`, `validation_loss`,
            `accuracy` and `macro_f1`.
        run: What was run on what; JSON values.
    """

    metrics: dict[str, Any]
    sources: dict[str, dict[str, Any]]
    history: list[dict[str, float]]
    run: dict[str, Any]


def measure_run(
    recipe: Recipe,
    faces: datasets.DatasetDict,
    eval_loaders: dict[str, DataLoader],
    progress: Progress,
    accelerator: Accelerator,
) -> MeasuredRun | None:
    """Measures the model that a run saved. To be called by every process.

    Args:
        recipe: The run's recipe; the model is in its `output_dir`.
        faces: See `load_faces`.
        eval_loaders: The prepared loader of each part but the training part.
        progress: Where the run ended.
        accelerator: The run's accelerator.

    Returns:
        The measurements on the main process, else None.

    Raises:
        NonFiniteLossError: See `predict_rows`.
    """
    model = InvolViTForImageClassification.from_pretrained(Path(recipe.output_dir)).to(accelerator.device)
    part = "test" if "test" in faces else "validation"
    predicted = predict_rows(model, eval_loaders[part], faces[part], accelerator)
    if not accelerator.is_main_process:
        return None
    sources = {}
    if "source" in predicted:
        sources = {name: measure(rows, BOOTSTRAP_SAMPLES) for name, rows in predicted.groupby("source", sort=False)}
    on_gpu = accelerator.device.type == "cuda"
    peak_bytes = (
        torch.cuda.max_memory_allocated() if on_gpu else 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    )
    run = {
        "evaluated_on": part,
        "images": {name: len(rows) for name, rows in faces.items()},
        "largest_class_share": float(predicted["label"].value_counts(normalize=True).max()),
        "weights": _describe_weights(recipe, progress),
        "votes": _learns_shares_of_people(recipe, faces, model.config),
        "parameters": sum(p.numel() for p in model.parameters()),
        "processes": accelerator.num_processes,
        "device": torch.cuda.get_device_name() if on_gpu else "cpu",
        "mixed_precision": accelerator.mixed_precision,
        "steps": progress.step,
        "training_images_per_s": progress.images / progress.seconds,
        "peak_memory_gib": peak_bytes / 2**30,
        "recipe": public_recipe(asdict(recipe)),  # the whole is in recipe.yaml
        "versions": {module.__name__: module.__version__ for module in (torch, transformers, timm, datasets)},
    }
    return MeasuredRun(measure(predicted, BOOTSTRAP_SAMPLES), sources, progress.history, run)


def _describe_weights(recipe: Recipe, progress: Progress) -> str:
    """Says which weights were saved."""
    if recipe.select_best is not None:
        return f"epoch {progress.best_epoch + 1}, by {recipe.select_best}"
    return "last epoch"


def _learns_shares_of_people(recipe: Recipe, faces: datasets.DatasetDict, config: InvolViTConfig) -> bool:
    """Returns whether a probability stands for a share of people: nothing moves the targets away from their votes."""
    is_moved = recipe.class_balance or config.class_weights or config.label_smoothing
    is_moved = is_moved or recipe.mixup_alpha or recipe.cutmix_alpha
    return trains_on_votes(recipe, faces) and not is_moved
