"""The Redis sink against a real server: what it writes, refuses, holds and heals."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
import redis
import redis.asyncio
from redis_sink_parts import (
    EVENTS_0,
    TOKENS_0,
    ConversationLog,
    Engine,
    PlainOpener,
    RedisServer,
    client,
    deliveries,
    dump,
    erased,
    new_sink,
    no_commit,
    piece,
    running_redis,
)

from infra.keys.errors import KeyErased, KeyStoreUnavailable, SealBroken
from infra.telemetry.metrics import Metrics
from schemas.failures import Unavailable
from sinks.redis import keys as redis_keys
from sinks.redis.keys import conversation_keys
from sinks.redis.meter import MetricsMeter
from sinks.redis.sink import RedisSink

KEYS = conversation_keys("demo", "c-1")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with running_redis(Path(tmp_path_factory.mktemp("redis"))) as started:
        yield started


@pytest.fixture
async def connection(server: RedisServer) -> AsyncIterator[redis.asyncio.Redis]:
    connected = client(server.url)
    await connected.flushall()
    yield connected
    await connected.aclose()


@pytest.fixture
def log() -> ConversationLog:
    return ConversationLog(start_us=time.time_ns() // 1000)


def url_of(connection: redis.asyncio.Redis) -> str:
    options = connection.connection_pool.connection_kwargs
    return f"redis://{options['host']}:{options['port']}/0"


class Counts:
    """A meter that remembers."""

    def __init__(self) -> None:
        self.seen: list[tuple[Any, ...]] = []

    def applied(self, tenant_id: str, events: int) -> None:
        self.seen.append(("applied", events))

    def repeated(self, events: int) -> None:
        self.seen.append(("repeated", events))

    def pieces(self, appended: int, held: int, dropped: int) -> None:
        self.seen.append(("pieces", appended, held, dropped))

    def gap(self, tenant_id: str) -> None:
        self.seen.append(("gap",))

    def tail_lost(self, topic: str, partition: int) -> None:
        self.seen.append(("tail_lost", topic, partition))


async def feed(sink: RedisSink, log: ConversationLog, pieces: list[Any] | None = None) -> Engine:
    """Everything in natural order, through a sink that was just assigned."""
    logs = {
        EVENTS_0: deliveries(EVENTS_0, log.events),
        TOKENS_0: deliveries(TOKENS_0, pieces or []),
    }
    engine = Engine(logs, sink)
    await engine.assign()
    await engine.drain()
    return engine


async def test_an_event_is_appended_folded_and_announced(
    connection: redis.asyncio.Redis, log: ConversationLog
) -> None:
    log.exchange("m1", "where is [NAME_1]", "Here.")
    listener = connection.pubsub()
    await listener.subscribe(KEYS.bell)
    engine = await feed(new_sink(connection), log)

    entries = await connection.xrange(KEYS.log)
    assert [entry for entry, _ in entries] == [b"%d-0" % n for n in range(1, 6)]
    frames = [fields[b"f"] for _, fields in entries]
    assert [orjson.loads(frame)["type"] for frame in frames][-1] == "TurnCompleted"
    view = await connection.hgetall(KEYS.view)
    assert (view[b"seq"], view[b"epoch"], view[b"status"]) == (b"5", b"e1", b"open")
    assert view[b"owner"] == b"p-1"
    assert [m["text"] for m in orjson.loads(view[b"state"])["messages"]] == [
        "where is [NAME_1]",
        "Here.",
    ]
    rung = [m["data"] async for m in _messages(listener, 5)]
    assert rung == frames
    await listener.aclose()
    offset = await connection.get(redis_keys.offset_key(*EVENTS_0))
    assert int(offset) == engine.logs[EVENTS_0][-1].offset + 1


async def _messages(listener: Any, count: int) -> AsyncIterator[dict[str, Any]]:
    deadline = time.monotonic() + 5
    while count:
        assert time.monotonic() < deadline, "the bell did not ring"
        message = await listener.get_message(ignore_subscribe_messages=True, timeout=1)
        if message is not None:
            count -= 1
            yield message


async def test_repeated_events_change_nothing(
    connection: redis.asyncio.Redis, server: RedisServer, log: ConversationLog
) -> None:
    log.exchange("m1", "q", "a")
    counts = Counts()
    sink = new_sink(connection, meter=counts)
    engine = await feed(sink, log)
    before = dump(server.url)
    engine.at[EVENTS_0] = 0
    await engine.drain(2)
    assert dump(server.url) == before
    assert sum(c[1] for c in counts.seen if c[0] == "repeated") == len(log.events)


async def test_a_gap_stops_its_conversation_loudly_and_no_other(
    connection: redis.asyncio.Redis, log: ConversationLog, caplog: pytest.LogCaptureFixture
) -> None:
    other = ConversationLog(conversation="c-2", start_us=log.start_us)
    log.exchange("m1", "q", "a")
    other.exchange("m1", "q", "a")
    counts = Counts()
    sink = new_sink(connection, meter=counts)
    records = [*log.events[:2], *log.events[3:], *other.events]
    engine = Engine({EVENTS_0: deliveries(EVENTS_0, records)}, sink)
    await engine.assign()
    await engine.drain(2)
    assert await connection.hget(KEYS.view, "seq") == b"2"
    assert await connection.hget(conversation_keys("demo", "c-2").view, "seq") == b"5"
    assert counts.seen.count(("gap",)) == 1
    assert sink.trouble is not None
    assert "event 3" in sink.trouble
    assert "c-1" in caplog.text

    engine.logs[EVENTS_0] = deliveries(EVENTS_0, log.events)
    engine.at[EVENTS_0] = 0
    await engine.drain()
    assert await connection.hget(KEYS.view, "seq") == b"5"
    assert sink.trouble is None


async def test_streamed_text_grows_while_its_turn_is_open(
    connection: redis.asyncio.Redis, log: ConversationLog
) -> None:
    turn = log.started(log.received("m1"))
    text = "naïve 😀 answer"
    pieces = [piece(turn, 1, text, 0, 3), piece(turn, 1, text, 3, 7), piece(turn, 1, text, 7, 14)]
    engine = await feed(new_sink(connection), log, pieces)
    stored = await connection.hgetall(KEYS.turn)
    assert stored == {
        b"turn": turn.turn_id.encode(),
        b"attempt": b"1",
        b"at": b"14",
        b"text": text.encode(),
    }
    log.completed(turn, text)
    engine.logs[EVENTS_0] = deliveries(EVENTS_0, log.events)
    await engine.drain()
    assert not await connection.exists(KEYS.turn)


async def test_overlapping_pieces_are_cut_by_code_points(
    connection: redis.asyncio.Redis, log: ConversationLog
) -> None:
    turn = log.started(log.received("m1"))
    text = "a😀é漢bcd"
    pieces = [piece(turn, 1, text, *cut) for cut in ((0, 3), (1, 5), (1, 2), (5, 7), (4, 7))]
    await feed(new_sink(connection), log, pieces)
    stored = await connection.hgetall(KEYS.turn)
    assert (stored[b"text"].decode(), stored[b"at"]) == (text, b"7")


async def test_pieces_ahead_of_their_turn_are_held_until_it_starts(
    connection: redis.asyncio.Redis, log: ConversationLog
) -> None:
    message = log.received("m1")
    sink = new_sink(connection)
    engine = await feed(sink, log)
    turn = log.started(message)
    engine.logs[TOKENS_0] = deliveries(
        TOKENS_0, [piece(turn, 1, "hello", 2, 5), piece(turn, 1, "hello", 0, 2)]
    )
    await engine.drain()
    assert await connection.hlen(KEYS.held) == 2
    assert not await connection.exists(KEYS.turn)
    listener = connection.pubsub()
    await listener.subscribe(KEYS.bell)
    engine.logs[EVENTS_0] = deliveries(EVENTS_0, log.events)
    await engine.drain()
    assert await connection.hget(KEYS.turn, "text") == b"hello"
    assert not await connection.exists(KEYS.held)
    rung = [orjson.loads(m["data"])["t"] async for m in _messages(listener, 3)]
    assert rung == ["event", "tokens", "tokens"]
    await listener.aclose()


async def test_a_new_attempt_starts_over_and_older_pieces_no_longer_count(
    connection: redis.asyncio.Redis, log: ConversationLog
) -> None:
    turn = log.started(log.received("m1"))
    engine = await feed(new_sink(connection), log, [piece(turn, 1, "first", 0, 5)])
    log.restarted(turn, 2)
    engine.logs = {
        EVENTS_0: deliveries(EVENTS_0, log.events),
        TOKENS_0: deliveries(
            TOKENS_0,
            [
                piece(turn, 1, "first", 0, 5),
                piece(turn, 1, "first try", 5, 9),
                piece(turn, 2, "second", 0, 4),
            ],
        ),
    }
    await engine.drain()
    stored = await connection.hgetall(KEYS.turn)
    assert (stored[b"attempt"], stored[b"text"]) == (b"2", b"seco")


async def test_pieces_of_an_ended_turn_are_dropped(
    connection: redis.asyncio.Redis, log: ConversationLog
) -> None:
    turn = log.started(log.received("m1"))
    log.completed(turn)
    counts = Counts()
    await feed(new_sink(connection, meter=counts), log, [piece(turn, 1, "late", 0, 4)])
    assert ("pieces", 0, 0, 1) in counts.seen
    assert not await connection.exists(KEYS.turn, KEYS.held)


async def test_pieces_that_wait_are_bounded(
    connection: redis.asyncio.Redis, log: ConversationLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sinks.redis.scripts.HELD_MAX", 3)
    turn = log.started(log.received("m1"))
    counts = Counts()
    pieces = [piece(turn, 1, "abcdefgh", n, n + 1) for n in range(1, 8)]
    await feed(new_sink(connection, meter=counts), log, pieces)
    assert ("pieces", 0, 3, 4) in counts.seen
    assert await connection.pttl(KEYS.held) > 0


async def test_the_log_is_trimmed_by_length_and_by_bytes(
    connection: redis.asyncio.Redis, log: ConversationLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sinks.redis.scripts.LOG_EVENTS_MAX", 10)
    monkeypatch.setattr("sinks.redis.scripts.LOG_BYTES_MAX", 2_500)
    for n in range(20):
        log.exchange(f"m{n}", "q", "a" * (900 if n == 19 else 5))
    await feed(new_sink(connection), log)
    entries = await connection.xrange(KEYS.log)
    seqs = [redis_keys.entry_seq(entry) for entry, _ in entries]
    assert seqs == list(range(seqs[0], len(log.events) + 1))
    assert 1 < len(seqs) < 10
    size = sum(len(fields[b"f"]) for _, fields in entries)
    assert size <= 2_500
    assert await connection.hget(KEYS.view, "bytes") == b"%d" % size


async def test_a_log_goes_a_day_after_its_last_event_and_the_view_stays(
    connection: redis.asyncio.Redis, log: ConversationLog
) -> None:
    log.exchange("m1", "q", "a")
    await feed(new_sink(connection), log)
    day = redis_keys.LOG_AGE_MS
    assert day - 60_000 < await connection.pttl(KEYS.log) <= day + 1_000
    log.start_us -= 2 * day * 1000
    log.exchange("m2", "q", "a")
    await feed(new_sink(connection), log)
    assert not await connection.exists(KEYS.log)
    assert await connection.hget(KEYS.view, "seq") == b"9"


async def test_texts_whose_key_is_gone_show_a_marker(
    connection: redis.asyncio.Redis, log: ConversationLog
) -> None:
    log.exchange("m1", "q", "secret")
    log.events[-1] = erased(log.events[-1])  # type: ignore[arg-type]
    for failure, marker in ((KeyErased("gone"), "[erased]"), (SealBroken("no"), "[unreadable]")):
        await connection.flushall()
        await feed(new_sink(connection, opener=PlainOpener({"gone": failure})), log)
        state = orjson.loads(await connection.hget(KEYS.view, "state"))
        assert state["messages"][-1]["text"] == marker


async def test_a_key_store_that_is_away_leaves_redis_as_it_was(
    connection: redis.asyncio.Redis, server: RedisServer, log: ConversationLog
) -> None:
    log.exchange("m1", "q", "secret")
    log.events[-1] = erased(log.events[-1])  # type: ignore[arg-type]
    opener = PlainOpener({"gone": KeyStoreUnavailable("away")})
    sink = new_sink(connection, opener=opener)
    await sink.assigned({EVENTS_0: None})
    before = dump(server.url)
    with pytest.raises(Unavailable):
        await sink.write(EVENTS_0, deliveries(EVENTS_0, log.events), no_commit)
    assert dump(server.url) == before


async def test_redis_decides_where_a_partition_begins(
    connection: redis.asyncio.Redis, log: ConversationLog
) -> None:
    from sinks.port import Position

    log.exchange("m1", "q", "a")
    engine = await feed(new_sink(connection), log)
    end = engine.logs[EVENTS_0][-1].offset + 1
    fresh = new_sink(connection)
    for group in (None, Position(2), Position(900)):
        assert (await fresh.assigned({EVENTS_0: group}))[EVENTS_0] == Position(end)
    await connection.flushall()
    assert (await fresh.assigned({EVENTS_0: Position(900)}))[EVENTS_0] == Position(0)


async def test_a_redis_that_is_emptied_under_the_sink_is_fed_again(
    connection: redis.asyncio.Redis, server: RedisServer, log: ConversationLog
) -> None:
    log.exchange("m1", "q", "a")
    counts = Counts()
    engine = await feed(new_sink(connection, meter=counts), log)
    await connection.flushall()
    log.exchange("m2", "q", "a")
    engine.logs[EVENTS_0] = deliveries(EVENTS_0, log.events)
    await engine.drain()
    await engine.sink.assigned({TOKENS_0: None})
    healed = dump(server.url)
    assert ("tail_lost", *EVENTS_0) in counts.seen
    await connection.flushall()
    await feed(new_sink(connection), log)
    assert healed == dump(server.url)


async def test_a_redis_that_lost_its_tail_is_found_out_also_when_nothing_comes(
    connection: redis.asyncio.Redis, log: ConversationLog
) -> None:
    log.exchange("m1", "q", "a")
    counts = Counts()
    sink = new_sink(connection, meter=counts)
    engine = await feed(sink, log)
    assert await sink.check() == {}
    await connection.set(redis_keys.offset_key(*EVENTS_0), 4)
    assert {s: p.offset for s, p in (await sink.check()).items()} == {EVENTS_0: 4}
    assert await sink.check() == {}
    await connection.flushall()
    assert {p.offset for p in (await sink.check()).values()} == {0}
    engine.at = dict.fromkeys(engine.at, 0)
    await engine.drain()
    assert await connection.hget(KEYS.view, "seq") == b"5"
    assert ("tail_lost", *TOKENS_0) in counts.seen


async def test_records_that_were_on_their_way_while_the_engine_goes_back_are_no_gap(
    connection: redis.asyncio.Redis, log: ConversationLog
) -> None:
    log.exchange("m1", "q", "a")
    sink = new_sink(connection)
    engine = await feed(sink, log)
    log.exchange("m2", "q", "a")
    log.exchange("m3", "q", "a")
    engine.logs[EVENTS_0] = deliveries(EVENTS_0, log.events)
    await connection.flushall()
    for batch in (engine.logs[EVENTS_0][5:9], engine.logs[EVENTS_0][9:]):
        back = await sink.write(EVENTS_0, batch, no_commit)
        assert back.offset == 0
    assert sink.trouble is None
    assert not await connection.exists(KEYS.view)
    engine.at[EVENTS_0] = 0
    await engine.drain()
    assert sink.trouble is None
    assert await connection.hget(KEYS.view, "seq") == b"13"


async def test_a_log_without_what_redis_lost_is_not_waited_for_for_ever(
    connection: redis.asyncio.Redis, log: ConversationLog
) -> None:
    log.exchange("m1", "q", "a")
    sink = new_sink(connection)
    engine = await feed(sink, log)
    await connection.flushall()
    log.exchange("m2", "q", "a")
    rest = deliveries(EVENTS_0, log.events)[5:]
    answers = [(await sink.write(EVENTS_0, rest, no_commit)).offset for _ in range(10)]
    assert answers[0] == 0
    assert answers[-1] == rest[-1].offset + 1 > engine.logs[EVENTS_0][-1].offset
    assert sink.trouble is not None


async def test_the_process_metrics_count_what_was_done(
    connection: redis.asyncio.Redis, log: ConversationLog
) -> None:
    metrics = Metrics()
    log.exchange("m1", "q", "a")
    sink = new_sink(connection, meter=MetricsMeter(metrics))
    engine = await feed(sink, log)
    engine.at[EVENTS_0] = 3
    await engine.drain()
    value = metrics.registry.get_sample_value
    assert value("parley_sink_rows_total", {"sink": "redis", "table": "events"}) == 5
    assert value("parley_sink_skipped_total", {"sink": "redis", "reason": "repeated"}) == 2


async def test_a_redis_that_is_rolled_back_under_the_sink_is_fed_what_it_lost(
    tmp_path: Path, log: ConversationLog
) -> None:
    log.exchange("m1", "q", "a")
    with running_redis(tmp_path) as own:
        connection = client(own.url)
        engine = await feed(new_sink(connection), log)
        append_only = tmp_path / "appendonly.aof"
        earlier = append_only.read_bytes()
        log.exchange("m2", "q", "a")
        engine.logs[EVENTS_0] = deliveries(EVENTS_0, log.events)
        await engine.drain()
        whole = dump(own.url)
        own.kill()
        append_only.write_bytes(earlier)
        own.start()
        assert dump(own.url)[KEYS.view][b"seq"] == b"5"
        log.rejected()
        engine.logs[EVENTS_0] = deliveries(EVENTS_0, log.events)
        await engine.drain()
        assert engine.sink.trouble is None
        assert await connection.hget(KEYS.view, "seq") == b"10"
        assert (await connection.xrange(KEYS.log))[:9] == whole[KEYS.log]
        await connection.aclose()


async def test_a_redis_that_is_rolled_back_between_two_steps_is_not_skipped_over(
    connection: redis.asyncio.Redis, log: ConversationLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = ConversationLog(conversation="c-2", start_us=log.start_us)
    log.exchange("m1", "q", "a")
    other.exchange("m1", "q", "a")
    counts = Counts()
    sink = new_sink(connection, meter=counts)
    engine = Engine({EVENTS_0: deliveries(EVENTS_0, [*log.events, *other.events])}, sink)
    await engine.assign()
    ask = sink._line.ask

    async def lose_one_before_the_last(*commands: Any) -> list[Any]:
        monkeypatch.undo()
        answers = await ask(*commands[:-1])
        await connection.delete(KEYS.view, KEYS.log)
        return answers + await ask(commands[-1])

    monkeypatch.setattr(sink._line, "ask", lose_one_before_the_last)
    await engine.drain()
    assert ("tail_lost", *EVENTS_0) in counts.seen
    assert ("gap",) not in counts.seen
    assert await connection.hget(KEYS.view, "seq") == b"5"


async def test_recreated_topics_start_every_conversation_over(
    connection: redis.asyncio.Redis, log: ConversationLog
) -> None:
    log.exchange("m1", "old", "old")
    old = new_sink(connection)
    await feed(old, log)
    again = ConversationLog(start_us=log.start_us)
    again.exchange("m9", "new", "new")
    await feed(new_sink(connection, epoch="e2"), again)
    view = await connection.hgetall(KEYS.view)
    assert (view[b"epoch"], view[b"seq"]) == (b"e2", b"5")
    assert b"old" not in view[b"state"]
    assert all(b"m9" in fields[b"f"] for _, fields in (await connection.xrange(KEYS.log))[1:])
    with pytest.raises(RuntimeError, match="another incarnation"):
        await old.write(EVENTS_0, deliveries(EVENTS_0, log.events), no_commit)


async def test_a_killed_redis_makes_the_sink_wait_and_loses_nothing(
    tmp_path: Path, log: ConversationLog
) -> None:
    log.exchange("m1", "q", "a")
    with running_redis(tmp_path) as own:
        connection = client(own.url)
        sink = new_sink(connection)
        engine = await feed(sink, log)
        own.kill()
        log.exchange("m2", "q", "a")
        engine.logs[EVENTS_0] = deliveries(EVENTS_0, log.events)
        with pytest.raises(Unavailable):
            await engine.step(EVENTS_0, 100)
        own.start()
        await engine.drain()
        assert await connection.hget(KEYS.view, "seq") == b"9"
        await connection.aclose()


async def test_a_full_redis_takes_nothing_and_says_so(tmp_path: Path, log: ConversationLog) -> None:
    log.exchange("m1", "q", "a")
    with running_redis(tmp_path) as own:
        connection = client(own.url)
        sink = new_sink(connection)
        engine = await feed(sink, log)
        before = dump(own.url)
        await connection.config_set("maxmemory", "1kb")
        log.exchange("m2", "q", "a")
        engine.logs[EVENTS_0] = deliveries(EVENTS_0, log.events)
        with pytest.raises(Unavailable, match="takes no writes"):
            await engine.step(EVENTS_0, 100)
        await connection.config_set("maxmemory", "0")
        assert dump(own.url) == before
        await engine.drain()
        assert await connection.hget(KEYS.view, "seq") == b"9"
        await connection.aclose()
