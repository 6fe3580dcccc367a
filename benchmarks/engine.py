"""Measures the conversation stage on a real broker: throughput on one core, and one hop's latency.

    python -m benchmarks.engine --kafka 127.0.0.1:9092 --registry http://127.0.0.1:8081/...

Throughput: whole conversations (a message, its analysis, its answer; three commands and four
events a message) wait on the commands topic; a worker pinned to one core folds them, with strict
Avro in and out, state, changelog and a transaction per partition and batch. Latency: one
`SubmitMessage` at a time, from `produce` to a `read_committed` consumer that has the event.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from multiprocessing import get_context
from types import MappingProxyType
from typing import Any

from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient, NewTopic

from infra.keys.sealing import PlainSealer
from infra.schema_registry import SchemaRegistry
from infra.telemetry.metrics import Metrics
from processors.conversation.policy import Policy
from schemas import topics
from schemas.commands import Command, CompleteTurn, RecordAnalysis, SubmitMessage
from schemas.envelope import CommandEnvelope, Sealed
from schemas.headers import command_headers
from schemas.identifiers import client_command_id, internal_command_id, turn_id
from schemas.parts import Citation, Inference, Usage
from schemas.topics import Topic, conversation_key
from schemas.wire import TopicWire
from streams.conversation_stage import ConversationTransform, conversation_format
from streams.dead_letters import DeadLetters
from streams.decoding import Decoder
from streams.kafka_options import KafkaOptions
from streams.restore import restore
from streams.state import MemoryState
from streams.transactional_stage import TransactionalStage
from streams.transactions import Transactions
from streams.worker import Reading, Worker

MESSAGES_EACH = 8
EVENTS_EACH = 4 * MESSAGES_EACH + 1


@dataclass(frozen=True, slots=True)
class Place:
    """Where a run happens, and the topics' prefix that keeps it apart."""

    kafka: str
    registry: str
    group: str
    protocol: str
    batch_max: int


def sealed(origin_id: str, size_bytes: int) -> Sealed:
    return Sealed("p" * 22, "2026-11/1", origin_id, "text", os.urandom(12), os.urandom(size_bytes))


def envelope(command_id: str, conversation: str, origin: str) -> CommandEnvelope:
    return CommandEnvelope(
        command_id=command_id,
        tenant_id="bench",
        conversation_id=conversation,
        issued_at=time.time_ns() // 1000,
        origin=origin,
        causation_id=None,
        correlation_id=command_id,
        traceparent=None,
        actor="p" * 22,
        body_hmac=os.urandom(16) if origin == "client" else None,
    )


def submit(conversation: str, number: int) -> SubmitMessage:
    mid = f"m{number}"
    command_id = client_command_id("bench", conversation, "p" * 22, mid, "SubmitMessage")
    return SubmitMessage(envelope(command_id, conversation, "client"), mid, sealed(command_id, 90))


def whole_conversation(conversation: str) -> Iterator[Command]:
    """The commands that lead to every message's answer, as the stages would send them."""
    for number in range(MESSAGES_EACH):
        message_seq = 2 + 4 * number
        yield submit(conversation, number)
        analysis = internal_command_id(
            "bench", conversation, "analysis", str(message_seq), "record"
        )
        inferences = tuple(
            Inference(task, "card_arrival", 0.93, "heads/1", "d" * 64, 4200)
            for task in ("intent.banking77", "out_of_scope", "sentiment")
        )
        yield RecordAnalysis(
            envelope(analysis, conversation, "analysis"),
            message_seq=message_seq,
            mid=f"m{number}",
            redacted=sealed(analysis, 90),
            findings=(),
            inferences=inferences,
        )
        turn = turn_id("bench", conversation, message_seq)
        complete = internal_command_id("bench", conversation, "answering", turn, "complete", 1)
        yield CompleteTurn(
            envelope(complete, conversation, "answering"),
            turn_id=turn,
            attempt=1,
            text=sealed(complete, 400),
            citations=(Citation(1, "card-arrival", 0, 0.9, sealed(complete, 40)),),
            usage=Usage("grounded", "grounded", 0, 0, 0),
            declined=False,
            confidence=0.9,
            history_turns=0,
            first_token_us=5000,
            duration_us=9000,
        )


