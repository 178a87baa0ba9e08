"""python -m involvit: the same as the command `involvit`."""

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())
