"""A batch of records on its way through a stage, and what may become of it."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import Message

from schemas.failures import Unavailable
from sinks.port import TopicPartition


class Rewind(Exception):
    """The batch had no effect: read it again, after a pause that grows while this goes on."""


class KafkaUnavailable(Unavailable):
    """Kafka did not take something. That is no excuse for a stage that gets nowhere: whoever
    watches over it asks Kafka, and knows when it is away."""


class StageLost(Exception):
    """The stage can't go on in this process: end it, so that its supervisor starts a fresh one."""


@dataclass(eq=False, slots=True)
class Batch:
    """Records as librdkafka gave them, by partition and in offset order.

    `group_metadata` was captured before the records were polled: it proves to the broker that
    they were read under the present assignment. An empty batch is a tick of the clock.
    """

    messages: dict[TopicPartition, list[Message]]
    group_metadata: Any
    polled_at_us: int
    rest: dict[TopicPartition, list[Message]] = field(default_factory=dict)
    """What the stage gave back: it is read again, after what was done."""
    outcome: BaseException | None = None
    _settled: threading.Event = field(default_factory=threading.Event)

    @property
    def size(self) -> int:
        return sum(map(len, self.messages.values()))

    def give_back(self, partition: TopicPartition, done: int) -> None:
        """Takes a partition's records but for the first `done` out of the batch."""
        messages = self.messages.pop(partition)
        if messages[done:]:
            self.rest[partition] = messages[done:]
        if done:
            self.messages[partition] = messages[:done]

    def settle(self, outcome: BaseException | None = None) -> None:
        """Ends the batch: None says that it is done for ever."""
        self.outcome = outcome
        self._settled.set()

    @property
    def settled(self) -> bool:
        return self._settled.is_set()