def build_worker(place: Place, wires: dict[Topic, TopicWire]) -> Worker:
    options = KafkaOptions(place.kafka, group_protocol=place.protocol)
    sealer = PlainSealer.__new__(PlainSealer)  # only dead letters would use it
    metrics = Metrics()

    def open_states(partitions: Any) -> Any:
        layout = conversation_format(wires[topics.CONVERSATIONS])
        states = {p: MemoryState(layout) for p in partitions}
        restore(topics.CONVERSATIONS.name, states, options)
        return states

    transform = ConversationTransform(
        wires[topics.EVENTS],
        wires[topics.CONVERSATIONS],
        wires[topics.COMMANDS],
        open_states,
        lambda tenant: Policy(analysis_deadline_us=10**15, turn_deadline_us=10**15),
    )
    stage = TransactionalStage(
        "conversation",
        Decoder([wires[topics.COMMANDS]]),
        transform,
        Transactions(f"conversation-{place.group}", options),
        DeadLetters("conversation", wires[topics.DEAD_LETTERS], sealer, metrics),
        metrics,
    )
    reading = Reading(stage, place.group, (topics.COMMANDS.name,), place.batch_max)
    return Worker("bench", [reading], options)


def use_topics(prefix: str) -> None:
    """Renames the topics of this process, so that runs do not meet."""
    for name in ("COMMANDS", "EVENTS", "CONVERSATIONS", "DEAD_LETTERS"):
        topic = getattr(topics, name)
        object.__setattr__(topic, "name", f"{prefix}.{topic.name}")


def open_wires(registry_url: str, register: bool) -> dict[Topic, TopicWire]:
    registry = SchemaRegistry(registry_url)
    used = (topics.COMMANDS, topics.EVENTS, topics.CONVERSATIONS, topics.DEAD_LETTERS)
    if register:
        registry.register(used)
    wires = {topic: TopicWire(topic, registry) for topic in used}
    for wire in wires.values():
        wire.prepare()
    return wires


def run_worker(place: Place, prefix: str, core: int | None, stop: Any) -> None:
    if core is not None:
        os.sched_setaffinity(0, {core})
    use_topics(prefix)

    async def main() -> None:
        worker = build_worker(place, open_wires(place.registry, register=False))
        await worker.start()
        failed = asyncio.ensure_future(worker.failed())
        while not stop.is_set() and not failed.done():
            await asyncio.sleep(0.1)
        failed.cancel()
        await worker.stop()

    import uvloop

    uvloop.run(main())


def measure(args: argparse.Namespace) -> dict[str, Any]:
    prefix = f"bench-{uuid.uuid4().hex[:8]}"
    use_topics(prefix)
    wires = open_wires(args.registry, register=True)
    admin = AdminClient({"bootstrap.servers": args.kafka})
    created = admin.create_topics(
        [NewTopic(t.name, t.partitions, 1, config=dict(MappingProxyType(t.config))) for t in wires]
    )
    for future in created.values():
        future.result(30)
    place = Place(args.kafka, args.registry, prefix, args.protocol, args.batch)
    commands = fill(args, wires)
    throughput = drain(args, place, prefix, commands)
    admin.delete_topics([t.name for t in wires])
    return throughput


