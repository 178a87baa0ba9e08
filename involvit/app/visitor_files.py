"""What visitors send and get: photos in, pictures out, each in its session's folder; and where the examples are."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path

import cv2
import gradio as gr
import numpy as np

from .environment import FILES, UPLOADS
from .session_files import SessionFiles
from .uploads import UploadError, read_photo, scaled

PHOTO_SIDE = 2048  # a larger photo is scaled down to it before faces are looked for
STALLED_S = 600  # an upload of which nothing arrived for so long has broken off

RESULTS, EXAMPLES = (Path(FILES.name, name).resolve() for name in ("results", "examples"))
for folder in (RESULTS, EXAMPLES):
    folder.mkdir()
gr.set_static_paths([RESULTS, EXAMPLES])  # served as they are: a copy in Gradio's cache would outlive its session
sessions = SessionFiles(RESULTS)


def adopt(session: str, path: str) -> None:
    """Deletes what a visitor sent when the session ends, but for an example, which belongs to all."""
    if Path(path).resolve().parent != EXAMPLES:
        sessions.adopt(session, path)


def remove_broken_uploads() -> None:
    """Deletes what has arrived of files whose upload broke off: they still have Gradio's temporary names."""
    for part in UPLOADS.glob("tmp*"):
        with suppress(OSError):  # finished at this moment
            if part.is_file() and time.time() - part.stat().st_mtime > STALLED_S:
                part.unlink()


def read(path: str | None, session: str) -> np.ndarray:
    """Reads a photo of a session, RGB uint8 [H, W, 3], with a long side of at most `PHOTO_SIDE`."""
    if path is None:
        raise UploadError("Choose a photo first.")
    adopt(session, path)
    return scaled(read_photo(path), PHOTO_SIDE)


def enlarged(image: np.ndarray) -> np.ndarray:
    """Enlarges a small square image for the page."""
    return cv2.resize(image, (288, 288), interpolation=cv2.INTER_LINEAR)


def write(image: np.ndarray, path: Path) -> str:
    """Writes an RGB image, JPEG or PNG by the suffix, and returns its path."""
    cv2.imwrite(str(path), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    return str(path)
