"""What happens to input that cannot be used: the first piece stops the reading, or all are left out and listed."""

from __future__ import annotations

import io
import warnings

from PIL import Image

from involvit.files import IMAGE_FORMATS

MAX_PIXELS = 64 * 2**20
MAX_FILE_BYTES = 256 * 2**20


class BadInput:
    """Receives each piece of input that cannot be used.

    Args:
        source: What is being read, named in the error.
        on_error: `"stop"` raises at the first piece, `"skip"` collects them in `left_out`.

    Raises:
        ValueError: If `on_error` is neither.
    """

    def __init__(self, source: str, on_error: str) -> None:
        if on_error not in ("stop", "skip"):
            raise ValueError(f"on_error is {on_error!r}; it is 'stop' or 'skip'.")
        self.source = source
        self.on_error = on_error
        self.left_out: list[str] = []
        self.notes: list[str] = []

    def add(self, name: str, problem: str) -> None:
        """Records one file, row or folder that is left out.

        Args:
            name: Which one, as a path inside the source.
            problem: What is wrong with it; reads on after the name: `"is truncated"`.

        Raises:
            ValueError: With `on_error="stop"`.
        """
        if self.on_error == "stop":
            raise ValueError(
                f"{self.source}: {name} {problem}. Repair or remove it, or leave out all such input with on_error=skip."
            )
        self.left_out.append(f"{name} {problem}")

    def note(self, text: str) -> None:
        """Has the report say what a reader leaves out by rule, though nothing is wrong with it.

        Args:
            text: Begins with "left out".
        """
        self.notes.append(text)

    def summary(self) -> str:
        """Returns the notes, how many pieces were left out and the first of them, in one line; empty for none."""
        left_out = [f"left out {len(self.left_out):,}, the first: {self.left_out[0]}"] if self.left_out else []
        return "; ".join(self.notes + left_out)

    def report(self) -> str:
        """Returns the notes, how many pieces were left out and which, one a line; the empty string for none."""
        listed = [f"left out {len(self.left_out)}:", *(f"- {line}" for line in self.left_out)] if self.left_out else []
        return "\n".join(self.notes + listed)


def image_size(data: bytes) -> tuple[int, int] | None:
    """Returns the width and height that an image's header claims; None if it cannot be read. Nothing is decoded.

    Args:
        data: The encoded image.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of its size; `image_problem` is where that is refused
            return Image.open(io.BytesIO(data), formats=IMAGE_FORMATS).size
    except Exception:  # what a decoder raises on broken bytes is not limited to a few types
        return None


def image_problem(data: bytes) -> str | None:
    """Returns what is wrong with an encoded image, or None if it decodes to the last pixel.

    The size in the header is checked before anything is decoded.

    Args:
        data: The encoded image.

    Returns:
        The problem, worded for `BadInput.add`.
    """
    if not data:
        return "is empty (0 bytes)"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a size that Pillow merely warns of is refused below
            image = Image.open(io.BytesIO(data), formats=IMAGE_FORMATS)
            width, height = image.size
            if width * height > MAX_PIXELS:
                return f"has {width} x {height} pixels, more than the {MAX_PIXELS:,} allowed"
            image.load()
    except Image.DecompressionBombError:
        return f"has more than the {MAX_PIXELS:,} pixels allowed"
    except Image.UnidentifiedImageError:
        return "is not an image"
    except Exception as error:  # what a decoder raises on broken bytes is not limited to a few types
        return f"is truncated or damaged ({error})"
    return None
