"""What a comparison of one conversation finds, and that it finds nothing else."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[2] / "sinks/redis"))

from conversation_log import START_US, ConversationLog

from parley.verify.comparing import (
    Stored,
    clickhouse_difference,
    redis_differences,
    snapshot_differences,
)
from parley.verify.history import History, digest_with
from sinks.clickhouse.digests import Digest
from sinks.redis.frames import event_frame, sealed_texts, shown
from sinks.redis.keys import LOG_AGE_MS, LOG_EVENTS_MAX

PLACE = ("demo", "c-1")
NOW_MS = START_US // 1000 + 1000


def texts_of(event: object) -> list[str]:
    return [sealed.ciphertext.decode() for sealed in sealed_texts(event)]  # type: ignore[arg-type]


def history_of(log: ConversationLog) -> History:
    history = History(PLACE)
    for event in log.events:
        history.add(event, texts_of(event))
    return history


def stored_of(log: ConversationLog, last: int = LOG_EVENTS_MAX) -> Stored:
    """What Redis holds after the whole log."""
    view = history_of(log).view
    frames = [(e.envelope.seq, event_frame(e, shown(e, texts_of(e)))) for e in log.events]
    turn = (view.turn["turn"], view.turn["attempt"]) if view.turn else None
    return Stored(view.seq, "e1", "p-1", view.status, view.state(), turn, tuple(frames[-last:]))


@pytest.fixture
def log() -> ConversationLog:
    log = ConversationLog()
    log.exchange("m1", "q1", "a1")
    log.exchange("m2", "q2", "a2")
    log.restarted(log.started(log.received("m3")), 2)
    return log


def found(log: ConversationLog, stored: Stored | None, now_ms: int = NOW_MS) -> list[str]:
    return [d.what for d in redis_differences(history_of(log), stored, "e1", now_ms)]


def test_what_the_sink_wrote_agrees(log: ConversationLog) -> None:
    assert found(log, stored_of(log)) == []


def test_every_field_of_a_view_counts(log: ConversationLog) -> None:
    stored = stored_of(log)
    assert found(log, None) == ["view"]
    assert found(log, replace(stored, epoch="e0")) == ["view"]
    assert found(log, replace(stored, seq=stored.seq - 1)) == ["seq"]
    assert found(log, replace(stored, owner="p-2")) == ["owner"]
    assert found(log, replace(stored, status="closed")) == ["status"]
    assert found(log, replace(stored, turn=None)) == ["open turn"]
    assert found(log, replace(stored, state=stored.state + b" ")) == ["state"]


def test_every_entry_of_the_log_counts(log: ConversationLog) -> None:
    stored = stored_of(log)
    frames = list(stored.frames)
    assert found(log, replace(stored, frames=tuple(frames[:4] + frames[5:]))) == ["log"]
    assert found(log, replace(stored, frames=tuple(frames[:-1]))) == ["log"]
    altered = (frames[2][0], frames[2][1].replace(b"q1", b"q9"))
    changed = (*frames[:2], altered, *frames[3:])
    assert found(log, replace(stored, frames=changed)) == ["log entry 3"]


def test_a_log_that_is_missing_counts_until_it_is_old(log: ConversationLog) -> None:
    empty = replace(stored_of(log), frames=())
    assert found(log, empty) == ["log"]
    assert found(log, empty, NOW_MS + LOG_AGE_MS) == []


def test_a_log_that_began_again_after_it_was_old_agrees(log: ConversationLog) -> None:
    assert found(log, stored_of(log, last=3)) == []


def test_a_trimmed_log_agrees() -> None:
    log = ConversationLog()
    log.received("m")
    for _ in range(LOG_EVENTS_MAX + 5):
        log.rejected()
    assert found(log, stored_of(log)) == []


def test_reports_do_not_quote_texts(log: ConversationLog) -> None:
    stored = stored_of(log)
    different = replace(stored, state=stored.state.replace(b"a1", b"a9"))
    (difference,) = redis_differences(history_of(log), different, "e1", NOW_MS)
    assert "a9" not in difference.found.split("sha256")[0]
    assert "sha256" in difference.found


def test_a_gap_in_the_log_itself_is_named() -> None:
    log = ConversationLog()
    log.exchange("m1", "q", "a")
    del log.events[2]
    history = history_of(log)
    assert history.broken is not None
    assert (history.broken.expected, history.broken.found) == ("3", "4 follows 2")


def test_a_snapshot_is_compared_field_by_field(log: ConversationLog) -> None:
    history = history_of(log)
    state = history.state
    assert snapshot_differences(history, state) == []
    assert [d.what for d in snapshot_differences(history, None)] == ["snapshot"]
    behind = replace(state, seq=state.seq - 1)
    assert [d.what for d in snapshot_differences(history, behind)] == ["seq"]
    wrong = replace(state, owner="p-2", context=())
    assert [d.what for d in snapshot_differences(history, wrong)] == ["owner", "context"]


def test_clickhouse_is_compared_by_count_and_hash(log: ConversationLog) -> None:
    digest = Digest()
    for event in log.events:
        digest = digest_with(digest, event)
    assert clickhouse_difference(PLACE, digest, digest) is None
    lost = clickhouse_difference(PLACE, digest, None)
    assert lost is not None
    assert (lost.expected, lost.found) == (str(len(log.events)), "nothing")
    fewer = clickhouse_difference(PLACE, digest, replace(digest, events=3))
    assert fewer is not None
    assert (fewer.what, fewer.found) == ("events", "3")
    other = clickhouse_difference(PLACE, digest, replace(digest, total=1))
    assert other is not None
    assert other.what == "hash of events"
