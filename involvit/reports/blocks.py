"""A report is a list of sections; this writes it as HTML that opens offline, as Markdown, and its figures as JSON."""

from __future__ import annotations

import base64
import io
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from matplotlib.figure import Figure

from ..files import whole_folder

FILES = ("report.html", "report.md", "report.json", "figures")


@dataclass(frozen=True)
class Paragraph:
    """Some sentences of plain text."""

    text: str


@dataclass(frozen=True)
class Bullets:
    """Short statements of plain text, one below the other."""

    items: Sequence[str]


@dataclass(frozen=True)
class Table:
    """Rows of cells under a header.

    Args:
        header: Names of the columns.
        rows: Cells; `None` becomes a dash, `float` gets three decimals, columns of numbers are set to the right.
        caption: What the table shows, and what its reader must know.
    """

    header: Sequence[str]
    rows: Sequence[Sequence[str | float | int | None]]
    caption: str = ""

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.header):
                raise ValueError(f"a row of {len(row)} cells under a header of {len(self.header)}: {row}")

    @property
    def cells(self) -> list[list[str]]:
        """The rows as text."""
        return [[_text(cell) for cell in row] for row in self.rows]

    @property
    def is_number(self) -> list[bool]:
        """Whether each column holds numbers only."""
        return [all(not isinstance(row[column], str) for row in self.rows) for column in range(len(self.header))]


@dataclass(frozen=True)
class Picture:
    """A figure of matplotlib.

    Args:
        name: File name without suffix, unique in its report.
        figure: What is drawn.
        caption: What it shows; also read aloud in place of it.
    """

    name: str
    figure: Figure
    caption: str


Block = Paragraph | Bullets | Table | Picture


@dataclass(frozen=True)
class Section:
    """A heading and what stands under it."""

    title: str
    blocks: Sequence[Block] = field(default_factory=list)


def write_report(
    out: Path, title: str, command: str, sections: Sequence[Section], results: dict[str, Any], overwrite: bool = False
) -> Path:
    """Writes `report.html` (one file with its pictures inside), `report.md`, `report.json` and `figures/*.png`.

    Args:
        out: Folder to write; it is there complete or not at all.
        title: Heading of the whole.
        command: The command line that makes the report again.
        sections: What HTML and Markdown show.
        results: All figures at full precision, for `report.json`. NumPy values are converted; what is not finite
            becomes null.
        overwrite: Whether a report that stands there is replaced.

    Returns:
        The path of `report.html`.

    Raises:
        FileExistsError: If `out` is a file, is not empty and not to be replaced, or holds other files.
    """
    pictures = {
        block.name: _png(block.figure) for section in sections for block in section.blocks if _is_picture(block)
    }
    if len(pictures) < sum(_is_picture(block) for section in sections for block in section.blocks):
        raise ValueError("two pictures of the report have the same name")
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    values = {"title": title, "command": command, "version": version("involvit"), "sections": sections}
    html = environment.get_template("report.html.jinja").render(
        **values,
        kind=lambda block: type(block).__name__,
        data={name: base64.b64encode(png).decode() for name, png in pictures.items()},
    )
    with whole_folder(out, overwrite, FILES) as folder:
        (folder / "figures").mkdir()
        for name, png in pictures.items():
            (folder / "figures" / f"{name}.png").write_bytes(png)
        (folder / "report.html").write_text(html, encoding="utf-8")
        (folder / "report.md").write_text(_markdown(title, command, sections), encoding="utf-8")
        content = {"title": title, "command": command, "version": version("involvit"), **_plain(results)}
        (folder / "report.json").write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    return out / "report.html"


def check_report_folder(out: Path, overwrite: bool) -> None:
    """Refuses before the work what `write_report` would refuse after it.

    Raises:
        FileExistsError: See `write_report`.
    """
    if out.is_file():
        raise FileExistsError(f"{out} is a file; name a folder.")
    present = [path.name for path in out.iterdir()] if out.exists() else []
    if present and not overwrite:
        raise FileExistsError(f"{out} is not empty; name another folder or pass --overwrite.")
    if foreign := sorted(set(present) - set(FILES)):
        raise FileExistsError(f"{out} holds {foreign[0]!r}, which is not of a report; name another folder.")


def percent(value: float) -> str:
    """Returns a share, 0 to 1, in per cent with one decimal, as in `64.6%`."""
    return "-" if math.isnan(value) else f"{100 * value:.1f}%"


def interval(value: float, bounds: Sequence[float]) -> str:
    """Returns a share with its interval in per cent, as in `64.6 [62.9, 66.1]`."""
    return f"{100 * value:.1f} [{100 * bounds[0]:.1f}, {100 * bounds[1]:.1f}]"


def points(value: float) -> str:
    """Returns a difference of two shares in points with its sign, as in `+1.5`."""
    return f"{100 * value:+.1f}".replace("-", "−")


def points_interval(value: float, low: float, high: float) -> str:
    """Returns a difference of two shares with its interval in points, as in `+1.5 [−1.0, +4.6]`."""
    return f"{points(value)} [{points(low)}, {points(high)}]"


def p_value(value: float) -> str:
    """Returns a probability as papers print it: three decimals, `<0.001` below."""
    return "-" if math.isnan(value) else "<0.001" if value < 0.001 else f"{value:.3f}"


def _markdown(title: str, command: str, sections: Sequence[Section]) -> str:
    parts = [f"# {title}", f"    {command}"]
    for section in sections:
        parts.append(f"## {section.title}")
        for block in section.blocks:
            match block:
                case Paragraph():
                    parts.append(block.text)
                case Bullets():
                    parts.append("\n".join(f"- {item}" for item in block.items))
                case Table():
                    lines = [block.header, ["---:" if right else "---" for right in block.is_number], *block.cells]
                    table = ["| " + " | ".join(_escape_cell(cell) for cell in line) + " |" for line in lines]
                    parts.append("\n".join(table))
                    parts += [f"*{block.caption}*"] if block.caption else []
                case Picture():
                    parts.append(f"![{block.caption}](figures/{block.name}.png)")
    return "\n\n".join(parts) + "\n"


def _escape_cell(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ")


def _text(cell: str | float | int | None) -> str:
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return "-"
    return f"{cell:.3f}" if isinstance(cell, float) else f"{cell:,}" if isinstance(cell, int) else str(cell)


def _is_picture(block: Block) -> bool:
    return isinstance(block, Picture)


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})  # the same figure, the same bytes
    return buffer.getvalue()


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    return None if isinstance(value, float) and not math.isfinite(value) else value
