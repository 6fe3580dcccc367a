"""The composition root: what the processes are made of, built from the settings when asked for."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from confluent_kafka import KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient

from infra.kafka_admin import KafkaAdminError, answer_of, check_topics
from infra.keys import Sealer, open_sealer
from infra.schema_registry import SchemaRegistry
from infra.settings.loading import Settings
from infra.telemetry.health import Health
from infra.telemetry.metrics import Metrics
from infra.telemetry.tracing import Tracing, open_tracing
from parley.applying import open_registry
from processors.conversation.policy import Policy
from schemas.failures import Unavailable
from schemas.topics import EVENTS, TOPICS, Topic
from schemas.wire import TopicWire
from streams.kafka_options import KafkaOptions

if TYPE_CHECKING:
    from infra.inference.encoder import Encoder

CHECK_S = 4.0
"""Whoever starts a process waits for so long to hear that Kafka is away."""


class Wiring:
    """The shared parts of one process. Each is made at first use and then kept."""

    def __init__(self, settings: Settings, service: str) -> None:
        self.settings = settings
        self.service = service
        self.health = Health()
        self._wires: dict[str, TopicWire] = {}

    @cached_property
    def registry(self) -> SchemaRegistry:
        """The schema registry, with what it said before kept on disk."""
        return open_registry(self.settings)

    def wire(self, topic: Topic) -> TopicWire:
        """A topic's wire format; its schema ids are known afterwards. Raises `Unavailable`."""
        wire = self._wires.get(topic.name)
        if wire is None:
            wire = TopicWire(topic, self.registry)
            wire.prepare()
            self._wires[topic.name] = wire
        return wire

    @cached_property
    def sealer(self) -> Sealer:
        """Keys and sealing."""
        return open_sealer(self.settings.keys)

    @cached_property
    def metrics(self) -> Metrics:
        """The process's metrics."""
        return Metrics(tenants_max=self.settings.telemetry.tenants_max)

    @cached_property
    def tracing(self) -> Tracing:
        """Spans, or nothing."""
        return open_tracing(self.settings.telemetry, self.service)

    @cached_property
    def encoder(self) -> Encoder:
        """The embedding model, shared by the stages of a process: several threads may use it."""
        from infra.inference.analyser import configured_encoder  # imports a second of libraries

        return configured_encoder(self.settings.inference)

    @cached_property
    def kafka(self) -> KafkaOptions:
        """How librdkafka's clients are set up."""
        kafka = self.settings.kafka
        stages = self.settings.stages
        return KafkaOptions(
            bootstrap_servers=kafka.bootstrap_servers,
            common=kafka.options,
            consumer=kafka.consumer_options,
            producer=kafka.producer_options,
            group_protocol=stages.group_protocol,
            session_timeout_ms=stages.session_timeout_ms,
            heartbeat_ms=stages.heartbeat_ms,
            linger_ms=stages.linger_ms,
            transaction_timeout_ms=stages.transaction_timeout_ms,
        )

    @property
    def faust_folder(self) -> Path:
        """Where Faust may put files of its own."""
        return self.settings.data_dir / "run" / "faust"

    @cached_property
    def policy(self) -> Policy:
        """How conversations run, until tenants choose for themselves."""
        chosen, answering = self.settings.conversation, self.settings.answering
        return Policy(
            analysis_deadline_us=chosen.analysis_deadline_ms * 1000,
            turn_deadline_us=chosen.turn_deadline_ms * 1000,
            interrupt=chosen.second_message == "interrupt",
            waiting_max=chosen.queued_messages_max,
            context_events=2 * answering.history_turns,
            model=answering.model if answering.provider == "openai" else "grounded",
        )

    def check_log(self) -> None:
        """Raises `Unavailable`, with a sentence, where Kafka is away or a topic is not as it must
        be: a key on another partition would be decided against another state.
        """
        kafka = self.settings.kafka
        try:
            differences = check_topics(
                kafka.bootstrap_servers, kafka.admin(), TOPICS, timeout_s=CHECK_S
            )
        except KafkaAdminError as error:
            raise Unavailable(str(error)) from error
        if differences:
            others = f", which names {len(differences) - 1} more" if differences[1:] else ""
            raise Unavailable(f'{differences[0]} (run "parley topics apply"{others})')

    def events_topic_id(self) -> str:
        """The id of the events topic, which names this incarnation of the log."""
        return self.topic_id(EVENTS.name)

    def topic_id(self, name: str) -> str:
        """The id of a topic. Raises `Unavailable`."""
        return topic_id(AdminClient(self.settings.kafka.admin()), name)

    def close(self) -> None:
        """Lets go of what was opened."""
        opened: dict[str, Any] = self.__dict__
        if "tracing" in opened:
            self.tracing.close()
        if "sealer" in opened:
            self.sealer.close()


def topic_id(admin: AdminClient, name: str) -> str:
    """The id of a topic. Raises `Unavailable` while the broker is away or has no such topic."""
    try:
        described = admin.describe_topics(TopicCollection([name]), request_timeout=8.0)
        return str(answer_of(described[name], 10.0).topic_id)
    except KafkaException as error:
        reason = error.args[0].str()
        raise Unavailable(f"topic {name} can't be described: {reason}") from error
