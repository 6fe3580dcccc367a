"""One conversation through every part: socket, log, stages, Redis, ClickHouse, and back."""

from __future__ import annotations

import asyncio
import json

import pytest
from running_stack import RunningStack, wait_for

from parley.client import Applied, Event, Exchange, Text
from parley.client.conversation import new_id
from parley.talk import ask, open_client

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]

PERSONAL = {"EMAIL": "ada.holt@example.com", "CARD": "4111 1111 1111 1111"}


async def talk(
    stack: RunningStack, *texts: str, tenant: str = "demo", sub: str = "ada"
) -> tuple[str, list[Exchange], list[Applied]]:
    """Says the texts one after the other; what was applied on the way comes last."""
    seen: list[Applied] = []
    async with open_client(stack.settings, tenant, sub) as client:
        conversation = await client.conversation(new_id())
        exchanges = [await ask(conversation, text, seen.append) for text in texts]
        return conversation.id, exchanges, seen


async def test_an_answer_streams_and_ends_as_the_text_in_the_log(stack: RunningStack) -> None:
    _, [exchange], seen = await talk(stack, "My card still has not arrived")
    pieces = [item for item in seen if isinstance(item, Text)]
    assert exchange.outcome == "completed"
    assert len(pieces) > 1
    assert "".join(piece.text for piece in pieces) == exchange.text
    kinds = [item.type for item in seen if isinstance(item, Event)]
    assert kinds == [
        "ConversationStarted",
        "MessageReceived",
        "MessageAnalysed",
        "TurnStarted",
        "TurnCompleted",
    ]


async def test_an_answer_cites_the_article_it_rests_on(stack: RunningStack) -> None:
    _, [exchange], _ = await talk(stack, "How do I change my PIN?")
    assert [cited["document"] for cited in exchange.citations][:1] == ["changing-your-pin"]


async def test_what_nobody_wrote_about_is_declined(stack: RunningStack) -> None:
    _, [exchange], _ = await talk(stack, "Who won the chess world championship in 1972?")
    assert exchange.outcome == "completed"
    assert exchange.declined
    assert exchange.citations == ()


async def test_a_follow_up_is_answered_from_its_context(stack: RunningStack) -> None:
    question = "How much does that cost?"
    _, [_, with_context], _ = await talk(stack, "Can I get a second card for my account?", question)
    _, [without], _ = await talk(stack, question)
    assert "spare-cards" in {cited["document"] for cited in with_context.citations}
    assert "spare-cards" not in {cited["document"] for cited in without.citations}


async def test_personal_data_leaves_as_placeholders(stack: RunningStack) -> None:
    text = f"Write to {PERSONAL['EMAIL']} about card {PERSONAL['CARD']}, which was charged twice"
    _, _, seen = await talk(stack, text)
    [analysed] = [i for i in seen if isinstance(i, Event) and i.type == "MessageAnalysed"]
    shown = str(analysed.data)
    assert "<EMAIL_1>" in shown
    assert "<CARD_1>" in shown
    assert not any(value in str(item) for value in PERSONAL.values() for item in seen)


async def test_each_tenant_answers_from_its_own_knowledge(stack: RunningStack) -> None:
    question = "Which delivery slots can I choose for my groceries?"
    _, [theirs], _ = await talk(stack, question, tenant="harvest")
    _, [ours], _ = await talk(stack, question, tenant="demo")
    documents = {cited["document"] for cited in theirs.citations}
    assert "delivery-slots" in documents
    assert documents.isdisjoint(cited["document"] for cited in ours.citations)


async def test_the_log_command_prints_the_events_that_the_client_saw(stack: RunningStack) -> None:
    conversation, _, seen = await talk(stack, "How do I close my account?")
    answered = await asyncio.to_thread(stack.parley, "log", conversation, "--json")
    assert answered.code == 0, answered.err
    events = [json.loads(line) for line in answered.out.splitlines()]
    shown = [(item.seq, item.type) for item in seen if isinstance(item, Event)]
    assert [(event["envelope"]["seq"], event["type"]) for event in events] == shown


async def test_every_copy_agrees_with_the_log(stack: RunningStack) -> None:
    await talk(stack, "Where can I use my card?")
    answered = await asyncio.to_thread(stack.parley, "verify", "--json")
    assert answered.code == 0, answered.out
    assert answered.json["agrees"]
    assert answered.json["conversations"] > 0


async def test_clickhouse_has_the_conversation_as_it_was(stack: RunningStack) -> None:
    conversation, [exchange], seen = await talk(stack, "Which currencies can I hold?")
    events = [item for item in seen if isinstance(item, Event)]

    def rows(query: str) -> list[list[str]]:
        answered = stack.parley("sql", query, "--format", "tsv")
        assert answered.code == 0, answered.err
        return [line.split("\t") for line in answered.out.splitlines()[1:]]

    where = f"tenant_id = 'demo' AND conversation_id = '{conversation}'"
    counted = f"SELECT count(), max(seq) FROM events FINAL WHERE {where}"
    wanted = [[str(len(events)), str(events[-1].seq)]]
    wait_for(lambda: rows(counted) == wanted, "the events in ClickHouse")
    turns = rows(f"SELECT outcome, attempts FROM v1_turns WHERE {where}")
    assert turns == [["completed", "1"]], exchange
