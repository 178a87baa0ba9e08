"""Signals that end a program: it ends as by Ctrl-C."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def interrupted_by_signals() -> Iterator[None]:
    """Makes SIGTERM, and SIGHUP where there is one, raise KeyboardInterrupt; one that has come is ignored from then on.

    To be called in the main thread.
    """
    before = {}
    for name in ("SIGTERM", "SIGHUP"):  # SIGHUP: the terminal is closed; Windows has none, `nohup` ignores it
        number = getattr(signal, name, None)
        if number and signal.getsignal(number) is not signal.SIG_IGN:
            before[number] = signal.signal(number, _interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            if signal.getsignal(number) is _interrupt:
                signal.signal(number, handler)


def _interrupt(number: int, frame: Any) -> None:
    """Ends the program once: a closed terminal can send the signal again, and takes no more output."""
    signal.signal(number, signal.SIG_IGN)
    if number != signal.SIGTERM:
        sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: PTH123, SIM115
    raise KeyboardInterrupt
