"""Kills the projecting process at random, again and again: every row is there, once."""

from __future__ import annotations

import os
import random
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest
from clickhouse_process import clickhouse_process
from clickhouse_rehearsal import the_log

from sinks.clickhouse.digests import digests_of_events, digests_of_table

KILLS = 10
CONVERSATIONS = 600
HERE = Path(__file__).parent


def one_life(folder: Path, seconds: float) -> bool:
    """Lets the process work for a while and kills it. Whether it was done before."""
    command = [sys.executable, str(HERE / "clickhouse_rehearsal.py"), str(folder)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE), *sys.path])}
    with subprocess.Popen(
        [*command, str(CONVERSATIONS)], stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begins\n"
        done = bool(select.select([process.stdout], [], [], seconds)[0])
        said = process.stdout.readline() if done else ""
        process.kill()
    assert said in ("", "done\n"), said
    return done


@pytest.mark.timeout(200)
def test_a_process_killed_at_random_leaves_exactly_the_log(tmp_path: Path) -> None:
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    kills = 0
    deadline = time.monotonic() + 180
    while kills < KILLS:
        assert time.monotonic() < deadline
        if one_life(tmp_path, chance.uniform(0.0, 0.25)):
            break
        kills += 1
    assert kills >= 3, "the log was too short for the kills to matter"
    while not one_life(tmp_path, 60):
        pass

    log = the_log(CONVERSATIONS)
    texts = sum(type(d.record).__name__ in ("MessageAnalysed", "TurnCompleted") for d in log)
    with clickhouse_process(tmp_path / "engine") as clickhouse:
        # Not FINAL: what counts is that nothing was inserted twice.
        assert clickhouse.query_rows("SELECT count() FROM events") == [(len(log),)]
        assert clickhouse.query_rows("SELECT count() FROM event_texts") == [(texts,)]
        expected = digests_of_events((d.record.envelope, type(d.record).__name__) for d in log)
        assert digests_of_table(clickhouse) == expected
