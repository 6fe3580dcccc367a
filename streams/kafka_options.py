"""The librdkafka settings that the engine's promises rest on, joined with the user's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from schemas.topics import DEAD_LETTER_BYTES_MAX

Options = dict[str, str | int | float | bool]

_QUIET: Options = {"log_level": 2, "reconnect.backoff.max.ms": 1000}
"""Every client would log every failed connection; the sources say once that the broker is away."""


@dataclass(frozen=True, slots=True)
class KafkaOptions:
    """Where the brokers are, and what is passed through to every client of a kind.

    `common` takes what all clients share, such as TLS and SASL. The engine's own settings win
    over the user's wherever a promise depends on them.
    """

    bootstrap_servers: str
    common: Mapping[str, str] = field(default_factory=dict)
    consumer: Mapping[str, str] = field(default_factory=dict)
    producer: Mapping[str, str] = field(default_factory=dict)
    group_protocol: str = "consumer"
    """`consumer` is KIP-848 (Kafka 4); `classic` works with every broker."""
    session_timeout_ms: int = 6000
    """Of the classic protocol; on KIP-848 the broker has it."""
    heartbeat_ms: int = 1000
    linger_ms: float = 0.0
    transaction_timeout_ms: int = 10_000

    def for_consumer(self, group: str) -> Options:
        """A group member whose offsets the engine commits."""
        options: Options = {
            **_QUIET,
            "fetch.queue.backoff.ms": 5,
            **self.common,
            **self.consumer,
            "bootstrap.servers": self.bootstrap_servers,
            "group.id": group,
            "group.protocol": self.group_protocol,
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "isolation.level": "read_committed",
            "auto.offset.reset": "earliest",
            # The end of a partition can be a transaction's marker, which no commit ever reaches.
            "enable.partition.eof": True,
            "allow.auto.create.topics": False,
        }
        if self.group_protocol == "classic":
            options.setdefault("session.timeout.ms", self.session_timeout_ms)
            options.setdefault("heartbeat.interval.ms", self.heartbeat_ms)
            options["partition.assignment.strategy"] = "cooperative-sticky"
        return options

    def for_reader(self, *, committed: bool, group: str = "parley-reader") -> Options:
        """A consumer outside of any group, which is told its partitions and reads to their end."""
        return {
            **_QUIET,
            "fetch.queue.backoff.ms": 5,
            **self.common,
            **self.consumer,
            "bootstrap.servers": self.bootstrap_servers,
            "group.id": group,
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "enable.partition.eof": True,
            "isolation.level": "read_committed" if committed else "read_uncommitted",
            "auto.offset.reset": "earliest",
        }

    def for_producer(self) -> Options:
        """An idempotent producer that waits for all replicas."""
        return {
            **_QUIET,
            "linger.ms": self.linger_ms,
            **self.common,
            **self.producer,
            "bootstrap.servers": self.bootstrap_servers,
            "acks": "all",
            "enable.idempotence": True,
            # librdkafka would refuse what is larger than 1 MB, whatever the topic takes.
            "message.max.bytes": DEAD_LETTER_BYTES_MAX,
            # librdkafka's own default puts most keys on other partitions than Java's clients do.
            "partitioner": "murmur2_random",
        }

    def for_transactions(self, transactional_id: str) -> Options:
        """A transactional producer; a takeover under the same id fences the one before."""
        return {
            **self.for_producer(),
            # Records of a long batch leave in large portions while it is still being worked on;
            # `flush`, which ends every batch, does not wait for this.
            "linger.ms": 20,
            "transactional.id": transactional_id,
            "transaction.timeout.ms": self.transaction_timeout_ms,
        }
