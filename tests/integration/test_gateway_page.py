"""The chat page itself, run under node against a gateway: left, crashed, cut off in an answer."""

from __future__ import annotations

import asyncio
import json
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from chat_page import NODE, needs_node, socket_flags, unpacked
from gateway_parts import Backing, OwnedLog, Parts, Projector, piece, running_gateway

pytestmark = needs_node

ANSWER = "Freeze the card 🧊 in the app, 👩‍👩‍👧 or alone. A new one 💳 comes in five days [1]."
QUESTION = "I lost my card 🧊"
Seen = dict[str, Any]


@pytest.fixture
async def parts(backing: Backing) -> AsyncIterator[Parts]:
    async with running_gateway(backing, token_merge_ms=5) as parts:
        yield parts


class Browser:
    """One browser with one tab; what it stores outlives the page."""

    def __init__(self, parts: Parts, folder: Path) -> None:
        self._address = f"{parts.url}/"
        self._folder = folder
        self._page: Process | None = None
        unpacked(folder)

    def keep(self, name: str, value: str) -> None:
        """Puts something into the storage of the tab."""
        (self._folder / "session.json").write_text(json.dumps([[name, value]]))

    async def open(self) -> None:
        script = Path(__file__).parent / "browser_stand_in.mjs"
        assert NODE is not None
        command = [NODE, *socket_flags(), str(script), str(self._folder), str(self._folder)]
        self._page = await asyncio.create_subprocess_exec(
            *command, self._address, stdin=PIPE, stdout=PIPE, limit=1 << 20
        )

    async def do(self, what: str, **how: str) -> Seen:
        """One thing that a person does, and what is to be seen then."""
        assert self._page is not None
        assert self._page.stdin is not None
        assert self._page.stdout is not None
        self._page.stdin.write(json.dumps({"do": what, **how}).encode() + b"\n")
        async with asyncio.timeout(10):
            return json.loads(await self._page.stdout.readline())

    async def sees(self, wanted: Callable[[Seen], Any]) -> Seen:
        """Looks until something is to be seen."""
        deadline = time.monotonic() + 15
        while not wanted(seen := await self.do("look")):
            assert time.monotonic() < deadline, seen
            await asyncio.sleep(0.02)
        return seen

    async def leave(self) -> None:
        """As a reload does: the page may still store where it stands."""
        await self.do("leave")
        await self._gone()

    async def crash(self) -> None:
        """The page has no say in it."""
        assert self._page is not None
        self._page.kill()
        await self._gone()

    async def _gone(self) -> None:
        assert self._page is not None
        await self._page.wait()

    async def close(self) -> None:
        if self._page is not None and self._page.returncode is None:
            await self.crash()


@pytest.fixture
async def browser(parts: Parts, tmp_path: Path) -> AsyncIterator[Browser]:
    browser = Browser(parts, tmp_path)
    yield browser
    await browser.close()


def live(seen: Seen) -> bool:
    return seen["link"] == "live"


def shows(*messages: str) -> Callable[[Seen], bool]:
    return lambda seen: seen["messages"] == list(messages)


async def asked(parts: Parts, browser: Browser) -> OwnedLog:
    """The log of the conversation in which the page's person has asked a question."""
    await browser.open()
    await browser.sees(live)
    await browser.do("say", text=QUESTION)
    seen = await browser.sees(lambda seen: not seen["stored"]["unsent"])
    return parts.log(seen["stored"]["id"], seen["sub"])


@pytest.mark.parametrize("ending", ["leave", "crash"])
async def test_left_in_the_middle_of_an_answer_and_opened_again_the_page_goes_on_there(
    parts: Parts, browser: Browser, ending: str
) -> None:
    log = await asked(parts, browser)
    projector = Projector(parts.redis)
    mid = (await browser.do("look"))["stored"]["messages"][0]["mid"]
    message = log.received(mid)
    turn = log.started(message, log.analysed(message, "I lost my [CARD]").envelope.seq)
    await projector.write(*log.events, piece(turn, 1, ANSWER, 0, 20))
    await browser.sees(shows(QUESTION, ANSWER[:20]))
    if ending == "leave":
        await browser.leave()
    else:
        await browser.sees(lambda seen: (seen["stored"]["turn"] or {}).get("at") == 20)
        await browser.crash()
    await projector.write(piece(turn, 1, ANSWER, 20, 40))
    await browser.open()
    seen = await browser.sees(shows(QUESTION, ANSWER[:40]))
    assert seen["streaming"]
    assert "subbed, resumed, head 4" in seen["frames"]
    assert "tokens 20–40" in seen["frames"], "the answer was sent again from its beginning"
    await projector.write(
        piece(turn, 1, ANSWER, 40, len(ANSWER)), log.completed(turn, ANSWER), log.feedback(turn)
    )
    seen = await browser.sees(lambda seen: seen["stored"]["seq"] == 6)
    assert seen["messages"] == [QUESTION, ANSWER]
    assert not seen["streaming"]
    assert "snapshot" not in seen["frames"]


async def test_a_cut_line_comes_back_and_goes_on_in_the_middle_of_the_answer(
    parts: Parts, browser: Browser
) -> None:
    log = await asked(parts, browser)
    projector = Projector(parts.redis)
    turn = log.started(log.received("m-of-another-device"))
    await projector.write(*log.events, piece(turn, 1, ANSWER, 0, 20))
    await browser.sees(lambda seen: ANSWER[:20] in seen["messages"])
    assert not live(await browser.do("press", id="cut"))
    await projector.write(piece(turn, 1, ANSWER, 20, 40))
    seen = await browser.sees(lambda seen: ANSWER[:40] in seen["messages"])
    assert "tokens 20–40" in seen["frames"]
    await projector.write(log.completed(turn, ANSWER))
    seen = await browser.sees(lambda seen: seen["stored"]["seq"] == len(log.events))
    assert seen["messages"].count(ANSWER) == 1
    assert "snapshot" not in seen["frames"]


async def test_a_message_said_without_a_line_is_sent_once_it_is_back_and_after_a_reload(
    parts: Parts, browser: Browser
) -> None:
    await browser.open()
    await browser.sees(live)
    await browser.do("press", id="cut")
    seen = await browser.do("say", text=QUESTION)
    assert len(seen["stored"]["unsent"]) == 1
    await browser.leave()
    await browser.open()
    seen = await browser.sees(lambda seen: not seen["stored"]["unsent"])
    assert seen["messages"] == [QUESTION]


async def test_a_wrong_token_ends_the_page_with_a_sentence_and_an_expired_one_is_replaced(
    parts: Parts, browser: Browser
) -> None:
    browser.keep("parley:token", "junk")
    await browser.open()
    seen = await browser.sees(lambda seen: seen["link"] == "ended")
    assert seen["note"] == "the token is not a JWT"
    await browser.leave()
    browser.keep("parley:token", parts.token("alice", ttl_s=-60))
    await browser.open()
    seen = await browser.sees(live)
    assert any(frame.startswith("bye 4401") for frame in seen["frames"])
