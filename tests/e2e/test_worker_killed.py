"""A worker that dies in the middle of an answer costs time, and nothing else."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest
from running_stack import RunningStack

from parley.client import Applied, Event, Text
from parley.client.conversation import new_id
from parley.talk import ask, open_client

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]

ANSWERING = "worker-think"


async def test_the_answer_arrives_whole_with_a_second_attempt(slow_answers: RunningStack) -> None:
    stack = slow_answers
    seen: list[Applied] = []
    streaming = asyncio.Event()
    pid = stack.pid(ANSWERING)

    def show(item: Applied) -> None:
        seen.append(item)
        if isinstance(item, Text):
            streaming.set()

    async with open_client(stack.settings, "demo", "cut-off") as client:
        conversation = await client.conversation(new_id())
        asking = asyncio.create_task(ask(conversation, "My card has not arrived yet", show))
        await asyncio.wait_for(streaming.wait(), 60)
        os.kill(pid, signal.SIGKILL)
        exchange = await asking
    kinds = [item.type for item in seen if isinstance(item, Event)]
    assert kinds.count("TurnRestarted") >= 1
    assert kinds.count("TurnCompleted") == 1
    last = max(item.attempt for item in seen if isinstance(item, Text))
    pieces = [item for item in seen if isinstance(item, Text) and item.attempt == last]
    assert last >= 2
    assert "".join(piece.text for piece in pieces) == exchange.text
    stack.restarted(ANSWERING, pid)
