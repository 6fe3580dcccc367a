"""The keys of a batch's texts come from the key store in one query, on the way into ClickHouse."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import pyarrow as pa
import pytest
import sqlalchemy as sa

from infra.keys import Sealer, open_sealer
from infra.settings import Settings
from infra.settings.connections import KeySettings
from schemas.envelope import Envelope
from schemas.events import MessageAnalysed
from schemas.failures import Invalid
from schemas.topics import key_of
from sinks.clickhouse.projection import ClickHouseSink
from sinks.clickhouse.texts import opening_with
from sinks.port import Delivery, Position, TopicPartition

SOURCE = TopicPartition("parley.events.v1", 3)
PEOPLE, MONTHS = 60, ("2026-10", "2026-11")


class Tables:
    """Keeps the texts that are inserted."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def insert_arrow(
        self, table: str, rows: pa.Table, settings: Mapping[str, Any] | None = None
    ) -> None:
        if table.endswith(".event_texts"):
            self.texts += rows["text"].to_pylist()


@pytest.fixture
def keys(tmp_path: Path) -> KeySettings:
    return Settings(data_dir=tmp_path).keys


def analysed(sealer: Sealer, number: int, month: str) -> MessageAnalysed:
    """A message of a person of its own."""
    uuid = str(uuid5(NAMESPACE_URL, f"{number}/{month}"))
    subject = sealer.identify("demo", f"person-{number}").subject
    place = {"tenant_id": "demo", "conversation_id": f"c-{number}"}
    text = sealer.seal(
        f"words {number} of {month}",
        **place,
        subject=subject,
        origin_id=uuid,
        field="redacted",
        month=month,
    )
    head = Envelope(uuid, *place.values(), 1, 1, uuid, None, "r", None, subject, None)
    return MessageAnalysed(head, 2, "m", text, (), (), False, ())


@contextmanager
def queries_for_keys() -> Iterator[list[str]]:
    """What is asked meanwhile of the table of keys, in whatever database."""
    asked: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if "FROM data_keys" in statement:
            asked.append(statement)

    sa.event.listen(sa.Engine, "before_cursor_execute", note)
    try:
        yield asked
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", note)


async def no_dead_letters(delivery: Delivery, why: Invalid) -> None:
    raise AssertionError(f"offset {delivery.offset}: {why}")


async def commit(position: Position) -> None:
    """Kafka takes it."""


async def test_a_batch_of_people_that_this_process_never_met_costs_one_query(
    keys: KeySettings,
) -> None:
    with closing(open_sealer(keys)) as sealer:
        events = [analysed(sealer, n, month) for n in range(PEOPLE) for month in MONTHS]
    batch = [
        Delivery(*SOURCE, offset, 7, event, key_of(event), None)
        for offset, event in enumerate(events)
    ]
    tables = Tables()
    with closing(open_sealer(keys)) as sealer:
        sink = ClickHouseSink(
            tables,  # type: ignore[arg-type]
            opening_with(sealer),
            no_dead_letters,
            prefetch_keys=sealer.prefetch_batch,
        )
        with queries_for_keys() as asked:
            await sink.write(SOURCE, batch, commit)
    assert tables.texts == [f"words {n} of {month}" for n in range(PEOPLE) for month in MONTHS]
    assert len(asked) == 1
