"""Rows of ClickHouse: when they are a table, when blocks, and that nothing is cut or padded."""

from __future__ import annotations

import io
from decimal import Decimal
from typing import Any

import pytest
from rich.console import Console
from rich.table import Table
from rich.text import Text

from parley.rows_view import FOLDED_MIN, ROWS_SHOWN_MAX, rows_view


def answer(*rows: dict[str, Any], types: str = "String") -> dict[str, Any]:
    meta = [{"name": name, "type": types} for name in rows[0]]
    return {"meta": meta, "data": [list(row.values()) for row in rows]}


def printed(given: dict[str, Any], width: int = 100, *, folds: bool = True) -> list[str]:
    file = io.StringIO()
    view = rows_view(given, width, folds=folds)
    Console(file=file, width=width).print(view, soft_wrap=isinstance(view, Text))
    return file.getvalue().splitlines()


def test_rows_that_fit_are_a_table() -> None:
    shown = printed(answer({"a": 1, "b": "[x]", "c": None}))
    assert "│ 1 │ [x] │ null │" in shown


def test_decimals_have_the_digits_that_they_came_with_and_lists_are_json() -> None:
    cost = Decimal("12345678901234.123456780")
    shown = printed(answer({"cost": cost, "scores": [{"score": Decimal("0.25")}]}))
    assert '│ 12345678901234.123456780 │ [{"score": 0.25}] │' in shown


def test_rows_of_many_columns_become_blocks_with_whole_values() -> None:
    row = {f"column_{n}": f"value {n} of this row" for n in range(20)}
    shown = printed(answer(row, row))
    assert [line for line in shown if line.startswith("──")] == ["── row 1", "── row 2"]
    assert "column_0   value 0 of this row" in shown
    assert "column_19  value 19 of this row" in shown


def test_one_long_text_is_folded_beside_columns_that_keep_their_width() -> None:
    shown = printed(answer({"id": "0123456789", "text": "word " * 60}))
    assert all(len(line) <= 100 for line in shown)
    assert any("│ 0123456789 │ word word" in line for line in shown)


def test_a_long_text_with_too_little_room_beside_the_others_makes_blocks() -> None:
    row = {"id": "x" * (100 - FOLDED_MIN), "text": "word " * 60}
    assert printed(answer(row))[0] == "── row 1"


def test_no_line_is_padded_to_the_width_of_a_pipe() -> None:
    shown = printed(answer({"id": "", "text": "word " * 60 + "end\n\nx"}), 200, folds=False)
    assert shown == ["── row 1", "id", "text  " + "word " * 60 + "end", "", "      x"]


def test_further_lines_of_a_value_stand_below_its_first() -> None:
    shown = printed(answer({"a": "x" * 60, "b": "y" * 60, "query": "SELECT 1\nFROM x"}))
    assert shown[-2:] == ["query  SELECT 1", "       FROM x"]


DESCRIBED = {
    "name": "turn_id",
    "type": "UUID",
    "default_type": "",
    "default_expression": "",
    "comment": "the turn",
    "codec_expression": "",
}


def test_a_description_has_no_columns_that_are_empty_in_every_row() -> None:
    shown = rows_view(answer(DESCRIBED, {**DESCRIBED, "comment": ""}), 100, folds=True)
    assert isinstance(shown, Table)
    assert [str(column.header) for column in shown.columns] == ["name", "type", "comment"]


def test_what_was_selected_is_shown_though_it_is_empty() -> None:
    shown = rows_view(answer({"name": "x", "comment": ""}), 100, folds=True)
    assert isinstance(shown, Table)
    assert len(shown.columns) == 2


def test_numbers_stand_on_the_right() -> None:
    shown = rows_view(answer({"n": 1}, types="Nullable(UInt8)"), 100, folds=True)
    assert isinstance(shown, Table)
    assert shown.columns[0].justify == "right"


@pytest.mark.parametrize("given", [{}, {"meta": [], "data": []}])
def test_nothing_is_nothing(given: dict[str, Any]) -> None:
    assert rows_view(given, 100, folds=True)


def test_no_rows_still_name_their_columns() -> None:
    given = {"meta": [{"name": "n" * 300, "type": "String"}], "data": []}
    assert isinstance(rows_view(given, 100, folds=True), Table)


def test_only_the_first_rows_are_shown() -> None:
    shown = rows_view(answer(*[{"n": n} for n in range(ROWS_SHOWN_MAX + 1)]), 100, folds=True)
    assert isinstance(shown, Table)
    assert shown.row_count == ROWS_SHOWN_MAX
