"""Kills the answering worker in the middle of an answer; the answer arrives whole all the same."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from infra.local import Stack
from infra.settings import Settings
from parley.client import Applied, Event, Text
from parley.demo.crowd import Talk
from parley.demo.customers import CUT_OFF
from parley.demo.screen import Broken, Screen
from parley.talk import ask, open_client

ANSWERING = "worker-think"
PIECES_BEFORE = 4
ANSWER_S = 60.0


class Crash:
    """Follows one answer, kills its worker after a few pieces, and keeps the time."""

    def __init__(self, screen: Screen, folder: Path) -> None:
        self._screen = screen
        self._stack = Stack(folder)
        self._pieces = 0
        self._killed_at = 0.0
        self.restarted_s = 0.0
        self.attempts: dict[int, str] = {}

    def show(self, item: Applied) -> None:
        """Prints the pieces; after some of them the worker dies."""
        if isinstance(item, Event) and item.type == "TurnRestarted":
            self.restarted_s = time.monotonic() - self._killed_at
            self._line(
                f"attempt {item.data['attempt']} begins, {self.restarted_s:.1f} s later", "yellow"
            )
        if isinstance(item, Text):
            self._piece(item)

    def _piece(self, item: Text) -> None:
        before = "" if item.at == 0 else self.attempts.get(item.attempt, "")
        self.attempts[item.attempt] = before + item.text
        self._screen.console.print(_styled(item), end="", soft_wrap=True)
        self._pieces += 1
        if self._pieces == PIECES_BEFORE and not self._killed_at:
            self._kill()

    def _kill(self) -> None:
        pid = self._stack.status().part(ANSWERING).pid
        self._killed_at = time.monotonic()
        os.kill(pid, signal.SIGKILL)
        self._line(f"kill -9 {pid}   ({ANSWERING}, in the middle of this answer)", "bold red")

    def _line(self, text: str, style: str) -> None:
        self._screen.console.print()
        self._screen.say(text, style)

    @property
    def killed(self) -> bool:
        """Whether the worker was killed."""
        return bool(self._killed_at)


def _styled(item: Text) -> object:
    from rich.text import Text as Styled

    return Styled(item.text, "dim" if item.attempt == 1 else "cyan")


async def crash(settings: Settings, screen: Screen, folder: Path) -> Talk:
    """Asks, kills, waits. Raises `Broken` where the answer does not arrive whole."""
    talk = Talk(CUT_OFF)
    seen = Crash(screen, folder)

    def show(item: Applied) -> None:
        talk.show(item)
        seen.show(item)

    text = CUT_OFF.messages[0]
    screen.said(CUT_OFF, "orange1", text)
    async with open_client(settings, CUT_OFF.tenant, CUT_OFF.name) as client:
        conversation = await client.conversation(talk.conversation)
        exchange = await ask(conversation, text, show, ANSWER_S)
    talk.exchanges.append((text, exchange))
    screen.console.print()
    if not seen.killed:
        raise Broken("the answer was over before the worker could be killed: raise pace_ms")
    if exchange.outcome != "completed":
        raise Broken(f"no answer after the kill: {exchange.message or exchange.outcome}")
    last = max(seen.attempts)
    if last < 2 or seen.attempts[last] != exchange.text:
        raise Broken("the streamed text after the kill is not the answer in the log")
    completed = [i for i in talk.items if isinstance(i, Event) and i.type == "TurnCompleted"]
    if len(completed) != 1:
        raise Broken(f"the turn was completed {len(completed)} times")
    screen.kept(f"the answer is whole, came once, and is the log's: attempt {last}")
    return talk
