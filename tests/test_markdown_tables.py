"""Tables in Markdown."""

import pytest

from espnet_wsm.tables import render_table

HEADER, ROWS = ("arm", "CER"), [("wsm", "9.5"), ("attention", "10.25")]


def test_columns_are_padded_and_numbers_aligned_to_the_right():
    assert render_table(HEADER, ROWS, num_left=1).split("\n") == [
        "| arm       |   CER |",
        "| --------- | ----: |",
        "| wsm       |   9.5 |",
        "| attention | 10.25 |",
    ]


def test_without_padding_a_long_cell_widens_its_own_line_alone():
    lines = ["| arm | CER |", "|---|---|", "| wsm | 9.5 |", "| attention | 10.25 |"]
    assert render_table(HEADER, ROWS, padded=False).split("\n") == lines
    lines[1] = "|---|--:|"
    assert render_table(HEADER, ROWS, num_left=1, padded=False).split("\n") == lines


def test_a_row_with_too_few_cells_is_a_mistake():
    with pytest.raises(ValueError, match="shorter"):
        render_table(HEADER, [("wsm",)])
