"""The model card `README.md`: the Hub's metadata and a text, both from what a run recorded about itself."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub import CardData, EvalResult, ModelCardData, RepoCard

BEGIN = "<!-- involvit:begin -->"
END = "<!-- involvit:end -->"
"""Between these two lines the card is written anew each time; what stands outside of them stays."""

FIGURES = {"confusion_matrix.png": "Confusion matrix", "training_curves.png": "Loss and scores over the epochs"}
"""File name and caption of the pictures that a run leaves beside its report."""

RUNTIME_FIELDS = (
    *("output_dir", "resume", "data_dir", "num_workers", "eval_batch_size", "checkpoint_steps", "log_steps"),
    *("report_to", "push_to_hub", "hub_model_id"),
)
"""Fields of a recipe that say how and where a run is carried out; its continuation may have others."""
_WEIGHT_FIELDS = ("pretrained", "rednet_checkpoint", "vit_pretrained")
_FEW_IMAGES = 30
_FILE_SUFFIX = re.compile(r"\.(zip|csv|jsonl|parquet|tgz|tar(\.\w+)?)$")


@dataclass(frozen=True)
class _Source:
    """What is known about a data set beyond what a run can measure."""

    origin: str
    limits: str
    citations: tuple[str, ...] = ()


_GOODFELLOW = """
        @article{goodfellow2013challenges,
          title = {Challenges in Representation Learning: A report on three machine learning contests},
          author = {Goodfellow, Ian J. and Erhan, Dumitru and Carrier, Pierre Luc and Courville, Aaron and others},
          journal = {arXiv preprint arXiv:1307.0414},
          year = {2013}
        }
        """
_BARSOUM = """
        @inproceedings{barsoum2016training,
          title = {Training Deep Networks for Facial Expression Recognition with Crowd-Sourced Label Distribution},
          author = {Barsoum, Emad and Zhang, Cha and Canton Ferrer, Cristian and Zhang, Zhengyou},
          booktitle = {ACM International Conference on Multimodal Interaction (ICMI)},
          year = {2016}
        }
        """

# The first whose name occurs in that of a source is taken.
_KNOWN_SOURCES = {
    "ferplus": _Source(
        "FER+ (Barsoum et al., ICMI 2016, [arXiv 1608.01041](https://arxiv.org/abs/1608.01041)): what ten people said "
        "of each image of FER2013 (Goodfellow et al., [arXiv 1307.0414](https://arxiv.org/abs/1307.0414)). Licence of "
        "the votes: MIT; of the images, as published with FER2013: ODbL for the database, DbCL for its contents.",
        "FER+ has the images of FER2013, collected from the web by searching for words of emotion: faces of 48 x 48 px "
        "in grey, found by machine. Ten people said of each what they see, without its context; about one in four of "
        "them contradicts the majority. Nothing is known of them, nor of the age, sex, skin colour and origin of the "
        "persons shown. Votes for contempt, and for no face at all, are left out; images of Disgust and Fear are few.",
        (_BARSOUM, _GOODFELLOW),
    ),
    "fer2013": _Source(
        "FER2013 (Goodfellow et al., [arXiv 1307.0414](https://arxiv.org/abs/1307.0414)), the data of a challenge at "
        "ICML 2013 on Kaggle. Licence as published there: ODbL for the database, DbCL for its contents.",
        "FER2013 was collected from the web by searching images for words of emotion: faces of 48 x 48 px in grey, "
        "found by machine, some cut badly or under a watermark. Its labels are noisy: people reach an accuracy of "
        "about 65% on it. Age, sex, skin colour and origin of the persons are not recorded, so nobody can say who is "
        "missing.",
        (_GOODFELLOW,),
    ),
    "wildfacesextra": _Source(
        "Extra wild faces: 6,000 press photos and film stills of the `facial_expressions` collection by muxspace, "
        "Happy or Neutral, at most three of a person and class. Licence: Apache-2.0.",
        "The extra wild faces are of public figures and actors, and show two expressions only, calm and smiling, each "
        "with one label by unknown hands.",
    ),
    "wildfaces": _Source(
        "Wild faces: the `facial_expressions` collection by muxspace, press photos and film stills. Licence: "
        "Apache-2.0.",
        "The wild faces are of public figures and actors, in front of cameras and in roles: few persons, with several "
        "images of each. The classes are very uneven, with 12 images of Fear in all. People whom the press does not "
        "photograph are not there.",
    ),
    "sfew": _Source(
        "SFEW (Static Facial Expressions in the Wild), stills of feature films. Licence: of its own, from its authors, "
        "who hand it out on request.",
        "SFEW shows actors of feature films in roles: acted expressions of few persons, chosen by casting.",
    ),
    "rendered": _Source(
        "Rendered faces: drawn by this project from action units of the facial action coding system, showing no "
        "person. Licence: Apache-2.0.",
        "The rendered faces are drawings with expressions as a textbook has them. They say nothing about how well "
        "photographs of real faces are told apart.",
    ),
}

_INTENDED_USE = """
## Intended use and limits

