"""The Python client over a bad network, against the whole stack: each message has one answer."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from gateway.dev_tokens import dev_token
from infra.keys import read_or_create_secret
from infra.local import Stack
from infra.settings.loading import load_settings
from parley.client import Applied, Client, Conversation, Cursor, Event, GatewayClosed, Reset


@pytest.fixture(scope="module")
def folder(request: pytest.FixtureRequest) -> Path:
    given = os.environ.get("GATEWAY_TEST_STACK")
    return Path(given) if given else Path(request.getfixturevalue("stack").folder)


def gateway_of(folder: Path) -> str:
    return Stack(folder).addresses()["gateway"]


def token(folder: Path, sub: str) -> str:
    path = load_settings(folder).auth.dev_secret_file
    assert path is not None
    return dev_token(read_or_create_secret(path), tenant_id="demo", sub=sub)


class BadNetwork:
    """A TCP relay that drops connections without a word after a random number of bytes."""

    def __init__(self, target: str, chance: random.Random) -> None:
        self._host, port = target.removeprefix("http://").split(":")
        self._port = int(port)
        self._chance = chance
        self.bad = True
        self.drops = 0

    async def relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there_writer = await asyncio.open_connection(self._host, self._port)
        left = self._chance.randint(400, 6000)
        both = (
            asyncio.create_task(self._pump(reader, there_writer, left)),
            asyncio.create_task(self._pump(there_reader, writer, left)),
        )
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        for task in both:
            task.cancel()
        for side in (writer, there_writer):
            side.transport.abort()

    async def _pump(
        self, source: asyncio.StreamReader, to: asyncio.StreamWriter, left: int
    ) -> None:
        while data := await source.read(256):
            left -= len(data)
            if self.bad and left < 0:
                self.drops += 1
                return
            to.write(data)


@asynccontextmanager
async def bad_network(folder: Path, seed: int) -> AsyncIterator[tuple[str, BadNetwork]]:
    network = BadNetwork(gateway_of(folder), random.Random(seed))
    server = await asyncio.start_server(network.relay, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}", network
    finally:
        server.close()


class Seen:
    """The events that one follower of a conversation was given."""

    def __init__(self) -> None:
        self.seqs: list[int] = []
        self.kinds: list[str] = []

    def __call__(self, item: Applied) -> None:
        if isinstance(item, Event):
            self.seqs.append(item.seq)
            self.kinds.append(item.type)
        elif isinstance(item, Reset):
            self.seqs = list(range(1, item.seq + 1))


@pytest.mark.parametrize("seed", [1, 2])
async def test_over_a_bad_network_every_message_is_answered_once_and_every_event_seen_once(
    folder: Path, seed: int
) -> None:
    sub = f"unlucky-{seed}"
    async with (
        bad_network(folder, seed) as (url, network),
        Client(url, token(folder, sub), sockets_max=2) as client,
        asyncio.timeout(120),
    ):

        async def person(number: int) -> Conversation:
            seen = Seen()
            conversation = await client.conversation(on_item=seen)
            for text in ("I lost my card", "What does a new one cost?", "Thank you"):
                exchange = await conversation.ask(f"{text} ({number})")
                assert exchange.outcome == "completed", exchange
                assert exchange.text
            assert seen.seqs == list(range(1, len(seen.seqs) + 1))
            return conversation

        conversations = await asyncio.gather(*(person(number) for number in range(5)))
        assert network.drops > 0, "the network was never bad"
    await check_the_log(folder, sub, conversations)


async def check_the_log(folder: Path, sub: str, conversations: list[Conversation]) -> None:
    """Reads the conversations anew: three messages, three answers, nothing twice."""
    async with Client(gateway_of(folder), token(folder, sub), sockets_max=1) as client:
        for held in conversations:
            seen = Seen()
            followed = await client.conversation(held.id, Cursor(seq=0), seen)
            items = followed.items()
            while len(seen.seqs) < followed.head:
                await asyncio.wait_for(anext(items), 10)
            assert seen.kinds.count("MessageReceived") == 3
            assert seen.kinds.count("TurnCompleted") == 3
            assert "CommandRejected" not in seen.kinds
            await client.leave(followed)


async def test_a_bad_token_ends_the_client_with_a_sentence(folder: Path) -> None:
    bad = dev_token(b"0" * 32, tenant_id="demo", sub="nobody")
    async with Client(gateway_of(folder), bad) as client:
        with pytest.raises(GatewayClosed, match="4500"):
            async with asyncio.timeout(20):
                await client.conversation()


async def test_many_conversations_share_few_sockets_and_wait_for_a_free_place(
    folder: Path,
) -> None:
    async with Client(gateway_of(folder), token(folder, "many"), sockets_max=2) as client:
        async with asyncio.timeout(60):
            held = [await client.conversation() for _ in range(64)]
            assert [line.load for line in client.lines] == [32, 32]
            waiting = asyncio.create_task(client.conversation())
            await asyncio.sleep(0)
            assert not waiting.done()
            await client.leave(held[0])
            await waiting


async def test_a_conversation_of_another_person_is_refused(folder: Path) -> None:
    async with Client(gateway_of(folder), token(folder, "alice")) as alice:
        mine = await alice.conversation()
        async with asyncio.timeout(60):
            await mine.ask("Hello")
    async with Client(gateway_of(folder), token(folder, "mallory")) as mallory:
        with pytest.raises(Exception, match="forbidden"):
            async with asyncio.timeout(30):
                await mallory.conversation(mine.id)


async def test_the_page_and_its_parts_are_served_with_a_strict_policy(folder: Path) -> None:
    async with aiohttp.ClientSession() as session:
        async with session.get(f"{gateway_of(folder)}/") as response:
            assert response.status == 200
            assert "default-src 'none'" in response.headers["Content-Security-Policy"]
            page = await response.text()
        for part in ("style.css", "chat.js", "talk.js", "socket.js", "view.js", "inspector.js"):
            async with session.get(f"{gateway_of(folder)}/page/{part}") as response:
                assert response.status == 200, part
        assert "/page/chat.js" in page
        async with session.get(f"{gateway_of(folder)}/page/../server.py") as response:
            assert response.status == 404
