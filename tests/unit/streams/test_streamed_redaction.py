"""What a model says of itself is redacted on its way, however it is cut into pieces."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from turn_parts import ScriptedProvider

from infra import providers
from processors.analysis.redaction import redact
from processors.answering.context import TurnContext
from streams.answering.turns import Answer, Interrupted, Question

CARD, IBAN, EMAIL = "4111 1111 1111 1111", "DE89 3704 0044 0532 0130 00", "anna.meier@example.org"
SPOKEN = (
    f"Your card {CARD} is blocked. We sent {EMAIL} the new one, and the rest goes to {IBAN}. "
    f"Once more: {CARD}, and write to {EMAIL}"
)
REDACTED = (
    "Your card <CARD_1> is blocked. We sent <EMAIL_1> the new one, and the rest goes to <IBAN_1>. "
    "Once more: <CARD_1>, and write to <EMAIL_1>"
)


def cut(text: str, size: int) -> list[str]:
    return [text[at : at + size] for at in range(0, len(text), size)]


async def say_all(make_desk: Any, script: Sequence[Any], said: list[str]) -> Answer:
    async def say(text: str) -> None:
        said.append(text)

    writer = make_desk(ScriptedProvider(tuple(script))).answerer
    question = Question("demo", TurnContext("Where is my card?", ()), "grounded/1", False)
    answer: Answer = await writer.answer(question, say)
    return answer


@pytest.mark.parametrize("size", [1, 2, 3, 7, 20, 1000])
async def test_a_value_never_leaves_however_the_model_cuts_it(make_desk: Any, size: int) -> None:
    said: list[str] = []
    answer = await say_all(make_desk, cut(SPOKEN, size), said)
    assert answer.text == "".join(said) == redact(SPOKEN).text == REDACTED
    for value in (CARD, IBAN, EMAIL):
        assert value not in answer.text
        assert not any(word in piece for word in value.split() for piece in said)


async def test_what_can_not_become_a_value_does_not_wait_for_the_end(make_desk: Any) -> None:
    said: list[str] = []
    await say_all(make_desk, cut(SPOKEN, 1), said)
    assert len(said) > 20
    assert all(said)


async def test_a_value_that_is_broken_off_stays_behind(make_desk: Any) -> None:
    said: list[str] = []
    script = [*cut(f"Your card {CARD[:14]}", 1), providers.Interrupted("the line went dead")]
    with pytest.raises(Interrupted):
        await say_all(make_desk, script, said)
    assert "".join(said).strip() == "Your card"
