"""Answers, declines, follow-ups and courtesies, from a small bank's knowledge."""

from __future__ import annotations

import re

import pytest
from answering_parts import Embed, Write

from processors.answering.citing import cited_in
from processors.answering.composing import ANSWER_WORDS_MAX
from processors.answering.context import EarlierTurn, TurnContext
from processors.answering.expectations import expected, fulfilled
from processors.answering.follow_ups import Dependence, anchor, dependence
from processors.answering.grounded import GroundedAnswer, interpret, needed, prepare
from processors.answering.grounding import FEATURES, SHIPPED, GroundingModel
from processors.answering.prompting import PromptMessage, hydrate
from processors.answering.retrieval import Evidence, KnowledgeIndex

# Counted words give other cosines than a language model, so the rule is a plain one here.
MODEL = GroundingModel((0.0, 10.0, 0.0), -3.5, 0.5)


def ask(index: KnowledgeIndex, embed: Embed, *messages: str) -> GroundedAnswer:
    """Asks one message after the other in one conversation; gives the last answer."""
    earlier: tuple[EarlierTurn, ...] = ()
    for message in messages:
        context = TurnContext(message, earlier)
        texts = prepare(context)
        answer = interpret(texts, embed(texts), index, context, MODEL)
        cited = tuple(citation.document_id for citation in answer.citations)
        earlier = (*earlier, EarlierTurn(message, answer.text, cited))
    return answer


def test_an_answer_quotes_its_article_and_cites_it(bank: KnowledgeIndex, embed: Embed) -> None:
    answer = ask(bank, embed, "How do I change my PIN?")
    assert not answer.declined
    assert "Change the PIN at a cash machine." in answer.text
    assert "[1]" in answer.text
    first = answer.citations[0]
    assert (first.marker, first.document_id, first.title) == (1, "pin", "Changing the PIN")
    assert answer.passages[0].document_id == "pin"


def test_every_quoted_sentence_stands_in_a_passage_and_every_marker_is_cited(
    bank: KnowledgeIndex, embed: Embed
) -> None:
    everything = " ".join(
        passage.text for document in bank.documents for passage in document.passages
    ).replace("\n\n", " ")
    for question in ("order a card", "a spare card costs what?", "cancel the pending transfer"):
        answer = ask(bank, embed, question)
        _, *parts = answer.text.split("\n\n")
        parts = [part for part in parts if not part.startswith("You may also want to read")]
        markers = {int(number) for number in re.findall(r"\[(\d+)\]", answer.text)}
        assert markers == {citation.marker for citation in answer.citations}
        for part in parts:
            assert re.sub(r" \[\d\]$", "", part) in everything


def test_articles_that_come_near_are_named_at_the_end_and_far_ones_are_not(
    bank: KnowledgeIndex, embed: Embed
) -> None:
    near = ask(bank, embed, "order a card")
    assert [citation.document_id for citation in near.citations] == ["order", "delivery"]
    assert near.text.endswith("You may also want to read “Delivery of a card” [2].")
    far = ask(bank, embed, "How do I cancel a transfer?")
    assert [citation.document_id for citation in far.citations] == ["transfer"]


def test_a_long_passage_is_quoted_in_part_and_in_whole_sentences(
    write: Write, embed: Embed
) -> None:
    filler = " ".join(f"Filler {'word ' * 12}number {number}." for number in range(8))
    index = KnowledgeIndex.build(
        "bank", [write("fees", "Fees", f"{filler} A spare card costs £5.", ["card fees"])]
    )
    text = ask(index, embed, "what are the fees for a spare card").text
    assert "A spare card costs £5." in text
    assert len(text.split()) <= ANSWER_WORDS_MAX + 12


def test_what_the_articles_do_not_hold_is_declined_with_what_they_do(
    bank: KnowledgeIndex, embed: Embed
) -> None:
    answer = ask(bank, embed, "Will it rain in Paris tomorrow?")
    assert answer.declined
    assert answer.citations == ()
    assert answer.confidence < 0.5
    assert "questions about cards and transfers" in answer.text


def test_a_tenant_without_knowledge_declines_everything(embed: Embed) -> None:
    answer = ask(KnowledgeIndex.build("new"), embed, "How do I change my PIN?")
    assert (answer.declined, answer.confidence, answer.passages) == (True, 0.0, ())


