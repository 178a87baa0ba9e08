from __future__ import annotations

import copy
import math
import pickle

import pytest

from involvit import FacePrediction
from involvit.prediction import tracking
from involvit.prediction.tracking import FaceTracker


def face(x, y=50.0, size=40.0, happy=1.0):
    label = "Happy" if happy > 0.5 else "Sad"
    return FacePrediction(label, max(happy, 1 - happy), {"Happy": happy, "Sad": 1 - happy}, (x, y, size, size))


def tracks(tracker, faces, time_s):
    return [one.track for one in tracker.update(faces, time_s)]


def test_faces_keep_their_numbers_whatever_their_order():
    tracker = FaceTracker()
    assert tracks(tracker, [face(0), face(200)], 0.0) == [1, 2]
    assert tracks(tracker, [face(205), face(5)], 0.1) == [2, 1]
    assert tracks(tracker, [face(400), face(10), face(210)], 0.2) == [3, 1, 2]
    assert tracks(tracker, [], 0.3) == []


@pytest.mark.parametrize("rate", [10, 25])
def test_two_faces_that_cross_keep_their_numbers(rate):
    tracker = FaceTracker()
    for step in range(2 * rate + 1):
        time_s = step / rate
        faces = [face(100 * time_s), face(200 - 100 * time_s)]
        assert tracks(tracker, faces, time_s) == [1, 2]


def test_a_face_that_passes_behind_another_keeps_its_number():
    tracker = FaceTracker()
    for step in range(41):
        time_s = step / 20
        behind, front = face(100 * time_s), face(100, size=44)
        is_hidden = abs(behind.box[0] - 100) < 22
        seen = tracks(tracker, [front] if is_hidden else [front, behind], time_s)
        assert seen == ([1] if is_hidden else [1, 2])


def test_the_assignment_is_the_best_for_all_faces_together(monkeypatch):
    # The first face overlaps more with the second one's place, but that one has nowhere else to go.
    monkeypatch.setattr(tracking, "MIN_OVERLAP", 0.1)
    tracker = FaceTracker()
    assert tracks(tracker, [face(0), face(30)], 0.0) == [1, 2]
    assert tracks(tracker, [face(18), face(50)], 0.1) == [1, 2]


def test_a_face_that_returns_in_time_keeps_its_number():
    tracker = FaceTracker()  # MAX_GAP_S is 1
    tracker.update([face(0)], 0.0)
    tracker.update([], 0.5)
    assert tracks(tracker, [face(3)], 1.0) == [1]
    tracker.update([], 1.5)
    assert tracks(tracker, [face(3)], 2.1) == [2]


def test_overlap_is_intersection_over_union(monkeypatch):
    # Shifted by half its width a box shares a half with its old place, a third of their union.
    for min_overlap, expected in [(0.33, 1), (0.34, 2)]:
        monkeypatch.setattr(tracking, "MIN_OVERLAP", min_overlap)
        tracker = FaceTracker()
        tracker.update([face(0, size=40)], 0.0)
        assert tracks(tracker, [face(20, size=40)], 0.1) == [expected]


@pytest.mark.parametrize("rate", [5, 30])
def test_a_step_is_smoothed_to_an_exponential_at_any_frame_rate(rate):
    tracker = FaceTracker()  # SMOOTHING_S is 0.4
    tracker.update([face(0, happy=0.0)], 0.0)
    for step in range(1, rate + 1):
        (one,) = tracker.update([face(0, happy=1.0)], step / rate)
        assert one.face.probabilities["Happy"] == pytest.approx(1 - math.exp(-step / rate / 0.4))
        assert one.face.score == max(one.face.probabilities.values())
        assert one.face.label == ("Happy" if one.face.probabilities["Happy"] > 0.5 else "Sad")
        assert sum(one.face.probabilities.values()) == pytest.approx(1)
        assert one.face.box == (0, 50.0, 40.0, 40.0)


def test_frames_of_one_time_change_nothing_and_fail_not():
    tracker = FaceTracker()
    tracker.update([face(0, happy=0.2)], 3.0)
    for time_s in (3.0, 2.9):
        (one,) = tracker.update([face(0, happy=1.0)], time_s)
        assert (one.track, one.face.probabilities["Happy"]) == (1, pytest.approx(0.2))


def test_the_whole_image_is_one_face():
    whole = FacePrediction("Sad", 1.0, {"Happy": 0.0, "Sad": 1.0})
    tracker = FaceTracker()
    assert [tracks(tracker, [whole], time_s) for time_s in (0.0, 0.1, 0.2)] == [[1]] * 3


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda tracker: pickle.loads(pickle.dumps(tracker))])
def test_a_copy_goes_on_by_itself(duplicate):
    tracker = FaceTracker()
    tracker.update([face(0, happy=0.0)], 0.0)
    other = duplicate(tracker)
    (changed,) = other.update([face(0, happy=1.0)], 0.1)
    other.update([face(300)], 0.2)
    (one,) = tracker.update([face(0, happy=1.0)], 0.1)
    assert (one.track, one.face.probabilities) == (changed.track, changed.face.probabilities)
    assert tracks(tracker, [face(300)], 0.2) == [2]
