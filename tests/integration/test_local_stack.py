"""The three real parts: ready, on loopback, small, healed after kill -9 with their data kept."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
import redis
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient

from infra.kafka_admin import KafkaAdminError, apply_topics, check_topics
from infra.local import PartFailed, Stack, StackStatus, State, fetch
from infra.local.data_folder import open_folder

pytestmark = pytest.mark.stack

SCHEMA = Schema('{"type": "record", "name": "Kept", "fields": []}', "AVRO")
WITHIN_S = 60.0


@dataclass(frozen=True)
class Topic:
    name: str
    partitions: int
    config: dict[str, str]


TOPIC = Topic("test.kept", 3, {"cleanup.policy": "delete", "retention.ms": "-1"})


def command(data: Path) -> list[str]:
    return [sys.executable, "-m", "infra.local", "--data", str(data)]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    fetch()
    data = tmp_path_factory.mktemp("local") / "stack"
    found = Stack(data)
    try:
        found.detach(command(data), tied=True)
        _write(found)
        yield found
    finally:
        found.stop()


def _write(stack: Stack) -> None:
    """Puts a record, a schema and a key into the parts, for `_kept` to look for."""
    at = stack.addresses()
    apply_topics(at["kafka"], {}, [TOPIC])
    producer = Producer({"bootstrap.servers": at["kafka"], "acks": "all"})
    producer.produce(TOPIC.name, b"kept", key=b"k", partition=1)
    assert producer.flush(30) == 0
    SchemaRegistryClient({"url": at["registry"]}).register_schema("kept", SCHEMA)
    redis.Redis.from_url(at["redis"]).set("kept", "yes")


def kafka_kept(stack: Stack) -> bool:
    consumer = Consumer({"bootstrap.servers": stack.addresses()["kafka"], "group.id": "test"})
    try:
        consumer.assign([TopicPartition(TOPIC.name, 1, 0)])
        record = consumer.poll(20)
        return record is not None and record.error() is None and record.value() == b"kept"
    finally:
        consumer.close()


def registry_kept(stack: Stack) -> bool:
    client = SchemaRegistryClient({"url": stack.addresses()["registry"]})
    return bool(
        client.lookup_schema("kept", SCHEMA).schema_id
        == client.get_latest_version("kept").schema_id
    )


def redis_kept(stack: Stack) -> bool:
    return redis.Redis.from_url(stack.addresses()["redis"]).get("kept") == b"yes"


KEPT: dict[str, Callable[[Stack], bool]] = {
    "kafka": kafka_kept,
    "registry": registry_kept,
    "redis": redis_kept,
}


def until(condition: Callable[[], bool], within_s: float = WITHIN_S) -> float:
    """Waits for a condition and says how long it took, in seconds."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < within_s, "the condition did not come true in time"
        time.sleep(0.05)
    return time.monotonic() - began


def schema_id(stack: Stack) -> int:
    client = SchemaRegistryClient({"url": stack.addresses()["registry"]})
    return int(client.get_latest_version("kept").schema_id)


def test_the_addresses_in_stack_json_are_those_of_running_parts(stack: Stack) -> None:
    status = stack.status()
    assert status.state is State.READY
    assert [part.name for part in status.parts] == ["kafka", "registry", "redis"]
    at = stack.addresses()
    assert at["kafka"].startswith("127.0.0.1:")
    assert at["registry"].endswith("/apis/ccompat/v7")
    assert at["redis"].startswith("redis://127.0.0.1:")
    assert all(KEPT[name](stack) for name in at)


def test_nothing_listens_beyond_loopback(stack: Stack) -> None:
    for part in stack.status().parts:
        listening = [
            each.laddr.ip
            for each in psutil.Process(part.pid).net_connections(kind="inet")
            if each.status == psutil.CONN_LISTEN
        ]
        assert listening, part.name
        assert all(ip in ("127.0.0.1", "::1", "::ffff:127.0.0.1") for ip in listening), part.name


def test_the_three_parts_together_stay_small(stack: Stack) -> None:
    rss_mb = {part.name: part.rss_bytes() / 2**20 for part in stack.status().parts}
    assert sum(rss_mb.values()) < 900, rss_mb


def test_the_schema_journal_is_kept_for_ever(stack: Stack) -> None:
    journal = Topic("kafkasql-journal", 1, {"retention.ms": "-1", "cleanup.policy": "delete"})
    assert check_topics(stack.addresses()["kafka"], {}, [journal]) == ()


@pytest.mark.parametrize("name", ["redis", "registry", "kafka"])
def test_a_killed_part_comes_back_with_its_data(stack: Stack, name: str) -> None:
    before = stack.status().part(name)
    known = schema_id(stack)
    os.kill(before.pid, signal.SIGKILL)
    until(lambda: stack.status().part(name).restarts == before.restarts + 1)
    until(lambda: stack.status().part(name).state is State.READY)
    after = stack.status().part(name)
    assert after.pid != before.pid
    assert after.address == before.address
    assert "SIGKILL" in after.last_exit
    assert KEPT[name](stack)
    # The registry reads from Kafka: whichever of the two died, it must serve and register again.
    assert schema_id(stack) == known
    client = SchemaRegistryClient({"url": stack.addresses()["registry"]})
    until(lambda: _registers(client, f"after-{name}"))


