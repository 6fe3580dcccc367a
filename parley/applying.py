"""Topics and schemas as the language declares them: applied to a cluster, or compared with it.

Nothing that exists is ever changed or deleted, but on the embedded broker, which is ours alone.
"""

from __future__ import annotations

from dataclasses import dataclass

from confluent_kafka import KafkaException
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)

from infra.kafka_admin import (
    TIMEOUT_S,
    KafkaAdminError,
    TopicsReport,
    answer_of,
    apply_topics,
    check_topics,
)
from infra.schema_registry import SchemaRegistry
from infra.settings import Settings
from schemas.avro_types import record_schema
from schemas.failures import Unavailable
from schemas.topics import TOPICS
from schemas.wire import SchemaIds


@dataclass(frozen=True, slots=True)
class Applied:
    """What was done, and one sentence for each topic that exists in another shape."""

    created: tuple[str, ...]
    schemas: int
    differences: tuple[str, ...]


def open_registry(settings: Settings, *, remembers: bool = True) -> SchemaRegistry:
    """The registry, with its answers of earlier runs at hand if it `remembers`."""
    chosen = settings.registry
    cache = chosen.cache_dir / "schemas.json" if remembers and chosen.cache_dir else None
    return SchemaRegistry(
        chosen.url, cache_file=cache, timeout_ms=chosen.timeout_ms, options=chosen.options
    )


def create_topics(settings: Settings) -> TopicsReport:
    """Creates the topics that are missing. Raises `KafkaAdminError`."""
    kafka = settings.kafka
    return apply_topics(
        kafka.bootstrap_servers,
        kafka.admin(),
        TOPICS,
        replication_factor=kafka.replication_factor,
    )


def apply(settings: Settings) -> Applied:
    """Creates missing topics and registers every schema.

    Raises `KafkaAdminError`, `Unavailable` (the registry) and `Incompatible`.
    """
    topics = create_topics(settings)
    schemas = open_registry(settings).register(TOPICS)
    return Applied(topics.created, schemas, topics.differences)


def check(settings: Settings) -> tuple[str, ...]:
    """One sentence for each difference between the declaration and the cluster.

    Raises `KafkaAdminError` and `Unavailable`, the latter for a schema that is not registered.
    """
    kafka = settings.kafka
    sentences = list(check_topics(kafka.bootstrap_servers, kafka.admin(), TOPICS))
    # The question is what the registry has now.
    registry = open_registry(settings, remembers=False)
    for topic in TOPICS:
        for record in topic.records:
            try:
                registry.id_of(topic.subject(record), record_schema(record))
            except Unavailable as error:
                if error.__cause__ is not None and "not registered" not in str(error):
                    raise
                sentences.append(str(error))
    return tuple(sentences)


def alter_settings(settings: Settings) -> None:
    """Gives existing topics the settings that they are declared with.

    For a broker that is ours alone, whose topics an older version may have made. Raises
    `KafkaAdminError`.
    """
    admin = AdminClient(settings.kafka.admin())
    wanted = [
        ConfigResource(
            ResourceType.TOPIC,
            topic.name,
            incremental_configs=[
                ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
                for name, value in topic.config.items()
            ],
        )
        for topic in TOPICS
    ]
    try:
        for future in admin.incremental_alter_configs(wanted, request_timeout=TIMEOUT_S).values():
            answer_of(future, TIMEOUT_S)
    except KafkaException as error:
        raise KafkaAdminError(f"topics were not altered: {error.args[0].str()}") from error


def all_known(registry: SchemaIds) -> bool:
    """Whether every schema has its id at hand, so that nobody has to wait for the registry."""
    try:
        for topic in TOPICS:
            for record in topic.records:
                registry.id_of(topic.subject(record), record_schema(record))
    except Unavailable:
        return False
    return True
