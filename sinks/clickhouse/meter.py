"""Counts the rows that the sink writes into ClickHouse."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa

from infra.clickhouse.port import ClickHouse, Value
from infra.telemetry.metrics import Metrics

TABLES = ("events", "event_texts")
"""Rows of others, of the tables without storage too, are nobody's to query."""


class CountedClickHouse:
    """ClickHouse's port; what is inserted through it is counted once it can be read."""

    def __init__(self, clickhouse: ClickHouse, metrics: Metrics) -> None:
        self._clickhouse = clickhouse
        self._rows = {table: metrics.rows.labels("clickhouse", table) for table in TABLES}
        self.command = clickhouse.command
        self.query_arrow = clickhouse.query_arrow
        self.query_rows = clickhouse.query_rows
        self.close = clickhouse.close

    def __repr__(self) -> str:
        return f"CountedClickHouse({self._clickhouse!r})"

    def insert_arrow(
        self, table: str, rows: pa.Table, settings: Mapping[str, Value] | None = None
    ) -> None:
        self._clickhouse.insert_arrow(table, rows, settings)
        counter = self._rows.get(table.rpartition(".")[2])
        if counter is not None:
            counter.inc(rows.num_rows)
