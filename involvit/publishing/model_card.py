"""The model card `README.md`: a template filled from what a run recorded, around what people wrote by hand."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub import CardData, RepoCard

from ..files import whole_file
from .card_contents import card_metadata, card_values

BEGIN = "<!-- involvit:begin -->"
END = "<!-- involvit:end -->"
"""Between these two lines the card is generated each time; what is outside them stays."""


def write_model_card(directory: str | Path, repo_id: str | None = None, published: str | None = None) -> Path:
    """Writes `README.md` of a model's folder from its `config.json` and, where there is one, its `report.json`.

    Only the part between the lines `BEGIN` and `END` and the `model-index` of the metadata are overwritten. Whatever
    else an existing card holds is kept: the text outside of the two lines, further keys of the metadata, further
    entries of its lists, and values that differ from the default, such as another licence. A card without the two lines
    is kept whole, and the generated part is added at its end.

    Args:
        directory: A model's folder as `train.py` or `save_pretrained` writes it.
        repo_id: Name of its Hub repository, for the examples; without it they name the folder.
        published: Text of the card in that repository. Its hand-written text is taken over where the
            folder's card has none of its own; its metadata too, unless the folder's card says otherwise.

    Returns:
        The path of the card.

    Raises:
        FileNotFoundError: If there is no such folder, or no config.json in it.
        ValueError: If config.json, report.json or an existing card cannot be used; then the card is left as it was.
    """
    path = Path(directory) / "README.md"
    card = model_card(directory, repo_id, published)
    with whole_file(path) as beside:
        card.save(beside)
    return path


def model_card(directory: str | Path, repo_id: str | None = None, published: str | None = None) -> RepoCard:
    """Returns the card that `write_model_card` writes."""
    directory = Path(directory)
    config = read_json(directory / "config.json")
    report = read_json(directory / "report.json") if (directory / "report.json").exists() else None
    name = (repo_id or directory.resolve().name).rpartition("/")[2]
    path = directory / "README.md"

    cards = [] if published is None else [_HandWritten.read(published, "the card in the Hub repository")]
    if path.exists():
        cards.append(_HandWritten.read(_read_text(path), str(path)))
    try:
        metadata = card_metadata(name, config, report).to_dict()
        values = card_values(directory, repo_id or name, config, report)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{directory}: config.json or report.json is not as train.py writes it ({type(error).__name__}: {error}); "
            f"restore it, or remove report.json for a card without results"
        ) from error

    # The folder's card comes last and wins; one that is all generated leaves the text to the one published.
    own = next((card for card in reversed(cards) if card.has_text), _HandWritten({}, f"\n# {name}\n\n", "\n"))
    return RepoCard.from_template(
        CardData(**_merge(metadata, [card.metadata for card in cards])),
        template_path=str(Path(__file__).with_name("model_card.md.jinja")),
        **{"before": own.before, "begin": BEGIN, "end": END, "after": own.after, **values},
    )


def check_is_there(path: Path) -> None:
    """Raises `FileNotFoundError` if a file of a model is not there, `PermissionError` if it may not be read."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; give a model's folder, as train.py or save_pretrained writes it")
    path.open("rb").close()  # safetensors would say that it is not there


def read_json(path: Path) -> dict[str, Any]:
    """Reads a JSON object of a model's folder.

    Raises:
        OSError: See `check_is_there`.
        ValueError: If it is not a JSON object.
    """
    check_is_there(path)
    try:
        content = json.loads(_read_text(path))
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"{path} is not valid JSON ({error}); restore or remove it") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} does not hold a JSON object; restore or remove it")
    return content


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text; save it as such") from error


@dataclass(frozen=True)
class _HandWritten:
    """An existing card without its generated part."""

    metadata: dict[str, Any]
    before: str
    after: str

    @classmethod
    def read(cls, content: str, where: str) -> _HandWritten:
        has_metadata = content.lstrip().startswith("---")
        try:
            card = RepoCard(content if has_metadata else f"---\n{{}}\n---\n{content}")
        except (yaml.YAMLError, ValueError) as error:
            reason = " ".join(str(error).split())
            raise ValueError(f"{where}: the metadata at its top is not valid YAML; correct it ({reason})") from error
        text, marks = card.text, re.findall(f"{BEGIN}|{END}", card.text)
        if not marks:
            return cls(card.data.to_dict(), f"{text.rstrip()}\n\n" if text.strip() else "\n", "\n")
        if marks != [BEGIN, END]:
            raise ValueError(f"{where}: the line {BEGIN} and after it {END} must be there once each; correct that")
        before, rest = text.split(BEGIN)
        return cls(card.data.to_dict(), before, rest.split(END)[1])

    @property
    def has_text(self) -> bool:
        """Whether somebody wrote more than the title that every card begins with."""
        return re.fullmatch(r"\s*(# .*)?\s*", self.before) is None or bool(self.after.strip())


def _merge(generated: Mapping[str, Any], existing: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    merged = dict(generated)
    for key, value in (item for metadata in existing for item in metadata.items()):
        if key == "model-index" and key in generated:
            continue
        if isinstance(value, list) and isinstance(merged.get(key), list):
            merged[key] = [*merged[key], *(item for item in value if item not in merged[key])]
        elif value != generated.get(key):
            merged[key] = value
    return merged
