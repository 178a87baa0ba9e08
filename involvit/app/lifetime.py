"""No visitor's file outlives the app, however it ends."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock

from .environment import PREFIX


@contextmanager
def files_end_with_app(folder: Path) -> Iterator[None]:
    """Makes signals end the app as Ctrl-C does, and removes the folders of apps that were killed at once.

    Args:
        folder: The one of this app. A lock in it, which the system lifts however a process ends, says that it is in
            use.
    """
    for name in ("SIGTERM", "SIGHUP"):  # SIGHUP: the terminal is closed; Windows has none, `nohup` ignores it
        number = getattr(signal, name, None)
        if number and signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _interrupt)
    with FileLock(folder / "lock"):
        for lock in folder.parent.glob(f"{PREFIX}*/lock"):
            with suppress(OSError):
                if lock.parent != folder and lock.parent.lstat().st_uid == folder.stat().st_uid:
                    with FileLock(lock, blocking=False):
                        pass  # nobody has it; Windows deletes no file that is open
                    shutil.rmtree(lock.parent)
        yield


def _interrupt(number: int, frame: Any) -> None:
    """Ends the program once: a closed terminal can send the signal again, and takes no more output."""
    signal.signal(number, signal.SIG_IGN)
    if number != signal.SIGTERM:
        sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: PTH123, SIM115
    raise KeyboardInterrupt
