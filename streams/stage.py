"""What the engine asks of a stage, of whichever kind it is."""

from __future__ import annotations

from typing import Protocol

from streams.batch import Batch
from streams.batch_source import Listener


class Stage(Listener, Protocol):
    """A consumer group's work: listens to rebalances and handles batches."""

    name: str

    async def handle(self, batch: Batch) -> None:
        """Handles one batch; on return it may be forgotten.

        Raises `Rewind` to get (what is left of) the batch again, anything else to end the process.
        """
        ...
