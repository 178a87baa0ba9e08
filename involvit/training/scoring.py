"""Faces scored by a model on any number of processes, and what the scores are worth."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import datasets
import evaluate
import numpy as np
import pandas as pd
import torch
from accelerate import Accelerator
from torch import nn
from torch.utils.data import DataLoader
from tqdm.auto import tqdm

from dataset_script.fer_dataset import VOTE_FEATURES

BOOTSTRAP_SAMPLES = 2000  # of reports


class NonFiniteLossError(RuntimeError):
    """Loss, gradient or scores are infinite or not a number; the message says where."""


def predict_rows(
    model: nn.Module, loader: DataLoader, rows: datasets.Dataset, accelerator: Accelerator
) -> pd.DataFrame:
    """Scores each row once, on however many processes there are.

    Args:
        model: The model, prepared or not; it is left in evaluation mode.
        loader: The prepared loader of the rows.
        rows: Rows with `label` and `group`.
        accelerator: The run's accelerator.

    Returns:
        One row per image with `label`, `group`, `scores` (probabilities, a list) and, where the data has them,
        `source`, `votes` and `vote_counts`.

    Raises:
        NonFiniteLossError: If a score is not finite: the last step ruined the weights.
    """
    model.eval()
    logits, indices = [], []
    for batch in tqdm(loader, desc="evaluate", leave=False, disable=not accelerator.is_main_process):
        with torch.no_grad(), accelerator.autocast():
            output = model(batch["pixel_values"])
        gathered = accelerator.gather_for_metrics((output.logits.float(), batch["index"]))
        logits.append(gathered[0].cpu())
        indices.append(gathered[1].cpu())
    logits = torch.cat(logits)
    if bad := int((~logits.isfinite().all(dim=1)).sum()):
        raise NonFiniteLossError(
            f"evaluation: the scores of {bad} of {len(logits)} images are not finite. Lower learning_rate or set "
            f"max_grad_norm; the checkpoint before is kept"
        )
    columns = [name for name in ("label", "group", "source", *VOTE_FEATURES) if name in rows.column_names]
    # Not by to_pandas(), which makes counts of votes floats where one row has none.
    predicted = pd.DataFrame({name: rows[name][:] for name in columns}).iloc[torch.cat(indices).tolist()]
    return predicted.assign(scores=logits.double().softmax(dim=1).tolist())


def measure(predicted: pd.DataFrame, bootstrap_samples: int = 0) -> dict[str, Any]:
    """Measures what `predict_rows` returns by the metric `fer_report`; its intervals draw whole groups."""
    columns = {"references": "label", "groups": "group", "reference_votes": "votes", "vote_counts": "vote_counts"}
    return fer_metric().compute(
        predictions=np.array(predicted["scores"].tolist()).argmax(axis=1).tolist(),
        prediction_scores=predicted["scores"].tolist(),
        bootstrap_samples=bootstrap_samples,
        **{name: predicted[column].tolist() for name, column in columns.items() if column in predicted},
    )


@cache
def fer_metric() -> evaluate.EvaluationModule:
    """Returns the metric `fer_report`, from the checkout or from where it was installed."""
    installed = Path(__file__).parents[1] / "fer_report"
    folder = installed if installed.exists() else Path(__file__).parents[2] / "metrics" / "fer_report"
    return evaluate.load(str(folder), keep_in_memory=True)
