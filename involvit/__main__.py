"""python -m involvit: the same as the command `involvit`."""

from __future__ import annotations

import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command, see `cli.main`; Ctrl-C may come while that is imported."""
    try:
        from .cli import main

        return main(arguments)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
