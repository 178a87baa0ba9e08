"""Photos to try the app with: drawn faces and scikit-image's astronaut, made when the app starts."""

from __future__ import annotations

import functools
from itertools import islice
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
from skimage.data import astronaut

from dataset_script.labels import LABELS
from dataset_script.rendered.rendered_faces import rendered_faces

from .tabs import PRIVATE
from .visitor_files import EXAMPLES, write

# Of the faces that the generator draws first, three persons in whose pictures either detector finds the whole face.
DRAWN, SIZE, SEED = (24, 7, 19), 256, 0


@functools.cache
def examples() -> list[str]:
    """Writes the examples, and returns their paths."""
    faces = list(islice(rendered_faces(max(DRAWN) + 1, SIZE, SEED), max(DRAWN) + 1))
    drawn = {f"drawn_{LABELS[faces[index].label].lower()}": np.asarray(faces[index].image) for index in DRAWN}
    return [write(image, Path(EXAMPLES, f"{name}.png")) for name, image in {"astronaut": astronaut(), **drawn}.items()]


def layout(photo_file: gr.Image) -> Any:
    """Lays out the examples, and returns the event of a click: then one of them is in the place of the photo."""
    samples = [[path] for path in examples()]
    component = gr.Image(render=False, type="filepath")
    gallery = gr.Dataset(components=[component], samples=samples, label="Examples", show_label=True)
    return gallery.click(lambda sample: sample[0], gallery, photo_file, **PRIVATE)
