"""`parley verify` finds what really differs, names it, and agrees again once that is mended."""

from __future__ import annotations

import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlencode

import pytest
import redis
from running_stack import Answered, RunningStack, run_parley, wait_for

sys.path.append(str(Path(__file__).parents[1] / "integration"))

from clickhouse_process import OWNER_TOKEN, Spawned, clickhouse_process

from infra.clickhouse.remote import RemoteClickHouse
from sinks.clickhouse.migrations import migrate
from sinks.redis.keys import FRAME, conversation_keys, entry_seq

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]


def conversation(stack: RunningStack) -> str:
    """A conversation of five events that have come to ClickHouse, the last of all copies."""
    said = stack.parley("say", "Where can I use my card?", "--json")
    assert said.code == 0, said.err
    name = str(said.json["conversation"])
    counted = f"SELECT count() FROM events FINAL WHERE conversation_id = '{name}'"
    wait_for(lambda: stack.parley("sql", counted).out.split()[-1] == "5", "rows in ClickHouse")
    return name


def verify(stack: RunningStack, *arguments: str, **env: str) -> Answered:
    """A verification that waits a second for what lags, with room for wide tables."""
    place = ("--wait", "1", "--data", str(stack.folder))
    return run_parley("verify", *arguments, *place, COLUMNS="250", **env)


@contextmanager
def altered_frame(stack: RunningStack, name: str, seq: int) -> Iterator[None]:
    """Redis with another letter in one frame of a conversation's log, and as it was afterwards."""
    client = redis.Redis.from_url(stack.addresses["redis"])
    key = conversation_keys("demo", name).log
    kept, left_ms = client.dump(key), client.pttl(key)
    try:
        entries = client.xrange(key)
        client.delete(key)
        for entry, fields in entries:
            frame = fields[FRAME]
            if entry_seq(entry) == seq:
                frame = frame.replace(b'"ts":"2', b'"ts":"3')
                assert frame != fields[FRAME]
            client.xadd(key, {FRAME: frame}, id=entry)
        yield
    finally:
        client.restore(key, max(0, left_ms), kept, replace=True)
        client.close()


def test_an_altered_frame_in_redis_is_named_with_its_conversation(stack: RunningStack) -> None:
    name = conversation(stack)
    with altered_frame(stack, name, 3):
        found = verify(stack)
    assert found.code == 1, found.out + found.err
    [line] = [line for line in found.out.splitlines() if name in line]
    assert [cell.strip() for cell in line.split("│")][1:4] == [
        f"demo:{name}",
        "redis",
        "log entry 3",
    ]
    assert "✗ 1 differences in " in found.out
    agreeing = verify(stack)
    assert agreeing.code == 0, agreeing.out
    assert "log, Redis, ClickHouse and snapshots agree" in agreeing.out


@pytest.fixture
def copy(stack: RunningStack, tmp_path: Path) -> Iterator[Spawned]:
    """A ClickHouse to be altered: the stack's own takes orders from its owner alone."""
    with clickhouse_process(tmp_path / "copy") as spawned:
        migrate(spawned, "parley")
        yield spawned


def copy_rows(stack: RunningStack, copy: Spawned, where: str = "true") -> None:
    """Copies events of the stack's ClickHouse in its own format."""
    source = RemoteClickHouse(stack.addresses["clickhouse"], database="parley")
    content = b"".join(source.stream(f"SELECT * FROM events FINAL WHERE {where}", "Native"))
    source.close()
    query = urlencode({"query": "INSERT INTO events FORMAT Native", "database": "parley"})
    request = urllib.request.Request(
        f"{copy.url}/?{query}", content, {"Authorization": f"Bearer {OWNER_TOKEN}"}
    )
    with urllib.request.urlopen(request, timeout=60) as response:
        assert response.status == 200


def test_a_row_that_clickhouse_lost_is_named_with_its_conversation(
    stack: RunningStack, copy: Spawned
) -> None:
    name = conversation(stack)
    copy_rows(stack, copy)
    row = f"conversation_id = '{name}' AND seq = 2"
    owner = RemoteClickHouse(copy.url, token=OWNER_TOKEN, database="parley")
    owner.command(f"DELETE FROM events WHERE {row}")
    owner.close()
    found = verify(stack, "--json", CLICKHOUSE_URL=copy.url)
    assert (found.code, found.json["agrees"]) == (1, False), found.out + found.err
    [difference] = found.json["first_differences"]
    assert difference == {
        "tenant_id": "demo",
        "conversation_id": name,
        "where": "clickhouse",
        "what": "events",
        "expected": "5",
        "found": "4",
    }
    copy_rows(stack, copy, row)
    agreeing = verify(stack, "--json", CLICKHOUSE_URL=copy.url)
    assert (agreeing.code, agreeing.json["agrees"]) == (0, True), agreeing.out
