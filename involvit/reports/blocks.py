"""What reports and cards are made of: sections of paragraphs, lists, tables and pictures."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .numbers import DASH, decimal

if TYPE_CHECKING:  # text and tables do without it
    from matplotlib.figure import Figure

_NUMBER = re.compile(rf"{DASH}|<?[+−-]?\d[\d,]*(\.\d+)?%?( ± .*| \[.*\])?")


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

    A cell that is None or not finite becomes a dash, a `float` has so many `decimals`, and columns of numbers are set
    to the right. The caption says what the table shows, and what its reader must know.
    """

    header: Sequence[str]
    rows: Sequence[Sequence[str | float | int | None]]
    caption: str = ""
    decimals: int = 3

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.header):
                raise ValueError(f"a row of {len(row)} cells under a header of {len(self.header)}: {row}")

    @property
    def cells(self) -> list[list[str]]:
        """The rows as text."""
        return [[self._text(cell) for cell in row] for row in self.rows]

    @property
    def is_number(self) -> list[bool]:
        """Whether each column holds numbers only, with or without their intervals."""
        cells = self.cells
        return [all(_NUMBER.fullmatch(row[column]) for row in cells) for column in range(len(self.header))]

    def _text(self, cell: str | float | int | None) -> str:
        if cell is None or isinstance(cell, float):
            return decimal(cell, self.decimals)
        return f"{cell:,}" if isinstance(cell, int) else str(cell)


@dataclass(frozen=True)
class Picture:
    """A figure, its file's name without suffix, unique in its report, and what it shows, read aloud in its place."""

    name: str
    figure: Figure
    caption: str


Block = Paragraph | Bullets | Table | Picture


@dataclass(frozen=True)
class Section:
    """A heading and what is under it."""

    title: str
    blocks: Sequence[Block]
