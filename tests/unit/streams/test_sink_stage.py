"""What a sink stage does at its edges, where no broker is needed to see it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, cast

from confluent_kafka import TopicPartition as Assigned

from infra.telemetry.metrics import Metrics
from schemas.failures import Unavailable
from sinks.port import Position, TopicPartition
from streams.batch_source import BEGINNING
from streams.sink_stage import SinkStage

PLACE = TopicPartition("parley.events.v1", 3)


class NothingCommitted:
    """The one question that the stage asks a consumer at an assignment."""

    def committed(self, partitions: list[Assigned], timeout: float) -> list[Assigned]:
        return partitions


class AwaySink:
    """A sink whose other side is away for good."""

    name = "away"

    def __init__(self) -> None:
        self.asked_again = asyncio.Event()
        self._asked = False

    async def assigned(
        self, committed: Mapping[TopicPartition, Position | None]
    ) -> Mapping[TopicPartition, Position]:
        if self._asked:
            self.asked_again.set()
        self._asked = True
        raise Unavailable("nobody is at home")


def test_an_assignment_that_waits_for_the_other_side_lets_a_stop_through() -> None:
    async def main() -> list[int]:
        loop, sink = asyncio.get_running_loop(), AwaySink()
        source = SimpleNamespace(stopping=False)
        nothing = cast(Any, None)
        stage = SinkStage(cast(Any, sink), nothing, nothing, nothing, loop, Metrics())
        stage.attach(cast(Any, source))
        offsets: list[int] = []
        thread = threading.Thread(
            target=lambda: offsets.extend(stage.assigned(cast(Any, NothingCommitted()), [PLACE]))
        )
        thread.start()
        await sink.asked_again.wait()
        assert thread.is_alive()
        source.stopping = True
        async with asyncio.timeout(10):
            await asyncio.to_thread(thread.join)
        return offsets

    assert asyncio.run(main()) == [BEGINNING]
