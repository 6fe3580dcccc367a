"""A process that can't start, since something it needs is away or not as it must be, says so."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from running_stack import Answered, RunningStack, run_parley

from infra.kafka_admin import apply_topics
from infra.local import Stack, fetch
from parley.exits import Exit
from parley.local_stack import scatter_ports
from schemas.topics import EVENTS, TOPICS

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]

WITHIN_S = 10.0
"""From the return key to the prompt, as people feel it; Python itself may take longer to start on
a machine that does other things."""


@dataclass(frozen=True)
class Needed:
    """A part that a process needs: where it is said to be, and what its absence is answered with.

    `{}` stands for `host:port` in both.
    """

    variable: str
    address: str
    named: str
    what_to_do: str


PARTS = {
    "kafka": Needed(
        "KAFKA_BOOTSTRAP_SERVERS", "{}", "Kafka at {}", "check kafka.bootstrap_servers"
    ),
    "registry": Needed(
        "SCHEMA_REGISTRY_URL", "http://{}", "the schema registry at http://{}", "check registry.url"
    ),
    "redis": Needed("REDIS_URL", "redis://{}/0", "Redis at {}", "check redis.url"),
    "clickhouse": Needed("CLICKHOUSE_URL", "http://{}", "ClickHouse at {}", "check clickhouse.url"),
}
NEEDS = {
    "worker": ("kafka", "registry", "redis"),
    "analytics": ("kafka", "registry", "clickhouse"),
}


@pytest.fixture(scope="module")
def import_s() -> float:
    """What it takes here and now until a process can do anything at all."""
    began = time.monotonic()
    script = "import parley.processes.analytics, parley.processes.worker"
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)
    return time.monotonic() - began


@contextmanager
def port(*, listening: bool) -> Iterator[str]:
    """An address where connections are refused, or taken and never answered."""
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        if listening:
            door.listen(64)
        yield f"127.0.0.1:{door.getsockname()[1]}"


def started(process: str, folder: Path, **env: str) -> tuple[Answered, float]:
    """What a process said that ended by itself, and after how many seconds."""
    began = time.monotonic()
    ended = run_parley(process, "--data", str(folder), **env)
    return ended, time.monotonic() - began


def sentence(ended: Answered) -> str:
    """The one complaint of a process. What it logs besides are no complaints."""
    lines = [json.loads(line) for line in ended.err.splitlines()]
    [complaint] = [line for line in lines if line["level"] not in ("debug", "info")]
    assert "error" not in complaint, "a trace is for defects"
    return str(complaint["message"])


@pytest.mark.parametrize("listening", [False, True], ids=["refuses", "is silent"])
@pytest.mark.parametrize(
    ("process", "part"), [(process, part) for process, parts in NEEDS.items() for part in parts]
)
def test_a_part_that_is_away_at_the_start_is_said_in_one_sentence_within_10_seconds(
    stack: RunningStack, tmp_path: Path, import_s: float, process: str, part: str, listening: bool
) -> None:
    there = {needed.variable: stack.addresses[name] for name, needed in PARTS.items()}
    away = PARTS[part]
    with port(listening=listening) as place:
        there[away.variable] = away.address.format(place)
        ended, seconds = started(process, tmp_path, **there)
    assert ended.code == Exit.UNREACHABLE, ended.err
    said = sentence(ended)
    assert away.named.format(place) in said
    assert away.what_to_do in said
    assert "\n" not in said
    assert seconds < WITHIN_S + 2 * import_s  # the stack may need the cores meanwhile


@pytest.mark.parametrize(
    ("keys", "code", "what_to_do"),
    [
        ("sqlite:///{}/keys.db", Exit.UNREACHABLE, "check KEY_STORE_URL"),
        ("mysql://127.0.0.1/keys", Exit.REFUSED, "give KEY_STORE_URL a sqlite:///"),
    ],
    ids=["away", "of no known kind"],
)
@pytest.mark.parametrize("process", NEEDS)
def test_a_key_store_that_can_not_be_opened_is_said_in_one_sentence(
    stack: RunningStack,
    tmp_path: Path,
    import_s: float,
    process: str,
    keys: str,
    code: Exit,
    what_to_do: str,
) -> None:
    there = {needed.variable: stack.addresses[name] for name, needed in PARTS.items()}
    no_folder = tmp_path / "a-file"
    no_folder.touch()
    url = keys.format(no_folder)
    ended, seconds = started(process, tmp_path / "data", **there, KEY_STORE_URL=url)
    assert ended.code == code, ended.err
    assert "key store" in sentence(ended)
    assert what_to_do in sentence(ended)
    assert seconds < WITHIN_S + 2 * import_s  # the stack may need the cores meanwhile


ALONE = """
import sys
from pathlib import Path
from infra.local import Stack, fetch
from infra.local.kafka import kafka
Stack(Path(sys.argv[1]), [kafka(fetch())]).run()
"""


@pytest.fixture(scope="module")
def odd_log(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a Kafka of its own, where the events have two partitions too few."""
    fetch()
    data = tmp_path_factory.mktemp("odd") / "data"
    scatter_ports(data)
    stack = Stack(data)
    try:
        stack.detach([sys.executable, "-c", ALONE, str(data)], tied=True)
        address = stack.addresses()["kafka"]
        apply_topics(address, {}, [replace(t, partitions=4) if t is EVENTS else t for t in TOPICS])
        yield address
    finally:
        stack.stop()


@pytest.mark.parametrize("process", ["worker", "analytics", "gateway"])
def test_a_topic_with_another_partition_count_is_refused_with_what_to_run(
    odd_log: str, tmp_path: Path, import_s: float, process: str
) -> None:
    ended, seconds = started(process, tmp_path, KAFKA_BOOTSTRAP_SERVERS=odd_log)
    assert ended.code == Exit.UNREACHABLE, ended.err
    said = sentence(ended)
    assert f"topic {EVENTS.name} has 4 partitions, 6 expected" in said
    assert 'run "parley topics apply"' in said
    assert seconds < WITHIN_S + 2 * import_s  # the stack may need the cores meanwhile
