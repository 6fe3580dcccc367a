"""ClickHouse in this process: the port on the embedded engine."""

from __future__ import annotations

import io
from collections.abc import Mapping

import pyarrow as pa

from infra.clickhouse.engine import Engine, parameter
from infra.clickhouse.port import Row, Value, rows_of

_ARROW_OUTPUT: dict[str, Value] = {"output_format_arrow_string_as_string": 1}


class EmbeddedClickHouse:
    """The port for the owner of a data folder. Every call has a session of its own."""

    def __init__(self, engine: Engine, database: str = "default") -> None:
        """`database` is where names without one are looked up; it must exist by then."""
        self._engine = engine
        self._database = database

    def __repr__(self) -> str:
        return f"EmbeddedClickHouse({self._engine.path}, {self._database})"

    def command(self, sql: str, settings: Mapping[str, Value] | None = None) -> None:
        with self._engine.handle(settings) as handle:
            handle.use(self._database)
            handle.query(sql)

    def query_arrow(
        self,
        sql: str,
        parameters: Mapping[str, Value] | None = None,
        settings: Mapping[str, Value] | None = None,
    ) -> pa.Table:
        texts = {name: parameter(value) for name, value in (parameters or {}).items()}
        with self._engine.handle({**_ARROW_OUTPUT, **(settings or {})}) as handle:
            handle.use(self._database)
            body = handle.query(sql, "ArrowStream", texts).body
        return pa.ipc.open_stream(body).read_all()

    def query_rows(
        self,
        sql: str,
        parameters: Mapping[str, Value] | None = None,
        settings: Mapping[str, Value] | None = None,
    ) -> list[Row]:
        return rows_of(self.query_arrow(sql, parameters, settings))

    def insert_arrow(
        self, table: str, rows: pa.Table, settings: Mapping[str, Value] | None = None
    ) -> None:
        columns = ", ".join(f"`{name}`" for name in rows.column_names)
        with self._engine.handle(settings) as handle:
            handle.use(self._database)
            handle.insert(f"INSERT INTO {table} ({columns})", "ArrowStream", stream_of(rows))

    def close(self) -> None:
        """The engine belongs to whoever opened it and stays open."""


def stream_of(rows: pa.Table) -> bytes:
    """A table as an Arrow stream of one batch, which ClickHouse inserts as one block."""
    out = io.BytesIO()
    with pa.ipc.new_stream(out, rows.schema) as writer:
        for batch in rows.combine_chunks().to_batches():
            writer.write_batch(batch)
    return out.getvalue()
