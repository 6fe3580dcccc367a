"""Looks at the finished conversations from every side: log, SQL, another tenant, verification."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from infra.clickhouse.remote import RemoteClickHouse
from infra.settings import Settings
from parley.client.conversation import new_id
from parley.demo.crowd import Talk
from parley.demo.customers import BANK, GROCER
from parley.demo.screen import Broken, Screen
from parley.talk import ask, open_client

BY_TENANT = (
    "SELECT tenant_id, count() AS answers, countIf(declined) AS declined, "
    "countIf(attempts > 1) AS taken_over, round(median(first_token_ms), 1) AS answerer_ms "
    "FROM v1_turns GROUP BY tenant_id ORDER BY tenant_id"
)
BY_INTENT = (
    "SELECT intent, count() AS messages, round(avg(intent_confidence), 2) AS confidence, "
    "any(text) AS for_example FROM v1_messages WHERE tenant_id = 'demo' AND intent != '' "
    "GROUP BY intent ORDER BY messages DESC, intent LIMIT 6"
)
PROJECTED_S = 30.0


def run(screen: Screen, data_dir: Path, *words: str) -> None:
    """Runs `parley …` on the demo's stack, shown as one would type it. Raises `Broken`."""
    command = ["parley", *words, "--data", _short(data_dir)]
    screen.command(command)
    sys.stdout.flush()
    ended = subprocess.run(
        [sys.executable, "-m", "parley", *words, "--data", str(data_dir)], check=False
    )
    if ended.returncode != 0:
        raise Broken(f'"{" ".join(command)}" ended with exit code {ended.returncode}')


def _short(path: Path) -> str:
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def ask_sql(screen: Screen, settings: Settings, talks: Sequence[Talk]) -> None:
    """Two questions of an analyst, once ClickHouse has every answer. Raises `Broken`."""
    wanted = sum(len(talk.exchanges) for talk in talks)
    names = ", ".join(f"'{talk.conversation}'" for talk in talks)
    done = (
        "SELECT count() AS n FROM v1_turns WHERE outcome = 'completed' "
        f"AND conversation_id IN ({names})"
    )
    clickhouse = RemoteClickHouse(settings.clickhouse.url, database=settings.clickhouse.database)
    try:
        deadline = time.monotonic() + PROJECTED_S
        while (found := _number(clickhouse, done)) != wanted:
            if time.monotonic() > deadline:
                raise Broken(f"ClickHouse has {found} of {wanted} answers after {PROJECTED_S:g} s")
            time.sleep(0.1)
    finally:
        clickhouse.close()
    run(screen, settings.data_dir, "sql", BY_TENANT, "--format", "table")
    run(screen, settings.data_dir, "sql", BY_INTENT, "--format", "table")
    screen.kept(f"all {wanted} answers are rows in ClickHouse, each once")


def _number(clickhouse: RemoteClickHouse, query: str) -> int:
    return int(b"".join(clickhouse.stream(query, "TSV")).strip() or b"-1")


async def look_from_outside(screen: Screen, settings: Settings, talk: Talk) -> None:
    """What a person of the second tenant gets to see of the first one's conversation."""
    question = talk.customer.messages[0]
    seen: list[object] = []
    async with open_client(settings, GROCER, talk.customer.name) as client:
        same_name = await client.conversation(talk.conversation)
        events = same_name.head
        await client.leave(same_name)
        own = await client.conversation(new_id())
        exchange = await ask(own, question, seen.append)
    cited = [each["document"] for each in exchange.citations]
    screen.say(f"tenant {GROCER} subscribes to {BANK}'s conversation {talk.conversation}:")
    screen.say(f"  {events} events", "")
    screen.say(f"tenant {GROCER} asks the same question, “{question}”:")
    screen.answered("yellow", exchange.text, cited)
    if events or not exchange.declined or cited:
        raise Broken(f"tenant {GROCER} sees something of tenant {BANK}")
    screen.kept(f"of tenant {BANK}, tenant {GROCER} sees nothing: no event, no article")
