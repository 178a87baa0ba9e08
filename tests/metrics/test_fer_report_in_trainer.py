"""The metric as `compute_metrics` of transformers' Trainer."""

import json
from pathlib import Path

import evaluate
import numpy as np
import torch
import torch.nn.functional as F
from scipy.special import softmax
from sklearn.metrics import f1_score, log_loss
from torch import nn
from transformers import Trainer, TrainingArguments

METRIC = Path(__file__).parents[2] / "metrics" / "fer_report"


class Identity(nn.Module):
    """A classifier of images that are logits themselves."""

    def forward(self, pixel_values, labels):
        return {"loss": F.cross_entropy(pixel_values, labels), "logits": pixel_values}


def test_scalars_alone_are_logged_and_saved(tmp_path, capsys):
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(20, 7)).astype(np.float32), rng.integers(0, 6, size=20)
    images = [{"pixel_values": torch.tensor(row), "labels": label} for row, label in zip(logits, labels, strict=True)]
    metric = evaluate.load(str(METRIC), keep_in_memory=True)

    def compute_metrics(evaluation):
        return metric.compute(
            predictions=evaluation.predictions.argmax(axis=1),
            references=evaluation.label_ids,
            prediction_scores=softmax(evaluation.predictions, axis=1),
            bootstrap_samples=10,
            scalars_only=True,
        )

    arguments = TrainingArguments(tmp_path, report_to="none", use_cpu=True)
    trainer = Trainer(Identity(), arguments, eval_dataset=images, compute_metrics=compute_metrics)
    figures = trainer.evaluate()
    trainer.log_metrics("eval", figures)
    trainer.save_metrics("eval", figures)
    macro_f1 = f1_score(labels, logits.argmax(axis=1), average="macro", zero_division=0)
    assert f"eval_macro_f1 = {round(macro_f1, 4)}" in " ".join(capsys.readouterr().out.split())
    written = json.loads((tmp_path / "eval_results.json").read_text())
    assert all(type(value) in (int, float) for value in written.values())
    np.testing.assert_allclose(written["eval_macro_f1"], macro_f1)
    likelihood = log_loss(labels, softmax(logits.astype(float), axis=1), labels=range(7))
    np.testing.assert_allclose(written["eval_negative_log_likelihood"], likelihood, rtol=1e-6)
    assert written["eval_num_images"] == 20
