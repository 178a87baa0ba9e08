from __future__ import annotations

import pytest

from dataset_script.bad_input import BadInput


def test_stop_raises_with_the_name_and_what_to_do():
    with pytest.raises(
        ValueError, match=r"faces\.zip: Angry/a\.png is truncated\. Repair or remove it, .*on_error=skip"
    ):
        BadInput("faces.zip", "stop").add("Angry/a.png", "is truncated")


def test_skip_collects_how_many_and_which():
    bad = BadInput("faces.zip", "skip")
    assert bad.report() == ""
    bad.add("a.png", "is empty")
    bad.add("b.png", "is not an image")
    assert bad.report() == "left out 2:\n- a.png is empty\n- b.png is not an image"


def test_the_summary_is_one_line_with_the_votes_and_the_first_piece():
    bad = BadInput("faces.zip", "skip")
    assert bad.summary() == ""
    bad.unclear["with no majority"] += 2
    assert bad.summary() == "left out 2 images because of their votes: 2 with no majority"
    bad.add("a.png", "is empty")
    bad.add("b.png", "is not an image")
    assert bad.summary() == (
        "left out 2 images because of their votes: 2 with no majority; left out 2, the first: a.png is empty"
    )


def test_another_on_error_is_refused():
    with pytest.raises(ValueError, match="'stop' or 'skip'"):
        BadInput("faces.zip", "ignore")


def test_a_name_with_a_line_break_stays_on_its_line():
    bad = BadInput("faces.zip", "skip")
    bad.add("a\nb\t\r.png", "is empty")
    assert bad.report() == "left out 1:\n- a\\nb\\t\\r.png is empty"
