"""What the rest of Parley asks of ClickHouse, whichever way it is reached.

`infra.clickhouse.embedded` answers it in this process, `infra.clickhouse.remote` over HTTP.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import pyarrow as pa

Value = str | int | float | bool
Row = tuple[Any, ...]


class ClickHouse(Protocol):
    """A database that is asked from any thread; calls block until they are answered.

    Every method raises `ClickHouseUnavailable` if the same call can succeed later,
    `ClickHouseDataInvalid` if a value does not fit, and `ClickHouseError` for anything else.
    """

    def command(self, sql: str, settings: Mapping[str, Value] | None = None) -> None:
        """Runs one statement that has no result."""
        ...

    def query_arrow(
        self,
        sql: str,
        parameters: Mapping[str, Value] | None = None,
        settings: Mapping[str, Value] | None = None,
    ) -> pa.Table:
        """The result of one query. `{name:Type}` in it stands for the parameter of that name."""
        ...

    def query_rows(
        self,
        sql: str,
        parameters: Mapping[str, Value] | None = None,
        settings: Mapping[str, Value] | None = None,
    ) -> list[Row]:
        """The rows of one query as Python values; times are aware, in UTC."""
        ...

    def insert_arrow(
        self, table: str, rows: pa.Table, settings: Mapping[str, Value] | None = None
    ) -> None:
        """Inserts rows by column name and returns once they can be read.

        All of them go in as one block, so that a token in the settings covers them as a whole.
        """
        ...

    def close(self) -> None:
        """Lets go of the engine or the connections. Calls after it fail."""
        ...


def rows_of(table: pa.Table) -> list[Row]:
    """The rows of an Arrow table as tuples, in the order of its columns."""
    return list(zip(*(column.to_pylist() for column in table.columns), strict=True))
