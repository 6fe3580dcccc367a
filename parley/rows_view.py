"""Rows of ClickHouse as people read them: a table where it fits, else a block for each row."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

ROWS_SHOWN_MAX = 500
FOLDED_MIN = 40
"""A table whose widest column keeps this many characters is still pleasant to read."""
_NUMBER = re.compile(r"(?:Nullable\()?(?:U?Int|Float|Decimal)")
_DESCRIBED = ("name", "type", "default_type")
"""The columns that the answer to DESCRIBE begins with; most of the others are empty."""

Row = Sequence[Text]


def rows_view(answer: Mapping[str, Any], width: int, *, folds: bool) -> Table | Text:
    """The first `ROWS_SHOWN_MAX` rows of an answer, in `width` characters.

    `answer` is what ClickHouse's format JSONCompact holds, with its decimals as they are written.
    With `folds` the widest column of a table may be folded. The lines of blocks may be longer, and
    are to be printed as they are.
    """
    columns: Sequence[Mapping[str, str]] = answer.get("meta", ())
    rows: list[Row] = [[_cell(v) for v in row] for row in answer.get("data", ())[:ROWS_SHOWN_MAX]]
    if tuple(column["name"] for column in columns[: len(_DESCRIBED)]) == _DESCRIBED:
        columns, rows = _without_empty(columns, rows)
    widths = [
        max(_width(column["name"]), *(_width(row[n].plain) for row in rows), 0)
        for n, column in enumerate(columns)
    ]
    widest = max(widths, default=0)
    least = min(widest, FOLDED_MIN) if folds else widest
    borders = 3 * len(widths) + 1
    if sum(widths) - widest + least + borders > width and rows:
        return _blocks(columns, rows)
    return _table(columns, rows, widths)


def _without_empty(
    columns: Sequence[Mapping[str, str]], rows: list[Row]
) -> tuple[Sequence[Mapping[str, str]], list[Row]]:
    kept = [n for n in range(len(columns)) if not rows or any(row[n].plain for row in rows)]
    return [columns[n] for n in kept], [[row[n] for n in kept] for row in rows]


def _width(text: str) -> int:
    return max(map(cell_len, text.splitlines()), default=0)


def _table(columns: Sequence[Mapping[str, str]], rows: list[Row], widths: list[int]) -> Table:
    table = Table(header_style="bold", border_style="dim")
    folded = widths.index(max(widths)) if widths else 0
    for n, column in enumerate(columns):
        table.add_column(
            Text(column["name"]),
            justify="right" if _NUMBER.match(column["type"]) else "left",
            overflow="fold",
            no_wrap=n != folded,
        )
    for row in rows:
        table.add_row(*row)
    return table


def _blocks(columns: Sequence[Mapping[str, str]], rows: list[Row]) -> Text:
    names = [column["name"] for column in columns]
    indent = max(map(cell_len, names)) + 2
    lines: list[Text] = []
    for number, row in enumerate(rows, 1):
        lines.append(Text(f"── row {number}", "dim"))
        for name, cell in zip(names, row, strict=True):
            first, *others = cell.split("\n", allow_blank=True)
            lines.append(Text.assemble((name, "bold"), " " * (indent - cell_len(name)), first))
            lines += [Text.assemble(" " * indent, other) for other in others]
    for line in lines:
        line.rstrip()
    return Text("\n").join(lines)


def _cell(value: Any) -> Text:
    if value is None:
        return Text("null", "dim")  # told from the word by its colour
    if isinstance(value, str | Decimal):
        return Text(str(value))
    return Text(json.dumps(value, ensure_ascii=False, default=float))
