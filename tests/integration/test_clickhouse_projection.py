"""The projection against the real engine: rows, views, repetition, poison, digests, migrations."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import clickhouse_connect
import pytest
from clickhouse_log import START_US, TOPIC, conversation, deliveries, open_text, sealed
from clickhouse_process import TENANT_TOKEN, Spawned, clickhouse_process

from schemas.failures import Invalid
from sinks.clickhouse.columns import EVENT_COLUMNS, TEXT_COLUMNS
from sinks.clickhouse.digests import (
    digests_of_events,
    digests_of_table,
    events_of_conversation,
    surplus_rows,
)
from sinks.clickhouse.migrations import MigrationChanged, SchemaNewer, migrate
from sinks.clickhouse.projection import ClickHouseSink
from sinks.port import Delivery, Position, TopicPartition

SOURCE = TopicPartition(TOPIC, 0)


@pytest.fixture(scope="module")
def clickhouse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Spawned]:
    with clickhouse_process(tmp_path_factory.mktemp("clickhouse")) as process:
        migrate(process, "parley", "parley_tenant")
        yield process


@pytest.fixture(autouse=True)
def _empty(clickhouse: Spawned) -> None:
    clickhouse.command("TRUNCATE TABLE events")
    clickhouse.command("TRUNCATE TABLE event_texts")


class Kafka:
    """The commits of one group, and the dead letters."""

    def __init__(self) -> None:
        self.commits: list[Position] = []
        self.dead: list[tuple[int, str]] = []

    async def commit(self, position: Position) -> None:
        self.commits.append(position)

    async def dead_letter(self, delivery: Delivery, why: Invalid) -> None:
        self.dead.append((delivery.offset, why.code))


def sink(clickhouse: Spawned, kafka: Kafka) -> ClickHouseSink:
    return ClickHouseSink(clickhouse, open_text, kafka.dead_letter)


async def write(clickhouse: Spawned, records: list[Delivery]) -> Kafka:
    kafka = Kafka()
    await sink(clickhouse, kafka).write(SOURCE, records, kafka.commit)
    return kafka


def log(*names: str, tenant: str = "demo") -> list[Delivery]:
    events = [event for name in names for event in conversation(name, tenant)]
    return list(deliveries(events))


async def test_a_batch_is_declared_written_and_settled(clickhouse: Spawned) -> None:
    records = log("c1", "c2")
    kafka = Kafka()

    position = await sink(clickhouse, kafka).write(SOURCE, records, kafka.commit)

    last = records[-1].offset
    assert kafka.commits == [Position(0, f"0-{last},1")]
    assert position == Position(last + 1)
    assert clickhouse.query_rows("SELECT count() FROM events") == [(28,)]
    assert kafka.dead == []


async def test_columns_are_those_of_the_tables(clickhouse: Spawned) -> None:
    for table, columns in (("events", EVENT_COLUMNS), ("event_texts", TEXT_COLUMNS)):
        rows = clickhouse.query_rows(
            "SELECT name FROM system.columns WHERE database = 'parley' AND table = {t:String}"
            " AND default_kind = '' ORDER BY position",
            {"t": table},
        )
        assert [name for (name,) in rows] == list(columns)


async def test_every_column_is_explained(clickhouse: Spawned) -> None:
    rows = clickhouse.query_rows(
        "SELECT table, name FROM system.columns WHERE database IN ('parley', 'parley_tenant')"
        " AND comment = '' AND table != 'migrations'"
    )
    assert rows == []


async def test_a_range_in_doubt_is_written_once(clickhouse: Spawned) -> None:
    records = log("c1", "c2")
    kafka = Kafka()
    await sink(clickhouse, kafka).write(SOURCE, records[:20], kafka.commit)

    # The process died before the range was settled: its note is all that is left.
    again = sink(clickhouse, kafka)
    await again.assigned({SOURCE: kafka.commits[-1]})
    waiting = await again.write(SOURCE, records[:15], kafka.commit)
    assert waiting == kafka.commits[-1]
    position = await again.write(SOURCE, records, kafka.commit)

    assert position == Position(records[19].offset + 1)
    assert clickhouse.query_rows("SELECT count() FROM events") == [(20,)]
    assert clickhouse.query_rows("SELECT count() FROM event_texts") == [(4,)]


async def test_a_record_that_fits_no_row_is_set_aside_and_the_rest_is_written(
    clickhouse: Spawned,
) -> None:
    records = log("c1")
    bad = replace(records[5].record, message_seq=-1)
    records[5] = replace(records[5], record=bad)

    kafka = await write(clickhouse, records)

    assert kafka.dead == [(records[5].offset, "no_row")]
    assert kafka.commits[-1].note.endswith(f",skip:{records[5].offset}")
    assert clickhouse.query_rows("SELECT count() FROM events") == [(13,)]

    again = sink(clickhouse, kafka)
    await again.assigned({SOURCE: kafka.commits[-1]})
    await again.write(SOURCE, records, kafka.commit)
    assert clickhouse.query_rows("SELECT count() FROM events") == [(13,)]
    assert len(kafka.dead) == 1


async def test_events_of_one_offset_read_again_replace_themselves(clickhouse: Spawned) -> None:
    records = log("c1")
    clickhouse.command("SYSTEM STOP MERGES events")
    await write(clickhouse, records)
    await write(clickhouse, records[3:])  # another range, hence another token
    assert surplus_rows(clickhouse) == 11
    clickhouse.command("SYSTEM START MERGES events")
    found = digests_of_table(clickhouse)[("demo", "c1")]
    assert found.events == 14
    assert clickhouse.query_rows("SELECT messages, turns FROM v1_conversations") == [(1, 3)]


async def test_log_and_table_have_the_same_digests(clickhouse: Spawned) -> None:
    records = log("c1", "c2") + log("c1", tenant="other")
    await write(clickhouse, log("c1", "c2"))
    other = [replace(d, offset=d.offset + 1000) for d in log("c1", tenant="other")]
    await write(clickhouse, other)

    pairs = [(d.record.envelope, type(d.record).__name__) for d in records]
    assert digests_of_table(clickhouse) == digests_of_events(pairs)
    assert set(digests_of_table(clickhouse, tenant_id="other")) == {("other", "c1")}
    first = events_of_conversation(clickhouse, "demo", "c1")[0]
    assert (first.seq, first.event_id) == (1, pairs[0][0].event_id)


async def test_conversations_add_up(clickhouse: Spawned) -> None:
    await write(clickhouse, log("c1"))
    (row,) = clickhouse.query_arrow("SELECT * FROM v1_conversations").to_pylist()
    start = datetime.fromtimestamp(START_US / 1e6, UTC)
    assert row == {
        "tenant_id": "demo",
        "conversation_id": "c1",
        "owner": "sub-1",
        "status": "closed",
        "started_at": start + timedelta(seconds=1),
        "last_event_at": start + timedelta(seconds=14),
        "last_seq": 14,
        "messages": 1,
        "turns": 3,
        "turns_completed": 1,
        "turns_declined": 0,
        "turns_failed": 1,
        "turns_cancelled": 1,
        "turns_refused": 1,
        "turns_degraded": 1,
        "commands_rejected": 1,
        "ratings": 1,
        "rating_sum": 4,
        "input_tokens": 120,
        "output_tokens": 30,
        "cost_usd": Decimal("0.001234567"),
    }


async def test_messages_carry_their_analysis(clickhouse: Spawned) -> None:
    await write(clickhouse, log("c1"))
    (row,) = clickhouse.query_arrow("SELECT * FROM v1_messages").to_pylist()
    assert row["text"] == "write to [EMAIL_1]"
    assert (row["seq"], row["analysis_seq"], row["mid"]) == (2, 3, "m1")
    assert (row["intent"], row["intent_confidence"]) == ("card_arrival", 0.93)
    assert (row["sentiment"], row["sentiment_confidence"]) == ("negative", 0.71)
    assert row["findings"][0]["kind"] == "EMAIL"
    assert row["analysed_at"] - row["received_at"] == timedelta(seconds=1)


async def test_turns_carry_their_outcome_and_answer(clickhouse: Spawned) -> None:
    await write(clickhouse, log("c1"))
    table = clickhouse.query_arrow("SELECT * FROM v1_turns ORDER BY started_seq")
    completed, failed, cancelled = table.to_pylist()
    assert completed["outcome"] == "completed"
    assert completed["answer"] == "It is on its way. [1]"
    assert (completed["attempts"], completed["ended_seq"]) == (2, 6)
    assert (completed["first_token_ms"], completed["duration_ms"]) == (41.0, 250.5)
    assert completed["citations"][0]["document_id"] == "doc-7"
    assert completed["degraded"] == ["smaller_model"]
    assert (failed["outcome"], failed["code"], failed["answer"]) == ("failed", "deadline", "")
    assert (cancelled["outcome"], cancelled["code"]) == ("cancelled", "client")


async def test_an_open_turn_is_open(clickhouse: Spawned) -> None:
    await write(clickhouse, log("c1")[:4])
    assert clickhouse.query_rows("SELECT outcome, ended_seq FROM v1_turns") == [("open", 0)]


async def test_inferences_are_rows(clickhouse: Spawned) -> None:
    await write(clickhouse, log("c1"))
    rows = clickhouse.query_rows("SELECT task, label, latency_us FROM v1_inferences ORDER BY task")
    assert rows == [
        ("embedding", "", 2000),
        ("intent.banking77", "card_arrival", 90),
        ("sentiment", "negative", 80),
    ]


async def test_a_text_without_a_key_is_empty_and_its_event_stays(clickhouse: Spawned) -> None:
    records = log("c1")
    gone = replace(records[2].record, redacted=sealed("gone"))
    records[2] = replace(records[2], record=gone)
    await write(clickhouse, records)
    assert clickhouse.query_rows("SELECT text, intent FROM v1_messages") == [("", "card_arrival")]


async def test_expired_texts_go_and_events_stay(clickhouse: Spawned) -> None:
    kafka = Kafka()
    forty_days_ago_us = int(datetime.now(UTC).timestamp() * 1e6) - 40 * 86_400 * 10**6

    def aged(delivery: Delivery) -> Delivery:
        event = delivery.record
        envelope = replace(event.envelope, occurred_at=forty_days_ago_us + event.envelope.seq)
        return replace(delivery, record=replace(event, envelope=envelope))

    short = ClickHouseSink(clickhouse, open_text, kafka.dead_letter, retention_days=lambda _: 30)
    await short.write(SOURCE, [aged(d) for d in log("c1")], kafka.commit)
    clickhouse.command("OPTIMIZE TABLE event_texts FINAL")
    assert clickhouse.query_rows("SELECT count() FROM event_texts") == [(0,)]
    assert clickhouse.query_rows("SELECT count() FROM events") == [(14,)]


@pytest.mark.parametrize("view", ["conversations", "messages", "turns", "inferences"])
async def test_a_tenant_sees_its_own_rows_in_every_view(clickhouse: Spawned, view: str) -> None:
    await write(clickhouse, log("c1", tenant="tenant-a"))
    other = [replace(d, offset=d.offset + 100) for d in log("c1", "c2", tenant="tenant-b")]
    await write(clickhouse, other)

    def tenants(**who: Any) -> list[Any]:
        client = clickhouse_connect.get_client(host="127.0.0.1", port=clickhouse.http_port, **who)
        sql = f"SELECT DISTINCT tenant_id FROM v1_{view} ORDER BY tenant_id"
        rows = client.query(sql).result_rows
        client.close()
        return [tenant for (tenant,) in rows]

    assert tenants(access_token=TENANT_TOKEN) == ["tenant-a"]
    assert tenants() == ["tenant-a", "tenant-b"]


class TestMigrations:
    def test_a_second_run_changes_nothing(self, clickhouse: Spawned) -> None:
        assert migrate(clickhouse, "parley", "parley_tenant") == []

    def test_a_database_of_a_newer_version_is_left_alone(self, clickhouse: Spawned) -> None:
        clickhouse.command("CREATE DATABASE newer")
        migrate(clickhouse, "newer")
        clickhouse.command("INSERT INTO newer.migrations (name, number) VALUES ('0999_new', 999)")
        with pytest.raises(SchemaNewer, match="0999_new"):
            migrate(clickhouse, "newer")

    def test_an_edited_migration_is_refused(self, clickhouse: Spawned) -> None:
        clickhouse.command("CREATE DATABASE edited")
        migrate(clickhouse, "edited")
        clickhouse.command(
            "INSERT INTO edited.migrations (name, number, digest) VALUES ('0001_events', 1, 'x')"
        )
        with pytest.raises(MigrationChanged, match="0001_events"):
            migrate(clickhouse, "edited")


def test_a_folder_is_opened_again_after_a_kill(tmp_path: Path) -> None:
    with clickhouse_process(tmp_path) as first:
        migrate(first)
        first.kill()
    with clickhouse_process(tmp_path) as second:
        assert migrate(second) == []
