"""Plays dialogues through the gateway: many customers at once, each waiting for its answers."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from parley.client import (
    Client,
    CommandRefused,
    Conversation,
    ConversationRefused,
    Exchange,
)
from parley.client.conversation import new_id
from parley.importing.dialogues import Dialogue
from parley.importing.figures import Figures

PEOPLE = 16
"""Customers at once where no rate is asked for."""
PEOPLE_MAX = 200
ANSWER_S = 2.0
"""With a rate, as many customers are taken as keep it up with answers of this long."""

OpenClient = Callable[[str], Client]
"""Makes the client of a person."""
OnMessage = Callable[[Exchange | None], None]


@dataclass(slots=True)
class Pace:
    """Gives out moments to send at, `per_s` of them a second; None gives them at once."""

    per_s: float | None
    next_at: float = 0.0

    async def moment(self) -> None:
        """Waits for the next moment."""
        if self.per_s is None:
            return
        now = time.perf_counter()
        self.next_at = max(self.next_at + 1 / self.per_s, now)
        await asyncio.sleep(self.next_at - now)


def people_for(rate: float | None, dialogues: int) -> int:
    """How many customers play."""
    wanted = PEOPLE if rate is None else math.ceil(rate * ANSWER_S)
    return max(1, min(wanted, PEOPLE_MAX, dialogues))


class Player:
    """Plays dialogues once. `patience_s` bounds the wait for one answer."""

    def __init__(
        self,
        open_client: OpenClient,
        *,
        rate: float | None = None,
        patience_s: float = 120.0,
        on_message: OnMessage = lambda exchange: None,
    ) -> None:
        self.figures = Figures()
        self._open_client = open_client
        self._rate = rate
        self._pace = Pace(rate)
        self._patience_s = patience_s
        self._on_message = on_message

    async def play(self, dialogues: Sequence[Dialogue]) -> Figures:
        """Plays all dialogues and returns what was measured.

        Cancelled, it leaves the figures of what was done until then. Raises `GatewayClosed` where
        the gateway takes none of it, as with a wrong token.
        """
        waiting: asyncio.Queue[Dialogue] = asyncio.Queue()
        for dialogue in dialogues:
            waiting.put_nowait(dialogue)
        people = people_for(self._rate, len(dialogues))
        self.figures.began_at = time.perf_counter()
        try:
            await asyncio.gather(*(self._person(f"customer-{k}", waiting) for k in range(people)))
        finally:
            self.figures.ended_at = time.perf_counter()
        return self.figures

    async def _person(self, sub: str, waiting: asyncio.Queue[Dialogue]) -> None:
        async with self._open_client(sub) as client:
            try:
                while not waiting.empty():
                    await self._dialogue(client, waiting.get_nowait())
            finally:
                self.figures.reconnects += client.reconnects

    async def _dialogue(self, client: Client, dialogue: Dialogue) -> None:
        conversation_id = new_id()
        self.figures.conversations.append(conversation_id)
        try:
            async with asyncio.timeout(self._patience_s):
                conversation = await client.conversation(conversation_id)
        except (ConversationRefused, TimeoutError) as error:
            self._missed(conversation_id, dialogue.name, error)
            return
        for text in dialogue.messages:
            await self._pace.moment()
            await self._message(conversation, text)
        await client.leave(conversation)

    async def _message(self, conversation: Conversation, text: str) -> None:
        mid = new_id()
        exchange: Exchange | None = None
        try:
            async with asyncio.timeout(self._patience_s):
                exchange = await conversation.send(text, mid)
                await exchange.finished.wait()
        except TimeoutError as error:
            if exchange is None:
                self._missed(conversation.id, mid, error)
                return
        except CommandRefused as error:
            self._missed(conversation.id, mid, error)
            return
        self.figures.add(conversation.id, exchange)
        self._on_message(exchange)

    def _missed(self, conversation: str, name: str, error: Exception) -> None:
        why = "no answer came in time" if isinstance(error, TimeoutError) else str(error)
        self.figures.unanswered.append((conversation, name, why))
        self._on_message(None)
