"""A small tenant, embedded by counting words, so that the pure parts need no model."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from answering_parts import Embed, Write, count_words

from processors.answering.importing import assemble, prepare
from processors.answering.retrieval import KnowledgeIndex
from schemas.records import KnowledgeDocument


@pytest.fixture
def embed() -> Embed:
    return count_words


@pytest.fixture
def write() -> Write:
    """Makes a document: `write("pin", "Changing the PIN", text, questions, labels=…)`."""

    def written(
        document_id: str,
        title: str,
        text: str,
        questions: Sequence[str] = (),
        *,
        tenant_id: str = "bank",
        labels: dict[str, str] | None = None,
    ) -> KnowledgeDocument:
        draft = prepare(document_id, title, text, questions, None, labels)
        return assemble(
            draft, count_words(draft.texts), tenant_id=tenant_id, imported_at=0, model_digest="d"
        )

    return written


@pytest.fixture
def bank(write: Write) -> KnowledgeIndex:
    return KnowledgeIndex.build(
        "bank",
        [
            write(
                "pin",
                "Changing the PIN",
                "Change the PIN at a cash machine. Choose PIN services and type it twice.\n\n"
                "The new PIN works at once. Abroad some machines cannot do this.",
                ["How do I change my PIN?", "I want a new PIN"],
                labels={"topics": "cards,security"},
            ),
            write(
                "order",
                "Ordering a card",
                "Order a card in the app under Cards. Confirm the address.\n\n"
                "The first card is free, a spare card costs £5.",
                ["How do I order a card?", "Where can I request a card?"],
                labels={"topics": "cards"},
            ),
            write(
                "delivery",
                "Delivery of a card",
                "We print cards every morning.\n\n"
                "A card that you order is delivered within 3 to 6 working days. "
                "An ordered card goes by post.",
                ["How long does it take to deliver a card that I order?", "When is a card here?"],
                labels={"topics": "cards"},
            ),
            write(
                "transfer",
                "Cancelling a transfer",
                "A pending transfer can be cancelled with one tap.",
                ["How do I cancel a transfer?", "Stop a transfer"],
                labels={"topics": "transfers"},
            ),
        ],
    )
