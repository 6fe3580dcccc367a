"""What Kafka is given at its first start."""

from __future__ import annotations

import re

from infra.local.kafka import new_cluster_id


def test_a_cluster_id_is_never_taken_for_an_option() -> None:
    """One of 64 would begin with a hyphen: among so many there would be one."""
    drawn = {new_cluster_id() for _ in range(2000)}
    assert all(re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_-]{21}", each) for each in drawn)
    assert len(drawn) == 2000
