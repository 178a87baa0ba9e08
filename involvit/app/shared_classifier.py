"""One classifier for many threads: what arrives while a batch is computed makes up the next batch."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future

import numpy as np

from ..prediction.classifier import Classifier


class SharedClassifier:
    """A `Classifier` that threads call at the same time; one batch is computed at a time, of all that wait.

    `call` runs the classifier on a list of images, wherever that is.
    """

    def __init__(self, classifier: Classifier, call: Callable[[Sequence[np.ndarray]], np.ndarray]) -> None:
        self.labels, self.image_size, self.name = classifier.labels, classifier.image_size, classifier.name
        self._call = call
        self._waiting: list[tuple[Sequence[np.ndarray], Future[np.ndarray]]] = []
        self._computing = threading.Lock()

    def __call__(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """Classifies a batch, perhaps together with those of other threads; see `Classifier`."""
        answer: Future[np.ndarray] = Future()
        self._waiting.append((images, answer))
        with self._computing:
            if not answer.done():
                self._compute()
        return answer.result()

    def _compute(self) -> None:
        """Answers everything that waits."""
        waiting, self._waiting = self._waiting, []
        try:
            probabilities = self._call([image for images, _ in waiting for image in images])
            ends = np.cumsum([len(images) for images, _ in waiting])
            for (_, answer), rows in zip(waiting, np.split(probabilities, ends[:-1]), strict=True):
                answer.set_result(rows)
        except BaseException as error:
            for _, answer in waiting:
                if not answer.done():
                    answer.set_exception(error)
