"""What a customer can do besides asking: stop an answer, rate one, end the conversation."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from running_stack import RunningStack
from searching import decoded

from parley.client import Applied, Event, Text
from parley.client.conversation import new_id
from parley.talk import ask, open_client
from schemas.records import AnswerPiece
from schemas.topics import TOKENS

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]

QUESTION = "My card has not arrived yet"


async def log_of(stack: RunningStack, conversation: str) -> list[dict[str, Any]]:
    """The events of a conversation, as `parley log` prints them for scripts."""
    answered = await asyncio.to_thread(stack.parley, "log", conversation, "--json")
    assert answered.code == 0, answered.err
    return [json.loads(line) for line in answered.out.splitlines()]


def of_type(events: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    """The one event of a type."""
    [event] = [event for event in events if event["type"] == kind]
    return event


def written_of(stack: RunningStack, turn: str) -> list[AnswerPiece]:
    """The pieces of a turn's answer that were ever streamed."""
    return [piece for piece in decoded(stack, TOKENS) if piece.turn_id == turn]


async def test_a_cancelled_answer_stops_and_the_next_message_is_answered(
    slow_answers: RunningStack,
) -> None:
    stack = slow_answers
    seen: list[Applied] = []
    streaming = asyncio.Event()

    def show(item: Applied) -> None:
        seen.append(item)
        if isinstance(item, Text):
            streaming.set()

    async with open_client(stack.settings, "demo", "stopper") as client:
        conversation = await client.conversation(new_id())
        asking = asyncio.create_task(ask(conversation, QUESTION, show))
        await asyncio.wait_for(streaming.wait(), 60)
        [turn] = {item.turn for item in seen if isinstance(item, Text)}
        await conversation.cancel(turn)
        stopped = await asking
        again = await ask(conversation, QUESTION, show)

    assert (stopped.outcome, stopped.turn) == ("cancelled", turn)
    assert again.outcome == "completed"
    assert again.text.startswith(stopped.text)
    kinds = [(item.type, item.turn) for item in seen if isinstance(item, Event)]
    assert ("TurnCompleted", turn) not in kinds
    end = seen.index(next(i for i in seen if isinstance(i, Event) and i.type == "TurnCancelled"))
    assert not [item for item in seen[end:] if isinstance(item, Text) and item.turn == turn]
    # The client would drop late text by itself, so what was really written counts as well.
    pieces = await asyncio.to_thread(written_of, stack, turn)
    assert 0 < max(piece.end for piece in pieces) < len(again.text)

    events = await log_of(stack, conversation.id)
    cancelled = of_type(events, "TurnCancelled")
    assert (cancelled["turn_id"], cancelled["reason"]) == (turn, "client")
    assert of_type(events, "TurnCompleted")["turn_id"] == again.turn


async def test_a_rating_of_an_answer_is_in_the_log_and_its_comment_is_sealed(
    stack: RunningStack,
) -> None:
    async with open_client(stack.settings, "demo", "rater") as client:
        conversation = await client.conversation(new_id())
        exchange = await ask(conversation, "How do I change my PIN?", lambda item: None)
        assert exchange.turn is not None
        rated = asyncio.create_task(arrival(conversation.items(), "FeedbackReceived"))
        await conversation.feedback(exchange.turn, 1, "exactly what I wanted to know")
        assert (await asyncio.wait_for(rated, 60)).data == {"score": 1}
    received = of_type(await log_of(stack, conversation.id), "FeedbackReceived")
    assert (received["turn_id"], received["score"]) == (exchange.turn, 1)
    assert "text" not in received["comment"]
    shown = await asyncio.to_thread(stack.parley, "log", conversation.id)
    assert "FeedbackReceived" in shown.out
    assert "exactly what I wanted" not in shown.out


async def test_a_closed_conversation_takes_no_more_messages(stack: RunningStack) -> None:
    async with open_client(stack.settings, "demo", "leaver") as client:
        conversation = await client.conversation(new_id())
        await ask(conversation, "How do I close my account?", lambda item: None)
        closed = asyncio.create_task(arrival(conversation.items(), "ConversationClosed"))
        await conversation.close()
        await asyncio.wait_for(closed, 60)
        refused = await ask(conversation, "One more thing", lambda item: None)
    assert (refused.outcome, refused.code) == ("rejected", "closed")
    events = await log_of(stack, conversation.id)
    assert [event["type"] for event in events][-2:] == ["ConversationClosed", "CommandRejected"]
    assert (events[-1]["command"], events[-1]["code"]) == ("SubmitMessage", "closed")
    said = await asyncio.to_thread(
        stack.parley, "say", "Hello?", "-c", conversation.id, "--sub", "leaver", "--json"
    )
    assert (said.code, said.json["outcome"], said.json["code"]) == (1, "rejected", "closed")


async def arrival(items: AsyncIterator[Applied], kind: str) -> Event:
    """The first event of a type among the items."""
    async for item in items:
        if isinstance(item, Event) and item.type == kind:
            return item
    raise AssertionError(f"the conversation ended without {kind}")
