"""From Kafka's messages to the records of our topics."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from confluent_kafka import Message

from schemas.decoders import Decode
from schemas.failures import Invalid
from schemas.makers import maker
from schemas.topics import CONVERSATIONS, KNOWLEDGE, conversation_key, key_of
from schemas.wire import HEADER_BYTES, TopicWire
from sinks.port import Delivery

_delivery = maker(Delivery)
_WITHOUT_PLACE = frozenset((CONVERSATIONS.name, KNOWLEDGE.name))
"""Topics whose keys are not those of a conversation that the record names."""
_Way = tuple[int, Decode | None]
"""A schema's id and what reads its records; nothing, if they are not wanted."""


class Decoder:
    """Decodes the messages of some topics. Raises `Invalid` for what is no record there.

    `wanted` names the record types that the stage acts upon; others are skipped undecoded, also
    those that were added to the topic after this was built.
    """

    def __init__(self, wires: Iterable[TopicWire], wanted: Iterable[type] | None = None) -> None:
        self._wires: Mapping[str, TopicWire] = {w.topic.name: w for w in wires}
        self._wanted = None if wanted is None else frozenset(wanted)
        self._met: set[bytes] = set()
        self._ways: dict[str, dict[bytes, _Way]] = {name: {} for name in self._wires}

    async def prepare(self, messages: Iterable[Message]) -> None:
        """Asks the registry what these messages need, so that decoding them waits for nobody.

        For stages that decode on the event loop, which others share. Raises `Unavailable`.
        """
        unmet = {(m.value() or b"")[:HEADER_BYTES]: m for m in messages}
        for prefix in self._met.intersection(unmet):
            del unmet[prefix]
        if unmet:
            await asyncio.to_thread(self._meet, unmet)

    def _meet(self, unmet: Mapping[bytes, Message]) -> None:
        for prefix, message in unmet.items():
            with suppress(Invalid):
                self.decode(message)
                self._met.add(prefix)

    def decode_all(
        self, messages: Sequence[Message], reject: Callable[[Message, Invalid], None]
    ) -> list[Delivery]:
        """The records of one partition that are wanted, in their order.

        What is no record goes to `reject`. Raises `Unavailable`.
        """
        deliveries: list[Delivery] = []
        if not messages:
            return deliveries
        found = deliveries.append
        topic, partition = messages[0].topic(), messages[0].partition()
        ways, largest = self._ways[topic], self._wires[topic].topic.record_bytes_max
        for message in messages:
            # What `decode` does, without its calls and in the usual case alone: a fifth faster.
            # Whatever is unusual about a message is left to `decode`.
            try:
                value = message.value()
                schema_id, read = ways[value[:HEADER_BYTES]]
                if len(value) <= largest:
                    if read is None:
                        continue
                    record, end = read(value, HEADER_BYTES)
                    place: Any = getattr(record, "envelope", record)
                    key = conversation_key(place.tenant_id, place.conversation_id)
                    if end == len(value) and message.key() == key:
                        at, trace = message.offset(), place.traceparent
                        found(_delivery(topic, partition, at, schema_id, record, key, trace))
                        continue
            except Exception:
                pass
            try:
                delivery = self.decode(message)
            except Invalid as error:
                reject(message, error)
                continue
            self._learn(topic, message.value())
            if delivery is not None:
                found(delivery)
        return deliveries

    def _learn(self, topic: str, value: bytes) -> None:
        prefix = value[:HEADER_BYTES]
        codec = self._wires[topic].known(prefix)
        if codec is not None and topic not in _WITHOUT_PLACE:
            wanted = self._wanted is None or codec.record in self._wanted
            schema_id = int.from_bytes(prefix[1:], "big")
            self._ways[topic][prefix] = schema_id, codec.read if wanted else None

    def decode(self, message: Message) -> Delivery | None:
        """The record, with its place; None for one that is not wanted.

        Its key must be that of the conversation it names.
        """
        topic, value = message.topic(), message.value()
        if value is None:
            raise Invalid("no_value", f"a record without a value has no meaning on {topic}")
        wire = self._wires[topic]
        if len(value) > wire.topic.record_bytes_max:
            # Compressed on its way, or the broker would have refused it; it would fit nowhere else.
            raise Invalid("too_large", f"a record of {len(value)} bytes has no place on {topic}")
        if self._wanted is not None and wire.record_type(value) not in self._wanted:
            return None
        record = wire.decode(value)
        key = message.key() or b""
        traceparent = _check_key(topic, key, record)
        return _delivery(
            topic,
            message.partition(),
            message.offset(),
            int.from_bytes(value[1:HEADER_BYTES], "big"),
            record,
            key,
            traceparent,
        )


def _check_key(topic: str, key: bytes, record: Any) -> str | None:
    if topic in _WITHOUT_PLACE:
        return None
    if key != key_of(record):
        # It is on the partition of its key, so the wrong state would answer it.
        raise Invalid("wrong_key", f"a record on {topic} has the key of something else")
    return getattr(record, "envelope", record).traceparent  # type: ignore[no-any-return]
