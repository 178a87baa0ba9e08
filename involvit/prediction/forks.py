"""Models in processes that were forked: the threads of torch, Numba and onnxruntime do not follow there."""

from __future__ import annotations

import os

_loader: int | None = None


def check_is_not_forked() -> None:
    """Remembers the process in which a model is loaded or used, and refuses those that are forked from it.

    They would wait for ever for the threads that are not there.

    Raises:
        ValueError: In such a process.
    """
    global _loader
    _loader = _loader or os.getpid()
    if _loader != os.getpid():
        raise ValueError(
            "a model was loaded before this process was forked, and its threads are not here; start processes by "
            "multiprocessing.get_context('spawn')"
        )
