"""What tests of uploads share: a photo in any format, and what is said when a file is refused."""

from __future__ import annotations

import re
import tempfile
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from involvit.app.uploads import UploadError

PIXELS = np.random.default_rng(0).integers(0, 256, (20, 32, 3), np.uint8)


def refusal(function, *arguments):
    """Returns what is said when a file is refused: always one line that says what to do and names no folder."""
    with pytest.raises(UploadError) as caught:
        function(*arguments)
    line = str(caught.value)
    assert re.fullmatch(r".*Please .*\.", line)
    assert tempfile.gettempdir() not in line
    return line


def encoded(kind="JPEG", image=PIXELS, **options):
    file = BytesIO()
    Image.fromarray(image).save(file, kind, **options)
    return file.getvalue()
