"""Registry, key store and model provider are away, and most people notice nothing."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator

import pytest
from running_stack import RunningStack

from infra.keys.database import open_database
from parley.client import Client, Exchange
from parley.client.conversation import new_id
from parley.talk import ask, open_client

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]

QUESTION = "How do I change my PIN?"


async def answered(client: Client) -> Exchange:
    """A question in a new conversation, with its answer."""
    return await ask(await client.conversation(new_id()), QUESTION, lambda item: None)


@pytest.fixture
def silent_registry(stack: RunningStack) -> Iterator[RunningStack]:
    """The stack with a registry that takes every question and answers none."""
    pid = stack.pid("registry")
    os.kill(pid, signal.SIGSTOP)
    yield stack
    os.kill(pid, signal.SIGCONT)


async def test_processes_that_start_while_the_registry_is_silent_answer_as_always(
    silent_registry: RunningStack,
) -> None:
    stack = silent_registry
    before = {part: stack.pid(part) for part in ("gateway", "worker-talk", "worker-think")}
    for pid in before.values():
        os.kill(pid, signal.SIGKILL)
    for part, pid in before.items():
        await asyncio.to_thread(stack.restarted, part, pid)
    async with open_client(stack.settings, "demo", "unregistered") as client:
        exchange = await answered(client)
    assert (exchange.outcome, exchange.degraded, exchange.declined) == ("completed", (), False)


async def test_only_people_who_are_new_wait_for_the_key_store(stack: RunningStack) -> None:
    database = open_database(stack.settings.keys.url, 5000)
    async with (
        open_client(stack.settings, "demo", "known") as known,
        open_client(stack.settings, "demo", f"newcomer-{new_id()}") as newcomer,
    ):
        assert (await answered(known)).outcome == "completed"
        with database.transaction(writes=True):
            waiting = asyncio.create_task(answered(newcomer))
            for _ in range(5):
                assert (await answered(known)).outcome == "completed"
            assert not waiting.done()
        assert (await waiting).outcome == "completed"
    database.close()


async def test_a_provider_that_is_away_is_stood_in_for_and_the_answer_says_so(
    stack: RunningStack,
) -> None:
    nobody = 'provider = "openai"\nbase_url = "http://127.0.0.1:9/v1"\napi_key = "none"'
    with stack.answering(nobody):
        async with open_client(stack.settings, "demo", "unprovided") as client:
            exchange = await answered(client)
    assert (exchange.outcome, exchange.declined) == ("completed", False)
    assert exchange.degraded == ("provider_unavailable",)
    assert [cited["document"] for cited in exchange.citations][:1] == ["changing-your-pin"]
