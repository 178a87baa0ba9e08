"""The examples of the app: each shows a face, and no visitor takes one along."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from involvit.app.examples import examples
from involvit.app.visitor_files import EXAMPLES, adopt, read, sessions
from involvit.prediction.face_detection import LBPDetector

# Where the middle of the face is, in fractions of the width and height.
FACES = {
    "astronaut": (0.44, 0.23),
    "drawn_happy": (0.65, 0.55),
    "drawn_angry": (0.5, 0.5),
    "drawn_surprise": (0.6, 0.5),
}


@pytest.mark.parametrize("name", FACES)
def test_its_face_is_found_in_each_even_without_the_better_detector(name):
    (path,) = (path for path in examples() if Path(path).stem == name)
    image = np.asarray(Image.open(path))
    (face,) = LBPDetector()(image)
    x, y, width, height = face.box
    assert ((x + width / 2) / image.shape[1], (y + height / 2) / image.shape[0]) == pytest.approx(FACES[name], abs=0.1)
    assert name == "astronaut" or width > 0.5 * image.shape[1]


def test_an_example_stays_when_the_session_that_looked_at_it_ends(tmp_path):
    example, upload = examples()[0], tmp_path / "photo.png"
    Image.open(example).save(upload)
    for path in (example, str(EXAMPLES / ".." / "examples" / Path(example).name), str(upload)):
        read(path, "visitor")
    adopt("visitor", example)
    sessions.forget("visitor")
    assert Path(example).exists() and not upload.exists()
