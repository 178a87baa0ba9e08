"""Which of the processes that `accelerate launch` or `torchrun` started this one is."""

from __future__ import annotations

import functools
from datetime import timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from ..launcher import was_launched

if TYPE_CHECKING:
    from accelerate import PartialState


@functools.cache
def processes() -> SimpleNamespace | PartialState:
    """Joins the other processes, if any, and returns `process_index`, `num_processes` and what they need to meet."""
    if not was_launched():  # what is used of it, while accelerate and torch stay unimported
        alone = {"process_index": 0, "num_processes": 1, "is_main_process": True, "device": None}
        return SimpleNamespace(**alone, wait_for_everyone=lambda: None)
    import torch
    from accelerate import PartialState

    # One share may hold all the long videos: the others wait for it, longer than the library's half hour.
    return PartialState(cpu=not torch.cuda.is_available(), timeout=timedelta(days=30))


def same_for_all(value: Any) -> Any:
    """Returns the main process's value in each process."""
    if processes().num_processes == 1:
        return value
    from accelerate.utils import broadcast_object_list

    return broadcast_object_list([value])[0]
