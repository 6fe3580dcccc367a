"""The line to Redis: many callers on one connection, and what happens when it breaks."""

from __future__ import annotations

import asyncio
import time

import pytest
import redis.asyncio
from redis import exceptions
from redis_sink_parts import RedisServer

from sinks.redis.line import Line


async def test_callers_at_once_get_their_own_answers(connection: redis.asyncio.Redis) -> None:
    line = Line(connection)

    async def add(n: int) -> list[object]:
        return await line.ask(("SET", f"k{n}", n), ("GET", f"k{n}"), ("INCRBY", f"k{n}", 1000))

    answers = await asyncio.gather(*map(add, range(50)))
    assert answers == [[b"OK", b"%d" % n, n + 1000] for n in range(50)]
    numbers = await asyncio.gather(*(line.ask_one("CLIENT", "ID") for _ in range(20)))
    assert len(set(numbers)) == 1
    await line.close()


async def test_a_refused_command_leaves_the_answers_beside_it(
    connection: redis.asyncio.Redis,
) -> None:
    line = Line(connection)
    first, refused, last = await line.ask(("ECHO", "a"), ("INCRBY", "k", "x"), ("ECHO", "b"))
    assert (first, last) == (b"a", b"b")
    assert isinstance(refused, exceptions.ResponseError)
    with pytest.raises(exceptions.ResponseError):
        await line.ask_one("INCRBY", "k", "x")
    await line.close()


async def test_a_caller_that_gives_up_takes_nobody_elses_answer(
    connection: redis.asyncio.Redis,
) -> None:
    line = Line(connection)
    await line.ask_one("PING")
    gone = asyncio.create_task(line.ask_one("ECHO", "mine"))
    await asyncio.sleep(0)
    gone.cancel()
    assert await line.ask_one("ECHO", "theirs") == b"theirs"
    await line.close()


async def test_a_connection_that_the_server_closed_is_opened_again(
    connection: redis.asyncio.Redis,
) -> None:
    line = Line(connection)
    number = await line.ask_one("CLIENT", "ID")
    await connection.client_kill_filter(_id=number)
    assert await line.ask_one("CLIENT", "ID") != number
    await line.close()


async def test_a_server_that_is_gone_is_said_to_every_caller(
    server: RedisServer, connection: redis.asyncio.Redis
) -> None:
    line = Line(connection)
    await line.ask_one("PING")
    server.kill()
    outcomes = await asyncio.gather(
        *(line.ask_one("PING") for _ in range(5)), return_exceptions=True
    )
    assert all(isinstance(outcome, exceptions.ConnectionError) for outcome in outcomes)
    server.start()
    assert await line.ask_one("PING") == b"PONG"
    await line.close()


async def test_a_server_that_owes_an_answer_too_long_is_hung_up_on(
    connection: redis.asyncio.Redis,
) -> None:
    line = Line(connection, timeout_s=0.2)
    await line.ask_one("PING")
    await connection.execute_command("CLIENT", "PAUSE", "700")
    with pytest.raises(exceptions.TimeoutError):
        await line.ask_one("GET", "k")
    assert await connection.get("k") is None  # answered when the pause is over
    assert await line.ask_one("PING") == b"PONG"
    await line.close()


async def test_a_line_that_was_closed_opens_again_when_it_is_asked(
    connection: redis.asyncio.Redis,
) -> None:
    line = Line(connection)
    _, number = await line.ask(("SET", "k", "v"), ("CLIENT", "ID"))
    await line.close()
    deadline = time.monotonic() + 10
    while str(number) in {each["id"] for each in await connection.client_list()}:
        assert time.monotonic() < deadline, "the server still has its connection"
    assert await line.ask_one("GET", "k") == b"v"
    await line.close()
