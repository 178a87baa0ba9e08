"""From a model's `config.json` and `report.json` to the metadata of its card and the values of the card's template."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub import EvalResult, ModelCardData

from ..reports.blocks import Table
from ..reports.numbers import decimal
from ..reports.score_tables import SCORES, has_votes, per_class_table, vote_blocks
from ..reports.writer import to_markdown
from ..training.public_recipe import WEIGHT_FIELDS, public_recipe

FIGURES = {"confusion_matrix.png": "Confusion matrix", "training_curves.png": "Loss and scores over the epochs"}
"""File name and caption of the pictures that a run leaves beside its report."""

_FACTS = yaml.safe_load(Path(__file__).with_name("facts.yaml").read_text(encoding="utf-8"))
_DECIMALS = 4
_FEW_IMAGES = 30
_FILE_SUFFIX = re.compile(r"\.(zip|csv|jsonl|parquet|tgz|tar(\.\w+)?)$")


def card_metadata(name: str, config: Mapping[str, Any], report: Mapping[str, Any] | None) -> ModelCardData:
    """Returns what the Hub reads of a model of that name; `report` is the content of its report.json, if it has one."""
    parts, sources = _parts(config), {} if report is None else _sources(report)
    results: list[EvalResult] = []
    for source, metrics in ({} if report is None else _measured(report)).items():
        hub_id = sources[source].hub_id if source in sources else None
        where = {
            "task_type": "image-classification",
            "task_name": "Facial expression recognition",
            # The Hub wants the id of one of its data sets, or how the files lie.
            "dataset_type": hub_id or "imagefolder",
            "dataset_config": None if hub_id else source,
            "dataset_name": source,
            "dataset_split": report["run"]["evaluated_on"],
        }
        f1 = {"metric_type": "f1", "metric_name": "Macro F1", "metric_value": metrics["macro_f1"]}
        accuracy = {"metric_type": "accuracy", "metric_name": "Accuracy", "metric_value": metrics["accuracy"]}
        results += [EvalResult(**where, **accuracy), EvalResult(**where, **f1, metric_args={"average": "macro"})]
    further_tags = {"involution": "rednet" in parts, "vision-transformer": "vit" in parts}
    further_tags["custom_code"] = bool(config.get("auto_map"))
    return ModelCardData(
        license="apache-2.0",
        library_name="transformers",
        pipeline_tag="image-classification",
        tags=["facial-expression-recognition", *(tag for tag, applies in further_tags.items() if applies)],
        datasets=[source.hub_id for source in sources.values() if source.hub_id] or None,
        metrics=["accuracy", "f1"] if results else None,
        model_name=name if results else None,
        eval_results=results or None,
    )


def card_values(
    directory: Path, model: str, config: Mapping[str, Any], report: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Returns the values of `model_card.md.jinja`, but for the text by hand; `model` is its name in the examples."""
    known = {} if report is None else _known(report)
    papers = [_FACTS["papers_for"][part] for part in ("any", *_parts(config))]
    papers += [paper for fact in known.values() for paper in fact.get("papers", [])]
    return {
        "files": "config.json" if report is None else "config.json and report.json",
        "model": model,
        "name": model.rpartition("/")[2],
        "labels": _labels(config),
        "parts": _parts(config),
        "architecture": ", ".join(config.get("architectures") or ["unknown"]),
        "image_size": config.get("image_size"),
        "has_code": bool(config.get("auto_map")),
        "law": _FACTS["law"],
        "known": known,
        "citations": "\n".join(_FACTS["papers"][paper] for paper in dict.fromkeys(papers)),  # two sources may share one
        "run": {},
        **({} if report is None else {**_result_values(directory, report), **_training_values(report["run"])}),
    }


def _result_values(directory: Path, report: Mapping[str, Any]) -> dict[str, Any]:
    run, measured = report["run"], _measured(report)
    calibration_error = report["metrics"].get("expected_calibration_error")
    votes, classes, few = {}, {}, {}
    for name, metrics in measured.items():
        if has_votes(metrics):
            votes[name] = to_markdown(vote_blocks({"the model": metrics}))
        classes[name] = to_markdown([per_class_table(metrics, decimals=_DECIMALS)])
        images = {label: values["support"] for label, values in metrics["per_class"].items()}
        few[name] = [f"{label} ({number})" for label, number in images.items() if number < _FEW_IMAGES]
    return {
        "results": to_markdown([_result_table(report)]),
        "has_intervals": any("intervals" in metrics for metrics in (report["metrics"], *measured.values())),
        "is_chosen_here": run["evaluated_on"] == "validation" and run["recipe"].get("select_best") is not None,
        **{"votes": votes, "classes": classes, "few": few},
        "calibration_error": calibration_error and decimal(calibration_error, _DECIMALS),
        "figures": {file: caption for file, caption in FIGURES.items() if (directory / file).exists()},
    }


