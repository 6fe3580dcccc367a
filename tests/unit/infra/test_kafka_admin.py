"""What an admin call came to is told in Kafka's own words, also where nothing came."""

from __future__ import annotations

from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from infra import kafka_admin
from infra.kafka_admin import KafkaAdminError, answer_of, check_topics
from schemas.topics import EVENTS


class Silent:
    """A cluster that lists its topics, and does not answer the question for their settings."""

    def __init__(self, settings: dict[str, str]) -> None:
        self.topics = {EVENTS.name: SimpleNamespace(partitions=range(EVENTS.partitions))}

    def list_topics(self, timeout: float) -> Any:
        return self

    def describe_configs(self, resources: list[Any], request_timeout: float) -> Any:
        return {resource: Future() for resource in resources}


def test_no_answer_in_time_is_an_error_of_kafkas() -> None:
    with pytest.raises(KafkaException) as raised:
        answer_of(Future(), 0.01)
    assert raised.value.args[0].code() == KafkaError._TIMED_OUT


def test_a_cluster_that_stops_answering_half_way_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kafka_admin, "AdminClient", Silent)
    with pytest.raises(KafkaAdminError, match=f"{EVENTS.name} could not be read: .*[Tt]imed out"):
        check_topics("nobody:1", {}, [EVENTS], timeout_s=0.01)
