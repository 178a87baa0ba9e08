"""No visitor's file outlives the app, however it ends."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock

from ..signals import interrupted_by_signals
from .environment import PREFIX


@contextmanager
def files_end_with_app(folder: Path) -> Iterator[None]:
    """Makes signals end the app as Ctrl-C does, and removes the folders of apps that were killed at once.

    Args:
        folder: The one of this app. A lock in it, which the system lifts however a process ends, says that it is in
            use.
    """
    with interrupted_by_signals(), FileLock(folder / "lock"):
        for lock in folder.parent.glob(f"{PREFIX}*/lock"):
            with suppress(OSError):
                if lock.parent != folder and lock.parent.lstat().st_uid == folder.stat().st_uid:
                    with FileLock(lock, blocking=False):
                        pass  # nobody has it; Windows deletes no file that is open
                    shutil.rmtree(lock.parent)
        yield
