"""Every tenant's knowledge, read whole from its compacted topic and followed from then on.

Each process that answers has all of it. The reader has no group: nothing is committed, and a
start reads the topic from the beginning.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable, Mapping

from confluent_kafka import Consumer, KafkaException, Message
from confluent_kafka import TopicPartition as Assigned

from processors.answering.retrieval import KnowledgeIndex
from schemas.failures import Invalid, Unavailable
from schemas.records import KnowledgeDocument
from schemas.topics import KNOWLEDGE
from schemas.wire import TopicWire
from streams.backoff import Backoff
from streams.kafka_options import KafkaOptions
from streams.messages import PASSING
from streams.restore import read_to_end

log = logging.getLogger(__name__)

FLOAT_BYTES = 4

Documents = dict[str, dict[str, KnowledgeDocument | None]]
"""By tenant and document id; None for a document that was removed."""


class KnowledgeTable:
    """The indexes of all tenants, as far as the topic has been read. Thread-safe to read."""

    def __init__(self, wire: TopicWire, options: KafkaOptions) -> None:
        self._wire = wire
        self._options = options
        self._indexes: dict[str, KnowledgeIndex] = {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="knowledge", daemon=True)
        self._next_offset: dict[int, int] = {}

    def start(self) -> None:
        """Reads the topic to its present end, then follows it in the background. Blocks.

        Raises `Unavailable`: a document that can't be read now would be missing for good.
        """
        changed: Documents = {}
        starts = dict.fromkeys(range(KNOWLEDGE.partitions), 0)
        self._next_offset = dict(starts)
        for partition, messages, next_offset in read_to_end(KNOWLEDGE.name, starts, self._options):
            for message in messages:
                self._take(message, changed)
            self._next_offset[partition] = next_offset
        self._apply(changed)
        self._thread.start()

    def stop(self) -> None:
        """Stops following."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def index(self, tenant_id: str) -> KnowledgeIndex:
        """A tenant's index; an empty one for a tenant without knowledge."""
        return self._indexes.get(tenant_id) or KnowledgeIndex.build(tenant_id)

    def _follow(self) -> None:
        backoff = Backoff()
        while not self._stopping.is_set():
            try:
                self._read_on(backoff)
            except Exception as error:
                # Answers go on with what is known; a reader that died silently would keep it so.
                wait_s = backoff.next_s()
                why = error if isinstance(error, Unavailable) else type(error).__name__
                log.error("knowledge is not followed for %.1f s: %s", wait_s, why)
                self._stopping.wait(wait_s)

    def _read_on(self, backoff: Backoff) -> None:
        """Follows the topic from where it is known until it is told to stop."""
        options = self._options.for_reader(committed=True)
        reader = Consumer({**options, "enable.partition.eof": False})
        try:
            reader.assign([Assigned(KNOWLEDGE.name, p, o) for p, o in self._next_offset.items()])
            while not self._stopping.is_set():
                messages = reader.consume(500, 0.2)
                self._apply(self._changed(messages))
                self._next_offset.update(
                    (m.partition(), m.offset() + 1) for m in messages if m.error() is None
                )
                backoff.reset()
        finally:
            reader.close()

    def _changed(self, messages: list[Message]) -> Documents:
        changed: Documents = {}
        for message in messages:
            error = message.error()
            if error is None:
                self._take(message, changed)
            elif not (error.retriable() or error.code() in PASSING):
                raise KafkaException(error)
        return changed

    def _take(self, message: Message, changed: Documents) -> None:
        key, value = message.key(), message.value()
        try:
            if value is None:
                tenant_id, _, document_id = (key or b"").decode().partition(":")
                changed.setdefault(tenant_id, {})[document_id] = None
                return
            document: KnowledgeDocument = self._wire.decode(value)
        except (Invalid, UnicodeDecodeError) as error:
            # Nothing depends on its place in the log, so the rest of the knowledge stays usable.
            log.error("a knowledge document at offset %s is skipped: %s", message.offset(), error)
            return
        changed.setdefault(document.tenant_id, {})[document.document_id] = document

    def _apply(self, changed: Documents) -> None:
        for tenant_id, documents in changed.items():
            self._indexes[tenant_id] = brought_up(self.index(tenant_id), documents)
            log.info("tenant %s has %d documents", tenant_id, len(self._indexes[tenant_id]))


def brought_up(
    index: KnowledgeIndex, documents: Mapping[str, KnowledgeDocument | None]
) -> KnowledgeIndex:
    """The index with these documents of its tenant.

    Embeddings of two models can't be searched together: where there are some, the documents of the
    model that has most of them stay.
    """
    added = [d for d in documents.values() if d is not None]
    removed = [document_id for document_id, d in documents.items() if d is None]
    try:
        return index.updated(added, removed)
    except ValueError as error:
        log.error("knowledge of tenant %s: %s", index.tenant_id, error)
    present = {**{d.document_id: d for d in index.documents}, **documents}
    kept = [d for d in present.values() if d is not None]
    counted = Counter(width for d in kept for width in _widths(d) if width % FLOAT_BYTES == 0)
    usual = {width for width, _ in counted.most_common(1)}
    odd = sorted(d.document_id for d in kept if _widths(d) - usual)
    log.error("documents passed over: %s", ", ".join(odd))
    return KnowledgeIndex.build(index.tenant_id, [d for d in kept if d.document_id not in odd])


def _widths(document: KnowledgeDocument) -> set[int]:
    return {len(each.embedding) for each in (*document.passages, *document.questions)}


def document_key(tenant_id: str, document_id: str) -> bytes:
    """The key of a document on the knowledge topic."""
    return f"{tenant_id}:{document_id}".encode()


IndexOf = Callable[[str], KnowledgeIndex]
