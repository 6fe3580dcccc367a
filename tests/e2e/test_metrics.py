"""What an operator sees of a running stack: the figures of one message, and what is away."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from running_stack import RunningStack, wait_for

from parley.client.conversation import new_id
from parley.local_parts import GATEWAY, health_port_name
from parley.local_stack import ports
from parley.talk import ask, open_client
from schemas.topics import COMMANDS, EVENTS, TOKENS

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]

TALK, THINK, ANALYTICS = "worker-talk", "worker-think", "analytics"
PROCESSES = (GATEWAY, TALK, THINK, ANALYTICS)
READS = {
    (TALK, "conversation"): (COMMANDS,),
    (TALK, "redis"): (EVENTS, TOKENS),
    (THINK, "analysis"): (EVENTS,),
    (THINK, "answering"): (EVENTS,),
    (ANALYTICS, "clickhouse"): (EVENTS,),
}
"""The topics of each stage, by process."""

Samples = list[tuple[str, dict[str, str], float]]


def asked(stack: RunningStack, process: str, path: str) -> str:
    """What a process answers on the port for health and metrics; "" while it is not there."""
    taken = ports(stack.folder)
    port = taken[GATEWAY if process == GATEWAY else health_port_name(process)]
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            return str(answer.read().decode())
    except urllib.error.HTTPError as answer:
        return answer.read().decode()
    except OSError:
        return ""


def scraped(stack: RunningStack, process: str) -> Samples:
    """The metrics of a process now, as Prometheus reads them."""
    families = text_string_to_metric_families(asked(stack, process, "/metrics"))
    return [(s.name, dict(s.labels), s.value) for family in families for s in family.samples]


def values(samples: Samples, name: str, **labels: str) -> list[float]:
    """The samples of a name that have these labels, and perhaps more."""
    return [
        value
        for found, has, value in samples
        if found == f"parley_{name}" and labels.items() <= has.items()
    ]


def away(stack: RunningStack, process: str) -> dict[str, str]:
    """What keeps a process from being ready, in its words; `everything` if it does not answer."""
    report: dict[str, Any] = json.loads(asked(stack, process, "/readyz") or "{}")
    if not report:
        return {"everything": ""}
    return {name: check["detail"] for name, check in report["checks"].items() if not check["ok"]}


@pytest.fixture(scope="module")
def one_message(stack: RunningStack) -> RunningStack:
    """The stack after one message was answered, and one command refused."""

    async def talk() -> None:
        async with open_client(stack.settings, "demo", "counted") as client:
            conversation = await client.conversation(new_id())
            exchange = await ask(conversation, "How do I change my PIN?", lambda item: None)
            assert exchange.outcome == "completed"
            await conversation.cancel("a-turn-that-never-was")

    asyncio.run(talk())
    return stack


COUNTED: list[tuple[str, str, dict[str, str]]] = [
    *((process, "records_total", {"stage": stage}) for process, stage in READS),
    *(
        (process, "batch_seconds_sum", {"stage": stage})
        for process, stage in READS
        if stage != "answering"  # its turns outlive their batches
    ),
    *((process, "last_commit_timestamp_seconds", {"stage": stage}) for process, stage in READS),
    *((process, "dependency_up", {"dependency": "kafka"}) for process in PROCESSES),
    *((process, "dependency_up", {"dependency": "redis"}) for process in (GATEWAY, TALK, THINK)),
    (ANALYTICS, "dependency_up", {"dependency": "clickhouse"}),
    (TALK, "commit_seconds_sum", {"stage": "conversation"}),
    (TALK, "rejected_commands_total", {"tenant": "demo", "code": "unknown_turn"}),
    (TALK, "sink_rows_total", {"sink": "redis", "table": "events"}),
    (TALK, "sink_rows_total", {"sink": "redis", "table": "pieces"}),
    (TALK, "sink_delay_seconds_sum", {"sink": "redis"}),
    (ANALYTICS, "sink_rows_total", {"sink": "clickhouse", "table": "events"}),
    (ANALYTICS, "sink_rows_total", {"sink": "clickhouse", "table": "event_texts"}),
    (ANALYTICS, "sink_delay_seconds_sum", {"sink": "clickhouse"}),
    (THINK, "inference_seconds_sum", {}),
    (THINK, "inference_texts_total", {}),
    (THINK, "first_token_seconds_sum", {"tenant": "demo", "model": "grounded"}),
    (THINK, "turn_seconds_sum", {"tenant": "demo", "outcome": "completed"}),
    (THINK, "tokens_total", {"tenant": "demo", "model": "grounded", "direction": "out"}),
    (GATEWAY, "gateway_send_seconds_sum", {}),
    (GATEWAY, "gateway_frames_in_total", {"kind": "send"}),
    (GATEWAY, "gateway_frames_out_total", {"kind": "tokens"}),
]


@pytest.mark.parametrize(("process", "name", "labels"), COUNTED)
def test_one_message_leaves_its_figures_in_every_process(
    one_message: RunningStack, process: str, name: str, labels: dict[str, str]
) -> None:
    wait_for(
        lambda: sum(values(scraped(one_message, process), name, **labels)) > 0,
        f"{process} to count in {name} {labels}",
    )


@pytest.mark.parametrize(("process", "stage"), READS)
def test_every_stage_tells_its_partitions_and_the_lag_of_each(
    one_message: RunningStack, process: str, stage: str
) -> None:
    topics = READS[process, stage]

    def lags() -> list[int]:
        samples = scraped(one_message, process)
        return [len(values(samples, "lag_records", stage=stage, topic=t.name)) for t in topics]

    wait_for(lambda: lags() == [t.partitions for t in topics], f"the lag of {stage}")
    held = values(scraped(one_message, process), "assigned_partitions", stage=stage)
    assert held == [sum(t.partitions for t in topics)]


def test_a_turn_takes_longer_than_its_first_token(one_message: RunningStack) -> None:
    """As the person who waits sees it: the one is counted from the message, after analysis."""
    wait_for(
        lambda: bool(values(scraped(one_message, THINK), "turn_seconds_sum")), "the turn's end"
    )
    samples = scraped(one_message, THINK)

    def mean(name: str, **labels: str) -> float:
        [total] = values(samples, f"{name}_sum", tenant="demo", **labels)
        [count] = values(samples, f"{name}_count", tenant="demo", **labels)
        return total / count

    whole = mean("turn_seconds", outcome="completed")
    first = mean("first_token_seconds", model="grounded")
    assert 0 < first < whole < 60


@contextmanager
def frozen(stack: RunningStack, part: str) -> Iterator[None]:
    """A part that holds its connections and answers nothing, meanwhile."""
    pid = stack.pid(part)
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def kept_from_work(stack: RunningStack, process: str, dependency: str) -> bool:
    """Whether both readiness and metric say that the dependency is away."""
    up = values(scraped(stack, process), "dependency_up", dependency=dependency)
    return f"check {dependency}." in away(stack, process).get(dependency, "") and up == [0]


def all_ready(stack: RunningStack) -> bool:
    return not any(away(stack, process) for process in PROCESSES)


async def test_a_worker_says_that_redis_is_away_and_how_far_its_sink_lags(
    one_message: RunningStack,
) -> None:
    stack = one_message

    def lags() -> float:
        return sum(values(scraped(stack, TALK), "lag_records", stage="redis", topic=EVENTS.name))

    async with open_client(stack.settings, "demo", "patient") as client:
        conversation = await client.conversation(new_id())
        with frozen(stack, "redis"):
            asking = asyncio.create_task(ask(conversation, "Can I get a second card?", id))
            await asyncio.to_thread(
                wait_for, lambda: kept_from_work(stack, TALK, "redis"), "Redis to be missed"
            )
            await asyncio.to_thread(
                wait_for, lambda: "stage redis" in away(stack, TALK), "the sink to wait"
            )
            await asyncio.to_thread(wait_for, lambda: lags() > 0, "the sink to lag")
            # It answers on, with a shorter context.
            assert not await asyncio.to_thread(away, stack, THINK)
        assert (await asking).outcome == "completed"
    await asyncio.to_thread(wait_for, lambda: all_ready(stack), "everything to be ready", 60)
    await asyncio.to_thread(wait_for, lambda: lags() == 0, "the sink to catch up")


def test_every_process_says_that_kafka_is_away_and_when_it_is_back(
    one_message: RunningStack,
) -> None:
    stack = one_message
    with frozen(stack, "kafka"):
        for process in PROCESSES:
            wait_for(
                lambda process=process: kept_from_work(stack, process, "kafka"),  # type: ignore[misc]
                f"{process} to miss Kafka",
            )
    wait_for(lambda: all_ready(stack), "everything to be ready again", 120)
    done = stack.parley("say", "How do I change my PIN?", "--tenant", "demo")
    assert done.code == 0, done.out + done.err
