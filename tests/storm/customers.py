"""The load: customers who talk, repeat themselves, change devices, and write everything down."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from parley.client import (
    Applied,
    Client,
    CommandRefused,
    Conversation,
    Event,
    GatewayClosed,
    Reset,
)
from parley.client.cursor import Cursor

from .history import Act, Deed, History, Outcome, Place, Seen, Send, canary

TENANTS = tuple(f"storm-{letter}" for letter in "abcde")
SENTENCES = (
    "My new card still has not arrived",
    "How long does a transfer to another bank take",
    "Why was I charged twice at the petrol station",
    "Can I get a second card for my partner",
    "I have forgotten the passcode of the app",
    "Which currencies can I hold in my account",
    "When can my groceries be delivered",
    "Please tell me how to change my address",
)
TOO_LONG = "word " * 8000
GIVES_UP = 0.3
"""Share of those without an answer who do not try again."""

Token = Callable[[], Awaitable[str]]


@dataclass(frozen=True, slots=True)
class Planned:
    """A message that somebody will send, and what they will do then."""

    at_s: float
    mid: str
    text: str
    patience_s: float
    repeats: int
    contradicts: bool
    changes_device: bool
    then: Deed | None


@dataclass(frozen=True, slots=True)
class Plan:
    """One customer's part in a storm."""

    place: Place
    person: str
    messages: tuple[Planned, ...]
    closes: bool
    """Whether they end the conversation."""


def plans(seed: int, duration_s: float, conversations: int) -> list[Plan]:
    """Who says what and when. Equal for equal arguments."""
    rng = Random(f"customers {seed}")
    return [_plan(rng, f"{seed}-{number}", duration_s) for number in range(conversations)]


def prefix(seed: int) -> str:
    """What the ids of a storm's conversations begin with."""
    return f"c-{seed}-"


def _plan(rng: Random, name: str, duration_s: float) -> Plan:
    tenant = rng.choice(TENANTS)
    at_s = rng.uniform(0, 0.7 * duration_s)
    messages = []
    for number in range(rng.randint(2, 5)):
        if at_s > duration_s:
            break
        text = f"{rng.choice(SENTENCES)}, {canary(tenant)} {number}?"
        messages.append(
            Planned(
                at_s=at_s,
                mid=f"m-{name}-{number}",
                text=TOO_LONG if rng.random() < 0.02 else text,
                patience_s=rng.uniform(0.5, 8),
                repeats=rng.choice((0, 0, 0, 0, 1, 3)),
                contradicts=rng.random() < 0.05,
                changes_device=rng.random() < 0.3,
                then=rng.choices((None, Deed.CANCEL, Deed.RATE), (75, 10, 15))[0],
            )
        )
        at_s += rng.uniform(2, 0.15 * duration_s)
    closes = rng.random() < 0.2
    return Plan((tenant, f"c-{name}"), f"person-{name}", tuple(messages), closes)


class DiaryCursor(Cursor):
    """Tells how each subscription begins, which a cursor has no use for."""

    on_subscribed: Callable[[bool], None]

    def apply(self, frame: Mapping[str, Any]) -> Applied | None:
        if frame["t"] == "subbed":
            self.on_subscribed(frame["resumed"])
        return super().apply(frame)


