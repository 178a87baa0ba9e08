import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from involvit.app.shared_classifier import SharedClassifier


class Means:
    """Answers with the mean of each image, and remembers its batches; waits where it is told to."""

    labels, image_size, name = ("mean",), 8, "means"

    def __init__(self):
        self.sizes, self.may_go, self.started = [], threading.Event(), threading.Event()

    def __call__(self, images):
        self.sizes.append(len(images))
        self.started.set()
        assert self.may_go.wait(10)
        if any(image.max() == 255 for image in images):
            raise MemoryError("too much")
        return np.array([[image.mean()] for image in images], np.float32).reshape(len(images), 1)


def image(value):
    return np.full((8, 8, 3), value, np.uint8)


def wait_for(shared, number):
    while len(shared._waiting) < number:
        threading.Event().wait(0.001)


def test_what_arrives_during_a_batch_is_computed_in_one_and_each_caller_gets_its_own():
    means = Means()
    shared = SharedClassifier(means, means)
    with ThreadPoolExecutor(5) as pool:
        first = pool.submit(shared, [image(1)])
        assert means.started.wait(10)
        others = [pool.submit(shared, [image(value)] * value) for value in (2, 3, 4)]
        nobody = pool.submit(shared, [])
        wait_for(shared, 4)
        means.may_go.set()
        assert first.result().tolist() == [[1]]
        assert [one.result().ravel().tolist() for one in others] == [[2] * 2, [3] * 3, [4] * 4]
        assert nobody.result().shape == (0, 1)
    assert means.sizes == [1, 9]


def test_one_caller_alone_gets_what_the_classifier_says():
    means = Means()
    means.may_go.set()
    shared = SharedClassifier(means, means)
    assert shared([image(5), image(6)]).tolist() == [[5], [6]]
    assert (shared.labels, shared.image_size, shared.name) == (("mean",), 8, "means")


def test_a_failure_reaches_every_caller_of_its_batch_and_no_later_one():
    means = Means()
    shared = SharedClassifier(means, means)
    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(shared, [image(1)])
        assert means.started.wait(10)
        failing = [pool.submit(shared, [image(value)]) for value in (255, 2)]
        wait_for(shared, 2)
        means.may_go.set()
        assert first.result().tolist() == [[1]]
        for one in failing:
            with pytest.raises(MemoryError, match="too much"):
                one.result()
    assert shared([image(3)]).tolist() == [[3]]


def test_the_work_can_be_done_elsewhere():
    shared = SharedClassifier(Means(), call=lambda images: np.full((len(images), 1), 7.0))
    assert shared([image(1)]).tolist() == [[7]]
