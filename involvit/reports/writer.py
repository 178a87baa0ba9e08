"""Blocks -> HTML that opens offline, Markdown, the terminal; results -> JSON."""

from __future__ import annotations

import base64
import io
import json
import math
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..files import check_output_folder, whole_folder
from .blocks import Block, Bullets, Paragraph, Picture, Section, Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_FILES = ("report.html", "report.md", "report.json", "figures")


def write_report(
    out: Path, title: str, command: str, sections: Sequence[Section], results: dict[str, Any], overwrite: bool = False
) -> Path:
    """Writes `report.html` (one file with its pictures inside), `report.md`, `report.json` and `figures/*.png`.

    Args:
        out: Folder to write; it is there complete or not at all.
        title: Heading of the whole.
        command: The command line that makes the report again.
        sections: What HTML and Markdown show.
        results: All results at full precision, for `report.json`, see `to_json`.
        overwrite: Whether a report that is already there is replaced.

    Returns:
        The path of `report.html`.

    Raises:
        FileExistsError: If `out` is a file, is not empty and not to be replaced, or holds other files.
        ValueError: If two pictures have the same name.
    """
    pictures = [block for section in sections for block in section.blocks if isinstance(block, Picture)]
    images = {picture.name: _png(picture.figure) for picture in pictures}
    if len(images) < len(pictures):
        raise ValueError("two pictures of the report have the same name")
    about = {"title": title, "command": command, "version": version("involvit")}
    html = _to_html(sections, images, **about)
    markdown = [f"# {title}\n\n    {command}\n"]
    markdown += [f"## {section.title}\n\n{to_markdown(section.blocks)}\n" for section in sections]
    with whole_folder(out, overwrite, _FILES) as folder:
        (folder / "figures").mkdir()
        for name, png in images.items():
            (folder / "figures" / f"{name}.png").write_bytes(png)
        (folder / "report.html").write_text(html, encoding="utf-8")
        (folder / "report.md").write_text("\n".join(markdown), encoding="utf-8")
        (folder / "report.json").write_text(to_json({**about, **results}), encoding="utf-8")
    return out / "report.html"


def check_report_folder(out: Path, overwrite: bool) -> None:
    """Raises what `write_report` would raise about its folder, before the work instead of after it."""
    check_output_folder(out, overwrite, _FILES)


def to_markdown(blocks: Iterable[Block]) -> str:
    """Returns blocks as Markdown; pictures are those of the folder `figures`."""
    return "\n\n".join(_block_to_markdown(block) for block in blocks)


def _block_to_markdown(block: Block) -> str:
    match block:
        case Paragraph():
            return block.text
        case Bullets():
            return "\n".join(f"- {item}" for item in block.items)
        case Picture():
            return f"![{block.caption}](figures/{block.name}.png)"
    lines = [block.header, ["---:" if right else "---" for right in block.is_number], *block.cells]
    table = "\n".join("| " + " | ".join(_escape_cell(cell) for cell in line) + " |" for line in lines)
    return f"{table}\n\n*{block.caption}*" if block.caption else table


def _escape_cell(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ")


def to_terminal(tables: Iterable[Table]) -> str:
    """Returns tables as plain text, each with its caption below."""
    return "\n\n".join(_table_to_terminal(table) for table in tables)


def _table_to_terminal(table: Table) -> str:
    cells = [list(table.header), *table.cells]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        "  ".join(
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(row, widths, table.is_number, strict=True)
        ).rstrip()
        for row in cells
    ]
    rule = "-" * (sum(widths) + 2 * len(widths) - 2)
    return "\n".join([lines[0], rule, *lines[1:], *([table.caption] if table.caption else [])])


def to_json(results: dict[str, Any]) -> str:
    """Returns results as JSON that every reader takes: NumPy values become plain, what is not finite becomes null.

    Raises:
        TypeError: If a value has no form in JSON.
    """
    return json.dumps(_plain(results), indent=2, allow_nan=False) + "\n"


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _to_html(sections: Sequence[Section], images: dict[str, bytes], **about: str) -> str:
    import jinja2  # what writes Markdown only does without it

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    return environment.get_template("report.html.jinja").render(
        **about,
        sections=sections,
        kind=lambda block: type(block).__name__,
        data={name: base64.b64encode(png).decode() for name, png in images.items()},
    )


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})  # the same figure, the same bytes
    return buffer.getvalue()
