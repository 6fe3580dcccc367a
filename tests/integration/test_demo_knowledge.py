"""The demo tenants' articles with the real embedding model, as their customers meet them."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

import parley
from infra.inference.encoder import Encoder, load_encoder
from infra.knowledge_files import SourceDocument, read_knowledge
from processors.analysis.redaction import redact
from processors.answering.context import EarlierTurn, TurnContext
from processors.answering.grounded import GroundedAnswer, interpret, prepare
from processors.answering.grounding import SHIPPED, GroundingModel
from processors.answering.importing import assemble
from processors.answering.importing import prepare as draft
from processors.answering.retrieval import KnowledgeIndex

KNOWLEDGE = Path(parley.__file__).parent / "demo" / "knowledge"
TENANTS = ("demo", "harvest")

Ask = Callable[..., GroundedAnswer]


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return load_encoder()


@pytest.fixture(scope="module")
def ask(encoder: Encoder) -> Ask:
    """`ask(tenant, message, …)`: the answer to the last of the messages."""
    model = GroundingModel.parse(SHIPPED.read_text(encoding="utf-8"))
    indexes = {tenant: _index(tenant, encoder) for tenant in TENANTS}

    def asked(tenant: str, *messages: str) -> GroundedAnswer:
        earlier: tuple[EarlierTurn, ...] = ()
        for message in messages:
            context = TurnContext(message, earlier)
            texts = prepare(context)
            vectors = encoder.encode(texts).embeddings
            answer = interpret(texts, vectors, indexes[tenant], context, model)
            cited = tuple(citation.document_id for citation in answer.citations)
            earlier = (*earlier, EarlierTurn(message, answer.text, cited))
        return answer

    return asked


def _index(tenant: str, encoder: Encoder) -> KnowledgeIndex:
    drafts = [
        draft(item.document_id, item.title, item.text, item.questions, item.url, item.labels)
        for item in read_knowledge(KNOWLEDGE / tenant)
    ]
    documents = [
        assemble(
            item,
            encoder.encode(item.texts).embeddings,
            tenant_id=tenant,
            imported_at=0,
            model_digest=encoder.model_digest,
        )
        for item in drafts
    ]
    return KnowledgeIndex.build(tenant, documents)


def articles() -> list[SourceDocument]:
    return [document for tenant in TENANTS for document in read_knowledge(KNOWLEDGE / tenant)]


def test_the_bank_has_an_article_for_each_of_its_77_intents() -> None:
    documents = read_knowledge(KNOWLEDGE / "demo")
    intents = {name for item in documents for name in item.labels["intents"].split(",") if name}
    assert len(documents) >= 70
    assert len(intents) == 77


@pytest.mark.parametrize("document", articles(), ids=lambda document: document.document_id)
def test_an_article_is_of_a_readable_length_and_holds_nothing_to_redact(
    document: SourceDocument,
) -> None:
    assert 110 <= len(re.findall(r"\w+", document.text)) <= 265
    assert 3 <= len(document.questions) <= 10
    for text in (document.title, document.text, *document.questions):
        assert redact(text).findings == ()


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("my card hasnt come yet its been 12 days!!", "tracking-a-card-in-the-post"),
        ("the cash machine has eaten my card", "swallowed-card"),
        ("what's the quickest way to get a new card sent", "card-delivery-times"),
        ("I was charged £1 by some petrol station", "extra-one-pound-charge"),
        ("Can my 15 year old get an account with you?", "age-limits"),
        ("someone stole my phone on the train", "lost-phone"),
        ("why does the bank need a picture of my passport", "why-we-verify-identity"),
        ("pls cancel the transfer I sent by mistake", "cancelling-a-transfer"),
        ("how long do transfers from Germany take", "transfer-times"),
        ("do you support japanese yen?", "supported-currencies"),
        ("I want to shut down my account", "closing-your-account"),
        ("money I paid in at the shop counter is not there", "missing-cheque-or-cash"),
        ("someone used my card online and it was not me", "compromised-card"),
        ("the shop took the money two times", "charged-twice"),
        ("is there a cap on topping up", "top-up-limits"),
        ("forgot my login code", "forgotten-passcode"),
    ],
)
def test_customers_find_the_right_article_among_the_first_three(
    ask: Ask, question: str, expected: str
) -> None:
    answer = ask("demo", question)
    assert not answer.declined
    assert expected in [passage.document_id for passage in answer.passages]


FOREIGN = [
    "will it rain in Lisbon tomorrow",
    "who won the world cup in 1998",
    "give me a recipe for onion soup",
    "how do I change a tyre",
    "what is the capital of Mongolia",
    "play some jazz",
    "how tall is the Eiffel tower",
    "translate good night into Finnish",
    "what are the symptoms of flu",
    "write a poem about the sea",
]


@pytest.mark.parametrize("tenant", TENANTS)
@pytest.mark.parametrize("question", FOREIGN)
def test_what_is_not_their_trade_is_declined(ask: Ask, tenant: str, question: str) -> None:
    answer = ask(tenant, question)
    assert answer.declined
    assert answer.citations == ()


@pytest.mark.parametrize(
    ("first", "second", "documents", "words"),
    [
        (
            "How do I order a physical card?",
            "and how long does that take?",
            {"card-delivery-times"},
            "3 to 6 working days",
        ),
        ("How do I order a spare card?", "what does that cost?", {"spare-cards"}, "£5"),
        ("How do I close my account?", "can I reopen it?", {"closing-your-account"}, "30 days"),
        (
            "What are your fees for topping up by card?",
            "and by bank transfer?",
            {"top-up-bank-transfer-fees"},
            "free",
        ),
    ],
)
def test_a_follow_up_is_answered_in_its_context(
    ask: Ask, first: str, second: str, documents: set[str], words: str
) -> None:
    answer = ask("demo", first, second)
    assert answer.in_context
    assert answer.citations[0].document_id in documents
    assert words in answer.text


def test_neither_tenant_knows_what_the_other_knows(ask: Ask) -> None:
    assert "40 pence" in ask("harvest", "What is the deposit for a glass bottle?").text
    bottle = ask("demo", "What is the deposit for a glass bottle?")
    assert bottle.declined
    pin = ask("harvest", "How do I change the PIN of my card?")
    assert pin.declined
    for answer in (bottle, pin):
        assert "PIN services" not in answer.text
        assert "pence" not in answer.text


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("when will my food arrive", "delivery-slots"),
        ("my eggs were all cracked", "missing-or-damaged-items"),
        ("can i pay with paypal", "paying-for-groceries"),
        ("how do I quit the orchard club", "orchard-club"),
    ],
)
def test_the_grocers_customers_are_answered_too(ask: Ask, question: str, expected: str) -> None:
    answer = ask("harvest", question)
    assert expected in [passage.document_id for passage in answer.passages]
    assert not answer.declined
