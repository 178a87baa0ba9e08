"""`involvit robustness`: from models and data to the report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ...reports.blocks import check_report_folder, write_report
from ..named_models import load_models
from ..predictions import describe_data, load_faces
from .corruptions import SIDE
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
        data: See `load_faces`.
        part: See `load_faces`.
        out: Folder of the report.
        overwrite: Whether a report that stands there is replaced.
        command: The command line that makes the report again.
        seed: Of the split, the corruptions and the bootstrap.
        **load_arguments: See `load_faces`.

    Returns:
        The path of `report.html`.

    Raises:
        FileExistsError: See `write_report`.
        FileNotFoundError: If a model or the data is not there.
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
    results = {
        "data": name,
        "images": len(rows),
        "groups": len(set(measurement.groups)),
        "seed": seed,
        "image_side": SIDE,
        "corruptions": [
            {
                "name": corruption.name,
                "family": corruption.family,
                "description": corruption.description,
                "parameter": corruption.parameter,
                "values": corruption.values,
            }
            for corruption in measurement.corruptions
        ],
        "models": {model: {"classifier": classifiers[model].name, **asdict(summary[model])} for model in summary},
        "comparisons": [asdict(comparison) for comparison in comparisons],
    }
    sections = robustness_sections(measurement, summary, comparisons, name, seed)
    return write_report(out, f"Robustness of {', '.join(summary)}", command, sections, results, overwrite)
