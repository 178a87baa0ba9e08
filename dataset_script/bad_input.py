"""What happens to input that cannot be used: the first piece stops the reading, or all are left out and listed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from involvit.names import shown

from .data_arguments import ON_ERROR

MAX_FILE_BYTES = 256 * 2**20


class BadInput:
    """Receives each piece of input that cannot be used.

    Args:
        source: What is being read, named in the error.
        on_error: `"stop"` raises at the first piece, `"skip"` collects them in `left_out`.

    Attributes:
        unclear: How many images are left out because of their votes, by reason, though nothing is wrong with them.

    Raises:
        ValueError: If `on_error` is neither.
    """

    def __init__(self, source: str, on_error: str) -> None:
        if on_error not in ON_ERROR:
            raise ValueError(f"on_error is {on_error!r}; it is 'stop' or 'skip'.")
        self.source, self.on_error = source, on_error
        self.left_out: list[str] = []
        self.unclear = Counter[str]()

    def add(self, name: str, problem: str) -> None:
        """Records one file, row or folder that is left out.

        Args:
            name: Which one, as a path inside the source.
            problem: What is wrong with it; reads on after the name: `"is truncated"`.

        Raises:
            ValueError: With `on_error="stop"`.
        """
        name = shown(name)
        if self.on_error == "stop":
            raise ValueError(
                f"{self.source}: {name} {problem}. Repair or remove it, or leave out all such input with on_error=skip."
            )
        self.left_out.append(f"{name} {problem}")

    @contextmanager
    def catching(self, name: str) -> Iterator[None]:
        """Adds the ValueError that is raised inside, and goes on after it where `add` does."""
        try:
            yield
        except ValueError as error:
            self.add(name, str(error))

    def summary(self) -> str:
        """Returns how many pieces were left out and the first of them, in one line; empty for none."""
        first = [f"left out {len(self.left_out):,}, the first: {name}" for name in self.left_out[:1]]
        return "; ".join(self._votes() + first)

    def report(self) -> str:
        """Returns how many pieces were left out and which, one a line; empty for none."""
        listed = [f"left out {len(self.left_out)}:", *(f"- {line}" for line in self.left_out)] if self.left_out else []
        return "\n".join(self._votes() + listed)

    def _votes(self) -> list[str]:
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in sorted(self.unclear.items()))
        return [f"left out {self.unclear.total():,} images because of their votes: {kinds}"] if kinds else []
