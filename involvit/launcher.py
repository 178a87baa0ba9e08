"""The variables by which `accelerate launch` and `torchrun` tell a process which of several it is."""

from __future__ import annotations

import logging
import os

PLACE = ("WORLD_SIZE", "RANK", "LOCAL_RANK", "MASTER_PORT")
_MPI_SIZES = ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE")  # which accelerate reads as well
_LONE_LAUNCH = {"ACCELERATE_USE_CPU", "ACCELERATE_MIXED_PRECISION"}

logger = logging.getLogger(__name__)


def was_launched() -> bool:
    """Returns whether this is one of several processes; variables that are left over are removed, and named in a line.

    To be called before accelerate or torch read them: they would stop, or wait for processes that are not there.

    Raises:
        ValueError: If `accelerate launch` was to start several processes and started this one alone.
    """
    names = (*PLACE, "LOCAL_WORLD_SIZE", "MASTER_ADDR", *_MPI_SIZES)
    given = {name: os.environ[name] for name in names if name in os.environ}
    if not given:
        return False
    # Without a second GPU it sets no more than these, and only where --num_processes or --num_machines says several.
    if given.keys() == {"MASTER_ADDR", "MASTER_PORT"} and _LONE_LAUNCH.issubset(os.environ):
        raise ValueError(
            "accelerate launch starts one process on CPUs or one GPU, whatever --num_processes says; for N on CPUs, "
            "write ACCELERATE_USE_CPU=true torchrun --nproc_per_node N in its place; for one, leave out "
            "--num_processes and unset MASTER_ADDR"
        )
    try:
        size, rank, local_rank, port = (int(given[name]) for name in PLACE)
        local_size = int(given.get("LOCAL_WORLD_SIZE", size))
        is_whole = 0 <= rank < size and 0 <= local_rank < local_size <= size and 0 < port < 65536
        is_whole = is_whole and "MASTER_ADDR" in given
    except (KeyError, ValueError):
        is_whole = False
    if not is_whole:
        for name in given:
            del os.environ[name]
        if any(given.get(name, "").strip() not in ("", "1") for name in ("WORLD_SIZE", *_MPI_SIZES)):
            verb = "is" if len(given) == 1 else "are"
            logger.warning(f"{', '.join(given)} {verb} ignored: no launcher set all it would, so this process is alone")
        return False
    if size > 1 and "TORCHELASTIC_RUN_ID" not in os.environ:  # with it they are there
        logger.warning(f"waiting for the other processes at {given['MASTER_ADDR']}:{port}, as WORLD_SIZE={size} says")
    return size > 1
