"""`involvit audit`: what is in a data set and what is wrong with it, as a report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dataset_script import load_fer_dataset

from ...prediction.classifier import load_classifier
from ...prediction.torch_classifier import TorchClassifier
from ...reports.writer import check_report_folder, write_report
from .document import audit_sections
from .measure import audit


def audit_data(data: str, model: str | None, out: Path, overwrite: bool, command: str, **load_arguments: Any) -> Path:
    """Audits a data set.

    Args:
        data: See `load_fer_dataset`.
        model: Folder or Hub id of the model whose features find doubtful labels, by default that of the package.
        out: Folder of the report.
        overwrite: Whether a report that is already there is replaced.
        command: The command line, for the report.
        **load_arguments: Of `load_fer_dataset`.

    Returns:
        The path of the report.

    Raises:
        FileExistsError: See `check_report_folder`.
        FileNotFoundError: If there is no such data or model.
        ValueError: If the data cannot be used, or the model cannot be loaded or has no features to offer.
    """
    check_report_folder(out, overwrite)
    classifier = load_classifier(model)
    if not isinstance(classifier, TorchClassifier):
        raise ValueError(f"{model} gives no features, only classes; name the folder or Hub id of a model by --model")
    parts = load_fer_dataset(data, **load_arguments)
    found = audit(parts, classifier)
    sections, results = audit_sections(found, parts, classifier.name), {"model": classifier.name, **found.results}
    return write_report(out, f"Audit of {Path(data).name}", command, sections, results, overwrite)
