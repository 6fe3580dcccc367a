"""Kills the projecting process again and again, at any step: every row is there, once."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from clickhouse_process import clickhouse_process
from clickhouse_rehearsal import the_log

from sinks.clickhouse.digests import digests_of_events, digests_of_table

KILLS = 8
CONVERSATIONS = 200
STEPS_OF_A_BATCH = 4
HERE = Path(__file__).parent


def one_life(folder: Path, step: int = 0, delay_ms: float = 0) -> tuple[int, str]:
    """Runs the process until it kills itself or is done: its exit status and what it said."""
    command = [sys.executable, str(HERE / "clickhouse_rehearsal.py"), str(folder)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE), *sys.path])}
    ended = subprocess.run(
        [*command, str(CONVERSATIONS), str(step), str(delay_ms)],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
        timeout=120,
        check=False,
    )
    return ended.returncode, ended.stdout


@pytest.mark.timeout(240)
def test_a_process_killed_at_any_step_leaves_exactly_the_log(tmp_path: Path) -> None:
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    doubts = 0
    for kill in range(KILLS):
        # The first step of a life settles what was in doubt, so any of the first eight will do.
        step = chance.randint(1, 2 * STEPS_OF_A_BATCH)
        delay_ms = -1 if kill % 2 else chance.uniform(0, 8)
        status, said = one_life(tmp_path, step, delay_ms)
        assert status == -signal.SIGKILL
        doubts += "doubt" in said
    assert one_life(tmp_path)[0] == 0
    assert doubts > 0, "no kill came at a moment that matters"

    log = the_log(CONVERSATIONS)
    texts = sum(type(d.record).__name__ in ("MessageAnalysed", "TurnCompleted") for d in log)
    with clickhouse_process(tmp_path / "engine") as clickhouse:
        assert clickhouse.query_rows("SELECT count() FROM witness") == [(len(log),)]
        assert clickhouse.query_rows("SELECT count() FROM events FINAL") == [(len(log),)]
        assert clickhouse.query_rows("SELECT count() FROM event_texts FINAL") == [(texts,)]
        expected = digests_of_events((d.record.envelope, type(d.record).__name__) for d in log)
        assert digests_of_table(clickhouse) == expected
