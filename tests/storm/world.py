"""What outsiders can read after a storm: the log, Redis and ClickHouse, as plain rows."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from infra.clickhouse.port import ClickHouse
from parley.verify.reading import LogReader, RedisReader
from parley.verify.verification import Sources
from schemas.events import Event, MessageReceived
from schemas.topics import EVENTS
from sinks.redis.texts import Opener

from .history import Place


@dataclass(frozen=True, slots=True)
class Row:
    """An event as one of the copies has it."""

    seq: int
    type: str
    mid: str = ""
    turn: str = ""
    code: str = ""
    text: str = ""
    """What a received message says; of the log only."""


@dataclass(slots=True)
class World:
    """All copies, by conversation, in the order in which they were read."""

    log: dict[Place, list[Row]] = field(default_factory=dict)
    redis: dict[Place, list[Row]] = field(default_factory=dict)
    clickhouse: dict[Place, list[Row]] = field(default_factory=dict)
    texts: list[tuple[str, str, str]] = field(default_factory=list)
    """Every text that a copy shows: where it is, its tenant, and the text."""

    def only(self, prefix: str) -> World:
        """The conversations of one storm; a stack may have seen others before."""

        def some(copy: dict[Place, list[Row]]) -> dict[Place, list[Row]]:
            return {place: rows for place, rows in copy.items() if place[1].startswith(prefix)}

        return World(some(self.log), some(self.redis), some(self.clickhouse), self.texts)


def look(sources: Sources, places: Iterable[Place]) -> World:
    """Reads everything. Raises `Unavailable`."""
    world = World(log=_log(sources.log, sources.opener))
    _look_at_redis(sources.redis, sorted({*world.log, *places}), world)
    _look_at_clickhouse(sources.clickhouse, sources.database, world)
    return world


def _log(reader: LogReader, opener: Opener) -> dict[Place, list[Row]]:
    rows: dict[Place, list[Row]] = defaultdict(list)
    for event in reader.read(range(EVENTS.partitions)):
        place = event.envelope.tenant_id, event.envelope.conversation_id
        rows[place].append(row_of(event, _text(event, opener)))
    return dict(rows)


def row_of(event: Event, text: str) -> Row:
    """An event as a row; `text` is what it says if it is a received message."""

    def said(name: str) -> str:
        return str(getattr(event, name, None) or "")

    kind = type(event).__name__
    return Row(event.envelope.seq, kind, said("mid"), said("turn_id"), said("code"), text)


def _text(event: Event, opener: Opener) -> str:
    if not isinstance(event, MessageReceived):
        return ""
    place = event.envelope
    return opener.open(event.text, tenant_id=place.tenant_id, conversation_id=place.conversation_id)


def _look_at_redis(reader: RedisReader, places: list[Place], world: World) -> None:
    for place, stored in reader.read(places).items():
        for _, raw in stored.frames if stored else ():
            frame: dict[str, Any] = json.loads(raw)
            data = frame["data"]
            row = Row(
                frame["seq"],
                frame["type"],
                frame.get("mid") or "",
                frame.get("turn") or "",
                data.get("code") or "",
            )
            world.redis.setdefault(place, []).append(row)
            world.texts.append(("Redis", place[0], raw.decode()))


def _look_at_clickhouse(clickhouse: ClickHouse, database: str, world: World) -> None:
    events = clickhouse.query_rows(
        f"SELECT tenant_id, conversation_id, seq, event_type, mid, turn_id, code "
        f"FROM {database}.events ORDER BY tenant_id, conversation_id, seq"
    )
    for tenant, conversation, *columns in events:
        world.clickhouse.setdefault((tenant, conversation), []).append(Row(*columns))
    for tenant, text in clickhouse.query_rows(
        f"SELECT tenant_id, text FROM {database}.event_texts"
    ):
        world.texts.append(("ClickHouse", tenant, text))
