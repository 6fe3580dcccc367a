"""A client that is cut off anywhere and resumes has every event once and the log's own text."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest
from gateway_parts import (
    Backing,
    Parts,
    Projector,
    frames_until,
    piece,
    running_gateway,
)

from parley.client.cursor import Applied, Cursor, Event, Gap, Reset, Text


@pytest.fixture
async def parts(backing: Backing) -> AsyncIterator[Parts]:
    async with running_gateway(backing, token_merge_ms=5, sockets_per_user=100) as parts:
        yield parts


def new_conversation() -> str:
    return f"c-{uuid4().hex[:12]}"


ANSWER = "Freeze the card in the app 🧊, then order a new one. It comes in five days [1]. " * 3


def story(log: Any) -> list[Any]:
    """Records of three turns: one streamed, one taken over by a second attempt, one cancelled."""
    records: list[Any] = []
    for number, attempts in enumerate((1, 2, 1)):
        first = len(log.events)
        message = log.received(f"m{number}")
        analysis = log.analysed(message, f"question {number}")
        turn = log.started(message, analysis.envelope.seq)
        records += log.events[first:]
        for attempt in range(1, attempts + 1):
            if attempt > 1:
                records.append(log.restarted(turn, attempt))
            stop = len(ANSWER) if attempt == attempts else len(ANSWER) // 2
            for at in range(0, stop, 13):
                records.append(piece(turn, attempt, ANSWER, at, min(at + 13, stop)))
        ending = log.cancelled(turn) if number == 2 else log.completed(turn, ANSWER, attempts)
        records.append(ending)
    return records


class Screen:
    """What a person would see, and the checks of a client that trusts nobody."""

    def __init__(self) -> None:
        self.cursor = Cursor()
        self.seqs: list[int] = []
        self.answers: list[str] = []
        self.stretches = 0
        self.resets = 0

    def apply(self, frame: dict[str, Any]) -> None:
        item: Applied | None = self.cursor.apply(frame)
        if isinstance(item, Event):
            self.seqs.append(item.seq)
            if item.type == "TurnCompleted":
                self.answers.append(item.data["text"])
        elif isinstance(item, Text):
            self.stretches += 1
            assert ANSWER.startswith(self.cursor.text), "streamed text is not the answer's"
        elif isinstance(item, Reset):
            self.resets += 1
            self.seqs = list(range(1, item.seq + 1))
            done = [m for m in item.state.get("messages", ()) if m["who"] == "assistant"]
            self.answers = [m["text"] for m in done if "outcome" not in m]


async def read_and_cut(parts: Parts, conversation: str, screen: Screen, frames: int) -> None:
    """One connection from the cursor on, dropped without goodbye after some frames."""
    ws = await parts.socket()
    await ws.send_json({"t": "sub", "id": 1, "c": conversation, **screen.cursor.position()})
    try:
        for _ in range(frames):
            screen.apply(await ws.receive_json(timeout=0.3))
    except TimeoutError:
        pass
    finally:
        connection = ws._response.connection
        assert connection is not None
        assert connection.transport is not None
        connection.transport.abort()


@pytest.mark.parametrize("seed", range(6))
async def test_cut_at_any_frame_every_event_comes_once_with_the_text_of_the_log(
    parts: Parts, seed: int
) -> None:
    chance = random.Random(seed)
    conversation = new_conversation()
    log = parts.log(conversation)
    records = story(log)
    projector = Projector(parts.redis)
    screen = Screen()

    async def write() -> None:
        for record in records:
            await projector.write(record)
            await asyncio.sleep(chance.choice((0, 0, 0.002, 0.01)))

    writing = asyncio.create_task(write())
    deadline = asyncio.get_running_loop().time() + 60
    while screen.cursor.seq != len(log.events):
        assert asyncio.get_running_loop().time() < deadline, f"seed {seed}: {screen.cursor}"
        await read_and_cut(parts, conversation, screen, chance.randint(1, 9))
    await writing
    # Without a cursor the first subscription begins with a snapshot; no later one may.
    assert screen.resets <= 1
    assert screen.seqs == list(range(1, len(log.events) + 1))
    assert screen.answers == [ANSWER, ANSWER]


async def test_every_single_cut_point_of_a_recorded_session_resumes_whole(parts: Parts) -> None:
    """Plays one session whole, then cuts after each of its frames and resumes at once."""
    conversation = new_conversation()
    log = parts.log(conversation)
    projector = Projector(parts.redis)
    records = story(log)
    half = len(records) // 2
    await projector.write(*records[:half])
    ws = await parts.socket()
    await ws.send_json({"t": "sub", "id": 1, "c": conversation, "seq": 0})
    await frames_until(ws, {"t": "subbed"})
    await projector.write(*records[half:])
    frames = await frames_until(ws, {"t": "event", "seq": len(log.events)})
    assert len(frames) > len(log.events), "nothing was streamed"
    resumed = await parts.socket()
    for cut in range(len(frames)):
        screen = Screen()
        screen.cursor.seq = 0
        for frame in frames[:cut]:
            screen.apply(frame)
        await resumed.send_json(
            {"t": "sub", "id": cut, "c": conversation, **screen.cursor.position()}
        )
        for frame in await frames_until(resumed, {"t": "subbed", "id": cut}):
            screen.apply(frame)
        while screen.cursor.seq != len(log.events):
            screen.apply(await resumed.receive_json(timeout=5))
        assert screen.seqs == list(range(1, len(log.events) + 1)), cut
        assert screen.answers == [ANSWER, ANSWER], cut


async def test_a_resume_in_the_middle_of_an_answer_goes_on_where_the_client_stands(
    parts: Parts,
) -> None:
    conversation = new_conversation()
    log = parts.log(conversation)
    projector = Projector(parts.redis)
    message = log.received("m")
    turn = log.started(message)
    await projector.write(*log.events, piece(turn, 1, ANSWER, 0, 40))
    ws = await parts.socket()
    position = {"epoch": "epoch-1", "seq": 3, "turn": turn.turn_id, "attempt": 1, "at": 10}
    await ws.send_json({"t": "sub", "id": 1, "c": conversation, **position})
    assert (await ws.receive_json())["resumed"] is True
    frame = await ws.receive_json()
    assert (frame["t"], frame["from"], frame["to"]) == ("tokens", 10, 40)
    assert frame["text"] == ANSWER[10:40]
    await projector.write(piece(turn, 1, ANSWER, 40, 60))
    assert (await ws.receive_json())["text"] == ANSWER[40:60]


async def test_a_client_without_a_cursor_gets_a_snapshot_with_the_open_answer(
    parts: Parts,
) -> None:
    conversation = new_conversation()
    log = parts.log(conversation)
    projector = Projector(parts.redis)
    log.exchange("m0", "a question", "an answer")
    turn = log.started(log.received("m1"))
    await projector.write(*log.events, piece(turn, 1, ANSWER, 0, 40))
    ws = await parts.socket()
    await ws.send_json({"t": "sub", "id": 1, "c": conversation})
    subbed, snapshot = await ws.receive_json(), await ws.receive_json()
    assert (subbed["resumed"], subbed["head"]) == (False, len(log.events))
    assert snapshot["seq"] == len(log.events)
    assert [m.get("text") for m in snapshot["state"]["messages"]][:2] == ["a question", "an answer"]
    open_turn = snapshot["state"]["turn"]
    assert (open_turn["text"], open_turn["at"]) == (ANSWER[:40], 40)
    await projector.write(piece(turn, 1, ANSWER, 30, 60))
    cursor = Cursor()
    cursor.apply(snapshot)
    item = cursor.apply(await ws.receive_json())
    assert isinstance(item, Text)
    assert item.text == ANSWER[40:60]


@pytest.mark.parametrize(
    "position",
    [{"epoch": "an-older-log", "seq": 2}, {"epoch": "epoch-1", "seq": 99}],
    ids=["of another epoch", "ahead of this gateway"],
)
async def test_a_cursor_that_can_not_be_resumed_gets_a_snapshot_and_never_a_part(
    parts: Parts, position: dict[str, Any]
) -> None:
    conversation = new_conversation()
    log = parts.log(conversation)
    log.exchange("m0", "a question", "an answer")
    await Projector(parts.redis).write(*log.events)
    ws = await parts.socket()
    await ws.send_json({"t": "sub", "id": 1, "c": conversation, **position})
    subbed, snapshot = await ws.receive_json(timeout=5), await ws.receive_json()
    assert subbed["resumed"] is False
    assert (snapshot["t"], snapshot["seq"]) == ("snapshot", len(log.events))


async def test_a_log_that_lost_its_front_is_answered_with_a_snapshot(parts: Parts) -> None:
    conversation = new_conversation()
    log = parts.log(conversation)
    log.exchange("m0", "a question", "an answer")
    await Projector(parts.redis).write(*log.events)
    await parts.redis.xtrim(f"parley:{{demo:{conversation}}}:log", maxlen=2, approximate=False)
    ws = await parts.socket()
    await ws.send_json({"t": "sub", "id": 1, "c": conversation, "epoch": "epoch-1", "seq": 1})
    assert (await ws.receive_json())["resumed"] is False
    assert (await ws.receive_json())["t"] == "snapshot"


async def test_a_cursor_ahead_of_a_lagging_redis_is_believed_for_a_while(parts: Parts) -> None:
    conversation = new_conversation()
    log = parts.log(conversation)
    projector = Projector(parts.redis)
    log.exchange("m0", "a question", "an answer")
    await projector.write(*log.events[:3])
    ws = await parts.socket()
    await ws.send_json({"t": "sub", "id": 1, "c": conversation, "epoch": "epoch-1", "seq": 4})
    await asyncio.sleep(0.3)
    await projector.write(*log.events[3:])
    subbed = await ws.receive_json(timeout=5)
    assert (subbed["resumed"], subbed["head"] >= 4) == (True, True)
    assert (await ws.receive_json())["seq"] == 5


async def test_a_new_epoch_starts_every_follower_over(parts: Parts) -> None:
    conversation = new_conversation()
    log = parts.log(conversation)
    log.exchange("m0", "a question", "an answer")
    await Projector(parts.redis).write(*log.events)
    ws = await parts.socket()
    await ws.send_json({"t": "sub", "id": 1, "c": conversation, "seq": 0})
    await frames_until(ws, {"t": "event", "seq": 5})
    await parts.redis.set("parley:epoch", "epoch-2")
    try:
        snapshot = (await frames_until(ws, {"t": "snapshot"}))[-1]
        assert (snapshot["epoch"], snapshot["seq"]) == ("epoch-2", 0)
    finally:
        await parts.redis.set("parley:epoch", "epoch-1")


def test_a_client_that_sees_a_gap_says_so() -> None:
    cursor = Cursor(epoch="e", seq=1)
    with pytest.raises(Gap):
        cursor.apply({"t": "event", "seq": 3, "type": "MessageReceived", "ts": "", "data": {}})
    assert cursor.seq == 1
