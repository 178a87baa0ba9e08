"""The address that the app listens at: Gradio's environment variables, checked before Gradio reads them."""

from __future__ import annotations

import errno
import os
import socket

# Those that Gradio reads as whole numbers, and the least that each can be.
NUMBERS = {"GRADIO_SERVER_PORT": 1, "GRADIO_NUM_PORTS": 1, "GRADIO_NODE_NUM_PORTS": 1, "GRADIO_DEBUG": 0}


def is_open_to_others() -> bool:
    """Returns whether others than the users of this machine can open the page, as Gradio decides it."""
    from gradio import utils

    is_local = os.environ.get("GRADIO_SERVER_NAME", "127.0.0.1") in ("127.0.0.1", "localhost")
    is_shared = os.environ.get("GRADIO_SHARE", "").lower() == "true" or utils.is_hosted_notebook()
    return not is_local or is_shared or utils.colab_check() or "SPACE_ID" in os.environ


def named_port() -> int | None:
    """Returns the port that GRADIO_SERVER_PORT names; None if it names none.

    To be called before gradio is imported, which reads the variables then.

    Raises:
        ValueError: If a variable has no value that can be used.
        OSError: If the port is in use, or not for this user.
    """
    for variable, least in NUMBERS.items():
        text = os.environ.get(variable, "1")
        try:
            usable = least <= int(text) < 65536
        except ValueError:
            usable = False
        if not usable:
            raise ValueError(f"{variable}={text!r} is not a whole number from {least} to 65535; give one, or unset it")
    port = int(os.environ["GRADIO_SERVER_PORT"]) if "GRADIO_SERVER_PORT" in os.environ else None
    name = os.environ.get("GRADIO_SERVER_NAME", "127.0.0.1")
    try:
        with socket.socket() as probe:  # as Gradio's own
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((name or " ", port or 0))  # an empty name would stand for all addresses
    except (OSError, UnicodeError) as error:  # UnicodeError is of names that no machine can have
        code = getattr(error, "errno", None)
        if code == errno.EADDRINUSE:
            raise OSError(f"GRADIO_SERVER_PORT={port} is in use; name another port, or unset it") from error
        if code == errno.EACCES:
            raise OSError(f"GRADIO_SERVER_PORT={port} is not for this user; name one from 1024 on") from error
        raise ValueError(
            f"GRADIO_SERVER_NAME={name!r} is no IPv4 address of this machine; give 127.0.0.1 for this machine alone, "
            "0.0.0.0 for others too"
        ) from error
    return port
