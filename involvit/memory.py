"""What becomes of the memory of freed tensors."""

from __future__ import annotations

import ctypes
import sys


def keep_freed_memory() -> None:
    """Has glibc, where that is the C library, keep the memory of freed tensors for the next ones.

    By default it returns large blocks, and the kernel clears each again page by page: a third of a step on a CPU. To be
    called by programs, not by libraries: it is a setting of the whole process.
    """
    if sys.platform == "linux" and (set_option := getattr(ctypes.CDLL(None), "mallopt", None)) is not None:
        m_trim_threshold, m_mmap_max = -1, -4
        set_option(m_mmap_max, 0)  # nothing outside the heap
        set_option(m_trim_threshold, -1)  # and nothing of that returned
