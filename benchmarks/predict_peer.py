"""Times a face expression classifier on images, in whatever environment it is installed; see benchmarks/predict.py.

python benchmarks/predict_peer.py fer IMAGES.npy LABELS.json
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

SECONDS = 10.0  # of each measurement
LATENCY_CALLS = 200


def measure(
    classify: Callable[[list[np.ndarray]], Sequence[str]], images: list[np.ndarray], labels: Sequence[str]
) -> dict[str, float]:
    """Times a classifier on many images and on one.

    Args:
        classify: Returns the label of each of some images, RGB uint8 [H, W, 3].
        images: The images.
        labels: Their true labels.

    Returns:
        `images_per_s` in batches; `p50_ms` and `p95_ms`, percentiles of the time for one image; `accuracy`.
    """
    predicted = classify(images)  # warms up
    calls, start = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - start) < SECONDS or not calls:
        classify(images)
        calls += 1
    times = []
    while len(times) < LATENCY_CALLS and sum(times) < SECONDS:
        begin = time.perf_counter()
        classify(images[len(times) % len(images) :][:1])
        times.append(time.perf_counter() - begin)
    p50, p95 = 1000 * np.percentile(times, (50, 95))
    accuracy = np.mean([a.lower() == b.lower() for a, b in zip(predicted, labels, strict=True)])
    return {"images_per_s": len(images) * calls / elapsed, "p50_ms": p50, "p95_ms": p95, "accuracy": float(accuracy)}


def load_fer() -> Callable[[list[np.ndarray]], list[str]]:
    """PyPI's `fer`, told that the whole image is the face."""
    from fer.fer import FER  # needs setuptools below 81 for pkg_resources

    detector = FER()

    def classify(images: list[np.ndarray]) -> list[str]:
        results = []
        for image in images:
            whole = [(0, 0, image.shape[1], image.shape[0])]
            (found,) = detector.detect_emotions(np.ascontiguousarray(image[..., ::-1]), face_rectangles=whole)
            results.append(max(found["emotions"], key=found["emotions"].get))
        return results

    return classify


def load_deepface() -> Callable[[list[np.ndarray]], list[str]]:
    """PyPI's `deepface`, told that the whole image is the face; it takes a list of images as a batch."""
    from deepface import DeepFace

    def classify(images: list[np.ndarray]) -> list[str]:
        images = [np.ascontiguousarray(image[..., ::-1]) for image in images]
        results = DeepFace.analyze(images, actions=["emotion"], detector_backend="skip", silent=True)
        return [(result[0] if isinstance(result, list) else result)["dominant_emotion"] for result in results]

    return classify


PEERS = {"fer": load_fer, "deepface": load_deepface}

if __name__ == "__main__":
    name, images_file, labels_file = sys.argv[1:]
    classify = PEERS[name]()
    print(json.dumps(measure(classify, list(np.load(images_file)), json.loads(Path(labels_file).read_text()))))
