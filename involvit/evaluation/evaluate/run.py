"""`involvit evaluate`: one report on one or several models."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...reports.writer import check_report_folder, write_report
from ..named_models import load_models
from ..predictions import class_order, describe_data, load_faces, measure_speed, predict
from .document import evaluation_results, evaluation_sections
from .measure import compare_models, measure_model


def evaluate_models(
    models: Sequence[str] | None,
    data: str,
    out: Path,
    part: str = "validation",
    overwrite: bool = False,
    command: str = "",
    **load_arguments: Any,
) -> Path:
    """Measures models on the same faces and writes a report.

    Args:
        models: See `name_models`; by default the model of the package.
        data: See `load_fer_dataset`.
        out: Folder of the report.
        part: See `load_faces`.
        overwrite: Whether a report in `out` is replaced.
        command: The command line, for the report.
        **load_arguments: Of `load_fer_dataset`.

    Returns:
        The path of `report.html`.

    Raises:
        OSError: If the data or a model is missing, or `out` cannot be written.
        ValueError: If the data, a model, or the two together cannot be used.
    """
    check_report_folder(out, overwrite)
    classifiers = load_models(models)
    for name, classifier in classifiers.items():
        class_order(name, classifier.labels)
    rows = load_faces(data, part, **load_arguments)
    references, groups = np.array(rows["label"][:]), rows["group"][:]
    votes = {name: rows[name][:] for name in ("votes", "vote_counts") if name in rows.column_names}
    measurements = {}
    for name, classifier in classifiers.items():
        probabilities, speed = predict(classifier, rows, name), measure_speed(classifier, rows, name)
        measurements[name] = measure_model(probabilities, references, groups, speed, **votes)
    text = describe_data(data, part, load_arguments.get("split"))
    found = (measurements, compare_models(measurements, references, groups), rows, text)
    sections, results = evaluation_sections(*found), evaluation_results(*found)
    return write_report(out, f"Evaluation of {', '.join(classifiers)}", command, sections, results, overwrite)
