"""Records that somebody beside the stages puts into the log, with what became of them."""

from __future__ import annotations

from confluent_kafka import KafkaError, Message, Producer

from schemas.failures import Unavailable
from schemas.headers import Headers
from streams.kafka_options import KafkaOptions

ACK_S = 60.0


class Sending:
    """Sends records; they are in the log once `finish` has returned."""

    def __init__(self, options: KafkaOptions) -> None:
        self._producer = Producer({"log_level": 0, **options.for_producer()})
        self._failure = ""

    def send(self, topic: str, key: bytes, value: bytes, headers: Headers | None = None) -> None:
        """Hands a record over. Waits while too many are on their way."""
        while True:
            try:
                self._producer.produce(
                    topic, value, key, headers=headers, on_delivery=self._delivered
                )
                self._producer.poll(0)
                return
            except BufferError:
                self._producer.poll(0.1)

    def finish(self) -> None:
        """Waits for every acknowledgement. Raises `Unavailable` for what the log does not have."""
        left = self._producer.flush(ACK_S)
        if left or self._failure:
            why = self._failure or f"{left} records without an acknowledgement in {ACK_S:g} s"
            raise Unavailable(f"not everything is in the log ({why}): do it again")

    def _delivered(self, error: KafkaError | None, _: Message) -> None:
        if error is not None:
            self._failure = error.str()
