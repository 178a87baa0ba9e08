import pytest

from involvit.reports.blocks import Table


def test_ragged_rows_are_refused():
    with pytest.raises(ValueError, match="a row of 1 cells"):
        Table(("a", "b"), [("x",)])


def test_cells_have_the_decimals_of_their_table_and_a_dash_where_nothing_is_known():
    row = ("text", 1234, 0.98765, None, float("nan"), float("inf"))
    assert Table("abcdef", [row]).cells == [["text", "1,234", "0.988", "-", "-", "-"]]
    assert Table("abcdef", [row], decimals=1).cells[0][2] == "1.0"


@pytest.mark.parametrize(
    ("cells", "is_number"),
    [
        ([1, 0.5, None], True),
        (["64.6%", "-"], True),
        (["64.6 [62.9, 66.1]", "+1.5 [−1.0, +4.6]", "60.1 ± 0.1", "<0.001", "−20.0"], True),
        (["48 x 48", 1], False),
        (["2 Happy", 1], False),
        (["", 1], False),
    ],
)
def test_a_column_of_numbers_may_hold_intervals(cells, is_number):
    assert Table(("a",), [(cell,) for cell in cells]).is_number == [is_number]
