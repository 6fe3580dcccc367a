"""The gateway while what it stands on is away: it says so, loses nothing, and goes on by itself."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterator
from uuid import uuid4

import pytest
from gateway_parts import Backing, Projector, backing_of, frames_until, piece, running_gateway

from gateway.producer import CommandProducer
from gateway.refusals import Refused
from gateway.server import open_gateway
from infra.schema_registry import SchemaRegistry
from infra.settings.loading import load_settings
from schemas.failures import Unavailable


@pytest.fixture
def backing(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Backing]:
    with backing_of(request, tmp_path_factory.mktemp("redis")) as backing:
        yield backing


def nowhere() -> str:
    """An address that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


ANSWER = "An answer that is long enough to be interrupted by a crash. " * 4


async def test_a_killed_redis_is_survived_by_the_socket_and_every_event_arrives_once(
    backing: Backing,
) -> None:
    async with running_gateway(backing) as parts:
        c = f"c-{uuid4().hex[:12]}"
        log = parts.log(c)
        ws = await parts.socket()
        await ws.send_json({"t": "sub", "id": 1, "c": c, "seq": 0})
        await frames_until(ws, {"t": "subbed"})
        turn = log.started(log.received("m"))
        projector = Projector(parts.redis)
        await projector.write(*log.events, piece(turn, 1, ANSWER, 0, 50))
        seen = await frames_until(ws, {"t": "tokens"})
        backing.redis.kill()
        await ws.send_json(
            {"t": "send", "id": 2, "c": c, "mid": "m2", "body": {"text": "still there?"}}
        )
        assert (await frames_until(ws, {"t": "ok", "id": 2}))[-1]["mid"] == "m2"
        backing.redis.start()
        rest = (piece(turn, 1, ANSWER, 50, len(ANSWER)), log.completed(turn, ANSWER))
        # The first use of a pooled connection finds out that it is broken.
        await parts.redis.connection_pool.disconnect()
        await Projector(parts.redis).write(*rest)
        seen += await frames_until(ws, {"t": "event", "type": "TurnCompleted"}, timeout=20)
        assert [f["seq"] for f in seen if f["t"] == "event"] == [1, 2, 3, 4]


async def test_a_sub_while_redis_is_away_is_refused_for_now_and_works_later(
    backing: Backing,
) -> None:
    async with running_gateway(backing) as parts:
        ws = await parts.socket()
        backing.redis.kill()
        await ws.send_json({"t": "sub", "id": 1, "c": "c", "seq": 0})
        refused = (await frames_until(ws, {"t": "err"}, timeout=15))[-1]
        assert (refused["code"], refused["temporary"]) == ("temporary", True)
        assert refused["retry_after_ms"] > 0
        backing.redis.start()
        deadline = time.monotonic() + 20
        while True:
            await ws.send_json({"t": "sub", "id": 2, "c": "c", "seq": 0})
            answer = (await frames_until(ws, {"id": 2}, timeout=15))[-1]
            if answer["t"] == "subbed":
                break
            assert time.monotonic() < deadline, answer


async def test_what_kafka_never_confirms_is_answered_as_temporary_and_nothing_hangs() -> None:
    answers: list[Refused | None] = []
    producer = CommandProducer(
        {"bootstrap.servers": nowhere(), "queue.buffering.max.messages": "5", "log_level": "0"},
        loop=asyncio.get_running_loop(),
        produce_ms=1000,
    )
    for _ in range(5):
        producer.produce("t", b"k", b"v", [], answers.append)
    with pytest.raises(Refused) as full:
        producer.produce("t", b"k", b"v", [], answers.append)
    assert full.value.temporary
    assert full.value.retry_after_ms > 0
    assert await producer.settle(15)
    assert len(answers) == 5
    assert all(answer is not None and answer.temporary for answer in answers)
    await producer.close()


@pytest.mark.parametrize("part", ["kafka", "redis", "registry"])
async def test_a_part_that_is_down_at_the_start_is_said_within_10_seconds(
    backing: Backing, part: str
) -> None:
    address = nowhere()
    settings = load_settings(
        backing.folder,
        gateway={"port": 0},
        kafka={"bootstrap_servers": address} if part == "kafka" else None,
        redis={"url": f"redis://{address}" if part == "redis" else backing.redis_url},
    )
    url = f"http://{address}" if part == "registry" else settings.registry.url
    began = time.monotonic()

    async def start() -> None:
        gateway = await open_gateway(settings, schema_ids=SchemaRegistry(url))
        await gateway.start()

    with pytest.raises(Unavailable) as said:
        await start()
    assert time.monotonic() - began < 10
    assert part in str(said.value).lower()
    assert "\n" not in str(said.value)
