"""Commands on their way into the log: an idempotent producer whose answers reach the event loop.

librdkafka sends and acknowledges on its own threads; one thread here collects the reports and
hands them to the loop in bunches.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer

from gateway.refusals import Refused, temporary
from schemas.headers import Headers

_LOG = logging.getLogger(__name__)

POLL_S = 0.1
QUEUE_RECORDS_MAX = 20_000
QUEUE_KIB_MAX = 64 * 1024
RETRY_MS = 1000

Done = Callable[[Refused | None], None]
"""Called on the event loop, once per record: None when it is durable."""


class CommandProducer:
    """Sends records with `acks=all` and says when each is durable."""

    def __init__(
        self,
        config: Mapping[str, str],
        *,
        loop: asyncio.AbstractEventLoop,
        produce_ms: int = 10_000,
    ) -> None:
        self._config: dict[str, Any] = {
            "linger.ms": "0",
            "queue.buffering.max.messages": str(QUEUE_RECORDS_MAX),
            "queue.buffering.max.kbytes": str(QUEUE_KIB_MAX),
            "message.timeout.ms": str(produce_ms),
            "socket.nagle.disable": "true",
            "reconnect.backoff.max.ms": "1000",
            # It would log every failed connection; that Kafka is away is said once, elsewhere.
            "log_level": "2",
            **config,
            # What `ok` promises hangs on these, so no setting may change them.
            "acks": "all",
            "enable.idempotence": "true",
            "partitioner": "murmur2_random",
        }
        self._loop = loop
        self._reports: deque[tuple[Done, KafkaError | None]] = deque()
        self._scheduled = False
        self._in_flight = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._stopping = threading.Event()
        self._broken = threading.Event()
        self._producer = self._open()
        self._thread = threading.Thread(target=self._collect, name="kafka-acks", daemon=True)
        self._thread.start()

    def produce(self, topic: str, key: bytes, value: bytes, headers: Headers, done: Done) -> None:
        """Queues a record; `done` follows. Raises `Refused` (temporary) when the queue is full."""

        def report(error: KafkaError | None, _message: object) -> None:
            self._report(done, error)

        try:
            self._producer.produce(topic, value, key, headers=headers, on_delivery=report)
        except BufferError:
            raise temporary("too many messages wait for the log: try again", RETRY_MS) from None
        except KafkaException as error:
            self._note(error.args[0])
            raise temporary("the log takes nothing just now: try again", RETRY_MS) from None
        self._in_flight += 1
        self._idle.clear()

    def probe(self, topic: str, timeout_s: float) -> str | None:
        """Why the log can't be written to, in a sentence; None when it answers. Blocks."""
        try:
            found = self._producer.list_topics(topic, timeout=timeout_s).topics[topic]
        except KafkaException as error:
            return f"Kafka does not answer ({error.args[0].name()}): check kafka.bootstrap_servers"
        if found.error is not None or not found.partitions:
            return f'topic {topic} does not exist: run "parley topics apply"'
        return None

    async def settle(self, timeout_s: float) -> bool:
        """Waits until nothing is in flight; False if that took too long."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._idle.wait()
        except TimeoutError:
            return False
        return True

    async def close(self, timeout_s: float = 5.0) -> None:
        """Waits for what is in flight and stops."""
        if not await self.settle(timeout_s):
            _LOG.warning("%d commands were not acknowledged before the end", self._in_flight)
        self._stopping.set()
        await asyncio.to_thread(self._thread.join, 2.0)

    def _open(self) -> Producer:
        return Producer({**self._config, "error_cb": self._note, "logger": _LOG})

    def _collect(self) -> None:
        """The thread: polling is what calls the delivery reports."""
        while not self._stopping.is_set():
            self._producer.poll(POLL_S)
            if self._broken.is_set():
                self._replace()

    def _replace(self) -> None:
        """A producer with a fatal error sends nothing more: fail what it holds, take a new one."""
        old, self._producer = self._producer, self._open()
        self._broken.clear()
        old.purge()
        old.poll(1.0)

    def _note(self, error: KafkaError) -> None:
        if error.fatal():
            _LOG.error("the producer has failed for good and is replaced: %s", error.name())
            self._broken.set()
        else:
            _LOG.info("kafka: %s", error.name())

    def _report(self, done: Done, error: KafkaError | None) -> None:
        if error is not None and error.fatal():
            self._note(error)
        self._reports.append((done, error))
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon_threadsafe(self._deliver)

    def _deliver(self) -> None:
        # Cleared first: a report that comes in while this runs schedules the next run.
        self._scheduled = False
        while self._reports:
            done, error = self._reports.popleft()
            self._in_flight -= 1
            done(None if error is None else _refusal(error))
        if self._in_flight == 0:
            self._idle.set()


def _refusal(error: KafkaError) -> Refused:
    """Every failure may pass: a repeated command has the same id, so it has one effect at most."""
    _LOG.warning("a command was not acknowledged: %s", error.name())
    return temporary("the log did not confirm the message: send it again", RETRY_MS)
