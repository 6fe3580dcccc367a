"""The Kafka part: one node, broker and controller at once, tuned for one machine."""

from __future__ import annotations

import base64
import subprocess
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from infra.local.artifacts import Artifacts
from infra.local.errors import PartFailed
from infra.local.files import write_text
from infra.local.java import class_path, java_command, properties_text
from infra.local.part import Part, PartFactory, Site
from infra.local.ports import HOST
from infra.local.ready import port_answers

NAME = "kafka"
USUAL_PORT = 9092
USUAL_CONTROLLER_PORT = 9093

SETTINGS: Mapping[str, str] = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
    "auto.create.topics.enable": "false",
    # One node: every internal topic has one replica, and few partitions so that it starts fast.
    "default.replication.factor": "1",
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "4",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "share.coordinator.state.topic.num.partitions": "1",
    # A killed consumer is noticed after 2 s on KIP-848, and where it asks for it, classic.
    "group.consumer.min.session.timeout.ms": "1000",
    "group.consumer.session.timeout.ms": "2000",
    "group.consumer.min.heartbeat.interval.ms": "200",
    "group.consumer.heartbeat.interval.ms": "300",
    "group.min.session.timeout.ms": "1000",
    "group.initial.rebalance.delay.ms": "0",
    # How often Kafka looks for abandoned transactions is left at 10 s. Heirs end theirs themselves;
    # and a broker that looks while it starts, with one that timed out while it was away, takes it
    # for ended before its partitions hear of that (4.3.1): nobody reads past it then.
    # After kill -9 the controller refuses the node until its old session has run out.
    "broker.session.timeout.ms": "2000",
    "broker.heartbeat.interval.ms": "300",
    # Batching of offset commits helps big clusters; alone it would add to every transaction.
    "group.coordinator.append.linger.ms": "0",
    # An idle controller writes a record into its log at this distance; twice a second wears disks.
    "metadata.max.idle.interval.ms": "5000",
    # Few threads and buffers: one machine, a handful of clients.
    "num.network.threads": "2",
    "num.io.threads": "4",
    "background.threads": "2",
    "num.replica.fetchers": "1",
    "log.cleaner.threads": "1",
    "log.cleaner.dedupe.buffer.size": "8388608",
    "log.cleaner.io.buffer.size": "262144",
    "log.index.size.max.bytes": "1048576",
}
"""The broker's settings, but for addresses and folders."""

_LOG4J = """\
status=error
rootLogger.level=warn
rootLogger.appenderRef.out.ref=OUT
appender.out.type=Console
appender.out.name=OUT
appender.out.layout.type=PatternLayout
appender.out.layout.pattern=%d{ISO8601} %p %m (%c{1})%n
logger.server.name=kafka.server.KafkaRaftServer
logger.server.level=info
"""


@dataclass(frozen=True, slots=True)
class _Broker:
    """One broker: what its commands are made of."""

    artifacts: Artifacts
    home: Path
    heap_mb: int

    @property
    def config_path(self) -> Path:
        return self.home / "server.properties"

    def configure(self, port: int, controller_port: int) -> None:
        listeners = f"PLAINTEXT://{HOST}:{port}"
        write_text(
            self.config_path,
            properties_text(
                {
                    **SETTINGS,
                    "listeners": f"{listeners},CONTROLLER://{HOST}:{controller_port}",
                    "advertised.listeners": listeners,
                    "controller.quorum.voters": f"1@{HOST}:{controller_port}",
                    "log.dirs": str(self.home / "log"),
                }
            ),
        )
        write_text(self.home / "log4j2.properties", _LOG4J)

    def command(self, main: str, *arguments: str) -> tuple[str, ...]:
        return java_command(
            self.artifacts.java,
            heap_mb=self.heap_mb,
            class_path=class_path(self.artifacts.kafka),
            main=main,
            properties={"log4j2.configurationFile": str(self.home / "log4j2.properties")},
            arguments=arguments,
        )

    def format(self) -> None:
        """Prepares a new log folder; one that is in use stays as it is."""
        done = self.home / "formatted"
        if done.exists():
            return
        # A first try may have been cut off half way, hence --ignore-formatted.
        arguments = ("format", "--ignore-formatted", "-t", new_cluster_id(), "-c")
        tool = self.command("kafka.tools.StorageTool", *arguments, str(self.config_path))
        ended = subprocess.run(tool, capture_output=True, text=True, timeout=60, check=False)
        if ended.returncode != 0:
            raise PartFailed(
                f"Kafka's log folder in {self.home} could not be formatted: "
                "is the disk full, or the folder read-only?",
                ended.stdout + ended.stderr,
            )
        done.touch()


def new_cluster_id() -> str:
    """A random id as Kafka writes it: 22 characters of URL-safe base64.

    None begins with a hyphen, which Kafka's tool would take for an option.
    """
    while True:
        drawn = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        if not drawn.startswith("-"):
            return drawn


def kafka(artifacts: Artifacts, heap_mb: int = 384) -> PartFactory:
    """The factory of the Kafka part; its address is `host:port`."""

    def build(site: Site) -> Part:
        broker = _Broker(artifacts, site.folder.home(NAME), heap_mb)
        port = site.ports.take(NAME, USUAL_PORT)
        broker.configure(port, site.ports.take("kafka-controller", USUAL_CONTROLLER_PORT))
        return Part(
            name=NAME,
            version=artifacts.kafka_version,
            argv=broker.command("kafka.Kafka", str(broker.config_path)),
            log_path=site.log_path(NAME),
            cwd=broker.home,
            address=f"{HOST}:{port}",
            ready=lambda: answers(port),
            prepare=broker.format,
            ready_timeout_s=90,
            stop_timeout_s=20,
        )

    return build


def answers(port: int) -> bool:
    """Whether a broker on this port of loopback has registered and serves metadata."""
    # Without a listener the client below would wait for one, to no use.
    if not port_answers(port):
        return False
    client = AdminClient(
        {"bootstrap.servers": f"{HOST}:{port}", "log_level": 0, "socket.timeout.ms": 2000}
    )
    try:
        return bool(client.list_topics(timeout=2).brokers)
    except KafkaException:
        return False