@pytest.mark.parametrize("message", ["", "   ", "[EMAIL_1]", "?", "🙂"])
def test_a_message_without_words_is_declined(
    bank: KnowledgeIndex, embed: Embed, message: str
) -> None:
    assert ask(bank, embed, message).declined


@pytest.mark.parametrize("message", ["Hi", "hello there!", "Good morning", "Thanks a lot!", "Bye"])
def test_courtesies_are_returned_and_need_no_article(
    bank: KnowledgeIndex, embed: Embed, message: str
) -> None:
    answer = ask(bank, embed, message)
    assert not answer.declined
    assert answer.citations == ()


def test_a_greeting_with_a_question_is_a_question(bank: KnowledgeIndex, embed: Embed) -> None:
    answer = ask(bank, embed, "Hi, how do I change my PIN?")
    assert answer.citations[0].document_id == "pin"


def test_a_follow_up_is_understood_with_the_question_before_it(
    bank: KnowledgeIndex, embed: Embed
) -> None:
    assert not ask(bank, embed, "and how long does that take?").in_context
    answer = ask(bank, embed, "How do I order a card?", "and how long does that take?")
    assert answer.in_context
    assert answer.query == "How do I order a card? and how long does that take?"
    assert answer.citations[0].document_id == "delivery"
    assert "3 to 6 working days" in answer.text


def test_a_follow_up_gets_what_it_asks_for_and_not_the_same_answer_again(
    write: Write, embed: Embed
) -> None:
    text = (
        "Order a spare card in the app. Open the list of cards and tap the plus sign. "
        "Choose whose name goes on the card and confirm the address. "
        "Standard delivery takes 3 to 6 working days, and the card arrives in a plain envelope. "
        "A spare card costs £5."
    )
    index = KnowledgeIndex.build(
        "bank", [write("spare", "Spare cards", text, ["How do I order a spare card?"])]
    )
    first = ask(index, embed, "How do I order a spare card?")
    asked_on = ask(index, embed, "How do I order a spare card?", "and what does that cost?")
    assert "A spare card costs £5." in asked_on.text
    assert len(_body(asked_on.text).split()) < len(_body(first.text).split())


def _body(answer: str) -> str:
    """What stands between the first line and the first mark of a source."""
    return answer.split(":", 1)[1].split(" [1]")[0]


def test_a_follow_up_to_a_follow_up_keeps_the_question_that_stood_alone(
    bank: KnowledgeIndex, embed: Embed
) -> None:
    answer = ask(
        bank, embed, "How do I order a card?", "and how long does that take?", "what does it cost?"
    )
    assert answer.query == "How do I order a card? what does it cost?"
    assert "£5" in answer.text


def test_a_question_that_stands_alone_ignores_what_was_said_before(
    bank: KnowledgeIndex, embed: Embed
) -> None:
    alone = ask(bank, embed, "How do I cancel a transfer?")
    later = ask(bank, embed, "How do I change my PIN?", "How do I cancel a transfer?")
    assert later.text == alone.text
    assert not later.in_context


def test_a_follow_up_about_something_foreign_is_declined(
    bank: KnowledgeIndex, embed: Embed
) -> None:
    answer = ask(bank, embed, "How do I change my PIN?", "and the weather?")
    assert answer.declined
    assert not answer.in_context


@pytest.mark.parametrize(
    ("message", "expectation"),
    [
        ("and how long does that take?", Dependence.LEANING),
        ("What about abroad?", Dependence.LEANING),
        ("ok, and for my wife?", Dependence.LEANING),
        ("can I cancel it?", Dependence.LEANING),
        ("abroad?", Dependence.SHORT),
        ("why?", Dependence.SHORT),
        ("How do I change the PIN of my card?", Dependence.NONE),
        ("I lost my card yesterday, how do I block it quickly?", Dependence.NONE),
        ("And where can I see all the fees of my spare card?", Dependence.NONE),
    ],
)
def test_how_much_a_message_leans_on_the_one_before(message: str, expectation: Dependence) -> None:
    assert dependence(message) is expectation


def test_a_message_without_earlier_ones_is_embedded_alone() -> None:
    assert prepare(TurnContext("and abroad?")) == ("and abroad?",)
    assert anchor(TurnContext("and abroad?", (EarlierTurn("?"),))) is None


