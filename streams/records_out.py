"""An idempotent producer for stages without transactions, with its deliveries as awaitables."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Awaitable
from typing import Any

from confluent_kafka import KafkaError, Message, Producer

from schemas.failures import Unavailable
from streams.kafka_options import KafkaOptions
from streams.transactions import Outgoing

log = logging.getLogger(__name__)

CLOSE_S = 10.0


class RecordsOut:
    """Sends records; librdkafka retries until the broker has them or gives up (5 minutes)."""

    def __init__(self, options: KafkaOptions) -> None:
        self._producer = Producer(options.for_producer(), logger=log)
        self._loop = asyncio.get_running_loop()
        self._pending: set[asyncio.Future[None]] = set()
        self._stopping = threading.Event()
        self._poller = threading.Thread(target=self._poll, name="records-out", daemon=True)
        self._poller.start()

    def send(self, record: Outgoing) -> Awaitable[None]:
        """Hands a record to the producer, in order per key. Await the result for durability.

        The result raises `Unavailable` when the broker did not take the record.
        """
        delivered: asyncio.Future[None] = self._loop.create_future()
        self._pending.add(delivered)
        delivered.add_done_callback(self._settled)

        def on_delivery(error: KafkaError | None, message: Message) -> None:
            self._loop.call_soon_threadsafe(_settle, delivered, error)

        self._produce(record, on_delivery)
        return delivered

    async def flushed(self) -> None:
        """Waits until everything that was sent so far is durable. Raises as `send`."""
        if self._pending:
            await asyncio.gather(*self._pending)

    async def close(self) -> None:
        """Delivers what is pending, for a while, and stops."""
        await asyncio.to_thread(self._producer.flush, CLOSE_S)
        self._stopping.set()
        await asyncio.to_thread(self._poller.join)

    def _settled(self, delivered: asyncio.Future[None]) -> None:
        self._pending.discard(delivered)
        # Whoever needs to know awaits it; asked for here, so that nobody else is told.
        if not delivered.cancelled() and delivered.exception() is not None:
            log.warning("%s", delivered.exception())

    def _produce(self, record: Outgoing, on_delivery: Any) -> None:
        while True:
            try:
                self._producer.produce(
                    record.topic,
                    record.value,
                    record.key,
                    headers=record.headers,
                    on_delivery=on_delivery,
                )
                return
            except BufferError as error:
                if self._producer.poll(0.1) == 0 and self._stopping.is_set():
                    raise Unavailable("the broker takes nothing and the queue is full") from error

    def _poll(self) -> None:
        while not self._stopping.is_set():
            self._producer.poll(0.1)


def _settle(delivered: asyncio.Future[None], error: KafkaError | None) -> None:
    if delivered.done():
        return
    if error is None:
        delivered.set_result(None)
    else:
        delivered.set_exception(Unavailable(f"Kafka did not take a record: {error.str()}"))
