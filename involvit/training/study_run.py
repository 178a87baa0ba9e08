"""How a training that a study started ends with it, even if the study is killed: by a pipe, which then closes."""

from __future__ import annotations

import os
import threading

from ..console import INTERRUPTED

OF_STUDY = "INVOLVIT_OF_STUDY"
"""Environment variable of such a training, whose standard input is the pipe; launchers pass both on."""


def end_with_study() -> None:
    """Has this process end when its study does, if it is of one."""
    if os.environ.get(OF_STUDY):
        threading.Thread(target=_end_after_study, daemon=True).start()


def _end_after_study() -> None:
    os.read(0, 1)  # nothing is ever written
    os._exit(INTERRUPTED)  # its main thread may wait for another process, which ends too
