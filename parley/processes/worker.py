"""A worker: any of the stages conversation, analysis, answering and redis, in one process."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from functools import partial
from typing import Any

from infra.settings.loading import Settings
from infra.telemetry.tracing import TRACING_OFF, Tracing
from parley.processes.dependencies import Dependencies, kafka_answers, redis_answers, watched
from parley.processes.running import OK, run_process, run_worker, telemetry
from parley.wiring import Wiring
from processors.conversation.state import Conversation
from schemas import topics
from schemas.failures import Unavailable
from sinks.port import Sink
from sinks.redis.connection import open_redis
from sinks.redis.meter import MetricsMeter
from sinks.redis.sink import RedisSink
from streams import analysis_stage, conversation_stage
from streams.answering import open_messages
from streams.answering.attempt import Desk
from streams.answering.history import History
from streams.answering.stage import AnsweringStage
from streams.dead_letters import DeadLetters
from streams.decoding import Decoder
from streams.knowledge import KnowledgeTable
from streams.records_out import RecordsOut
from streams.restore import restore
from streams.sink_stage import SinkStage
from streams.state import MemoryState, PartitionState, StateFormat
from streams.transactional_stage import TransactionalStage
from streams.transactions import Transactions
from streams.worker import Reading, Worker

log = logging.getLogger(__name__)

STAGES = ("conversation", "analysis", "answering", "redis")


def main(settings: Settings, stages: Sequence[str] = STAGES) -> int:
    """Runs the stages until a signal or a failure. Returns the exit code."""

    async def body(wiring: Wiring, stop: asyncio.Event) -> int:
        return await Stages(wiring, stages).run(stop)

    return run_process(settings, f"worker {','.join(stages)}", body)


class Stages:
    """Builds the stages that were asked for and runs them."""

    def __init__(self, wiring: Wiring, names: Sequence[str]) -> None:
        self._wiring = wiring
        self._names = names
        self._reading_stages: list[AnsweringStage | SinkStage] = []
        """Stages that call the source which reads for them."""
        self._closing: list[Any] = []

    async def run(self, stop: asyncio.Event) -> int:
        """Runs until `stop` is set."""
        wiring = self._wiring
        wiring.health.set("stages", False, "starting")
        async with telemetry(wiring), watched(wiring.health, wiring.metrics) as dependencies:
            await self._check(dependencies)
            readings = [await self._reading(name) for name in self._names]
            worker = Worker(
                f"parley-{'-'.join(self._names)}",
                readings,
                wiring.kafka,
                wiring.faust_folder,
                wiring.metrics,
            )
            for stage in self._reading_stages:
                stage.attach(worker.sources[stage.name])
            await run_worker(wiring, worker, stop)
            await self._close()
            return OK

    async def _check(self, dependencies: Dependencies) -> None:
        """Raises `Unavailable`, with a sentence, where something that the stages need is away."""
        settings = self._wiring.settings
        await dependencies.need("kafka", kafka_answers(settings.kafka))
        await asyncio.to_thread(self._wiring.check_log)
        if "redis" in self._names:
            await dependencies.need("redis", redis_answers(settings.redis))
        elif "answering" in self._names:
            # Only the texts of earlier turns come from there; then answers have a shorter context.
            await dependencies.use("redis", redis_answers(settings.redis))

    async def _close(self) -> None:
        for close in self._closing:
            await close()

    async def _reading(self, name: str) -> Reading:
        match name:
            case "conversation":
                return await asyncio.to_thread(self._conversation)
            case "analysis":
                return await self._analysis()
            case "answering":
                return await self._answering()
            case "redis":
                return await self._redis()
            case _:
                raise Unavailable(f"there is no stage {name}; known are {', '.join(STAGES)}")

    def _dead_letters(self, name: str) -> DeadLetters:
        wiring = self._wiring
        wire = wiring.wire(topics.DEAD_LETTERS)
        return DeadLetters(name, wire, wiring.sealer, wiring.metrics)

    def _conversation(self) -> Reading:
        wiring = self._wiring
        transform = conversation_stage.ConversationTransform(
            wiring.wire(topics.EVENTS),
            wiring.wire(topics.CONVERSATIONS),
            wiring.wire(topics.COMMANDS),
            self._open_states,
            lambda tenant_id: wiring.policy,
            wiring.tracing,
            self._count_refusal,
        )
        name = conversation_stage.NAME
        stage = TransactionalStage(
            name,
            Decoder([wiring.wire(topics.COMMANDS)]),
            transform,
            Transactions(name, wiring.kafka),
            self._dead_letters(name),
            wiring.metrics,
        )
        chosen = wiring.settings.stages
        return Reading(
            stage,
            group(name),
            (topics.COMMANDS.name,),
            batch_max=chosen.batch_max,
            pace_ms=chosen.pace_ms,
        )

    def _count_refusal(self, tenant_id: str, code: str) -> None:
        metrics = self._wiring.metrics
        metrics.rejected.labels(metrics.tenant(tenant_id), code).inc()

    def _open_states(self, partitions: Sequence[int]) -> dict[int, PartitionState[Conversation]]:
        wiring = self._wiring
        layout = conversation_stage.conversation_format(wiring.wire(topics.CONVERSATIONS))
        store = wiring.settings.state.store
        log_id = "" if store == "memory" else wiring.topic_id(topics.CONVERSATIONS.name)
        states = {p: self._state(p, layout, log_id) for p in partitions}
        restore(topics.CONVERSATIONS.name, states, wiring.kafka)
        return states

    def _state(
        self, partition: int, layout: StateFormat[Conversation], log_id: str
    ) -> PartitionState[Conversation]:
        chosen = self._wiring.settings.state
        if chosen.store == "memory":
            return MemoryState(layout)
        from streams.rocksdb_state import RocksState, StateInUse

        assert chosen.dir is not None
        folder = chosen.dir / conversation_stage.NAME / f"p{partition}"
        try:
            return RocksState(folder, layout, log_id)
        except StateInUse as error:
            # A worker that sleeps keeps its files, though the partition is ours by now.
            log.warning("partition %d is kept in memory this time: %s", partition, error)
            return MemoryState(layout)

    async def _analysis(self) -> Reading:
        from infra.inference.analyser import load_models

        wiring = self._wiring
        out = RecordsOut(wiring.kafka)
        wires = {
            topic: await asyncio.to_thread(wiring.wire, topic)
            for topic in (topics.COMMANDS, topics.EVENTS)
        }
        sink = analysis_stage.AnalysisSink(
            wires,
            wiring.sealer,
            await asyncio.to_thread(load_models, wiring.encoder, wiring.metrics),
            out,
            self._dead_letters(analysis_stage.NAME),
            wiring.tracing,
        )
        self._closing.append(out.close)
        # It opens spans of its own, which its commands hang under.
        return self._sink(sink, Decoder([wires[topics.EVENTS]], analysis_stage.WANTED), out)

    def _sink(
        self, sink: Sink, decoder: Decoder, out: RecordsOut, tracing: Tracing = TRACING_OFF
    ) -> Reading:
        wiring = self._wiring
        stage = SinkStage(
            sink,
            decoder,
            self._dead_letters(sink.name),
            out,
            asyncio.get_running_loop(),
            wiring.metrics,
            tracing,
        )
        self._reading_stages.append(stage)
        names = tuple(topic.name for topic in sink.topics)
        return Reading(stage, group(sink.name), names, sink.batch_records_max)

    async def _answering(self) -> Reading:
        wiring, chosen = self._wiring, self._wiring.settings.answering
        from parley.answering import build_answerer

        knowledge = KnowledgeTable(
            await asyncio.to_thread(wiring.wire, topics.KNOWLEDGE), wiring.kafka
        )
        await asyncio.to_thread(knowledge.start)
        out = RecordsOut(wiring.kafka)
        redis = open_redis(wiring.settings.redis)
        desk = Desk(
            commands=await asyncio.to_thread(wiring.wire, topics.COMMANDS),
            tokens=await asyncio.to_thread(wiring.wire, topics.TOKENS),
            sealer=wiring.sealer,
            history=History(redis, wiring.sealer, wait_ms=chosen.history_wait_ms),
            answerer=await build_answerer(wiring, knowledge),
            out=out,
            metrics=wiring.metrics,
            tracing=wiring.tracing,
        )
        stage = AnsweringStage(
            Decoder([wiring.wire(topics.EVENTS)], open_messages.WANTED),
            desk,
            wiring.kafka,
            wiring.metrics,
            concurrency=chosen.concurrency,
        )
        self._reading_stages.append(stage)
        self._closing += [partial(asyncio.to_thread, knowledge.stop), out.close, redis.aclose]
        return Reading(stage, group(stage.name), (topics.EVENTS.name,), 500, commits_late=True)

    async def _redis(self) -> Reading:
        wiring = self._wiring
        redis = open_redis(wiring.settings.redis)
        epoch = await asyncio.to_thread(wiring.events_topic_id)
        sink = RedisSink(redis, wiring.sealer, epoch=epoch, meter=MetricsMeter(wiring.metrics))
        wiring.health.watch("redis views", lambda: sink.trouble)
        out = RecordsOut(wiring.kafka)
        wires = [await asyncio.to_thread(wiring.wire, topic) for topic in sink.topics]
        self._closing += [out.close, redis.aclose]
        return self._sink(sink, Decoder(wires), out, wiring.tracing)


def group(stage: str) -> str:
    """The consumer group of a stage."""
    return f"parley-{stage}"
