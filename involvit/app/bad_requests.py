"""Requests that do not fit the API: a line for who sent them, a line on the terminal at most."""

from __future__ import annotations

import logging
import os
from typing import Any

import gradio as gr
from gradio_client.utils import traverse

from .tabs import one_line


class CheckedBlocks(gr.Blocks):
    """A page that says in one line what is wrong with a request, and takes all files for files."""

    async def preprocess_data(self, block_fn: Any, inputs: list[Any], *arguments: Any, **options: Any) -> list[Any]:
        """Turns what a request brings into what a function takes; raises gr.Error if it cannot."""
        try:
            return await super().preprocess_data(block_fn, traverse(inputs, _marked, _is_file), *arguments, **options)
        except Exception as error:  # anything can be sent
            raise one_line(
                f"The request does not fit the API, see its documentation: {getattr(error, 'message', error)}"
            ) from None


def _is_file(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("path"), str)


def _marked(file: dict[str, Any]) -> dict[str, Any]:
    """Marks a file as one: without that, Gradio would take any image of the server for what a visitor has sent."""
    return {**file, "meta": {"_type": "gradio.FileData"}}


def quieten_server() -> None:
    """Lets the server name an error in one line, such as an upload that broke off; INVOLVIT_DEBUG shows where."""
    logging.getLogger("uvicorn.error").addFilter(_without_traceback)


def _without_traceback(record: logging.LogRecord) -> bool:
    if record.exc_info and not os.environ.get("INVOLVIT_DEBUG"):
        error = record.exc_info[1]
        record.msg, record.args, record.exc_info = f"{record.getMessage().strip()}: {error!r}", (), None
    return True