class Customer:
    """Plays one plan and writes into a history."""

    cursor: type[DiaryCursor] = DiaryCursor

    def __init__(
        self,
        plan: Plan,
        gateways: Sequence[str],
        token: Token,
        history: History,
    ) -> None:
        self._plan = plan
        self._gateways = list(gateways)
        self._token = token
        self._history = history
        self._cursor = self.cursor()
        self._cursor.on_subscribed = self._note_subscription
        self._rng = Random(f"customer {plan.person}")
        self._rng.shuffle(self._gateways)
        self._screen = history.screen(plan.place)
        self._client: Client | None = None
        self._conversation: Conversation | None = None
        self._news = asyncio.Event()

    async def talk(self, began_at: float) -> None:
        """Says everything at its time (`began_at` is one of `time.monotonic`)."""
        for message in self._plan.messages:
            await asyncio.sleep(max(0.0, began_at + message.at_s - time.monotonic()))
            await self._say(message)
        if self._plan.closes and self._plan.messages:
            last = self._plan.messages[-1]
            await self._act(Act(self._plan.place, f"{last.mid}-close", Deed.CLOSE), last.patience_s)

    async def leave(self) -> None:
        """Closes the device."""
        if self._client is not None:
            self._history.reconnects += self._client.reconnects
            await self._client.__aexit__(None, None, None)
        self._client = self._conversation = None

    async def _say(self, message: Planned) -> None:
        send = Send(self._plan.place, message.mid, message.text)
        self._history.sends.append(send)
        await self._try(send, message.patience_s)
        while send.outcome is Outcome.UNKNOWN and self._rng.random() > GIVES_UP:
            await self._try(send, message.patience_s)
        for _ in range(message.repeats if send.outcome is Outcome.OK else 0):
            await self._once(send.mid, send.text, message.patience_s)
            send.times += 1
        if message.contradicts and send.outcome is Outcome.OK:
            send.contradicted, _ = await self._once(
                send.mid, f"Not {send.text}", message.patience_s
            )
        if message.then is not None and send.outcome is Outcome.OK:
            await self._react(message, message.then)
        if message.changes_device:
            await self.leave()
            self._history.reconnects += 1
            self._gateways.reverse()

    async def _try(self, send: Send, patience_s: float) -> None:
        send.times += 1
        send.outcome, send.code = await self._once(send.mid, send.text, patience_s)

    async def _react(self, message: Planned, deed: Deed) -> None:
        """Stops the answer as soon as it begins, or rates it once it is there."""
        wanted = ("TurnStarted",) if deed is Deed.CANCEL else ("TurnCompleted",)
        turn = await self._seen_turn(message.mid, wanted, message.patience_s)
        if turn is not None:
            act = Act(self._plan.place, f"{message.mid}-{deed.name.lower()}", deed, turn)
            await self._act(act, message.patience_s)

    async def _seen_turn(self, mid: str, kinds: Sequence[str], patience_s: float) -> str | None:
        """The message's turn, once the screen shows an event of these; None if it does not."""
        try:
            async with asyncio.timeout(patience_s):
                while True:
                    self._news.clear()
                    for item in reversed(self._screen.seen):
                        if item.mid == mid and item.kind in kinds:
                            return item.turn
                    await self._news.wait()
        except TimeoutError:
            return None

    async def _act(self, act: Act, patience_s: float) -> None:
        self._history.acts.append(act)

        async def command(conversation: Conversation) -> None:
            match act.deed:
                case Deed.CANCEL:
                    await conversation.cancel(act.turn, act.mid)
                case Deed.RATE:
                    await conversation.feedback(act.turn, 1, mid=act.mid)
                case Deed.CLOSE:
                    await conversation.close(act.mid)

        while act.outcome is Outcome.UNKNOWN and (not act.times or self._rng.random() > GIVES_UP):
            act.times += 1
            act.outcome, _ = await self._heard(command, patience_s)

    async def _once(self, mid: str, text: str, patience_s: float) -> tuple[Outcome, str]:
        async def say(conversation: Conversation) -> None:
            await conversation.send(text, mid)

        return await self._heard(say, patience_s)

    async def _heard(
        self, command: Callable[[Conversation], Awaitable[None]], patience_s: float
    ) -> tuple[Outcome, str]:
        """What becomes of a command, as far as its sender knows."""
        try:
            async with asyncio.timeout(patience_s):
                await command(await self._connected())
        except TimeoutError:
            return Outcome.UNKNOWN, "no answer in time"
        except CommandRefused as refused:
            return Outcome.REFUSED, refused.code
        except GatewayClosed as closed:
            await self.leave()
            return Outcome.UNKNOWN, f"closed {closed.code}"
        return Outcome.OK, ""

    async def _connected(self) -> Conversation:
        if self._conversation is None:
            if self._client is None:
                self._client = Client(self._gateways[0], self._token)
                await self._client.__aenter__()
            _tenant, conversation = self._plan.place
            self._conversation = await self._client.conversation(
                conversation, self._cursor, self._note
            )
        return self._conversation

    async def watch(self) -> None:
        """Looks at the conversation to its end, also where nothing could be said."""
        await self._connected()

    def _note(self, item: Applied) -> None:
        self._screen.seen.append(_seen(item))
        self._news.set()

    def _note_subscription(self, resumed: bool) -> None:
        self._screen.seen.append(Seen("subscribed", resumed=resumed))


def _seen(item: Applied) -> Seen:
    match item:
        case Event():
            return Seen(
                item.type,
                seq=item.seq,
                mid=item.mid,
                turn=item.turn,
                attempt=item.data.get("attempt", 1),
                text=str(item.data.get("text", "")),
                whole=json.dumps(dict(item.data)),
            )
        case Reset():
            said = [m for m in item.state.get("messages", ()) if m["who"] == "customer"]
            mids = tuple(message["mid"] for message in said)
            return Seen("reset", seq=item.seq, mids=mids, whole=json.dumps(dict(item.state)))
        case _:
            return Seen(
                "text", turn=item.turn, attempt=item.attempt, at=item.at, text=item.text,
                whole=item.text,
            )  # fmt: skip
