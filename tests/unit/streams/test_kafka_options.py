"""The user's librdkafka options pass through, except where a promise depends on ours."""

from __future__ import annotations

from typing import Any

import pytest

from schemas.topics import DEAD_LETTERS
from streams.kafka_options import KafkaOptions

UNSAFE = {
    "acks": "1",
    "enable.idempotence": "false",
    "enable.auto.commit": "true",
    "enable.auto.offset.store": "true",
    "isolation.level": "read_uncommitted",
    "auto.offset.reset": "latest",
    "partitioner": "random",
    "transactional.id": "theirs",
    "group.id": "theirs",
    "bootstrap.servers": "theirs:9092",
    "message.max.bytes": "1000",
}


def every_client(options: KafkaOptions) -> dict[str, dict[str, Any]]:
    return {
        "consumer": options.for_consumer("ours"),
        "reader": options.for_reader(committed=True),
        "producer": options.for_producer(),
        "transactions": options.for_transactions("ours-p0"),
    }


@pytest.mark.parametrize("where", ["common", "consumer", "producer"])
def test_no_option_of_the_user_weakens_a_promise(where: str) -> None:
    safe = every_client(KafkaOptions("ours:9092"))
    clients = every_client(KafkaOptions("ours:9092", **{where: UNSAFE}))  # type: ignore[arg-type]
    for name, options in clients.items():
        weakened = {k: v for k, v in options.items() if k in safe[name] and v != safe[name][k]}
        assert weakened == {}, name


def test_tls_and_sasl_reach_every_client() -> None:
    given = {"security.protocol": "SASL_SSL", "ssl.ca.location": "/etc/ca.pem"}
    for options in every_client(KafkaOptions("ours:9092", common=given)).values():
        assert options.items() >= given.items()


def test_options_of_a_kind_reach_that_kind_alone_and_win_over_common_ones() -> None:
    options = KafkaOptions(
        "ours:9092",
        common={"client.id": "both"},
        consumer={"client.id": "in", "fetch.wait.max.ms": "5"},
        producer={"client.id": "out"},
    )
    clients = every_client(options)
    assert {name: o["client.id"] for name, o in clients.items()} == {
        "consumer": "in",
        "reader": "in",
        "producer": "out",
        "transactions": "out",
    }
    assert clients["consumer"]["fetch.wait.max.ms"] == "5"
    assert "fetch.wait.max.ms" not in clients["producer"]


def test_keys_land_where_javas_clients_put_them() -> None:
    for name in ("producer", "transactions"):
        assert every_client(KafkaOptions("b"))[name]["partitioner"] == "murmur2_random"


def test_a_producer_takes_whatever_the_dead_letter_topic_takes() -> None:
    limit = KafkaOptions("b").for_producer()["message.max.bytes"]
    assert int(limit) >= int(DEAD_LETTERS.config["max.message.bytes"])


def test_the_classic_protocol_rebalances_cooperatively_and_notices_a_loss_in_seconds() -> None:
    options = KafkaOptions("b", group_protocol="classic").for_consumer("g")
    assert options["partition.assignment.strategy"] == "cooperative-sticky"
    assert int(options["session.timeout.ms"]) <= 6000
    modern = KafkaOptions("b").for_consumer("g")
    # With KIP-848 these are the broker's, and librdkafka refuses them.
    assert not {"session.timeout.ms", "partition.assignment.strategy"} & set(modern)
