"""One suite for both ways to ClickHouse: the engine in its process, and HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from clickhouse_process import (
    OWNER_TOKEN,
    Spawned,
    clickhouse_process,
    close_while_a_handle_is_open,
)

from infra.clickhouse.errors import ClickHouseError, ClickHouseUnavailable
from infra.clickhouse.port import ClickHouse
from infra.clickhouse.remote import RemoteClickHouse

TOKEN = {"async_insert": 0, "insert_deduplication_token": "p:1:t:0:5-7"}


@pytest.fixture(scope="module")
def spawned(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Spawned]:
    with clickhouse_process(tmp_path_factory.mktemp("clickhouse")) as process:
        yield process


@pytest.fixture(params=["embedded", "http"])
def clickhouse(request: Any, spawned: Spawned) -> Iterator[ClickHouse]:
    if request.param == "embedded":
        yield spawned
    else:
        remote = RemoteClickHouse(spawned.url, token=OWNER_TOKEN, database="parley")
        yield remote
        remote.close()


@pytest.fixture
def table(clickhouse: ClickHouse) -> Iterator[str]:
    clickhouse.command(
        "CREATE TABLE t (n UInt64, at DateTime64(6, 'UTC'), cost Decimal(18, 9), s String,"
        " tags Array(Tuple(k LowCardinality(String), v Float64)), maybe Nullable(UInt32))"
        " ENGINE = MergeTree ORDER BY n SETTINGS non_replicated_deduplication_window = 100"
    )
    yield "t"
    clickhouse.command("DROP TABLE t")


def rows(first: int, last: int) -> pa.Table:
    numbers = list(range(first, last + 1))
    return pa.table(
        {
            "n": pa.array(numbers, pa.uint64()),
            "at": pa.array([n * 1_000_001 for n in numbers], pa.timestamp("us", "UTC")),
            "cost": pa.array([Decimal(n).scaleb(-9) for n in numbers], pa.decimal128(18, 9)),
            "s": [f"tab\t'{n}'\n\\" for n in numbers],
            "tags": pa.array(
                [[{"k": "x", "v": n / 2}] for n in numbers],
                pa.list_(pa.struct([("k", pa.string()), ("v", pa.float64())])),
            ),
            "maybe": pa.array([None if n % 2 else n for n in numbers], pa.uint32()),
        }
    )


def test_rows_come_back_as_they_went_in(clickhouse: ClickHouse, table: str) -> None:
    clickhouse.insert_arrow(table, rows(5, 6))

    found = clickhouse.query_rows("SELECT n, at, cost, s, tags, maybe FROM t ORDER BY n")

    at = datetime(1970, 1, 1, 0, 0, 5, 5, UTC)
    assert found[0] == (5, at, Decimal("5E-9"), "tab\t'5'\n\\", [{"k": "x", "v": 2.5}], None)
    assert found[1][5] == 6


@pytest.mark.parametrize(
    "refusing",
    ["ADD CONSTRAINT few CHECK n < 6", "MODIFY SETTING max_parts_in_total = 1"],
    ids=("a value that may not be there", "too many parts"),
)
def test_an_insert_that_fails_at_its_very_end_says_so(
    clickhouse: ClickHouse, table: str, refusing: str
) -> None:
    """A streaming insert of chDB reports success then, and the rows are nowhere."""
    clickhouse.insert_arrow(table, rows(1, 1))
    clickhouse.insert_arrow(table, rows(2, 2))
    clickhouse.command(f"ALTER TABLE {table} {refusing}")

    with pytest.raises(ClickHouseError):
        clickhouse.insert_arrow(table, rows(5, 7))
    assert clickhouse.query_rows("SELECT count() FROM t") == [(2,)]


def test_an_insert_that_takes_too_much_memory_says_so(clickhouse: ClickHouse, table: str) -> None:
    with pytest.raises(ClickHouseUnavailable):
        clickhouse.insert_arrow(table, rows(1, 50_000), {"max_memory_usage": 4_000_000})
    assert clickhouse.query_rows("SELECT count() FROM t") == [(0,)]


def test_a_range_that_is_inserted_again_under_its_token_counts_once(
    clickhouse: ClickHouse, table: str
) -> None:
    for _ in range(3):
        clickhouse.insert_arrow(table, rows(5, 7), TOKEN)
    assert clickhouse.query_rows("SELECT count() FROM t") == [(3,)]

    clickhouse.insert_arrow(table, rows(5, 7), {**TOKEN, "insert_deduplication_token": "other"})
    assert clickhouse.query_rows("SELECT count() FROM t") == [(6,)]


@pytest.mark.parametrize(
    "text", ["plain", "tab\there", "line\nbreak", "back\\slash", "o'clock", ""]
)
def test_a_parameter_arrives_as_it_is(clickhouse: ClickHouse, text: str) -> None:
    assert clickhouse.query_rows("SELECT {x:String} AS x", {"x": text}) == [(text,)]


def test_an_empty_result_has_its_columns(clickhouse: ClickHouse) -> None:
    found = clickhouse.query_arrow("SELECT 1 AS a, 'x' AS b WHERE 0")
    assert found.column_names == ["a", "b"]
    assert found.num_rows == 0


def test_a_wrong_statement_is_a_defect_with_the_engines_own_code(clickhouse: ClickHouse) -> None:
    with pytest.raises(ClickHouseError, match="UNKNOWN_TABLE") as caught:
        clickhouse.query_rows("SELECT * FROM nowhere")
    assert caught.value.code == 60
    assert not isinstance(caught.value, ClickHouseUnavailable)


def test_too_little_memory_can_pass(clickhouse: ClickHouse) -> None:
    with pytest.raises(ClickHouseUnavailable) as caught:
        clickhouse.query_rows(
            "SELECT groupArray(number) FROM numbers(10000000)",
            None,
            {"max_memory_usage": 10_000_000},
        )
    assert caught.value.code == 241


def test_an_address_where_nobody_answers_can_pass(unused_port: int) -> None:
    with pytest.raises(ClickHouseUnavailable, match="does not answer"):
        RemoteClickHouse(f"http://127.0.0.1:{unused_port}").query_rows("SELECT 1")


def test_a_folder_in_use_says_by_whom(spawned: Spawned, tmp_path: Path) -> None:
    from infra.clickhouse.folder import FolderInUse, OwnedFolder

    first = OwnedFolder(tmp_path)
    with pytest.raises(FolderInUse, match=r"is in use by process \d+"):
        OwnedFolder(tmp_path)
    first.release()
    OwnedFolder(tmp_path).release()


@pytest.fixture
def unused_port() -> int:
    import socket

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def test_an_engine_ends_after_the_handles_that_are_open(tmp_path: Path) -> None:
    told = close_while_a_handle_is_open(tmp_path / "engine")
    assert told == ["asked: 1", "closed", "opened again"]
