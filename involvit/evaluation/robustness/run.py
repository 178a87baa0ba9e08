"""`involvit robustness`: from models and data to the report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ...reports.writer import check_report_folder, write_report
from ..named_models import load_models
from ..predictions import describe_data, load_faces
from .corruptions import CORRUPTIONS, SIDE
from .document import robustness_sections
from .measure import compare, measure_robustness, summarize


def evaluate_robustness(
    models: Sequence[str] | None,
    data: str,
    part: str,
    out: Path,
    overwrite: bool,
    command: str,
    seed: int = 42,  # as `load_fer_dataset` has it: the same faces as in `involvit evaluate`
    **load_arguments: Any,
) -> Path:
    """Measures accuracy against the severity of corruptions, and writes the report.

    Args:
        models: See `load_models`; the first is the one that the others are compared with.
        data: See `load_faces`, as for `part` and `load_arguments`.
        part: What of the data is measured.
        out: Folder of the report.
        overwrite: Whether a report that is already there is replaced.
        command: The command line that makes the report again.
        seed: Of the split, the corruptions and the bootstrap.
        **load_arguments: How the data is read and split.

    Returns:
        The path of `report.html`.

    Raises:
        FileExistsError: See `write_report`.
        FileNotFoundError: If a model or the data is missing.
        ValueError: If the seed is negative, or a model or the data cannot be used.
    """
    check_report_folder(out, overwrite)
    if seed < 0:
        raise ValueError(f"the seed is {seed}; give one of at least 0")
    classifiers = load_models(models)
    rows = load_faces(data, part, seed=seed, **load_arguments)
    measurement = measure_robustness(classifiers, rows, seed=seed)
    summary, comparisons = summarize(measurement, seed), compare(measurement, seed)
    name = describe_data(data, part, load_arguments.get("split"))
    shown = ("name", "family", "description", "parameter", "values")
    results = {
        "data": name,
        "images": len(measurement.groups),
        "groups": len(set(measurement.groups)),
        "seed": seed,
        "image_side": SIDE,
        "corruptions": [{name: getattr(corruption, name) for name in shown} for corruption in CORRUPTIONS],
        "models": {model: asdict(summary[model]) | {"classifier": classifiers[model].name} for model in classifiers},
        "comparisons": [asdict(comparison) for comparison in comparisons],
    }
    sections = robustness_sections(measurement, summary, comparisons, name, seed)
    return write_report(out, f"Robustness of {', '.join(summary)}", command, sections, results, overwrite)
