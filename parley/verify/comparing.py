"""Compares a conversation's history with what Redis, the snapshots and ClickHouse hold. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from parley.verify.differences import (
    CLICKHOUSE,
    REDIS,
    SNAPSHOTS,
    Conversation,
    Difference,
    fingerprint,
)
from parley.verify.history import History
from processors.conversation.state import Conversation as State
from sinks.clickhouse.digests import Digest
from sinks.redis.keys import LOG_AGE_MS

AGE_TOLERANCE_MS = 60_000
"""Clocks differ, and Redis takes a moment to drop what is too old."""


@dataclass(frozen=True, slots=True)
class Stored:
    """What Redis holds of a conversation at one moment."""

    seq: int
    epoch: str
    owner: str
    status: str
    state: bytes
    turn: tuple[str, int] | None
    """The open turn and its attempt."""
    frames: tuple[tuple[int, bytes], ...]
    """`seq` and frame of each entry of the log."""


def redis_differences(
    history: History, stored: Stored | None, epoch: str, now_ms: int
) -> list[Difference]:
    """Where Redis is not what the log folds to."""
    place = history.conversation
    if stored is None or stored.epoch != epoch:
        found = "nothing" if stored is None else f"a view of another log ({stored.epoch})"
        return [Difference(*place, REDIS, "view", f"events up to {history.seq}", found)]
    if stored.seq != history.seq:
        return [Difference(*place, REDIS, "seq", str(history.seq), str(stored.seq))]
    view = history.view
    turn = (view.turn["turn"], view.turn["attempt"]) if view.turn else None
    pairs = (
        ("owner", view.owner, stored.owner),
        ("status", view.status, stored.status),
        ("open turn", str(turn), str(stored.turn)),
        ("state", fingerprint(view.state()), fingerprint(stored.state)),
    )
    found_pairs = [
        Difference(*place, REDIS, what, expected, found)
        for what, expected, found in pairs
        if expected != found
    ]
    return found_pairs + list(_frame_differences(history, stored, now_ms))


def _frame_differences(history: History, stored: Stored, now_ms: int) -> Iterator[Difference]:
    expected = history.frames.frames
    place = history.conversation
    if not stored.frames:
        if history.newest_us // 1000 + LOG_AGE_MS > now_ms + AGE_TOLERANCE_MS:
            yield Difference(*place, REDIS, "log", f"{len(expected)} entries", "none")
        return
    first = history.seq - len(expected) + 1
    if stored.frames[0][0] > first and _is_a_run(stored.frames, history.seq):
        # The log went with its age in between, and the conversation went on.
        expected = type(expected)(list(expected)[-len(stored.frames) :])
        first = stored.frames[0][0]
    if len(stored.frames) != len(expected):
        found = f"{len(stored.frames)} entries from {stored.frames[0][0]}"
        yield Difference(*place, REDIS, "log", f"{len(expected)} entries from {first}", found)
        return
    for n, ((size, digest), (seq, frame)) in enumerate(zip(expected, stored.frames, strict=True)):
        if (seq, len(frame), hash(frame)) != (first + n, size, digest):
            what = f"log entry {first + n}"
            yield Difference(*place, REDIS, what, f"{size} bytes", f"{seq}: {fingerprint(frame)}")
            return


def _is_a_run(frames: Sequence[tuple[int, bytes]], last: int) -> bool:
    return [seq for seq, _ in frames] == list(range(last - len(frames) + 1, last + 1))


def snapshot_differences(history: History, snapshot: State | None) -> list[Difference]:
    """Where the compacted snapshot is not the fold of the events."""
    place = history.conversation
    if snapshot is None:
        return [Difference(*place, SNAPSHOTS, "snapshot", f"at {history.seq}", "nothing")]
    if snapshot.seq != history.seq:
        return [Difference(*place, SNAPSHOTS, "seq", str(history.seq), str(snapshot.seq))]
    different = [
        field.name
        for field in dataclasses.fields(State)
        if getattr(snapshot, field.name) != getattr(history.state, field.name)
    ]
    return [
        Difference(*place, SNAPSHOTS, name, *_both(history.state, snapshot, name))
        for name in different
    ]


def _both(expected: State, found: State, name: str) -> tuple[str, str]:
    return fingerprint(repr(getattr(expected, name)).encode()), fingerprint(
        repr(getattr(found, name)).encode()
    )


def clickhouse_difference(
    place: Conversation, expected: Digest, found: Digest | None
) -> Difference | None:
    """Where the table's digest is not that of the log."""
    if found == expected:
        return None
    if found is None:
        return Difference(*place, CLICKHOUSE, "events", str(expected.events), "nothing")
    if found.events != expected.events:
        return Difference(*place, CLICKHOUSE, "events", str(expected.events), str(found.events))
    return Difference(
        *place, CLICKHOUSE, "hash of events", f"{expected.total:016x}", f"{found.total:016x}"
    )
