"""Whatever is killed while customers talk, each message gets one answer and all copies agree."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest
from running_stack import RunningStack

from parley.importing.dialogues import Dialogue
from parley.importing.figures import Figures
from parley.importing.player import Player
from parley.talk import open_client

pytestmark = [pytest.mark.stack, pytest.mark.timeout(900)]

PARTS = ("gateway", "worker-talk", "worker-think", "analytics", "registry", "redis", "kafka")
DIALOGUES = 12
QUESTIONS = (
    "How do I activate my new card?",
    "And how long will that take?",
    "Why was I charged a fee at the cash machine?",
    "Can I top up with a cheque?",
)


async def play_and_kill(stack: RunningStack, part: str) -> Figures:
    """Plays dialogues, and kills the part once some of them are under way."""
    answered = 0
    some = asyncio.Event()

    def count(exchange: object) -> None:
        nonlocal answered
        answered += exchange is not None
        if answered >= DIALOGUES:
            some.set()

    dialogues = [Dialogue(f"{part}-{n}", QUESTIONS) for n in range(DIALOGUES)]
    player = Player(
        lambda person: open_client(stack.settings, "demo", f"{part}-{person}"),
        patience_s=150,
        on_message=count,
    )
    playing = asyncio.create_task(player.play(dialogues))
    killing = asyncio.create_task(some.wait())
    await asyncio.wait({playing, killing}, return_when=asyncio.FIRST_COMPLETED)
    assert not playing.done(), "the customers were done before the part could be killed"
    pid = stack.pid(part)
    os.kill(pid, signal.SIGKILL)
    figures = await playing
    await asyncio.to_thread(stack.restarted, part, pid, 120)
    return figures


@pytest.mark.parametrize("part", PARTS)
def test_killing_a_part_loses_and_doubles_nothing(stack: RunningStack, part: str) -> None:
    figures = asyncio.run(play_and_kill(stack, part))
    assert figures.unanswered == []
    assert len(figures.exchanges) == DIALOGUES * len(QUESTIONS)
    verified = stack.parley("verify", timeout_s=180)
    assert verified.code == 0, verified.out + verified.err


def test_real_customers_are_answered_and_every_copy_agrees(stack: RunningStack) -> None:
    data = Path(__file__).parents[3] / "shared" / "data"
    if not data.is_dir():
        pytest.skip(f"the public data sets are not at {data}")
    for file, kind, limit in (
        (data / "banking77" / "train.csv", "banking77", "500"),
        (data / "sgd" / "dialogues_dev_001.json", "sgd", "30"),
    ):
        done = stack.parley(
            "import", str(file), "--format", kind, "--limit", limit, "--json", timeout_s=600
        )
        assert done.code == 0, done.out + done.err
    verified = stack.parley("verify", timeout_s=180)
    assert verified.code == 0, verified.out + verified.err
