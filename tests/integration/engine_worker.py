"""One worker of the conversation stage alone: `python engine_worker.py JSON`, until SIGTERM."""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import uvloop
from confluent_kafka.admin import AdminClient
from engine_parts import FOR_EVER_US, USED, Place

from infra.keys import open_sealer
from infra.settings.loading import load_settings
from infra.telemetry.metrics import Metrics
from parley.wiring import topic_id
from processors.conversation.policy import Policy
from schemas import topics
from schemas.topics import Topic
from streams.conversation_stage import ConversationTransform, conversation_format
from streams.dead_letters import DeadLetters
from streams.decoding import Decoder
from streams.restore import restore
from streams.rocksdb_state import RocksState
from streams.state import MemoryState
from streams.transactional_stage import TransactionalStage
from streams.transactions import Transactions
from streams.worker import Reading, Worker


def build(place: Place, chosen: dict[str, Any]) -> Worker:
    wires = {topic: place.wire(topic) for topic in USED}
    rename_topics(place)
    layout = conversation_format(wires[topics.CONVERSATIONS])
    log_id = topic_id(AdminClient({"bootstrap.servers": place.kafka}), topics.CONVERSATIONS.name)

    def open_states(partitions: Sequence[int]) -> Any:
        store = Path(place.folder, chosen["name"])
        states: dict[int, Any] = {
            p: RocksState(store / f"p{p}", layout, log_id)
            if chosen.get("on_disk")
            else MemoryState(layout)
            for p in partitions
        }
        restore(topics.CONVERSATIONS.name, states, place.options)
        return states

    policy = Policy(
        analysis_deadline_us=chosen.get("analysis_deadline_us", FOR_EVER_US),
        turn_deadline_us=chosen.get("turn_deadline_us", FOR_EVER_US),
    )
    transform = ConversationTransform(
        wires[topics.EVENTS],
        wires[topics.CONVERSATIONS],
        wires[topics.COMMANDS],
        open_states,
        lambda tenant_id: policy,
    )
    metrics = Metrics()
    sealer = open_sealer(load_settings(Path(place.folder)).keys)
    stage = TransactionalStage(
        "conversation",
        Decoder([wires[topics.COMMANDS]]),
        transform,
        Transactions(f"{place.prefix}conversation", place.options),
        DeadLetters("conversation", wires[topics.DEAD_LETTERS], sealer, metrics),
        metrics,
    )
    name = topics.COMMANDS.name
    reading = Reading(stage, f"{place.prefix}group", (name,), chosen.get("batch_max", 1000))
    return Worker("test", [reading], place.options, Path(place.folder) / "faust")


def rename_topics(place: Place) -> None:
    """The stage names its topics itself, so in this process they get the place's prefix."""
    for topic in USED:
        renamed: Topic = place.named(topic)
        object.__setattr__(topic, "name", renamed.name)


async def main(chosen: dict[str, Any]) -> int:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    worker = build(Place(**chosen["place"]), chosen)
    await worker.start()
    failed = asyncio.ensure_future(worker.failed())
    stopped = asyncio.ensure_future(stop.wait())
    await asyncio.wait({failed, stopped}, return_when=asyncio.FIRST_COMPLETED)
    if failed.done():
        logging.error("the worker ends: %s", failed.result())
        return 1
    failed.cancel()
    await worker.stop()
    return 0


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    sys.exit(uvloop.run(main(json.loads(sys.argv[1]))))