def fill(args: argparse.Namespace, wires: dict[Topic, TopicWire]) -> int:
    producer = Producer(
        {**KafkaOptions(args.kafka).for_producer(), "linger.ms": 20, "compression.type": "lz4"}
    )
    streams = [whole_conversation(f"c{n}") for n in range(args.conversations)]
    count = 0
    # One command of each conversation in turn, as they come when many people talk at once.
    for step in zip(*streams, strict=True):
        for command in step:
            e = command.envelope
            producer.produce(
                topics.COMMANDS.name,
                wires[topics.COMMANDS].encode(command),
                conversation_key(e.tenant_id, e.conversation_id),
                headers=command_headers(type(command), e, b"/bench"),
            )
            count += 1
        producer.poll(0)
    producer.flush()
    return count


def drain(args: argparse.Namespace, place: Place, prefix: str, commands: int) -> dict[str, Any]:
    context = get_context("spawn")
    stop = context.Event()
    process = context.Process(target=run_worker, args=(place, prefix, args.core, stop))
    process.start()
    consumer = Consumer(
        {
            **KafkaOptions(args.kafka).for_reader(committed=True, group=f"{prefix}-out"),
            "enable.partition.eof": False,
        }
    )
    from confluent_kafka import TopicPartition as Assigned

    consumer.assign([Assigned(topics.EVENTS.name, p, 0) for p in range(topics.EVENTS.partitions)])
    wanted = args.conversations * EVENTS_EACH
    seen, first_ms, last_ms = 0, None, 0
    deadline = time.monotonic() + 300
    while seen < wanted and time.monotonic() < deadline:
        for message in consumer.consume(10_000, 0.5):
            if message.error():
                continue
            seen += 1
            stamp_ms = message.timestamp()[1]
            first_ms = stamp_ms if first_ms is None else min(first_ms, stamp_ms)
            last_ms = max(last_ms, stamp_ms)
    seconds = (last_ms - (first_ms or last_ms)) / 1000 or float("inf")
    result: dict[str, Any] = {
        "commands": commands,
        "events": seen,
        "events_wanted": wanted,
        "seconds": round(seconds, 2),
        "commands_per_s": round(commands / seconds),
        "events_per_s": round(seen / seconds),
    }
    result["hop_ms"] = hop(args, consumer)
    stop.set()
    process.join(30)
    consumer.close()
    return result


def hop(args: argparse.Namespace, consumer: Consumer) -> dict[str, float]:
    """Milliseconds from producing a command to having its event, one at a time."""
    wire = TopicWire(topics.COMMANDS, SchemaRegistry(args.registry))
    producer = Producer({**KafkaOptions(args.kafka).for_producer(), "linger.ms": 0})
    times: list[float] = []
    for number in range(args.hops):
        command = submit(f"hop{number}", 0)
        e = command.envelope
        value, key = wire.encode(command), conversation_key(e.tenant_id, e.conversation_id)
        began = time.perf_counter()
        producer.produce(topics.COMMANDS.name, value, key)
        producer.poll(0)
        got = 0
        while got < 2:  # ConversationStarted and MessageReceived
            message = consumer.poll(5)
            if message is None:
                raise SystemExit("no event came within 5 s")
            got += message.key() == key
        times.append((time.perf_counter() - began) * 1000)
        producer.poll(0.01)
    times.sort()
    cut = times[len(times) // 10 :] if False else times
    return {
        "p50": round(statistics.median(cut), 2),
        "p95": round(cut[int(len(cut) * 0.95)], 2),
        "p99": round(cut[int(len(cut) * 0.99)], 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--kafka", required=True, help="bootstrap servers")
    parser.add_argument("--registry", required=True, help="registry URL")
    parser.add_argument("--conversations", type=int, default=3000)
    parser.add_argument("--hops", type=int, default=300)
    parser.add_argument("--batch", type=int, default=2000, help="records of a batch at most")
    parser.add_argument("--core", type=int, default=None, help="pin the worker to this core")
    parser.add_argument("--protocol", default="consumer", choices=("consumer", "classic"))
    print(json.dumps(measure(parser.parse_args()), indent=2))


if __name__ == "__main__":
    main()
