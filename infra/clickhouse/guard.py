"""Reads a statement before it may run: one that only reads, only what its reader may see.

It stands in front of sessions that are `readonly` anyway, because that setting still lets
`file()`, `merge()`, `INTO OUTFILE` and a `KILL` through. The engine's own parser says what the
statement names; anything that is not allow-listed is refused. This is behaviour of one engine
version, so the probes in the tests run at every upgrade.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from infra.clickhouse.engine import Handle
from infra.clickhouse.errors import ClickHouseError
from infra.clickhouse.functions import TABLE_FUNCTIONS, Functions

ACCESS_DENIED = 497
SYNTAX_ERROR = 62

_TRAILING_COMMENT = re.compile(r"--[^\n'\"`*$]*\Z")
_FORMAT = re.compile(r"\s+FORMAT\s+(\w+)\s*\Z", re.IGNORECASE)
_LEADING = re.compile(r"(?:\s+|--[^\n]*(?:\n|\Z)|/\*.*?\*/)*", re.DOTALL)
_WORD = re.compile(r"[A-Za-z]+|\(")
_EXPLAIN = re.compile(
    r"EXPLAIN\s+(?:AST|SYNTAX|PLAN|PIPELINE|ESTIMATE|QUERY\s+TREE)?\s*"
    r"(?:\w+\s*=\s*\w+\s*,?\s*)*(?=SELECT|WITH|FROM|\()",
    re.IGNORECASE,
)
_NAME = r"(?:`[^`\\]+`|\"[^\"\\]+\"|\w+)"
_TABLE = rf"({_NAME}(?:\.{_NAME})?)"
_LOOK = re.compile(rf"(DESCRIBE|DESC|EXISTS)\s+(?:TABLE\s+|VIEW\s+)?{_TABLE}\Z", re.IGNORECASE)
_SHOW_CREATE = re.compile(rf"SHOW\s+CREATE\s+(?:TABLE\s+|VIEW\s+)?{_TABLE}\Z", re.IGNORECASE)
_SHOW_TABLES = re.compile(rf"SHOW\s+TABLES(?:\s+(?:FROM|IN)\s+({_NAME}))?\Z", re.IGNORECASE)
_SHOW_DATABASES = re.compile(r"SHOW\s+DATABASES\Z", re.IGNORECASE)

# Read as one text, not line by line: an alias may hold a line break, and a node looked for at
# every position can be imitated but not hidden.
_FUNCTION = re.compile(r"(?=(?<!table_)function_name: ([^,\n]*))")
_TABLE_FUNCTION = re.compile(r"(?=table_function_name: ([^,\n]*))")
_IDENTIFIER = re.compile(r"(?=identifier: ([^,\n]*))")


@dataclass(frozen=True, slots=True)
class View:
    """What one reader may look at. Names without a database are looked up in `database`."""

    database: str
    databases: frozenset[str]
    """Every database there is: a qualified name that begins with none of them is a column."""
    tables: frozenset[str] | None
    """Qualified names that are allowed beside all of `database`; None allows every table."""

    def allows(self, name: str) -> bool:
        """Whether an identifier is a column, an alias or a table that may be read."""
        first, dot, _ = name.partition(".")
        if self.tables is None or not dot or first == self.database:
            return True
        if first not in self.databases and not first.startswith("_"):
            return True
        return ".".join(name.split(".")[:2]) in self.tables


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement without its FORMAT clause, and the format that the clause named."""

    sql: str
    format: str | None


def split_format(text: str) -> Statement:
    """Takes comments, semicolons and FORMAT off the end of a statement."""
    sql, before = text.rstrip(), None
    while sql != before:
        before, sql = sql, _TRAILING_COMMENT.sub("", sql).rstrip().rstrip(";").rstrip()
    found = _FORMAT.search(sql)
    if found is None:
        return Statement(sql, None)
    return Statement(sql[: found.start()].rstrip().rstrip(";"), found.group(1))


