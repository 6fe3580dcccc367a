"""`process.py COMMAND …`: the command line of Parley with points in its code at which it can die.

The storm arms a point by making a file of its name in `DATA/faults`; the first process that comes
by takes the file away and kills itself. `DATA/faults/sabotage` names a promise to break, for the
negative controls: it is read when a process starts.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

TRANSACTION_OPEN = "transaction-open"
OFFSETS_ADDED = "offsets-added"
COMMITTED = "committed"
REDIS_WRITTEN = "redis-written"
CLICKHOUSE_INSERTING = "clickhouse-inserting"
CLICKHOUSE_WRITTEN = "clickhouse-written"
COMMAND_DURABLE = "command-durable"
POINTS = (
    TRANSACTION_OPEN,
    OFFSETS_ADDED,
    COMMITTED,
    REDIS_WRITTEN,
    CLICKHOUSE_INSERTING,
    CLICKHOUSE_WRITTEN,
    COMMAND_DURABLE,
)

NO_DEDUPLICATION = "no-deduplication"
OFFSETS_FIRST = "offsets-first"
NO_TOKEN = "no-token"

NO_MERGES = ", ".join(f"max_bytes_to_merge_at_{at}_space_in_pool = 1" for at in ("min", "max"))
MERGING = "SELECT name FROM system.tables WHERE database = '{}' AND engine LIKE '%MergeTree'"

FOLDER = "faults"
SABOTAGE = "sabotage"


class FaultPoints:
    """The points of one process."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def reached(self, point: str) -> None:
        """Dies here if the point is armed."""
        if self._taken(point):
            _die()

    def reached_soon(self, point: str, within_s: float) -> None:
        """Dies in a moment, in the middle of what is about to begin."""
        if self._taken(point):
            threading.Timer(within_s, _die).start()

    def _taken(self, point: str) -> bool:
        try:
            (self._folder / point).unlink()
        except FileNotFoundError:
            return False
        return True


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _replace(owner: Any, name: str, made: Callable[[Any], Any]) -> None:
    setattr(owner, name, wraps(getattr(owner, name))(made(getattr(owner, name))))


def install_points(points: FaultPoints) -> None:
    """Puts the points into the engine, the sinks and the gateway."""
    from gateway.producer import CommandProducer
    from sinks.clickhouse.projection import ClickHouseSink
    from sinks.redis.sink import RedisSink
    from streams import transactions

    def committing(commit: Any) -> Any:
        def run(self: Any, offsets: Any, metadata: Any) -> None:
            # An empty batch is a tick of the clock: nothing would be at stake.
            if offsets:
                points.reached(TRANSACTION_OPEN)
            commit(self, offsets, metadata)
            if offsets:
                points.reached(COMMITTED)

        return run

    def repeating(repeat: Any) -> Any:
        def run(call: Any) -> None:
            repeat(call)
            if "send_offsets_to_transaction" in call.__code__.co_names:
                points.reached(OFFSETS_ADDED)

        return run

    def writing(point: str) -> Callable[[Any], Any]:
        def made(write: Any) -> Any:
            async def run(self: Any, *arguments: Any) -> Any:
                done = await write(self, *arguments)
                points.reached(point)
                return done

            return run

        return made

    def inserting(insert: Any) -> Any:
        def run(self: Any, *arguments: Any) -> None:
            points.reached_soon(CLICKHOUSE_INSERTING, 0.005)
            insert(self, *arguments)

        return run

    def delivering(deliver: Any) -> Any:
        def run(self: Any) -> None:
            points.reached(COMMAND_DURABLE)
            deliver(self)

        return run

    def assigning(assigned: Any) -> Any:
        async def run(self: Any, committed: Any) -> Any:
            # A merge would hide a doubled row, also one that begins while the next engine opens.
            self._clickhouse.command("SYSTEM STOP MERGES")
            database = self._database
            for (table,) in self._clickhouse.query_rows(MERGING.format(database)):
                alter = f"ALTER TABLE {database}.{table} MODIFY SETTING {NO_MERGES}"
                self._clickhouse.command(alter)
            return await assigned(self, committed)

        return run

    _replace(ClickHouseSink, "assigned", assigning)
    _replace(transactions.Transaction, "commit", committing)
    _replace(transactions, "_repeat", repeating)
    _replace(RedisSink, "write", writing(REDIS_WRITTEN))
    _replace(ClickHouseSink, "_write", writing(CLICKHOUSE_WRITTEN))
    _replace(ClickHouseSink, "_insert", inserting)
    _replace(CommandProducer, "_deliver", delivering)


def break_promise(sabotage: str) -> None:
    """Breaks one promise of this process, so that an oracle worth its name notices."""
    _BREAKS[sabotage]()


def _forget_what_was_handled() -> None:
    from processors.conversation import decide

    _replace(decide, "has_handled_otherwise", lambda known: lambda state, entry: False)


def _commit_offsets_first() -> None:
    from streams.batch import Batch
    from streams.transactional_stage import TransactionalStage
    from streams.transactions import Transaction

    commit = Transaction.commit

    def made(handle: Any) -> Any:
        def run(self: Any, batch: Batch) -> None:
            offsets = {p: m[-1].offset() + 1 for p, m in batch.messages.items()}
            if offsets:
                commit(self._transactions.begin(), offsets, batch.group_metadata)
            handle(self, batch)

        return run

    _replace(TransactionalStage, "_handle", made)


def _insert_without_token() -> None:
    from itertools import count

    from sinks.clickhouse import ranges

    numbers = count()
    _replace(
        ranges.Range, "token", lambda token: lambda self, *names: f"{os.getpid()}-{next(numbers)}"
    )


_BREAKS = {
    NO_DEDUPLICATION: _forget_what_was_handled,
    OFFSETS_FIRST: _commit_offsets_first,
    NO_TOKEN: _insert_without_token,
}


def main() -> None:
    """Prepares this process and becomes the command line."""
    data = Path(sys.argv[sys.argv.index("--data") + 1])
    sabotage = data / FOLDER / SABOTAGE
    if sabotage.exists():
        # First, so that what it does on its own account passes by no point.
        break_promise(sabotage.read_text().strip())
    install_points(FaultPoints(data / FOLDER))
    from parley.cli import main as command_line

    command_line()


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))
    main()
