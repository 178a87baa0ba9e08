"""`python -m dataset_script`."""

import sys

try:
    from .command_line import main
except ModuleNotFoundError as error:
    needs = f"needs {error.name}, which is not installed: pip install 'involvit[data]'"
    print(f"error: python -m dataset_script {needs}", file=sys.stderr)
    sys.exit(2)

if __name__ == "__main__":
    sys.exit(main())
