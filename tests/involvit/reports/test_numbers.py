import math

import pytest

from involvit.reports.numbers import count, decimal, interval, p_equals, p_value, percent, points, points_interval


def test_numbers_are_set_as_papers_print_them():
    assert percent(0.6464) == "64.6%"
    assert interval(0.6464, (0.629, 0.661)) == "64.6 [62.9, 66.1]"
    assert points(-0.0152) == "−1.5"
    assert points(0.0152) == "+1.5"
    assert (p_value(0.0004), p_value(0.0412), p_value(float("nan"))) == ("<0.001", "0.041", "-")
    assert (p_equals(0.0004), p_equals(0.0412)) == ("p < 0.001", "p = 0.041")
    assert points_interval(0.015, -0.01, 0.046) == "+1.5 [−1.0, +4.6]"
    assert decimal(0.64642, 4, (0.629, 0.66111)) == "0.6464 [0.6290, 0.6611]"
    assert percent(0.6464, "") == "64.6"
    assert (count(1, "image"), count(1200, "image")) == ("1 image", "1,200 images")


@pytest.mark.parametrize("value", [None, math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_a_dash(value):
    assert percent(value) == points(value) == decimal(value) == "-"
    assert points_interval(0.1, math.nan, math.nan) == "+10.0"