def guarded(handle: Handle, sql: str, view: View, functions: Functions, **parameters: str) -> str:
    """The statement to run for a reader. Raises `ClickHouseError` for everything else.

    `sql` has no FORMAT clause any more, see `split_format`.
    """
    body = _body(sql)
    if is_select(sql):
        _check_one_read(handle, sql)
        _check_names(handle, sql, view, functions, parameters)
        return sql
    if view.tables is None and (prefix := _EXPLAIN.match(body)):
        _check_one_read(handle, body)
        _check_names(handle, body[prefix.end() :], view, functions, parameters)
        return body
    return _templated(handle, body, view)


def is_select(sql: str) -> bool:
    """Whether a statement begins like a query; only those can be streamed."""
    first = _WORD.match(_body(sql))
    return first is not None and first.group().upper() in ("SELECT", "WITH", "FROM", "(")


def _body(sql: str) -> str:
    """The statement without the comments in front of it."""
    return sql[_LEADING.match(sql).end() :]  # type: ignore[union-attr]


def _templated(handle: Handle, body: str, view: View) -> str:
    """SHOW, DESCRIBE and EXISTS, rebuilt from the one name in them."""
    if found := _LOOK.match(body):
        return f"{found.group(1).upper()} TABLE {_allowed(found.group(2), view)}"
    if (found := _SHOW_CREATE.match(body)) and view.tables is None:
        return f"SHOW CREATE TABLE {_allowed(found.group(1), view)}"
    if found := _SHOW_TABLES.match(body):
        database = _plain(found.group(1)) if found.group(1) else view.database
        if view.tables is not None and database != view.database:
            raise _refused(f"database {database}")
        return f"SHOW TABLES FROM `{database}`"
    if _SHOW_DATABASES.match(body):
        if view.tables is None:
            return "SHOW DATABASES"
        return f"SELECT '{view.database}' AS name"
    _, statements = handle.classify(body)
    if not statements:
        raise ClickHouseError(
            "the statement is not SQL of ClickHouse: check its spelling",
            SYNTAX_ERROR,
            "SYNTAX_ERROR",
        )
    raise ClickHouseError(
        "only one SELECT, SHOW, DESCRIBE or EXISTS is answered here", ACCESS_DENIED, "ACCESS_DENIED"
    )


def _allowed(name: str, view: View) -> str:
    plain = _plain(name)
    if not view.allows(plain):
        raise _refused(f"table {plain}")
    return ".".join(f"`{part}`" for part in plain.split("."))


def _plain(name: str) -> str:
    return re.sub(r"[`\"]", "", name)


def _check_one_read(handle: Handle, sql: str) -> None:
    kind, statements = handle.classify(sql)
    if statements != 1:
        raise ClickHouseError(
            f"{statements} statements in one request; send one", SYNTAX_ERROR, "SYNTAX_ERROR"
        )
    if kind != "READ_ONLY":
        raise ClickHouseError(
            "the statement does more than read; this endpoint only reads",
            ACCESS_DENIED,
            "ACCESS_DENIED",
        )


def _check_names(
    handle: Handle, sql: str, view: View, functions: Functions, parameters: dict[str, str]
) -> None:
    """Asks the parser for every name in the statement.

    Without passes, because passes execute scalar subqueries; of the tree and not of the AST,
    because the AST hides the names of common table expressions.
    """
    tree = handle.query(
        f"EXPLAIN QUERY TREE run_passes = 0 {sql}", "TSVRaw", parameters
    ).body.decode(errors="replace")
    if not tree.startswith(("QUERY id: 0", "UNION id: 0")):
        raise ClickHouseError(
            "put FORMAT at the very end of the statement", SYNTAX_ERROR, "SYNTAX_ERROR"
        )
    for name in _TABLE_FUNCTION.findall(tree):
        if name.lower() not in TABLE_FUNCTIONS:
            raise _refused(f"table function {name}")
    for name in _FUNCTION.findall(tree):
        if name not in functions:
            raise _refused(f"function {name}")
    for name in _IDENTIFIER.findall(tree):
        if not view.allows(name):
            raise _refused(f"table {name}")


def _refused(what: str) -> ClickHouseError:
    return ClickHouseError(f"{what} is not open to you here", ACCESS_DENIED, "ACCESS_DENIED")
