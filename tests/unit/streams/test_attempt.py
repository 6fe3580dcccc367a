"""An attempt at a turn: what the model is told, what is streamed and what is reported."""

from __future__ import annotations

from dataclasses import replace

import pytest
from conversation_story import SECOND_US, Later, analysis_overdue, answered
from turn_parts import MakeDesk, Person, ScriptedProvider, Sent, attempt, eventually

from infra.keys import PLAIN, SealBroken
from infra.providers import GroundedProvider
from schemas.topics import COMMANDS, TOKENS

CARD = "4111 1111 1111 1111"


async def test_the_pieces_cover_the_answer_without_gap_or_overlap(
    make_desk: MakeDesk, alice: Person, sent: Sent
) -> None:
    async def two_are_out() -> None:
        await eventually(lambda: len(sent.pieces) == 2)

    provider = ScriptedProvider(("Freeze it 🧊 ", "in the app. ", two_are_out, "Then ", "call us."))
    await attempt(make_desk(provider), alice.asks("I lost my card"))
    at, texts = 0, []
    for piece in sent.pieces:
        texts.append(alice.open(piece.text, piece))
        assert (piece.start, piece.end) == (at, at + len(texts[-1]))
        at = piece.end
    assert len(texts) > 2
    assert "".join(texts) == "Freeze it 🧊 in the app. Then call us."
    assert "".join(texts) == alice.open(sent.answer.text)
    assert {(p.turn_id, p.attempt) for p in sent.pieces} == {(alice.turn(), 1)}


async def test_the_first_words_go_out_at_once_and_what_follows_is_merged(
    make_desk: MakeDesk, alice: Person, sent: Sent
) -> None:
    out: list[int] = []

    async def look() -> None:
        out.append(len(sent.pieces))

    provider = ScriptedProvider(("Freeze it ", look, *(f"{n} " for n in range(100)), look))
    await attempt(make_desk(provider), alice.asks("I lost my card"))
    assert out[0] == 1
    assert out[1] < 20


async def test_every_text_is_sealed_and_opens_in_its_own_place_only(
    make_desk: MakeDesk, alice: Person, sent: Sent
) -> None:
    await attempt(make_desk(GroundedProvider()), alice.asks("When does my card arrive?"))
    titles = [citation.title for citation in sent.answer.citations]
    assert [alice.open(title) for title in titles] == ["Delivery of a card"]
    piece = sent.pieces[0]
    for sealed in (piece.text, sent.answer.text, *titles):
        assert sealed.key_version != PLAIN
        assert sealed.subject == alice.subject
    with pytest.raises(SealBroken):
        alice.open(piece.text)
    for record in sent.records:
        assert record.key == alice.key
        assert b"working days" not in (record.value or b"")
        assert b"Delivery" not in (record.value or b"")


async def test_the_result_follows_the_pieces(
    make_desk: MakeDesk, alice: Person, sent: Sent
) -> None:
    await attempt(make_desk(GroundedProvider()), alice.asks("When does my card arrive?"))
    *pieces, result = (record.topic for record in sent.records)
    assert result == COMMANDS.name
    assert set(pieces) == {TOKENS.name}
    assert (sent.answer.turn_id, sent.answer.attempt) == (alice.turn(), 1)
    assert sent.answer.usage.provider == "grounded"


async def test_the_model_is_told_what_analysis_redacted(make_desk: MakeDesk, alice: Person) -> None:
    alice.lives(alice.says(f"my card {CARD}"), alice.analysed(2, "my lost card <CARD_1>"))
    provider = ScriptedProvider(("Thank you. ",))
    await attempt(make_desk(provider), alice.waiting())
    assert provider.requests[0].messages[-1].content == "my lost card <CARD_1>"


async def test_without_analysis_the_recognisers_redact_the_question(
    make_desk: MakeDesk, alice: Person, sent: Sent
) -> None:
    alice.lives(alice.says(f"my card {CARD} is lost"), Later(2 * SECOND_US), analysis_overdue(2))
    message = alice.waiting()
    assert message.redacted is None
    provider = ScriptedProvider(("Thank you. ",))
    await attempt(make_desk(provider), message)
    (request,) = provider.requests
    assert request.messages[-1].content == "my card <CARD_1> is lost"
    assert not any("4111" in message.content for message in request.messages)
    assert sent.answer.degraded == ("analysis_expired",)


def follow_up(alice: Person) -> None:
    """A question, its answer, and the question after it."""
    alice.lives(alice.says("When does my card arrive?"), alice.analysed(2, "When does it come?"))
    alice.lives(replace(answered(2), text=alice.seal("In 3 days.", "origin", "answer")))
    alice.lives(alice.says("And abroad?", "m-2"), alice.analysed(6, "And abroad?", "m-2"))


async def test_a_follow_up_is_asked_together_with_the_turn_before_it(
    make_desk: MakeDesk, alice: Person, sent: Sent
) -> None:
    provider = ScriptedProvider(("In a week. ",))
    desk = make_desk(provider)
    follow_up(alice)
    for event in alice.story.events:
        desk.history.remember(event)
    await attempt(desk, alice.waiting())
    assert [(m.role, m.content) for m in provider.requests[0].messages[1:]] == [
        ("user", "When does it come?"),
        ("assistant", "In 3 days."),
        ("user", "And abroad?"),
    ]
    assert (sent.answer.history_turns, sent.answer.degraded) == (1, ())


async def test_a_follow_up_whose_history_is_away_is_answered_alone_and_says_so(
    make_desk: MakeDesk, alice: Person, sent: Sent
) -> None:
    provider = ScriptedProvider(("In a week. ",))
    follow_up(alice)
    await attempt(make_desk(provider), alice.waiting())
    assert [m.content for m in provider.requests[0].messages[1:]] == ["And abroad?"]
    assert (sent.answer.history_turns, sent.answer.degraded) == (0, ("short_context",))
