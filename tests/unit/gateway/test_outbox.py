"""The bound on what waits for one client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from gateway.outbox import Outbox


class Wire:
    """A transport that takes frames only while it is open."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.gate = asyncio.Event()
        self.outbox = Outbox(self.send, lambda: 0, unsent_bytes=100)

    async def send(self, frame: bytes) -> None:
        await self.gate.wait()
        self.sent.append(frame)


@pytest.fixture
async def wire() -> AsyncIterator[Wire]:
    wire = Wire()
    writer = asyncio.create_task(wire.outbox.run())
    yield wire
    writer.cancel()


async def test_frames_leave_in_order(wire: Wire) -> None:
    wire.gate.set()
    for number in range(5):
        wire.outbox.put(b"%d" % number)
    await wire.outbox.drained()
    assert wire.sent == [b"0", b"1", b"2", b"3", b"4"]


async def test_relayed_frames_are_refused_past_the_bound_and_own_frames_are_not(wire: Wire) -> None:
    taken = [wire.outbox.offer(b"x" * 30) for _ in range(10)]
    assert taken == [True] * 4 + [False] * 6
    wire.outbox.put(b"ok")
    assert wire.outbox.unsent == 122
    assert wire.outbox.full


async def test_room_comes_back_when_half_has_gone(wire: Wire) -> None:
    while wire.outbox.offer(b"x" * 30):
        pass
    waiting = asyncio.create_task(wire.outbox.room())
    await asyncio.sleep(0)
    assert not waiting.done()
    left = wire.outbox.left
    wire.gate.set()
    async with asyncio.timeout(5):
        await waiting
    assert wire.outbox.unsent <= 50
    assert wire.outbox.left > left


async def test_a_closed_outbox_takes_nothing_and_keeps_nobody_waiting(wire: Wire) -> None:
    while wire.outbox.offer(b"x" * 30):
        pass
    waiting = asyncio.create_task(wire.outbox.room())
    wire.outbox.put(b"bye")
    wire.outbox.close()
    wire.outbox.put(b"late")
    wire.gate.set()
    async with asyncio.timeout(5):
        await waiting
        await wire.outbox.drained()
    assert wire.sent[-1] == b"bye"
