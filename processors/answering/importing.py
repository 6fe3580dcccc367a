"""Makes a knowledge document of a text: cut it, name what is to be embedded, put both together.

A sandwich: `prepare` and `assemble` are pure, embedding happens between them in `infra/`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from processors.answering.chunking import HEADING, cut
from processors.answering.dense import Vectors, to_bytes
from schemas.records import KnowledgeDocument, Passage


@dataclass(frozen=True, slots=True)
class Draft:
    """A document that waits for its embeddings."""

    document_id: str
    title: str
    passages: tuple[str, ...]
    questions: tuple[str, ...]
    url: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def texts(self) -> tuple[str, ...]:
        """What is to be embedded: first the passages under their title, then the questions."""
        passages = (f"{self.title}. {text}".replace(HEADING, "") for text in self.passages)
        return (*passages, *self.questions)


def prepare(
    document_id: str,
    title: str,
    text: str,
    questions: Sequence[str] = (),
    url: str | None = None,
    labels: Mapping[str, str] | None = None,
) -> Draft:
    """Cuts a text into passages. Where no example question is given, the title serves as one."""
    asked = tuple(questions) or (title,)
    return Draft(document_id, title, cut(text), asked, url, dict(labels or {}))


def assemble(
    draft: Draft, embeddings: Vectors, *, tenant_id: str, imported_at: int, model_digest: str
) -> KnowledgeDocument:
    """The record for `parley.knowledge.v1`; `embeddings` is float32 [len(draft.texts), width].

    `imported_at` is in microseconds since 1970. Raises `ValueError` on another number of rows.
    """
    if len(embeddings) != len(draft.texts):
        raise ValueError(
            f"document {draft.document_id} has {len(draft.texts)} texts to embed and got "
            f"{len(embeddings)} embeddings: embed exactly `draft.texts`"
        )
    cut_at = len(draft.passages)
    return KnowledgeDocument(
        tenant_id,
        draft.document_id,
        draft.title,
        draft.url,
        imported_at,
        model_digest,
        _passages(draft.passages, embeddings[:cut_at]),
        _passages(draft.questions, embeddings[cut_at:]),
        dict(draft.labels),
    )


def _passages(texts: Sequence[str], embeddings: Vectors) -> tuple[Passage, ...]:
    return tuple(
        Passage(ordinal, text, to_bytes(vector))
        for ordinal, (text, vector) in enumerate(zip(texts, embeddings, strict=True))
    )
