import numpy as np
import pytest

from involvit.evaluation.robustness.drawn_occlusions import drawing, eyes_bar, hand, mask, mouth_bar, sunglasses
from involvit.prediction.face_detection import FER_LANDMARKS

SIDE = 96
GREEN = np.full((SIDE, SIDE, 3), (0, 255, 0), np.uint8)  # nothing drawn has this colour
ALL = {eyes_bar: 0.1, mouth_bar: 0.1, hand: 0.5, sunglasses: 0.15, mask: 0.4}


def covered(kind, size, seed=0, image=GREEN):
    return (drawing(kind, size)(image, np.random.default_rng(seed)) != image).any(axis=2)


def share_at(kind, size, place):
    x, y = np.floor(np.array(place) * SIDE).astype(int)
    return np.mean([covered(kind, size, seed)[y, x] for seed in range(12)])


@pytest.mark.parametrize(("kind", "covers"), [(eyes_bar, (0, 1)), (sunglasses, (0, 1)), (mouth_bar, (3, 4))])
def test_it_covers_its_landmarks_and_no_others(kind, covers):
    for index, place in enumerate(FER_LANDMARKS):
        share = share_at(kind, ALL[kind], place)
        assert share > 0.9 if index in covers else share == 0


def test_a_high_mask_covers_nose_and_mouth_but_not_the_eyes():
    assert [share_at(mask, 0.5, place) for place in FER_LANDMARKS] == [0, 0, 1, 1, 1]


@pytest.mark.parametrize("height", [0.08, 0.2, 0.32])
def test_a_bar_has_the_area_of_its_rectangle(height):
    white = np.full((SIDE, SIDE, 3), 255, np.uint8)
    draw, rng = drawing(eyes_bar, height), np.random.default_rng(0)
    area = np.mean([1 - draw(white, rng).mean() / 255 for _ in range(30)])
    rim = 2 / SIDE  # at most a pixel on each side
    assert 0.74 * height < area < (0.74 + rim) * (height + rim)


@pytest.mark.parametrize("size", [0.3, 0.5, 0.7])
def test_a_hand_reaches_in_as_far_as_it_says_from_three_sides(size):
    sides = set()
    for seed in range(20):
        drawn = covered(hand, size, seed)
        edges = {"left": drawn[:, 0], "right": drawn[:, -1], "below": drawn[-1], "above": drawn[0]}
        side = max(edges, key=lambda name: edges[name].sum())
        rows, columns = np.nonzero(drawn)
        reach = {"left": columns.max() + 1, "right": SIDE - columns.min(), "below": SIDE - rows.min()}[side]
        assert reach / SIDE == pytest.approx(size, abs=0.08)
        sides.add(side)
    assert sides == {"left", "right", "below"}


@pytest.mark.parametrize("kind", ALL)
def test_the_seed_alone_decides(kind):
    first, again, other = (covered(kind, ALL[kind], seed) for seed in (3, 3, 4))
    assert (first == again).all()
    assert (first != other).any()


@pytest.mark.parametrize("kind", ALL)
def test_the_image_itself_stays_as_it_is(kind):
    before = GREEN.copy()
    covered(kind, ALL[kind])
    assert (before == GREEN).all()


def test_sizes_are_fractions_of_the_side():
    large = np.full((2 * SIDE, 2 * SIDE, 3), (0, 255, 0), np.uint8)
    for kind, size in ALL.items():
        small_of_large = covered(kind, size, image=large).reshape(SIDE, 2, SIDE, 2).mean(axis=(1, 3))
        assert np.abs(small_of_large - covered(kind, size)).mean() < 0.05  # the rims
