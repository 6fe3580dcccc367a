"""`parley sql` as a person or a script calls it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from clickhouse_process import Spawned, clickhouse_process

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def clickhouse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Spawned]:
    with clickhouse_process(tmp_path_factory.mktemp("clickhouse")) as process:
        yield process


@pytest.fixture
def parley_sql(clickhouse: Spawned, tmp_path: Path) -> Run:
    def run(
        *words: str, url: str = clickhouse.url, said: str = ""
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "parley", "sql", "--data", str(tmp_path), *words],
            input=said,
            capture_output=True,
            text=True,
            env={**os.environ, "CLICKHOUSE_URL": url},
            timeout=60,
            check=False,
        )

    return run


def test_a_pipe_gets_tab_separated_rows_and_nothing_else(parley_sql: Run) -> None:
    ended = parley_sql("SELECT 1 AS a, 'x' AS b")
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "a\tb\n1\tx\n", "")


@pytest.mark.parametrize(
    ("words", "printed"),
    [
        (["--json"], '{"a":1,"b":null}\n'),
        (["--format", "csv"], '"a","b"\n1,\\N\n'),
    ],
)
def test_rows_are_printed_in_the_format_asked_for(
    parley_sql: Run, words: list[str], printed: str
) -> None:
    assert parley_sql("SELECT 1 AS a, NULL AS b", *words).stdout == printed


def test_a_table_is_drawn(parley_sql: Run) -> None:
    printed = parley_sql("SELECT 1 AS a, '[b]' AS b, NULL AS c", "--format", "table").stdout
    assert "│ 1 │ [b] │ null │" in printed


def test_the_statement_may_come_from_the_input_with_a_format_of_its_own(parley_sql: Run) -> None:
    assert parley_sql("-", said="SELECT 7 AS a FORMAT JSONEachRow").stdout == '{"a":7}\n'


@pytest.mark.parametrize(
    ("query", "code", "words"),
    [
        ("SELECT nothing", 2, "nothing"),
        ("SELEC 1", 2, "check its spelling"),
        ("", 2, "says nothing"),
        ("SELECT * FROM file('x')", 4, "not open to you"),
        ("DROP TABLE x", 4, "only one SELECT"),
    ],
)
def test_a_bad_statement_ends_with_a_sentence(
    parley_sql: Run, query: str, code: int, words: str
) -> None:
    ended = parley_sql(query)
    assert (ended.returncode, ended.stdout) == (code, "")
    assert words in ended.stderr
    assert "Code:" not in ended.stderr


def test_a_stack_that_is_down_is_said_in_a_sentence(parley_sql: Run) -> None:
    ended = parley_sql("SELECT 1", url="http://127.0.0.1:1")
    assert ended.returncode == 3
    assert "ClickHouse at 127.0.0.1:1 does not answer: Connection refused" in ended.stderr