def _registers(client: SchemaRegistryClient, subject: str) -> bool:
    try:
        return int(client.register_schema(subject, SCHEMA)) > 0
    except Exception:
        return False


CONSUME = """
import sys
from confluent_kafka import Consumer
consumer = Consumer(
    {"bootstrap.servers": sys.argv[1], "group.id": "drill", "group.protocol": "consumer"}
)
consumer.subscribe(["test.kept"])
while not consumer.assignment():
    consumer.poll(0.1)
print("assigned", flush=True)
while True:
    consumer.poll(0.1)
"""


def test_the_partitions_of_a_killed_consumer_move_within_a_few_seconds(stack: Stack) -> None:
    kafka = stack.addresses()["kafka"]
    first = subprocess.Popen(
        [sys.executable, "-c", CONSUME, kafka], stdout=subprocess.PIPE, text=True
    )
    second = Consumer(
        {"bootstrap.servers": kafka, "group.id": "drill", "group.protocol": "consumer"}
    )
    try:
        assert first.stdout is not None
        assert first.stdout.readline() == "assigned\n"
        second.subscribe([TOPIC.name])
        until(lambda: _holds(second, 1))
        first.kill()
        first.wait()
        # 2 s session, a heartbeat to learn of it, and some for a busy machine.
        assert until(lambda: _holds(second, TOPIC.partitions)) < 8
    finally:
        first.kill()
        first.wait()
        second.close()


def _holds(consumer: Any, partitions: int) -> bool:
    consumer.poll(0.05)
    return len(consumer.assignment()) >= partitions


def test_a_second_stack_on_the_same_folder_is_refused(stack: Stack) -> None:
    status = stack.status()
    assert status.supervisor is not None
    data = Path(status.parts[0].log).parent.parent
    second = subprocess.run(command(data), capture_output=True, text=True, timeout=30, check=False)
    assert second.returncode == 1
    assert f"in use by process {status.supervisor.pid}" in second.stderr
    assert len(second.stderr.splitlines()) == 1
    assert stack.status() == status


def test_topics_are_created_once_and_never_changed(stack: Stack) -> None:
    kafka = stack.addresses()["kafka"]
    new = Topic("test.applied", 4, {"cleanup.policy": "compact"})
    assert check_topics(kafka, {}, [new]) == (
        "topic test.applied is missing: apply the topics to create it",
    )
    assert apply_topics(kafka, {}, [TOPIC, new]).created == ("test.applied",)
    assert apply_topics(kafka, {}, [TOPIC, new]).created == ()
    other = Topic("test.applied", 6, {"cleanup.policy": "delete"})
    report = apply_topics(kafka, {}, [other])
    assert report.created == ()
    assert [each.split(":")[0] for each in report.differences] == [
        "topic test.applied has 4 partitions, 6 expected",
        "topic test.applied has cleanup.policy=compact, delete expected",
    ]
    assert check_topics(kafka, {}, [new]) == ()


def test_a_cluster_that_is_away_is_said_within_ten_seconds() -> None:
    began = time.monotonic()
    with pytest.raises(KafkaAdminError, match=r"Kafka at 127\.0\.0\.1:1 does not answer"):
        check_topics("127.0.0.1:1", {}, [TOPIC])
    assert time.monotonic() - began < 10


def test_a_damaged_broker_configuration_fails_the_start_in_a_sentence(tmp_path: Path) -> None:
    data = tmp_path / "stack"
    open_folder(data).home("kafka").joinpath("log").write_text("not a folder")
    began = time.monotonic()
    with pytest.raises(PartFailed, match="kafka"):
        Stack(data).detach(command(data), tied=True)
    assert time.monotonic() - began < 30
    assert Stack(data).status().state is State.FAILED


def test_a_clean_stop_leaves_no_process_and_the_next_start_finds_everything(stack: Stack) -> None:
    before = stack.status()
    at, known = stack.addresses(), schema_id(stack)
    data = Path(before.parts[0].log).parent.parent
    began = time.monotonic()
    assert stack.stop()
    assert time.monotonic() - began < 30
    assert not any(psutil.pid_exists(part.pid) for part in before.parts)
    assert not (data / "stack.json").exists()
    assert stack.status().state is State.STOPPED
    changes: list[StackStatus] = []
    stack.detach(command(data), on_change=changes.append, tied=True)
    assert changes[-1].state is State.READY
    assert stack.addresses() == at
    assert json.loads((data / "stack.json").read_text()) == at
    assert schema_id(stack) == known
    assert all(KEPT[name](stack) for name in at)
