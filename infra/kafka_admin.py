"""Creates topics as they are declared and says where existing ones differ.

Which topics there should be is the caller's knowledge; nothing here ever changes or deletes one.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic, ResourceType

TIMEOUT_S = 8.0
"""Longest wait for a cluster that does not answer."""

_T = TypeVar("_T")


class TopicSpec(Protocol):
    """A topic as it must exist."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def partitions(self) -> int:
        """Its number of partitions."""

    @property
    def config(self) -> Mapping[str, str]:
        """Its settings, as Kafka names them; those not given are the broker's business."""


class KafkaAdminError(Exception):
    """The cluster could not be asked, or refused; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class TopicsReport:
    """What was done and what is left: topics created, and one sentence for each difference."""

    created: tuple[str, ...]
    differences: tuple[str, ...]


def apply_topics(
    bootstrap: str,
    options: Mapping[str, str],
    specs: Sequence[TopicSpec],
    *,
    replication_factor: int = 1,
    timeout_s: float = TIMEOUT_S,
) -> TopicsReport:
    """Creates the topics that are missing; those that exist are compared and left as they are.

    `options` are librdkafka's, for TLS and SASL among others. Safe to run from several processes.

    Raises:
        KafkaAdminError: no broker answers, or one refuses.
    """
    admin = _admin(bootstrap, options)
    existing = _partitions(admin, bootstrap, timeout_s)
    missing = [spec for spec in specs if spec.name not in existing]
    created = _create(admin, missing, replication_factor, timeout_s)
    _await_visible(admin, bootstrap, [spec.name for spec in missing], timeout_s)
    return TopicsReport(created, _differences(admin, bootstrap, specs, timeout_s))


def check_topics(
    bootstrap: str,
    options: Mapping[str, str],
    specs: Sequence[TopicSpec],
    *,
    timeout_s: float = TIMEOUT_S,
) -> tuple[str, ...]:
    """One sentence for each topic that is missing or differs; none if all is as declared.

    Raises:
        KafkaAdminError: no broker answers, or one refuses.
    """
    return _differences(_admin(bootstrap, options), bootstrap, specs, timeout_s)


def _admin(bootstrap: str, options: Mapping[str, str]) -> AdminClient:
    # The client logs every failed connection; the exception below says it once.
    settings = {"log_level": 0, **options, "bootstrap.servers": bootstrap}
    try:
        return AdminClient(settings)
    except KafkaException as error:
        raise KafkaAdminError(
            f"Kafka at {bootstrap} cannot be asked: {_says(error)}; check the Kafka settings"
        ) from error


def _partitions(admin: AdminClient, bootstrap: str, timeout_s: float) -> dict[str, int]:
    try:
        topics = admin.list_topics(timeout=timeout_s).topics
    except KafkaException as error:
        raise KafkaAdminError(
            f"Kafka at {bootstrap} does not answer within {timeout_s:g} s ({_says(error)}): "
            "is it running, and is the address right?"
        ) from error
    return {name: len(topic.partitions) for name, topic in topics.items()}


def _create(
    admin: AdminClient, specs: Sequence[TopicSpec], replication_factor: int, timeout_s: float
) -> tuple[str, ...]:
    if not specs:
        return ()
    wanted = [
        NewTopic(spec.name, spec.partitions, replication_factor, config=dict(spec.config))
        for spec in specs
    ]
    futures = admin.create_topics(wanted, operation_timeout=timeout_s)
    created = []
    for name, future in futures.items():
        try:
            answer_of(future, timeout_s)
        except KafkaException as error:
            # Another process may have been faster, which is as good.
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise KafkaAdminError(
                    f"topic {name} was not created: {_says(error)}; "
                    "check the rights of this user and the number of brokers"
                ) from error
        else:
            created.append(name)
    return tuple(created)


def _await_visible(
    admin: AdminClient, bootstrap: str, names: Sequence[str], timeout_s: float
) -> None:
    """The controller has created them; a broker hears of it a moment later."""
    give_up_at = time.monotonic() + timeout_s
    while not set(names) <= set(_partitions(admin, bootstrap, timeout_s)):
        if time.monotonic() > give_up_at:
            return  # the comparison that follows says what is missing
        time.sleep(0.05)


def _differences(
    admin: AdminClient, bootstrap: str, specs: Sequence[TopicSpec], timeout_s: float
) -> tuple[str, ...]:
    existing = _partitions(admin, bootstrap, timeout_s)
    found = [spec for spec in specs if spec.name in existing]
    configs = _configs(admin, [spec.name for spec in found], timeout_s)
    sentences: list[str] = []
    for spec in specs:
        if spec.name not in existing:
            sentences.append(f"topic {spec.name} is missing: apply the topics to create it")
        else:
            sentences += compare(spec, existing[spec.name], configs[spec.name])
    return tuple(sentences)


def _configs(
    admin: AdminClient, names: Iterable[str], timeout_s: float
) -> dict[str, Mapping[str, str]]:
    resources = [ConfigResource(ResourceType.TOPIC, name) for name in names]
    if not resources:
        return {}
    futures: Mapping[Any, Future[Any]] = admin.describe_configs(
        resources, request_timeout=timeout_s
    )
    found: dict[str, Mapping[str, str]] = {}
    for resource, future in futures.items():
        entries = _settled(future, timeout_s, f"the settings of topic {resource.name}")
        found[resource.name] = {name: entry.value for name, entry in entries.items()}
    return found


def answer_of(future: Future[_T], timeout_s: float) -> _T:
    """What an admin call came to. Raises `KafkaException`, also where nothing comes in time."""
    try:
        return future.result(timeout_s)
    except TimeoutError:
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT)) from None


def _settled(future: Future[_T], timeout_s: float, what: str) -> _T:
    try:
        return answer_of(future, timeout_s)
    except KafkaException as error:
        raise KafkaAdminError(
            f"{what} could not be read: {_says(error)}; check the rights of this user"
        ) from error


def compare(spec: TopicSpec, partitions: int, config: Mapping[str, str]) -> list[str]:
    """The differences between a topic as declared and as it is, as sentences."""
    sentences = []
    if partitions != spec.partitions:
        sentences.append(
            f"topic {spec.name} has {partitions} partitions, {spec.partitions} expected: changing "
            "it would remap keys, so move to a new topic, or delete this one if it may be lost"
        )
    for name, wanted in spec.config.items():
        if config.get(name) != wanted:
            sentences.append(
                f"topic {spec.name} has {name}={config.get(name)}, {wanted} expected: "
                "alter it with your cluster's tools, or change the declaration"
            )
    return sentences


def _says(error: KafkaException) -> str:
    return str(error.args[0].str())
