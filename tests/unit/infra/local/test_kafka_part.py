"""What Kafka is given: at its first start, and as settings."""

from __future__ import annotations

import re

from infra.local.kafka import SETTINGS, new_cluster_id


def test_a_cluster_id_is_never_taken_for_an_option() -> None:
    """One of 64 would begin with a hyphen: among so many there would be one."""
    drawn = {new_cluster_id() for _ in range(2000)}
    assert all(re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_-]{21}", each) for each in drawn)
    assert len(drawn) == 2000


def test_kafka_looks_for_abandoned_transactions_no_sooner_than_it_has_started() -> None:
    """One that timed out while the broker was away is taken for ended before its partitions are,
    if the look comes while the broker starts: in one of ten outages of ten seconds, at a second's
    distance. Then nobody reads past it, for ever."""
    name = "transaction.abort.timed.out.transaction.cleanup.interval.ms"
    assert int(SETTINGS.get(name, "10000")) >= 10_000
