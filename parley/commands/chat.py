"""`parley chat`: a conversation in the terminal, streamed."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading

from infra.settings import Settings, load_settings
from parley.answer_view import AnswerView
from parley.client import CommandRefused
from parley.commands.say import ConversationOption, Person
from parley.options import Data, Tenant
from parley.talk import ask, follow, open_client
from parley.terminal import err, out


def chat(
    conversation: ConversationOption = None,
    tenant: Tenant = "demo",
    sub: Person = "terminal",
    data: Data = None,
) -> None:
    """Talks with the stack: a line is a message, its answer streams. Ctrl-D ends.

    Example:

      parley chat --tenant harvest
    """
    settings = load_settings(data)
    asyncio.run(_chat(settings, conversation, tenant, sub))


async def _chat(settings: Settings, conversation_id: str | None, tenant: str, sub: str) -> None:
    async with open_client(settings, tenant, sub) as client:
        conversation = await follow(client, conversation_id)
        err().print(
            f"conversation {conversation.id} with tenant {tenant}; Ctrl-D ends", style="dim"
        )
        view = AnswerView(out())
        lines = _Lines()
        while (line := await lines.next()) is not None:
            if not line:
                continue
            try:
                view.finish(await ask(conversation, line, view.show))
                out().print()
            except CommandRefused as refused:
                err().print(str(refused), style="red", markup=False)


class _Lines:
    """Lines that a person types, read by a thread that the end of the program does not wait for."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()

    async def next(self) -> str | None:
        """The next line, None at the end."""
        line: asyncio.Future[str | None] = self._loop.create_future()
        threading.Thread(target=self._read, args=(line,), daemon=True).start()
        return await line

    def _read(self, line: asyncio.Future[str | None]) -> None:
        try:
            # The prompt is for terminals only.
            read: str | None = input("you> " if sys.stdin.isatty() else "").strip()
        except EOFError:
            read = None
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(_settle, line, read)


def _settle(line: asyncio.Future[str | None], read: str | None) -> None:
    if not line.done():
        line.set_result(read)
