"""`python -m dataset_script`."""

import sys

try:
    from .command_line import main
except ModuleNotFoundError as error:
    print(
        f"error: python -m dataset_script needs {error.name}, which is not installed: pip install 'involvit[data]'",
        file=sys.stderr,
    )
    sys.exit(2)

if __name__ == "__main__":
    sys.exit(main())
