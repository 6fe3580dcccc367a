"""Two logs and one Redis: a sink that read the topic's id before the topics were recreated."""

from __future__ import annotations

import time

import pytest
import redis.asyncio
from redis_sink_parts import EVENTS_0, TOKENS_0, ConversationLog, Engine, deliveries, new_sink

from sinks.port import Position
from sinks.redis.keys import EPOCH, conversation_keys, offset_key
from sinks.redis.partition import ForeignLog
from sinks.redis.sink import RedisSink

VIEW = conversation_keys("demo", "c-1").view


async def fed(connection: redis.asyncio.Redis, epoch: str) -> RedisSink:
    """A sink that has written a conversation of its epoch."""
    log = ConversationLog(start_us=time.time_ns() // 1000)
    log.exchange("m1", "q", epoch)
    engine = Engine({EVENTS_0: deliveries(EVENTS_0, log.events)}, new_sink(connection, epoch=epoch))
    await engine.assign()
    await engine.drain()
    return engine.sink


async def test_the_sink_of_an_earlier_log_does_not_take_a_new_one_for_a_lost_tail(
    connection: redis.asyncio.Redis,
) -> None:
    old = await fed(connection, "e1")
    new = new_sink(connection, epoch="e2")
    await new.assigned({EVENTS_0: None})
    with pytest.raises(ForeignLog, match="must start again"):
        await old.check()
    assert await connection.get(EPOCH) == b"e2"
    assert await new.check() == {}


async def test_the_sink_of_an_earlier_log_takes_no_partition_any_more(
    connection: redis.asyncio.Redis,
) -> None:
    old = await fed(connection, "e1")
    await fed(connection, "e2")
    reached = await connection.get(offset_key(*EVENTS_0))
    for source in (EVENTS_0, TOKENS_0):
        with pytest.raises(ForeignLog, match="must start again"):
            await old.assigned({source: None})
    assert await connection.get(EPOCH) == b"e2"
    assert await connection.get(offset_key(*EVENTS_0)) == reached != b"0"
    assert await connection.hget(VIEW, "epoch") == b"e2"


async def test_a_sink_that_has_not_begun_yet_minds_no_other_log_and_then_takes_redis_over(
    connection: redis.asyncio.Redis,
) -> None:
    await fed(connection, "e1")
    new = new_sink(connection, epoch="e2")
    assert await new.check() == {}
    assert await new.assigned({EVENTS_0: Position(7)}) == {EVENTS_0: Position(0)}
    assert await connection.get(EPOCH) == b"e2"


async def test_a_redis_that_was_emptied_is_still_taken_again(
    connection: redis.asyncio.Redis,
) -> None:
    sink = await fed(connection, "e1")
    await connection.flushall()
    assert await sink.check() == {EVENTS_0: Position(0)}
    assert await connection.get(EPOCH) == b"e1"
    await connection.flushall()
    assert await sink.assigned({TOKENS_0: None}) == {TOKENS_0: Position(0)}
    assert await connection.get(EPOCH) == b"e1"
