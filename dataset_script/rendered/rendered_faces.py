"""Faces drawn from action units: the data set that is there without any data.

Each person shows each of the seven expressions once, every time in another pose, light, place and state of focus. All
that is drawn at random beside the action units is drawn from generators that know nothing of the expression, so only
the expression tells the classes apart.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image

from ..labels import LABELS
from .action_units import sample_action_units
from .appearance import sample_appearance
from .face_geometry import face_curves, sample_proportions
from .face_painter import paint
from .shot import sample_shot

SMALLEST, LARGEST = 96, 352
WIDEST = 16_383  # pixels of a WebP picture; other formats store more


@dataclass(frozen=True)
class RenderedFace:
    """One drawn face."""

    path: str  # CLASS/PERSON_NUMBER.png
    label: int  # index into LABELS
    group: str  # the person
    image: Image.Image  # RGB


def rendered_faces(num_images: int, size: int, seed: int) -> Iterator[RenderedFace]:
    """Draws faces, person by person, each person with the expressions in the order of `LABELS`.

    Args:
        num_images: How many; a multiple of seven gives equal classes.
        size: Height and width in pixels, 96 to 352.
        seed: The same seed gives the same bytes; the first images do not depend on how many follow.

    Raises:
        ValueError: If an argument is out of its range.
    """
    _check(num_images, size, seed)
    for index in range(num_images):
        number, label = divmod(index, len(LABELS))
        person_rng = np.random.default_rng((seed, number))
        proportions, appearance = sample_proportions(person_rng), sample_appearance(person_rng)
        units_rng, shot_rng = np.random.default_rng((seed, number, label)).spawn(2)
        face = face_curves(proportions, sample_action_units(LABELS[label], units_rng))
        person = f"Person{number:04d}"
        image = paint(face, appearance, sample_shot(shot_rng), size)
        yield RenderedFace(f"{LABELS[label]}/{person}_{label:02d}.png", label, person, image)


def _check(num_images: int, size: int, seed: int) -> None:
    if num_images < 1:
        raise ValueError(f"the number of rendered images is {num_images}; it must be at least 1.")
    if not SMALLEST <= size <= LARGEST:
        raise ValueError(f"the size of rendered images is {size}; it must be from {SMALLEST} to {LARGEST} pixels.")
    if seed < 0:
        raise ValueError(f"the seed of rendered images is {seed}; it must not be negative.")


def contact_sheet(columns: int, size: int, seed: int) -> Image.Image:
    """Sets a row of faces from `rendered_faces` for each expression, in the order of `LABELS`; a column is a person.

    Raises:
        ValueError: If an argument is out of its range, or the sheet would be wider than every format can store.
    """
    _check(columns * len(LABELS), size, seed)
    if columns * size > WIDEST:
        raise ValueError(f"{columns} faces of {size} pixels are wider than {WIDEST} pixels; lower --columns or --size.")
    sheet = Image.new("RGB", (columns * size, len(LABELS) * size))
    for index, face in enumerate(rendered_faces(columns * len(LABELS), size, seed)):
        sheet.paste(face.image, (index // len(LABELS) * size, face.label * size))
    return sheet