Made for research and teaching: for studying methods of facial expression recognition, sorting pictures by the
expression shown, and as a starting point for training on other data. It expects one upright face that fills the
picture.

**An expression is not a feeling.** The model names the category that people chose for pictures that look alike. It does
not know what a person feels. How people move their faces when they are angry, afraid, sad or happy differs between
cultures, situations and persons, and the same movement can stand for different feelings or for none
(Barrett et al. 2019, [doi 10.1177/1529100619832930](https://doi.org/10.1177/1529100619832930)). Context, voice and
culture are invisible to the model, and it must choose one of its classes even where none fits.

**Not for decisions about people**: not for hiring, grading, policing, border control, credit, insurance, advertising
to a person, medical diagnosis or lie detection.

**The law.** In the European Union the AI Act, Regulation (EU) 2024/1689, limits emotion recognition:

- Article 5(1)(f) prohibits AI systems that infer emotions of a person at the workplace or in education institutions,
  except for medical or safety reasons.
- Annex III lists other emotion recognition systems as high-risk, with the duties that follow.
- Article 50(3) obliges whoever uses such a system to inform the persons exposed to it.

Other laws may apply as well. This is no legal advice.

**Privacy.** Pictures of faces are personal data. Process them with the consent of the persons shown or another legal
ground, where possible on your own machine as this model allows, and keep neither pictures nor predictions longer than
needed.

**Who is under-represented.** Errors are not spread evenly over people: measure on your own data, for each group that
matters, before any use.
"""

_PAPERS = {
    "any": """
        @article{barrett2019emotional,
          title = {Emotional Expressions Reconsidered: Challenges to Inferring Emotion From Human Facial Movements},
          author = {Barrett, Lisa Feldman and Adolphs, Ralph and Marsella, Stacy and Martinez, Aleix M. and others},
          journal = {Psychological Science in the Public Interest},
          volume = {20}, number = {1}, pages = {1--68}, year = {2019},
          doi = {10.1177/1529100619832930}
        }
        """,
    "fusion": """
        @misc{liu_transformer_involution,
          title = {Using Transformer and Involution for facial expression recognition},
          author = {Liu, Z.}
        }
        """,
    "rednet": """
        @inproceedings{li2021involution,
          title = {Involution: Inverting the Inherence of Convolution for Visual Recognition},
          author = {Li, Duo and Hu, Jie and Wang, Changhu and Li, Xiangtai and She, Qi and Zhu, Lei and others},
          booktitle = {IEEE/CVF Conference on Computer Vision and Pattern Recognition (CVPR)},
          year = {2021}
        }
        """,
    "vit": """
        @inproceedings{dosovitskiy2021image,
          title = {An Image is Worth 16x16 Words: Transformers for Image Recognition at Scale},
          author = {Dosovitskiy, Alexey and Beyer, Lucas and Kolesnikov, Alexander and Weissenborn, Dirk and others},
          booktitle = {International Conference on Learning Representations (ICLR)},
          year = {2021}
        }
        """,
}


def write_model_card(directory: str | Path, repo_id: str | None = None, published: str | None = None) -> Path:
    """Writes `README.md` of a model's folder from its `config.json` and, where there is one, its `report.json`.

    Only the part between the lines `BEGIN` and `END` and the metadata's `model-index` are the program's own. Whatever
    else an existing card holds is kept: the text outside of the two lines, further keys of the metadata, further
    entries of its lists, and values that differ from the default, such as another licence. A card without the two lines
    is kept whole, and the generated part put at its end.

    Args:
        directory: A model's folder as `train.py` or `save_pretrained` writes it.
        repo_id: Name of its Hub repository, for the examples; without it they name the folder.
        published: Text of the card that stands in that repository. Its hand-written text is taken over where the
            folder's card has none of its own; its metadata too, unless the folder's card says otherwise.

    Returns:
        The path of the card.

    Raises:
        FileNotFoundError: If there is no such folder, or no config.json in it.
        ValueError: If config.json, report.json or an existing card cannot be used; then the card is left as it was.
    """
    directory = Path(directory)
    config = read_json(directory / "config.json")
    report = read_json(directory / "report.json") if (directory / "report.json").exists() else None
    name = (repo_id or directory.resolve().name).rpartition("/")[2]
    path = directory / "README.md"

    cards = [] if published is None else [_HandWritten.read(published, "the card in the Hub repository")]
    if path.exists():
        cards.append(_HandWritten.read(_read_text(path), str(path)))
    try:
        metadata = _metadata(name, config, report).to_dict()
        text = "\n\n".join(_sections(directory, repo_id or name, config, report))
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{directory}: config.json or report.json is not as train.py writes it ({type(error).__name__}: {error}); "
            f"restore it, or remove report.json for a card without results"
        ) from error

    # The folder's card comes last and wins; one that is all generated leaves the text to the one published.
    own = next((card for card in reversed(cards) if card.has_text), _HandWritten({}, f"\n# {name}\n\n", "\n"))
    card = RepoCard(f"---\n{{}}\n---\n{own.before}{BEGIN}\n{text}\n{END}{own.after}")
    card.data = CardData(**_merge(metadata, [card.metadata for card in cards]))
    beside = path.with_name(f".unfinished_{path.name}")
    try:
        card.save(beside)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    return path


def read_json(path: Path) -> dict[str, Any]:
    """Reads a JSON object.

    Args:
        path: A file.

    Returns:
        Its content.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no JSON object.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; give a model's folder, as train.py or save_pretrained writes it")
    try:
        content = json.loads(_read_text(path))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is no valid JSON ({error}); restore or remove it") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds no JSON object; restore or remove it")
    return content


def public_recipe(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the part of a recipe that determines the result, telling nothing of the machine it ran on.

    Args:
        recipe: Fields of `involvit.training.recipe.Recipe`, as report.json records them.

    Returns:
        The same without fields that are empty or only say how the run was carried out; of local paths the last part.
    """
    return {
        name: _without_folders(value) if name in ("data", *_WEIGHT_FIELDS) else value
        for name, value in recipe.items()
        if name not in RUNTIME_FIELDS and value not in (None, {}, [])
    }


def _without_folders(value: Any) -> Any:
    if isinstance(value, Mapping):  # several sources, each with arguments of its own
        return {
            name: _without_folders(item) if isinstance(item, Mapping) or name == "data" else item
            for name, item in value.items()
        }
    tells_of_this_machine = isinstance(value, str) and (value.startswith(("/", "~")) or ".." in Path(value).parts)
    return Path(value).resolve().name if tells_of_this_machine else value


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no text in UTF-8; save it as such") from error


# ---- what stands in a card already


@dataclass(frozen=True)
class _HandWritten:
    """An existing card without its generated part."""

    metadata: dict[str, Any]
    before: str
    after: str

    @classmethod
    def read(cls, content: str, where: str) -> _HandWritten:
        if not content.lstrip().startswith("---"):
            content = f"---\n{{}}\n---\n{content}"
        try:
            card = RepoCard(content)
        except (yaml.YAMLError, ValueError) as error:
            reason = " ".join(str(error).split())
            raise ValueError(f"{where}: the metadata at its top is no valid YAML; correct it ({reason})") from error
        text, marks = card.text, re.findall(f"{BEGIN}|{END}", card.text)
        if not marks:
            return cls(card.data.to_dict(), f"{text.rstrip()}\n\n" if text.strip() else "\n", "\n")
        if marks != [BEGIN, END]:
            raise ValueError(f"{where}: the line {BEGIN} and after it {END} must stand there once each; correct that")
        before, rest = text.split(BEGIN)
        return cls(card.data.to_dict(), before, rest.split(END)[1])

    @property
    def has_text(self) -> bool:
        """Whether somebody wrote more than the title that every card begins with."""
        return re.fullmatch(r"\s*(# .*)?\s*", self.before) is None or bool(self.after.strip())


def _merge(generated: Mapping[str, Any], existing: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    merged = dict(generated)
    for metadata in existing:
        for key, value in metadata.items():
            if key == "model-index" and key in generated:
                continue
            if isinstance(value, list) and isinstance(merged.get(key), list):
                merged[key] = [*merged[key], *(item for item in value if item not in merged[key])]
            elif value != generated.get(key):
                merged[key] = value
    return merged


# ---- metadata


def _metadata(name: str, config: Mapping[str, Any], report: Mapping[str, Any] | None) -> ModelCardData:
    branches = _branches(config)
    results: list[EvalResult] = []
    hub_ids: list[str] = []
    if report is not None:
        sources = _sources(report)
        hub_ids = [source.hub_id for source in sources.values() if source.hub_id]
        for source, metrics in _measured(report).items():
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
    return ModelCardData(
        license="apache-2.0",
        library_name="transformers",
        pipeline_tag="image-classification",
        tags=[
            "facial-expression-recognition",
            *(["involution"] if "rednet" in branches else []),
            *(["vision-transformer"] if "vit" in branches else []),
            *(["custom_code"] if config.get("auto_map") else []),
        ],
        datasets=hub_ids or None,
        metrics=["accuracy", "f1"] if results else None,
        model_name=name if results else None,
        eval_results=results or None,
    )


def _branches(config: Mapping[str, Any]) -> tuple[str, ...]:
    if config.get("model_type") != "involvit":
        return ()
    return {"rednet": ("rednet",), "vit": ("vit",)}.get(config["branches"], ("fusion", "rednet", "vit"))


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


def _known(report: Mapping[str, Any]) -> dict[str, _Source | None]:
    """What is known of each source trained on, found by its name or that of its file."""

    def find(name: str, data: str) -> _Source | None:
        text = re.sub(r"[\W_]", "", f"{name} {Path(data).name}".lower())
        return next((source for key, source in _KNOWN_SOURCES.items() if key in text), None)

    return {name: find(name, source.path) for name, source in _sources(report).items()}


# ---- text


def _sections(
    directory: Path, model: str, config: Mapping[str, Any], report: Mapping[str, Any] | None
) -> Iterator[str]:
    files = "config.json" if report is None else "config.json and report.json"
    yield f"<!-- Written anew from {files}. Text of your own stays above the line before or below the last one. -->"
    yield _description(config, report)
    yield _usage(model, config)
    yield _results(directory, report)
    yield _training(model, report)
    known = [] if report is None else [source for source in _known(report).values() if source is not None]
    yield "\n\n".join([_INTENDED_USE.strip(), *(_wrap(source.limits) for source in known)])
    papers = [_PAPERS[branch] for branch in ("any", *_branches(config))]
    papers += [citation for source in known for citation in source.citations]
    entries = dict.fromkeys(textwrap.dedent(paper).strip() for paper in papers)  # two sources may share one
    yield "## Citation\n\n```bibtex\n" + "\n".join(entries) + "\n```"


def _description(config: Mapping[str, Any], report: Mapping[str, Any] | None) -> str:
    labels = [config["id2label"][index] for index in sorted(config["id2label"], key=int)]
    involution = "an involution network (RedNet, [arXiv 2103.06255](https://arxiv.org/abs/2103.06255))"
    transformer = "a hybrid vision transformer ([arXiv 2010.11929](https://arxiv.org/abs/2010.11929))"
    kinds = {
        ("fusion", "rednet", "vit"): f"It is an InvolViT: {involution} and {transformer} run side by side, and a 1x1 "
        'convolution fuses their maps (Z. Liu, "Using Transformer and Involution for facial expression recognition").',
        ("rednet",): f"It is one branch of InvolViT alone: {involution}.",
        ("vit",): f"It is one branch of InvolViT alone: {transformer}.",
        (): f"Its class in `transformers` is `{', '.join(config.get('architectures') or ['unknown'])}`.",
    }
    facts = []
    if "image_size" in config:
        facts.append(f"Input: RGB pictures, resized to {config['image_size']} x {config['image_size']} px")
    if report is not None:
        facts.append(f"{report['run']['parameters'] / 1e6:.2f} M parameters")
    votes = ""
    if report is not None and report["run"].get("votes"):
        votes = (
            " It learned from the votes of several people per face, so a probability is a share of people: 0.6 for "
            "Happy means that about 6 of 10 people would say Happy."
        )
    return _wrap(
        f"Tells which facial expression a picture of a face shows: the probabilities of {', '.join(labels[:-1])} and "
        f"{labels[-1]}.{votes} {kinds[_branches(config)]}" + (f" {'; '.join(facts)}." if facts else "")
    )


def _usage(model: str, config: Mapping[str, Any]) -> str:
    remote = ", trust_remote_code=True" if config.get("auto_map") else ""
    note = "`trust_remote_code=True` runs the Python files of this repository: read them first.\n\n" if remote else ""
    return f"""## How to use

With `transformers` alone, on pictures that show one face:

```python
from transformers import pipeline

classify = pipeline("image-classification", model="{model}"{remote})
classify("face.jpg", top_k={len(config["id2label"])})
```

{note}With the package `involvit`, which finds the faces in photos and videos first:

```python
from involvit import Predictor

predictor = Predictor("{model}", faces=True)
for face in predictor("photo.jpg"):
    print(face.label, face.probabilities)
```

```sh
involvit predict photos/ --model {model} --faces --out results.csv
```"""


def _results(directory: Path, report: Mapping[str, Any] | None) -> str:
    if report is None:
        return "## Results\n\nNone were measured: there is no report of a training run with this model."
    run, sources, measured = report["run"], _sources(report), _measured(report)
    rows = dict(measured)
    if len(measured) > 1:
        rows["all together"] = report["metrics"]
    brackets = "; 95% bootstrap intervals in brackets" if any("intervals" in row for row in rows.values()) else ""
    lines = [
        "## Results",
        "",
        f"Measured on the {run['evaluated_on']} part, which was not trained on. Precision, recall and F1 are macro "
        f"averages{brackets}. The last column is the accuracy of always answering the largest class.",
        "",
        "| data | split | images | accuracy | precision | recall | F1 | largest class |",
        "|---|---|---:|---:|---:|---:|---:|---:|",
    ]
    for name, metrics in rows.items():
        intervals = metrics.get("intervals", {})
        cells = [
            _number(metrics[key], intervals.get(key))
            for key in ("accuracy", "macro_precision", "macro_recall", "macro_f1")
        ]
        largest = max(values["support"] for values in metrics["per_class"].values()) / metrics["num_images"]
        split = sources[name].split if name in sources else ""
        cells = [name, split, str(metrics["num_images"]), *cells, _number(largest)]
        lines.append(f"| {' | '.join(cells)} |")
    if run["evaluated_on"] == "validation" and run["recipe"].get("select_best") is not None:
        lines += ["", "The best epoch was chosen on these same images, so the figures are somewhat too high."]
    for name, metrics in measured.items():
        if "human_accuracy" in metrics:
            lines += ["", *_votes(name, metrics)]
    for name, metrics in measured.items():
        lines += ["", *_per_class(name, metrics)]
    if "expected_calibration_error" in report["metrics"]:
        calibration = _number(report["metrics"]["expected_calibration_error"])
        lines += ["", f"Expected calibration error of the probabilities (15 bins), all together: {calibration}."]
    for file, caption in FIGURES.items():
        if (directory / file).exists():
            lines += ["", f"![{caption}]({file})"]
    return "\n".join(lines)


def _votes(name: str, metrics: Mapping[str, Any]) -> Iterator[str]:
    of_model = ("voted_accuracy", "agreement_with_person", "cross_entropy_to_votes", "js_divergence_to_votes")
    rows = {
        "the model": [metrics.get(key) for key in of_model],
        "one person": [metrics["human_accuracy"], metrics["human_agreement_with_person"], None, None],
        "the votes themselves": [1.0, metrics["human_majority_share"], metrics.get("entropy_of_votes"), 0.0],
    }
    yield from (
        f"### Against what people say, {name}",
        "",
        _wrap(
            f"Several people said what they see in each of {metrics['num_voted']} images, and the true label is what "
            "most of them said. One of them, judged by what most of the others say, is the yardstick. Agreement: how "
            "often a person drawn from them says the same. Cross-entropy and Jensen-Shannon divergence, in nats, say "
            "how far the probabilities are from the votes: lower is better, and the last row is the best that can be."
        ),
        "",
        "| answers of | accuracy | agreement with one person | cross-entropy to the votes | Jensen-Shannon |",
        "|---|---:|---:|---:|---:|",
    )
    for title, values in rows.items():
        yield f"| {title} | {' | '.join(map(_number, values))} |"


def _per_class(name: str, metrics: Mapping[str, Any]) -> Iterator[str]:
    yield from (
        f"### Each class, {name}",
        "",
        "| class | precision | recall | F1 | images |",
        "|---|---:|---:|---:|---:|",
    )
    for label, values in metrics["per_class"].items():
        cells = [_number(values[key]) for key in ("precision", "recall", "f1")]
        yield f"| {label} | {' | '.join(cells)} | {values['support']} |"
    few = [f"{label} ({v['support']})" for label, v in metrics["per_class"].items() if v["support"] < _FEW_IMAGES]
    if few:
        yield from ("", f"Too few images for their figures to say much: {', '.join(few)}.")


def _training(model: str, report: Mapping[str, Any] | None) -> str:
    if report is None:
        return "## Training\n\nData, recipe and licences of the data were not recorded with this model."
    run = report["run"]
    lines = ["## Training data", ""]
    unknown = (
        "its licence was not recorded. Whoever publishes this model needs the right to do so, and states it above."
    )
    for name, source in _known(report).items():
        lines.append(f"- `{name}`: {unknown if source is None else source.origin}")
    for weights in filter(None, (public_recipe(run["recipe"]).get(name) for name in _WEIGHT_FIELDS)):
        lines.append(f"- The run started from the weights `{weights}`: what those were trained on is not listed here.")
    images = ", ".join(f"{count} {part}" for part, count in run["images"].items())
    recipe = yaml.safe_dump(public_recipe(run["recipe"]), sort_keys=False, default_flow_style=None, width=100)
    name = model.rpartition("/")[2]
    processes = f"{run['processes']} processes" if run["processes"] > 1 else "one process"
    versions = ", ".join(f"{library} {version}" for library, version in run["versions"].items())
    return "\n".join(
        [
            *lines,
            "",
            f"Images: {images}.",
            "",
            "## Training",
            "",
            _wrap(
                f"{run['steps']} optimizer steps by {processes} on {run['device']}, mixed precision: "
                f"{run['mixed_precision']}; weights: {run['weights']}; {versions}. To train it again, save this as "
                "`recipe.yaml`, with `data` as it lies on your machine, in a checkout of the project:"
            ),
            "",
            f"```yaml\n{recipe.strip()}\n```",
            "",
            f"```sh\naccelerate launch train.py --config recipe.yaml --output_dir outputs/{name}\n```",
        ]
    )


def _number(value: float | None, interval: Iterable[float] | None = None) -> str:
    if value is None:  # it was not finite
        return "-"
    return f"{value:.4f}" if interval is None else f"{value:.4f} ({' to '.join(f'{bound:.4f}' for bound in interval)})"


def _wrap(text: str) -> str:
    return textwrap.fill(text, 120, break_long_words=False, break_on_hyphens=False)
