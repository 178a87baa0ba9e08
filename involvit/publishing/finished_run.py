"""What comes after training: the report of the run and the model card."""

from __future__ import annotations

from pathlib import Path

from ..reports.run_report import run_tables, write_run_report
from ..reports.writer import to_terminal
from ..training.measured_run import MeasuredRun
from ..training.recipe import Recipe
from .model_card import write_model_card


def report_run(recipe: Recipe, measured: MeasuredRun) -> None:
    """Writes report and model card beside the saved model, and prints the tables."""
    output_dir, run = Path(recipe.output_dir), measured.run
    write_run_report(output_dir, measured.metrics, measured.history, run, measured.sources)
    data = " + ".join(measured.sources) or f"{Path(recipe.data).stem}, {recipe.split or 'default'} split"
    data = f"{data}, {run['evaluated_on']}"
    tables = run_tables(measured.metrics, data, run["largest_class_share"], measured.sources)
    print(f"\n{to_terminal(tables)}\n")
    write_model_card(output_dir)
    print(f"Saved to {output_dir}: the model and its card, report.json, confusion_matrix.png, training_curves.png")
