"""Puts documents of knowledge into the log: cut, embed, produce, wait for every acknowledgement."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from infra.inference.encoder import Encoder
from infra.kafka_admin import check_topics
from infra.knowledge_files import SourceDocument
from parley.exits import Ended, Exit
from parley.sending import Sending
from parley.wiring import Wiring
from processors.answering.importing import Draft, assemble, prepare
from schemas.headers import SPEC_VERSION, Headers, rfc3339
from schemas.identifiers import is_tenant_id
from schemas.records import KnowledgeDocument
from schemas.topics import KNOWLEDGE, full_name
from streams.knowledge import document_key

BATCH = 8
"""Documents embedded in one go: few enough for a moving progress bar."""


@dataclass(frozen=True, slots=True)
class Imported:
    """How much was put into the log."""

    documents: int
    passages: int
    questions: int


Advance = Callable[[int], None]


def import_documents(
    wiring: Wiring, tenant_id: str, documents: Sequence[SourceDocument], advance: Advance
) -> Imported:
    """Embeds the documents and produces them; returns when the log has them all.

    `advance` is told how many more are embedded. Raises `Unavailable`, `KafkaAdminError`, and, for
    the model, `ArtifactError` and `DeviceUnavailable`.
    """
    if not is_tenant_id(tenant_id):
        raise Ended(Exit.USAGE, f"{tenant_id!r} is no tenant: use 1 to 63 of a-z, 0-9 and '-'")
    kafka = wiring.settings.kafka
    if problems := check_topics(kafka.bootstrap_servers, kafka.admin(), [KNOWLEDGE]):
        raise Ended(Exit.UNREACHABLE, problems[0])
    wire = wiring.wire(KNOWLEDGE)
    out = Sending(wiring.kafka)
    passages = questions = 0
    for record in _records(tenant_id, documents, wiring.encoder, advance):
        key = document_key(tenant_id, record.document_id)
        out.send(KNOWLEDGE.name, key, wire.encode(record), _headers(record))
        passages += len(record.passages)
        questions += len(record.questions)
    out.finish()
    return Imported(len(documents), passages, questions)


def _records(
    tenant_id: str, documents: Sequence[SourceDocument], encoder: Encoder, advance: Advance
) -> Iterator[KnowledgeDocument]:
    for start in range(0, len(documents), BATCH):
        drafts = [_draft(each) for each in documents[start : start + BATCH]]
        vectors = encoder.encode([text for draft in drafts for text in draft.texts]).embeddings
        now_us = time.time_ns() // 1000
        for draft in drafts:
            own, vectors = vectors[: len(draft.texts)], vectors[len(draft.texts) :]
            yield assemble(
                draft,
                own,
                tenant_id=tenant_id,
                imported_at=now_us,
                model_digest=encoder.model_digest,
            )
        advance(len(drafts))


def _draft(document: SourceDocument) -> Draft:
    return prepare(
        document.document_id,
        document.title,
        document.text,
        document.questions,
        document.url,
        document.labels,
    )


def _headers(record: KnowledgeDocument) -> Headers:
    return [
        ("ce_specversion", SPEC_VERSION),
        ("ce_id", str(uuid.uuid4()).encode()),
        ("ce_type", full_name(KnowledgeDocument).encode()),
        ("ce_source", b"/parley/knowledge"),
        ("ce_time", rfc3339(record.imported_at).encode()),
        ("ce_subject", record.document_id.encode()),
        ("tenantid", record.tenant_id.encode()),
    ]
