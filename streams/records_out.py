"""An idempotent producer for stages without transactions, with its deliveries as awaitables."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Awaitable
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from streams.batch import KafkaUnavailable, StageLost
from streams.kafka_options import KafkaOptions
from streams.transactions import Outgoing

log = logging.getLogger(__name__)

CLOSE_S = 10.0
QUEUE_KIB_MAX = 64 * 1024


class RecordsOut:
    """Sends records; librdkafka retries until the broker has them or gives up (5 minutes)."""

    def __init__(self, options: KafkaOptions) -> None:
        self._fatal: KafkaError | None = None
        self._producer = Producer(
            {
                **options.for_producer(),
                "queue.buffering.max.kbytes": QUEUE_KIB_MAX,
                "error_cb": self._heard,
            },
            logger=log,
        )
        self._loop = asyncio.get_running_loop()
        self._stopping = threading.Event()
        self._poller = threading.Thread(target=self._poll, name="records-out", daemon=True)
        self._poller.start()

    def send(self, record: Outgoing) -> Awaitable[None]:
        """Hands a record to the producer, in order per key. Await the result for durability.

        The result raises `KafkaUnavailable` when the broker did not take the record, and so does
        this call while too many wait; `StageLost` where this producer can't send any more.
        """
        delivered: asyncio.Future[None] = self._loop.create_future()

        def on_delivery(error: KafkaError | None, message: Message) -> None:
            self._loop.call_soon_threadsafe(_settle, delivered, error)

        self._produce(record, on_delivery)
        delivered.add_done_callback(_noticed)
        return delivered

    def post(self, record: Outgoing) -> None:
        """Hands over a record whose loss something later makes good, so nobody waits for it.

        Raises as `send` does; what becomes of the record is not told.
        """
        self._produce(record, None)

    async def close(self) -> None:
        """Delivers what is pending, for a while, and stops."""
        await asyncio.to_thread(self._producer.flush, CLOSE_S)
        self._stopping.set()
        await asyncio.to_thread(self._poller.join)

    def _produce(self, record: Outgoing, on_delivery: Any) -> None:
        if self._fatal is not None:
            raise StageLost(f"the producer failed for good: {self._fatal.str()}")
        try:
            self._producer.produce(
                record.topic,
                record.value,
                record.key,
                headers=record.headers,
                on_delivery=on_delivery,
            )
        except BufferError as error:
            raise KafkaUnavailable("too many records wait, and Kafka takes none") from error
        except KafkaException as error:
            raise StageLost(f"a record can't be sent: {error.args[0].str()}") from error

    def _heard(self, error: KafkaError) -> None:
        if error.fatal():
            self._fatal = error

    def _poll(self) -> None:
        while not self._stopping.is_set():
            self._producer.poll(0.1)


def _noticed(delivered: asyncio.Future[None]) -> None:
    # Whoever needs to know awaits it; asked for here, so that asyncio does not complain.
    if not delivered.cancelled() and delivered.exception() is not None:
        log.warning("%s", delivered.exception())


def _settle(delivered: asyncio.Future[None], error: KafkaError | None) -> None:
    if delivered.done():
        return
    if error is None:
        delivered.set_result(None)
    else:
        why = f"Kafka did not take a record: {error.str()}"
        delivered.set_exception(KafkaUnavailable(why))
