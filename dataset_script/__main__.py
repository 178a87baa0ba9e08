"""`python -m dataset_script`."""

import sys
from collections.abc import Sequence

from involvit.console import run_command


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command, see `command_line.main`; what may go wrong while that is imported is one line too."""
    return run_command(lambda: _main(arguments))


def _main(arguments: Sequence[str] | None) -> int:
    try:
        from .command_line import main
    except ModuleNotFoundError as error:
        needs = f"needs {error.name}, which is not installed: pip install 'involvit[data]'"
        raise ValueError(f"python -m dataset_script {needs}") from error
    return main(arguments)


if __name__ == "__main__":
    sys.exit(main())