def _result_table(report: Mapping[str, Any]) -> Table:
    measured, sources = _measured(report), _sources(report)
    rows = []
    for name, metrics in {**measured, **({"all together": report["metrics"]} if len(measured) > 1 else {})}.items():
        intervals = metrics.get("intervals", {})
        scores = [decimal(metrics[key], _DECIMALS, intervals.get(key)) for key in SCORES]
        largest = max(values["support"] for values in metrics["per_class"].values()) / metrics["num_images"]
        split = sources[name].split if name in sources else ""
        rows.append([name, split, metrics["num_images"], *scores, largest])
    return Table(("Data", "Split", "Images", *SCORES.values(), "Largest class"), rows, decimals=_DECIMALS)


def _training_values(run: Mapping[str, Any]) -> dict[str, Any]:
    recipe = public_recipe(run["recipe"])
    shown = ("parameters", "evaluated_on", "steps", "processes", "device", "mixed_precision", "weights")
    return {
        "run": {"votes": run.get("votes", False), **{name: run[name] for name in shown}},
        "started_from": [recipe[name] for name in WEIGHT_FIELDS if recipe.get(name)],
        "images": ", ".join(f"{count:,} {part}" for part, count in run["images"].items()),
        "versions": ", ".join(f"{library} {version}" for library, version in run["versions"].items()),
        "recipe": yaml.safe_dump(recipe, sort_keys=False, default_flow_style=None, width=100).strip(),
    }


def _labels(config: Mapping[str, Any]) -> list[str]:
    """The classes; transformers saves no names that are its own."""
    id2label = config.get("id2label") or {index: f"LABEL_{index}" for index in range(config.get("num_labels", 2))}
    return [id2label[index] for index in sorted(id2label, key=int)]


def _parts(config: Mapping[str, Any]) -> tuple[str, ...]:
    if config.get("model_type") != "involvit":
        return ()
    return ("fusion", "rednet", "vit") if config["branches"] == "fusion" else (config["branches"],)


@dataclass(frozen=True)
class _TrainingData:
    path: str
    split: str
    hub_id: str | None


def _sources(report: Mapping[str, Any]) -> dict[str, _TrainingData]:
    """What was trained on, by name."""
    recipe = report["run"]["recipe"]

    def source(data: str, split: str | None = None, **_: Any) -> _TrainingData:
        looks_so = re.fullmatch(r"\w[\w.-]*/[\w.-]+", data) and not _FILE_SUFFIX.search(data)
        is_hub_id = looks_so and not Path(recipe.get("data_dir", "."), data).exists()
        return _TrainingData(data, split or recipe.get("split") or "default", data if is_hub_id else None)

    data = recipe["data"]
    if isinstance(data, Mapping):
        return {name: source(**arguments) for name, arguments in data.items()}
    only = source(data)
    return {only.hub_id or _FILE_SUFFIX.sub("", Path(data).resolve().name): only}


def _measured(report: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The data measured on: name -> metrics."""
    return report.get("sources") or {" + ".join(_sources(report)): report["metrics"]}


def _known(report: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """What is known of each source trained on, found by its name or that of its file, and by whether it has votes."""
    measured, known = _measured(report), {}
    for name, source in _sources(report).items():
        text = re.sub(r"[\W_]", "", f"{name} {Path(source.path).name}".lower())
        # FER2013's images come with and without votes. Where the name does not say which, measured votes do, and for a
        # source of which nothing is held out, whether the run learned from some.
        learned = bool(report["run"].get("votes"))
        is_voted = "ferplus" in text or (has_votes(measured[name]) if name in measured else learned)
        facts = (fact for fact in _FACTS["sources"] if any(word in text for word in fact["words"]))
        known[name] = next((fact for fact in facts if fact.get("voted", is_voted) == is_voted), {})
    return known
