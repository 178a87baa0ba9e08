"""What a finished run measured, of its model and of itself."""

from __future__ import annotations

import contextlib
import sys
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import datasets
import timm
import torch
import transformers

from modeling_involvit import InvolViTForImageClassification

from .public_recipe import public_recipe
from .scoring import BOOTSTRAP_SAMPLES, measure, predict_rows

if TYPE_CHECKING:
    from .loop import Run


@dataclass(frozen=True)
class MeasuredRun:
    """What a finished run measured; JSON values."""

    metrics: dict[str, Any]  # result of the `fer_report` metric on the test part if it has labels, else on validation
    sources: dict[str, dict[str, Any]]  # name of each of several joined sources -> the same on its images alone
    history: list[dict[str, float]]  # see `Progress`
    run: dict[str, Any]  # what was run on what


def measure_run(run: Run) -> MeasuredRun | None:
    """Measures the model that a run saved. To be called by every process.

    Returns:
        The measurements on the main process, else None.

    Raises:
        NonFiniteLossError: See `predict_rows`.
    """
    recipe, accelerator, progress, faces = run.recipe, run.accelerator, run.progress, run.faces
    model = InvolViTForImageClassification.from_pretrained(run.folder).to(accelerator.device)
    part = run.reported
    predicted = predict_rows(model, run.eval_loaders[part], faces[part], accelerator)
    if not accelerator.is_main_process:
        return None
    by_source = predicted.groupby("source", sort=False) if "source" in predicted else ()
    on_gpu = accelerator.device.type == "cuda"
    best = None if recipe.select_best is None else f"epoch {progress.best_epoch + 1}, by {recipe.select_best}"
    # A probability stands for a share of people where nothing moves the targets away from their votes.
    is_moved = recipe.class_balance or recipe.label_smoothing or recipe.mixup_alpha or recipe.cutmix_alpha
    details = {
        "evaluated_on": part,
        "images": {name: len(rows) for name, rows in faces.items()},
        "largest_class_share": float(predicted["label"].value_counts(normalize=True).max()),
        "weights": best or "last epoch",
        "votes": run.train_loader.dataset.target == "votes" and not is_moved,
        "parameters": sum(p.numel() for p in model.parameters()),
        "processes": accelerator.num_processes,
        "device": torch.cuda.get_device_name() if on_gpu else "cpu",
        "mixed_precision": accelerator.mixed_precision,
        "steps": progress.step,
        "training_images_per_s": progress.images / progress.seconds,
        "peak_memory_gib": torch.cuda.max_memory_allocated() / 2**30 if on_gpu else _peak_memory_gib(),
        "recipe": public_recipe(asdict(recipe)),  # the whole is in recipe.yaml
        "versions": {module.__name__: module.__version__ for module in (torch, transformers, timm, datasets)},
    }
    sources = {name: measure(rows, BOOTSTRAP_SAMPLES) for name, rows in by_source}
    return MeasuredRun(measure(predicted, BOOTSTRAP_SAMPLES), sources, progress.history, details)


def _peak_memory_gib() -> float | None:
    """Returns the most memory that this process ever held, or None on Windows, which has no such count."""
    with contextlib.suppress(ImportError):
        import resource

        unit = 1 if sys.platform == "darwin" else 1024
        return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**30
    return None
