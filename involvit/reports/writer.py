"""Blocks -> HTML that opens offline, Markdown, the terminal; results -> JSON."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from ..files import check_output_folder, whole_folder
from .blocks import Block, Bullets, Paragraph, Picture, Section, Table

_FILES = ("report.html", "report.md", "report.json", "figures")


def write_report(
    out: Path, title: str, command: str, sections: Sequence[Section], results: dict[str, Any], overwrite: bool = False
) -> Path:
    """Writes a report and returns the path of its `report.html`, one file with its pictures inside.

    Beside it are `report.md`, `report.json` and `figures/*.png`.

    Args:
        out: Folder to write; it is there complete or not at all.
        title: Heading of the whole.
        command: The command line that makes the report again.
        sections: What HTML and Markdown show.
        results: All results at full precision, for `report.json`, see `to_json`.
        overwrite: Whether a report that is already there is replaced.

    Raises:
        FileExistsError: If `out` is a file, is not empty and not to be replaced, or holds other files.
        ValueError: If two pictures have the same name.
    """
    pictures = [block for section in sections for block in section.blocks if isinstance(block, Picture)]
    if len({picture.name for picture in pictures}) < len(pictures):
        raise ValueError("two pictures of the report have the same name")
    about = {"title": title, "command": command, "version": version("involvit")}
    markdown = [f"# {title}\n\n    {command}\n"]
    markdown += [f"## {section.title}\n\n{to_markdown(section.blocks)}\n" for section in sections]
    with whole_folder(out, overwrite, _FILES) as folder:
        (folder / "figures").mkdir()
        for picture in pictures:  # without the software's name: the same figure, the same bytes
            picture.figure.savefig(folder / "figures" / f"{picture.name}.png", metadata={"Software": None})
        (folder / "report.html").write_text(_to_html(sections, folder / "figures", **about), encoding="utf-8")
        (folder / "report.md").write_text("\n".join(markdown), encoding="utf-8")
        (folder / "report.json").write_text(to_json({**about, **results}), encoding="utf-8")
    return out / "report.html"


def check_report_folder(out: Path, overwrite: bool) -> None:
    """Raises what `write_report` would raise about its folder, before the work instead of after it."""
    check_output_folder(out, overwrite, _FILES)


def to_markdown(blocks: Iterable[Block]) -> str:
    """Returns blocks as Markdown; pictures are those of the folder `figures`."""
    return "\n\n".join(map(_block_to_markdown, blocks))


def _block_to_markdown(block: Block) -> str:
    match block:
        case Paragraph():
            return block.text
        case Bullets():
            return "\n".join(f"- {item}" for item in block.items)
        case Picture():
            return f"![{block.caption}](figures/{block.name}.png)"
    lines = [block.header, ["---:" if right else "---" for right in block.is_number], *block.cells]
    escapes = str.maketrans({"\\": "\\\\", "|": "\\|", "\n": " "})
    table = "\n".join("| " + " | ".join(cell.translate(escapes) for cell in line) + " |" for line in lines)
    return f"{table}\n\n*{block.caption}*" if block.caption else table


def to_terminal(tables: Iterable[Table]) -> str:
    """Returns tables as plain text, each with its caption below."""
    return "\n\n".join(map(_table_to_terminal, tables))


def _table_to_terminal(table: Table) -> str:
    columns = []
    for column, right in zip(zip(table.header, *table.cells, strict=True), table.is_number, strict=True):
        width = max(map(len, column))
        columns.append([cell.rjust(width) if right else cell.ljust(width) for cell in column])
    header, *rows = ("  ".join(cells) for cells in zip(*columns, strict=True))
    lines = [header, "-" * len(header), *rows, *([table.caption] if table.caption else [])]
    return "\n".join(line.rstrip() for line in lines)


def to_json(results: dict[str, Any]) -> str:
    """Returns results as JSON that every reader takes: NumPy values become plain, what is not finite becomes null.

    Raises:
        TypeError: If a value has no form in JSON.
    """

    def plain(value: Any) -> Any:
        if isinstance(value, np.ndarray | np.generic):
            return value.tolist()
        raise TypeError(f"{type(value).__name__} has no form in JSON")

    finite = json.loads(json.dumps(results, default=plain), parse_constant=lambda _: None)
    return json.dumps(finite, indent=2) + "\n"


def _to_html(sections: Sequence[Section], figures: Path, **about: str) -> str:
    import jinja2  # what writes Markdown only does without it

    options = {"autoescape": True, "trim_blocks": True, "lstrip_blocks": True, "undefined": jinja2.StrictUndefined}
    template = Path(__file__).with_name("report.html.jinja").read_text(encoding="utf-8")
    return jinja2.Template(template, **options).render(
        **about,
        sections=sections,
        kind=lambda block: type(block).__name__,
        data={path.stem: base64.b64encode(path.read_bytes()).decode() for path in figures.iterdir()},
    )