@pytest.mark.parametrize(
    "message",
    ["and how long does that take?", "change the PIN", "stop it", "and the weather?", "how much?",
     "and the fee for that?", "why", "order a card", "is it free", "thanks"],
)  # fmt: skip
@pytest.mark.parametrize("before", ["How do I order a card?", "How do I change my PIN?"])
def test_an_embedding_that_is_not_needed_would_change_nothing(
    bank: KnowledgeIndex, embed: Embed, message: str, before: str
) -> None:
    context = TurnContext(message, (EarlierTurn(before, "", ("order",)),))
    model = GroundingModel.parse(SHIPPED.read_text(encoding="utf-8"))
    texts = prepare(context)
    kept = needed(texts, embed(texts)[0], bank, model)
    assert kept == texts[: len(kept)]
    whole = interpret(texts, embed(texts), bank, context, model)
    assert interpret(kept, embed(kept), bank, context, model) == whole


def test_a_follow_up_needs_its_context_and_a_plain_question_does_not(
    bank: KnowledgeIndex, embed: Embed
) -> None:
    model = GroundingModel.parse(SHIPPED.read_text(encoding="utf-8"))
    asked = "How long does it take to deliver a card that I order?"
    follow_up = (asked, f"How do I order a card? {asked}")
    assert needed(follow_up, embed(follow_up)[0], bank, model) == follow_up[:1]
    leaning = ("and the delivery?", "How do I order a card? and the delivery?")
    assert needed(leaning, embed(leaning)[0], bank, model) == leaning
    foreign = ("and the weather?", "How do I order a card? and the weather?")
    assert needed(foreign, embed(foreign)[0], bank, model) == foreign[:1]


def test_the_figure_that_was_asked_for_is_recognised() -> None:
    assert fulfilled("It takes 3 to 6 working days.", expected("how long?")) == 1.0
    assert fulfilled("It is nice.", expected("how long?")) == 0.0
    assert fulfilled("A card costs £5.", expected("how much is it and how long?")) == 0.5
    assert expected("who are you?") == frozenset()


def test_the_shipped_calibration_is_sound_and_sensible() -> None:
    model = GroundingModel.parse(SHIPPED.read_text(encoding="utf-8"))
    assert model.knows(Evidence(0.9, 0.85, 0.8))
    assert not model.knows(Evidence(0.2, 0.2, 0.2))
    assert GroundingModel.parse(model.dump()) == model
    assert 0.0 < model.threshold < 1.0
    assert len(model.weights) == len(FEATURES)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"weights": {}, "bias": 1, "threshold": 1}'])
def test_a_broken_calibration_says_how_to_mend_it(text: str) -> None:
    with pytest.raises(ValueError, match="make models"):
        GroundingModel.parse(text)


def test_confidence_stays_a_probability_for_absurd_evidence() -> None:
    assert GroundingModel((1e9, 0, 0), 0, 0.5).confidence(Evidence(1.0)) == pytest.approx(1.0)
    assert GroundingModel((1e9, 0, 0), 0, 0.5).confidence(Evidence(-1.0)) < 1e-20


def test_a_prompt_holds_instructions_passages_history_and_the_message(
    bank: KnowledgeIndex, embed: Embed
) -> None:
    passages = ask(bank, embed, "How do I order a card?").passages
    context = TurnContext("And then?", (EarlierTurn("Hi", "Hello!"), EarlierTurn("Wait", "")))
    system, *rest = hydrate("grounded/1", context, passages)
    assert system.role == "system"
    assert f"[1] Ordering a card\n{passages[0].text}" in system.content
    assert rest == [
        PromptMessage("user", "Hi"),
        PromptMessage("assistant", "Hello!"),
        PromptMessage("user", "Wait"),
        PromptMessage("user", "And then?"),
    ]
    assert "(none were found)" in hydrate("grounded/1", context, ())[0].content
    with pytest.raises(ValueError, match="grounded/1"):
        hydrate("grounded/0", context, ())


def test_a_models_markers_become_citations_and_invented_ones_are_dropped(
    bank: KnowledgeIndex, embed: Embed
) -> None:
    passages = ask(bank, embed, "How do I order a card?").passages
    cited = cited_in("So [2], or so [1, 2]. Never [9], [0] or [x].", passages)
    assert [item.marker for item in cited] == [1, 2]
    assert cited[0].document_id == passages[0].document_id
    assert cited_in("No source.", passages) == ()
