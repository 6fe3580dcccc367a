"""The writer of answers with the real encoder and a bank of two articles."""

from __future__ import annotations

import pytest

from infra.inference.encoder import Encoder, load_encoder
from infra.providers import GroundedProvider
from processors.answering.context import EarlierTurn, TurnContext
from processors.answering.grounded import prepare
from processors.answering.grounding import SHIPPED, GroundingModel
from processors.answering.importing import assemble
from processors.answering.importing import prepare as draft
from processors.answering.retrieval import KnowledgeIndex
from schemas.records import KnowledgeDocument
from streams.answering.turns import Answer, Question
from streams.answering.writer import Writer

ARTICLES = (
    ("delivery", "Delivery of a card", "A new card arrives within 3 to 6 working days.",
     ["When does my card arrive?", "How long does the delivery of a card take?"]),
    ("pin", "Changing the PIN", "Change the PIN at a cash machine. Choose PIN services.",
     ["How do I change my PIN?", "I want a new PIN"]),
)  # fmt: skip


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return load_encoder()


@pytest.fixture(scope="module")
def index(encoder: Encoder) -> KnowledgeIndex:
    return KnowledgeIndex.build("bank", [_document(encoder, *article) for article in ARTICLES])


def _document(
    encoder: Encoder, document_id: str, title: str, text: str, questions: list[str]
) -> KnowledgeDocument:
    drafted = draft(document_id, title, text, questions)
    vectors = encoder.encode(drafted.texts).embeddings
    return assemble(drafted, vectors, tenant_id="bank", imported_at=0, model_digest="d")


async def answer(encoder: Encoder, index: KnowledgeIndex, context: TurnContext) -> Answer:
    writer = Writer(
        encoder,
        lambda tenant_id: index,
        GroundingModel.parse(SHIPPED.read_text(encoding="utf-8")),
        GroundedProvider(),
        max_output_tokens=100,
        temperature=0.0,
    )
    said: list[str] = []

    async def say(text: str) -> None:
        said.append(text)

    answered = await writer.answer(Question("bank", context, "grounded/1", False), say)
    assert "".join(said) == answered.text
    assert len(said) > 1
    return answered


async def test_a_follow_up_is_answered_in_the_light_of_the_question_before(
    encoder: Encoder, index: KnowledgeIndex
) -> None:
    earlier = (EarlierTurn("I want to order a new card", "Order it in the app.", ()),)
    answered = await answer(encoder, index, TurnContext("and how long does it take?", earlier))
    assert answered.sources[0].document_id == "delivery"
    assert "3 to 6 working days" in answered.text


@pytest.mark.parametrize("message", ["change my PIN", "and the weather?"])
async def test_the_context_is_not_embedded_where_it_can_not_matter(
    encoder: Encoder, index: KnowledgeIndex, message: str
) -> None:
    context = TurnContext(message, (EarlierTurn("When does my card arrive?", "Soon.", ()),))
    alone, joined = prepare(context)
    await answer(encoder, index, context)
    assert encoder.recall([alone]) is not None
    assert encoder.recall([joined]) is None
