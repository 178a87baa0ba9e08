"""How often a copy of a face, grey or in another light, gets the same answer: python -m benchmarks.same_face

--data takes labelled faces as for train.py, or PATH:SPLIT as benchmarks/predict.py; without it, rendered faces.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np

from benchmarks.predict import load_faces
from benchmarks.timing import markdown_table
from involvit.prediction.classifier import Classifier, load_classifier

_TINT = np.array([1.15, 1.0, 0.8])  # of red, green and blue: the light of a bulb
_GREY = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601


def copies(image: np.ndarray) -> dict[str, np.ndarray]:
    """Makes a grey, a tinted, a bright and a dark copy of an image.

    Args:
        image: RGB, uint8 [H, W, 3].

    Returns:
        Name -> copy of the same kind: grey; under warm light; at 1.4 times and at 0.6 times the values.
    """
    pixels = image.astype(np.float64)
    changed = {
        "grey": np.repeat(pixels @ _GREY[:, None], 3, axis=2),
        "warm": pixels * _TINT,
        "bright": pixels * 1.4,
        "dark": pixels * 0.6,
    }
    return {name: np.clip(np.round(copy), 0, 255).astype(np.uint8) for name, copy in changed.items()}


def same_answers(classifier: Classifier, images: Sequence[np.ndarray], batch_size: int = 64) -> dict[str, float]:
    """Returns for each kind of copy the share of images, 0 to 1, whose copy gets the answer of the image itself.

    Args:
        classifier: The model.
        images: RGB, uint8 [H, W, 3] each.
        batch_size: Images classified at a time.
    """

    def answers(faces: Sequence[np.ndarray]) -> np.ndarray:
        starts = range(0, len(faces), batch_size)
        return np.concatenate([classifier(faces[start : start + batch_size]).argmax(axis=1) for start in starts])

    original = answers(images)
    of_images = [copies(image) for image in images]
    return {name: float((answers([c[name] for c in of_images]) == original).mean()) for name in of_images[0]}


def main() -> None:
    """Measures and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="labelled faces, PATH[:SPLIT] (default: rendered faces)")
    parser.add_argument("--model", help="folder, Hub id or .onnx file (default: the model of the package)")
    options = parser.parse_args()
    faces = load_faces(options.data, None)
    shares = same_answers(load_classifier(options.model), faces.images)
    rows = [[name, f"{100 * share:.1f}"] for name, share in shares.items()]
    rows.append(["all", f"{100 * np.mean(list(shares.values())):.1f}"])
    print(markdown_table([f"copies of {len(faces.images)} faces ({faces.name})", "same answer, %"], rows))


if __name__ == "__main__":
    main()
