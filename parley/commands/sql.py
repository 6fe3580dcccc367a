"""`parley sql QUERY`: asks ClickHouse, as a table on a terminal and as lines elsewhere."""

from __future__ import annotations

import json
import logging
import re
import sys
import time
from collections.abc import Iterable
from contextlib import nullcontext
from decimal import Decimal
from enum import StrEnum
from typing import Annotated

import typer
from rich.text import Text

from infra.clickhouse.errors import ClickHouseError
from infra.clickhouse.guard import split_format
from infra.clickhouse.remote import RemoteClickHouse
from infra.settings import load_settings
from parley.exits import Ended, Exit
from parley.options import Data, filled
from parley.rows_view import ROWS_SHOWN_MAX, rows_view
from parley.talk import require_address
from parley.terminal import err, out

_REFUSALS = frozenset((497, 516, 452, 164))
_NOISE = re.compile(r"\s*\((?:version [^)]*|for url [^)]*)\)|^Code: \d+\. DB::Exception: ")


class Format(StrEnum):
    """How rows are printed."""

    AUTO = "auto"
    TABLE = "table"
    JSON = "json"
    CSV = "csv"
    TSV = "tsv"


_LINES = {Format.JSON: "JSONEachRow", Format.CSV: "CSVWithNames", Format.TSV: "TSVWithNames"}


def sql(
    query: Annotated[
        str,
        typer.Argument(help="One statement, or - to read it from the input.", callback=filled),
    ],
    format: Annotated[
        Format, typer.Option(help="auto is a table on a terminal and TSV elsewhere.")
    ] = Format.AUTO,
    as_json: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
    data: Data = None,
) -> None:
    """Asks ClickHouse. SHOW TABLES lists what there is, DESCRIBE v1_turns explains a view.

    Rows that are too wide for a table are printed one below the other.

    Example:

      parley sql "SELECT outcome, count() FROM v1_turns GROUP BY outcome"
    """
    statement = filled(sys.stdin.read()) if query == "-" else query
    settings = load_settings(data)
    require_address(settings, "clickhouse.url")
    chosen = settings.clickhouse
    password = "" if chosen.password is None else chosen.password.get_secret_value()
    clickhouse = RemoteClickHouse(
        chosen.url,
        user=chosen.user,
        password=password,
        database=chosen.database,
        options=chosen.options,
    )
    wanted = Format.JSON if as_json else format
    if wanted is Format.AUTO:
        wanted = Format.TABLE if sys.stdout.isatty() else Format.TSV
    # Its warnings repeat what is said below.
    logging.getLogger("clickhouse_connect").addHandler(logging.NullHandler())
    try:
        _ask(clickhouse, statement, wanted)
    except ClickHouseError as error:
        if not error.code:
            raise
        refused = error.code in _REFUSALS
        sentence = _NOISE.sub("", str(error)).strip()
        raise Ended(Exit.REFUSED if refused else Exit.USAGE, sentence) from None
    finally:
        clickhouse.close()


def _ask(clickhouse: RemoteClickHouse, statement: str, wanted: Format) -> None:
    began = time.monotonic()
    waiting = err().status("asking ClickHouse …") if err().is_terminal else nullcontext()
    if split_format(statement).format is not None:
        _pass_on(clickhouse.stream(statement, None))
        return
    sql = split_format(statement).sql
    if wanted is Format.TABLE:
        with waiting:
            answer = json.loads(
                b"".join(clickhouse.stream(sql, "JSONCompact")) or "{}", parse_float=Decimal
            )
        rows = len(answer.get("data", ()))
        # Only where somebody looks may a long text be folded to the width.
        view = rows_view(answer, out().width, folds=out().is_terminal)
        out().print(view, soft_wrap=isinstance(view, Text))
    else:
        lines = _pass_on(clickhouse.stream(sql, _LINES[wanted]))
        rows = max(0, lines - (wanted is not Format.JSON))
    _say(rows, time.monotonic() - began, shown=wanted is not Format.TABLE)


def _pass_on(pieces: Iterable[bytes]) -> int:
    """Writes pieces as they come, and counts their lines."""
    lines = 0
    for piece in pieces:
        lines += piece.count(b"\n")
        sys.stdout.buffer.write(piece)
    sys.stdout.buffer.flush()
    return lines


def _say(rows: int, seconds: float, *, shown: bool) -> None:
    """A remark on standard error, so that a pipe gets rows only."""
    if not err().is_terminal:
        return
    more = rows - ROWS_SHOWN_MAX
    cut = f", {more} of them not shown: --format csv prints all" if more > 0 and not shown else ""
    err().print(Text(f"{rows} row{'' if rows == 1 else 's'} in {seconds:.3f} s{cut}", "dim"))
