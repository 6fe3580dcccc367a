"""What a client is given next: replay, overlap, gaps, snapshots and a full outbox, seeded."""

from __future__ import annotations

import random
from typing import Any

import orjson
import pytest

from gateway.delivery import Delivery, resumable
from gateway.frames import Position
from gateway.outbox import Outbox
from gateway.read_model import Logged, OpenAnswer, Page, View, logged
from gateway.replies import tokens
from gateway.token_merge import Stretch
from parley.client.cursor import Cursor, Event, Reset, Text

ANSWER = "A card 🧊 can be frozen at once. "


class World:
    """A conversation that grows, and what a reader of Redis would find at each moment."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.epoch = "e1"
        self.events: list[Logged] = []
        self.lost = 0
        self.answer: OpenAnswer | None = None

    def grow(self) -> list[Logged | Stretch]:
        """One more event or stretch; returns what rings."""
        open_answer = self.answer
        if open_answer is None:
            turn = f"t{len(self.events)}"
            self.answer = OpenAnswer(turn, 1, "")
            return [self._event("TurnStarted", turn, attempt=1)]
        at, attempt, turn = len(open_answer.text), open_answer.attempt, open_answer.turn
        if at >= len(ANSWER) - 4 or self.chance.random() < 0.1:
            self.answer = None
            return [self._event("TurnCompleted", turn, text=ANSWER)]
        if self.chance.random() < 0.1:
            self.answer = OpenAnswer(turn, attempt + 1, "")
            return [self._event("TurnRestarted", turn, attempt=attempt + 1)]
        end = min(len(ANSWER), at + self.chance.randint(1, 6))
        self.answer = OpenAnswer(turn, attempt, ANSWER[:end])
        frame = tokens("c", turn, attempt, at, ANSWER[at:end])
        return [Stretch(turn, attempt, at, end, frame)]

    def _event(self, kind: str, turn: str, **data: Any) -> Logged:
        fields = {"t": "event", "c": "c", "seq": len(self.events) + 1, "type": kind}
        frame = orjson.dumps({**fields, "ts": "", "turn": turn, "data": data})
        self.events.append(logged(frame))
        return self.events[-1]

    def page(self, after: int, count: int = 4) -> Page:
        left = [e for e in self.events if e.seq > max(after, self.lost)][:count]
        view = View(len(self.events), self.epoch, "p", self._state())
        return Page(self.epoch, view, tuple(left), self.answer)

    def _state(self) -> bytes:
        turn = None
        if self.answer is not None:
            turn = {"turn": self.answer.turn, "attempt": self.answer.attempt}
        return orjson.dumps({"messages": [], "turn": turn})


class Sent:
    """An outbox whose frames are applied by a strict client; it can be full."""

    def __init__(self) -> None:
        self.frames: list[bytes] = []
        self.full_now = False
        self.outbox = Outbox(self._never, lambda: 10**9 if self.full_now else 0, unsent_bytes=10**8)
        self.outbox.put = self.frames.append  # type: ignore[method-assign]
        self.cursor = Cursor(epoch="e1", seq=0)
        self.seqs: list[int] = []

    async def _never(self, frame: bytes) -> None:
        raise AssertionError("nothing is written here")

    def apply(self) -> None:
        for frame in self.frames:
            item = self.cursor.apply(orjson.loads(frame))
            if isinstance(item, Event):
                self.seqs.append(item.seq)
            elif isinstance(item, Reset):
                self.seqs = list(range(1, item.seq + 1))
            elif isinstance(item, Text):
                assert ANSWER.startswith(self.cursor.text)
        self.frames.clear()


@pytest.mark.parametrize("seed", range(40))
async def test_whatever_rings_is_lost_or_comes_late_the_client_ends_with_the_log(seed: int) -> None:
    chance = random.Random(seed)
    world, sent = World(chance), Sent()
    delivery = Delivery("c", sent.outbox)
    assert delivery.begin(world.page(0), Position(c="c", seq=0))
    live = True
    for _ in range(400):
        for item in world.grow():
            if live and chance.random() < 0.85:
                deliver = delivery.event if isinstance(item, Logged) else delivery.stretch
                live = deliver(item)
        sent.full_now = chance.random() < 0.1
        if chance.random() < 0.02:
            world.lost = len(world.events) - 1
        if not live and chance.random() < 0.5:
            live = delivery.page(world.page(delivery.seq))
        sent.apply()
    sent.full_now = False
    while not delivery.page(world.page(delivery.seq)):
        pass
    sent.apply()
    assert sent.seqs == list(range(1, len(world.events) + 1)), f"seed {seed}"
    assert sent.cursor.text == (world.answer.text if world.answer else "")


async def test_a_new_epoch_is_told_even_if_the_outbox_was_full_when_it_was_noticed() -> None:
    world, sent = World(random.Random(1)), Sent()
    world.grow()
    delivery = Delivery("c", sent.outbox)
    delivery.begin(world.page(0), Position(c="c", seq=0))
    assert delivery.page(world.page(0))
    world.epoch = "e2"
    sent.full_now = True
    assert not delivery.page(world.page(delivery.seq))
    sent.full_now = False
    assert delivery.page(world.page(delivery.seq))
    sent.apply()
    assert sent.cursor.epoch == "e2"


async def test_a_turn_of_a_new_log_is_streamed_even_if_it_has_the_id_of_an_older_ones() -> None:
    """Turns are named after the place of their message, which is given again in a new log."""
    sent = Sent()
    delivery = Delivery("c", sent.outbox)
    for epoch in ("e1", "e2"):
        world = World(random.Random(0))
        world.epoch = epoch
        assert delivery.page(world.page(0))
        (started,) = world.grow()
        assert isinstance(started, Logged)
        assert delivery.event(started)
        text = Stretch(str(started.turn), 1, 0, 6, tokens("c", str(started.turn), 1, 0, ANSWER[:6]))
        sent.frames.clear()
        assert delivery.stretch(text)
        assert sent.frames == [text.frame], epoch
        assert delivery.event(world._event("TurnCompleted", str(started.turn), text=ANSWER))


@pytest.mark.parametrize(
    ("position", "possible"),
    [
        ({"seq": 0}, True),
        ({"seq": 0, "epoch": "e1"}, True),
        ({"seq": 3, "epoch": "e1"}, True),
        ({"seq": 5, "epoch": "e1"}, True),
        ({"seq": 6, "epoch": "e1"}, False),
        ({"seq": 3}, False),
        ({"seq": 0, "epoch": "e0"}, False),
        ({}, False),
    ],
)
def test_only_a_whole_rest_of_the_same_log_is_resumed(
    position: dict[str, Any], possible: bool
) -> None:
    world = World(random.Random(0))
    while len(world.events) < 5:
        world.grow()
    after = position.get("seq") or 0
    assert resumable(world.page(after), Position(c="c", **position)) is possible
    world.lost = 4
    gone = resumable(world.page(after), Position(c="c", **position))
    assert gone is (possible and after >= 4)
