"""The SQL endpoint, asked by the clients that people have: clickhouse-connect and plain HTTP."""

from __future__ import annotations

import gzip
import json
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlencode

import clickhouse_connect
import pytest
from clickhouse_connect.driver.exceptions import DatabaseError
from clickhouse_process import (
    OWNER_TOKEN,
    TENANT_TOKEN,
    Spawned,
    clickhouse_process,
)


@pytest.fixture(scope="module")
def spawned(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Spawned]:
    with clickhouse_process(tmp_path_factory.mktemp("clickhouse")) as process:
        process.command(
            "CREATE TABLE events (tenant_id LowCardinality(String), n UInt64, text String)"
            " ENGINE = ReplacingMergeTree ORDER BY (tenant_id, n)"
        )
        process.command(
            "INSERT INTO events SELECT ['tenant-a', 'tenant-b'][number % 2 + 1], number,"
            " 'secret-of-' || ['a', 'b'][number % 2 + 1] FROM numbers(10)"
        )
        process.command("CREATE VIEW v1_things AS SELECT * FROM events FINAL")
        process.command(
            "CREATE VIEW parley_tenant.v1_things AS SELECT n, text FROM parley.events FINAL"
            " PREWHERE tenant_id = getSetting('log_comment')"
        )
        yield process


@pytest.fixture
def client(spawned: Spawned) -> Iterator[Any]:
    made = clickhouse_connect.get_client(host="127.0.0.1", port=spawned.http_port)
    yield made
    made.close()


Ask = Callable[..., tuple[int, dict[str, str], str]]


@pytest.fixture
def ask(spawned: Spawned) -> Ask:
    """Posts a statement: `(status, headers, body)`."""

    def post(
        sql: str | bytes,
        token: str | None = None,
        headers: dict[str, str] | None = None,
        **query: Any,
    ) -> tuple[int, dict[str, str], str]:
        request = urllib.request.Request(
            f"{spawned.url}/?{urlencode(query)}", sql.encode() if isinstance(sql, str) else sql
        )
        request.add_header("Content-Type", "text/plain")
        for name, value in (headers or {}).items():
            request.add_header(name, value)
        if token:
            request.add_header("Authorization", f"Bearer {token}")
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=30) as answer:
                return answer.status, dict(answer.headers), answer.read().decode(errors="replace")
        except urllib.error.HTTPError as error:
            return error.code, dict(error.headers), error.read().decode()

    return post


class TestClickHouseConnect:
    def test_connects_and_reads_rows(self, client: Any) -> None:
        result = client.query("SELECT n, text FROM v1_things ORDER BY n LIMIT 2")
        assert result.result_rows == [(0, "secret-of-a"), (1, "secret-of-b")]
        assert client.server_version.startswith("26.")
        assert str(client.server_tz) == "UTC"

    def test_reads_a_million_rows(self, client: Any) -> None:
        result = client.query("SELECT number, toString(number) FROM numbers(1000000)")
        assert result.row_count == 1_000_000
        assert result.result_rows[-1] == (999_999, "999999")

    def test_streams_blocks(self, client: Any) -> None:
        with client.query_row_block_stream("SELECT number FROM numbers(300000)") as blocks:
            assert sum(len(block) for block in blocks) == 300_000

    def test_binds_parameters(self, client: Any) -> None:
        sql = "SELECT {text:String}, {n:Int64}"
        assert client.query(sql, parameters={"text": "a\t'b'\\", "n": -3}).result_rows == [
            ("a\t'b'\\", -3)
        ]

    def test_sends_long_parameters_as_a_form(self, client: Any) -> None:
        text = "x" * 100_000
        sql = "SELECT length({text:String})"
        assert client.query(sql, parameters={"text": text}).result_rows == [(100_000,)]

    def test_gives_arrow_and_data_frames(self, client: Any) -> None:
        assert client.query_arrow("SELECT 1 AS a").to_pylist() == [{"a": 1}]
        assert client.query_df("SELECT number AS n FROM numbers(3)")["n"].tolist() == [0, 1, 2]

    def test_runs_commands_and_empty_results(self, client: Any) -> None:
        assert client.command("SELECT 42") == 42
        assert client.query("SELECT 1 AS a WHERE 0").result_rows == []
        assert client.query("SELECT n FROM v1_things LIMIT 0").column_names == ("n",)

    def test_gets_errors_with_code_and_name(self, client: Any) -> None:
        with pytest.raises(DatabaseError) as caught:
            client.query("SELECT nothing FROM v1_things")
        assert (caught.value.code, caught.value.name) == (47, "UNKNOWN_IDENTIFIER")

    def test_gets_an_error_in_the_middle_of_a_result(self, client: Any) -> None:
        sql = "SELECT throwIf(number = 2000000) FROM numbers(3000000)"
        with (
            pytest.raises(DatabaseError, match="throwIf"),
            client.query_row_block_stream(sql) as blocks,
        ):
            for _ in blocks:
                pass

    def test_asks_from_many_threads_at_once(self, spawned: Spawned) -> None:
        client = clickhouse_connect.get_client(
            host="127.0.0.1", port=spawned.http_port, autogenerate_session_id=False
        )
        with ThreadPoolExecutor(16) as pool:
            found = list(pool.map(lambda n: client.command(f"SELECT {n} + 1"), range(64)))
        client.close()
        assert found == [n + 1 for n in range(64)]

    def test_cannot_write(self, client: Any) -> None:
        with pytest.raises(DatabaseError, match="ACCESS_DENIED"):
            client.command("INSERT INTO events VALUES ('x', 1, 'y')")
        with pytest.raises(DatabaseError, match="ACCESS_DENIED"):
            client.insert("events", [["x", 1, "y"]], column_names=["tenant_id", "n", "text"])

    @pytest.mark.parametrize("compression", ["lz4", "zstd", "gzip"])
    def test_takes_compressed_answers(self, spawned: Spawned, compression: str) -> None:
        client = clickhouse_connect.get_client(
            host="127.0.0.1", port=spawned.http_port, access_token=OWNER_TOKEN, compress=compression
        )
        assert len(client.query("SELECT number FROM numbers(200000)").result_rows) == 200_000
        client.close()


class TestPlainHttp:
    def test_answers_ping(self, spawned: Spawned) -> None:
        with urllib.request.urlopen(f"{spawned.url}/ping", timeout=5) as answer:
            assert answer.read() == b"Ok.\n"

    @pytest.mark.parametrize(
        ("format", "body"),
        [
            ("TSV", "1\tx\n"),
            ("CSV", '1,"x"\n'),
            ("CSVWithNames", '"a","b"\n1,"x"\n'),
            ("JSONEachRow", '{"a":1,"b":"x"}\n'),
        ],
    )
    def test_answers_in_a_format(self, ask: Ask, format: str, body: str) -> None:
        status, headers, found = ask(f"SELECT 1 AS a, 'x' AS b FORMAT {format}")
        assert (status, found, headers["X-ClickHouse-Format"]) == (200, body, format)

    def test_answers_json_with_types(self, ask: Ask) -> None:
        found = json.loads(ask("SELECT 1 AS a, 'x' AS b FORMAT JSON;  -- please")[2])
        assert found["meta"] == [{"name": "a", "type": "UInt8"}, {"name": "b", "type": "String"}]
        assert found["data"] == [{"a": 1, "b": "x"}]

    def test_answers_row_binary_with_names_and_types_with_one_header(self, ask: Ask) -> None:
        body = ask("SELECT number FROM numbers(200000) FORMAT RowBinaryWithNamesAndTypes")[2]
        assert body.count("\x06number\x06UInt64") == 1

    def test_compresses_if_asked_to(self, spawned: Spawned) -> None:
        request = urllib.request.Request(f"{spawned.url}/?enable_http_compression=1", b"SELECT 'x'")
        request.add_header("Accept-Encoding", "gzip")
        with urllib.request.urlopen(request, timeout=5) as answer:
            assert answer.headers["Content-Encoding"] == "gzip"
            assert gzip.decompress(answer.read()) == b"x\n"

    @pytest.mark.parametrize("settings", ["", " SETTINGS input_format_csv_trim_whitespaces = 1"])
    def test_takes_rows_of_an_owner_with_settings_and_without(
        self, ask: Ask, settings: str
    ) -> None:
        assert (
            ask("CREATE OR REPLACE TABLE s (a UInt8) ENGINE = Memory", token=OWNER_TOKEN)[0] == 200
        )
        insert = f"INSERT INTO s (a){settings} FORMAT CSV"
        assert ask("1\n2\n", token=OWNER_TOKEN, query=insert)[0] == 200
        assert ask("SELECT sum(a) FROM s", token=OWNER_TOKEN)[2] == "3\n"

    def test_says_what_it_does_not_speak(self, ask: Ask) -> None:
        status, headers, body = ask("SELECT 1", compress=1)
        assert (status, headers["X-ClickHouse-Exception-Code"]) == (400, "48")
        assert "Accept-Encoding" in body

    def test_reads_the_statement_from_the_address_of_a_get(self, spawned: Spawned) -> None:
        query = urlencode({"query": "SELECT {x:String}", "param_x": "hi"})
        with urllib.request.urlopen(f"{spawned.url}/?{query}", timeout=5) as answer:
            assert answer.read() == b"hi\n"

    def test_a_statement_whose_client_left_is_killed(self, spawned: Spawned, ask: Ask) -> None:
        sql = "SELECT count() FROM numbers(1000000000000) WHERE sipHash64(number) = 42"
        body = sql.encode()
        with socket.create_connection(("127.0.0.1", spawned.http_port)) as leaving:
            head = f"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
            leaving.sendall(head.encode() + body)
            running = "SELECT count() FROM system.processes WHERE query LIKE '%1000000000000%= 42%'"
            running += " AND query NOT LIKE '%processes%'"
            wait_for(lambda: ask(running)[2] == "1\n")
        wait_for(lambda: ask(running)[2] == "0\n")

    def test_a_short_question_is_answered_beside_a_long_one(self, ask: Ask) -> None:
        long = threading.Thread(
            target=ask,
            args=("SELECT count() FROM numbers(1000000000000) WHERE sipHash64(number) = 43",),
            kwargs={"max_execution_time": 3},
        )
        long.start()
        assert ask("SELECT 1")[2] == "1\n"
        assert long.is_alive()
        long.join()


class TestWhoMayAsk:
    def test_a_wrong_token_is_refused(self, ask: Ask) -> None:
        status, headers, _ = ask("SELECT 1", token="guess")
        assert (status, headers["X-ClickHouse-Exception-Code"]) == (403, "516")

    def test_a_page_that_points_its_name_at_this_machine_is_refused(self, ask: Ask) -> None:
        assert ask("SELECT 1", headers={"Host": "evil.example"})[0] == 403

    def test_a_tenant_sees_its_own_rows_only(self, ask: Ask) -> None:
        sql = "SELECT DISTINCT text FROM v1_things"
        assert ask(sql, token=TENANT_TOKEN)[2] == "secret-of-a\n"
        assert ask(f"{sql} ORDER BY text")[2] == "secret-of-a\nsecret-of-b\n"

    def test_the_owner_writes(self, ask: Ask) -> None:
        assert ask("CREATE TABLE w (n UInt8) ENGINE = Memory", token=OWNER_TOKEN)[0] == 200
        rows = "1\n2\n"
        assert ask(rows, token=OWNER_TOKEN, query="INSERT INTO w FORMAT TSV")[0] == 200
        assert ask("SELECT sum(n) FROM w")[2] == "3\n"


TENANT_PROBES = [
    "SELECT * FROM parley.events",
    "SELECT * FROM `parley`.`events`",
    'SELECT * FROM "parley" . events',
    "SELECT * FROM parley.v1_things",
    "SELECT 1 WHERE 'x' IN parley.events",
    "WITH x AS (SELECT text FROM parley.events) SELECT * FROM x",
    "SELECT (SELECT groupArray(text) FROM parley.events)",
    "SELECT * FROM merge('parley', 'events')",
    "SELECT * FROM merge('events')",
    "SELECT * FROM remote('127.0.0.1', parley.events)",
    "SELECT * FROM cluster('default', parley.events)",
    "SELECT * FROM view(SELECT * FROM parley.events)",
    "SELECT * FROM system.tables",
    "SELECT * FROM information_schema.tables",
    "SELECT * FROM system.parts",
    "SELECT * FROM v1_things SETTINGS log_comment = 'tenant-b'",
    "SELECT * FROM v1_things SETTINGS additional_table_filters = {'parley.events': '1'}",
    "SELECT toUInt64(text) FROM v1_things WHERE text LIKE '%b'",
    "SELECT throwIf(text LIKE '%of-b', text) FROM v1_things",
    "SELECT dictGet('parley.d', 'text', 1)",
    "SELECT joinGet('parley.j', 'text', 1)",
    "SELECT hasColumnInTable('parley', 'events', 'text')",
    "DESCRIBE parley.events",
    "SHOW CREATE TABLE v1_things",
    "SHOW TABLES FROM parley",
    "EXPLAIN SELECT * FROM v1_things",
    "SELECT 1 FORMAT Null -- x\n; SELECT * FROM parley.events",
]
ANYONE_PROBES = [
    "SELECT file('/etc/passwd')",
    "SELECT * FROM file('/etc/passwd', 'LineAsString')",
    "SELECT * FROM url('http://127.0.0.1:1/')",
    "SELECT * FROM s3('http://127.0.0.1:1/b/k')",
    "SELECT * FROM executable('x', 'TSV', 'a String')",
    "SELECT * FROM python('x')",
    "SELECT * FROM sqlite('/tmp/x', 'y')",
    "SELECT 1 INTO OUTFILE '/tmp/parley-probe'",
    "INSERT INTO FUNCTION file('/tmp/parley-probe') SELECT 1",
    "SELECT 1; SELECT 2",
    "/* SELECT */ DROP TABLE events",
    "SELECT sleep(3)",
    "SET readonly = 0",
    "SELECT 1 SETTINGS readonly = 0",
    "KILL QUERY WHERE 1",
    "SYSTEM FLUSH LOGS",
    "USE system",
    "BACKUP TABLE events TO File('/tmp/parley-probe')",
    "EXPLAIN SELECT file('/etc/passwd')",
    "SELECT * FROM (SELECT 1 AS `) x, file('y') -- `, file('/etc/passwd'))",
    "SELECT 'x' AS `QUERY id: 0\n`, file('/etc/passwd')",
    "SELECT arrayMap(x -> file(x), ['/etc/passwd'])",
    "SELECT getClientHTTPHeader('Authorization')",
]


class TestGuard:
    @pytest.mark.parametrize("sql", TENANT_PROBES)
    def test_nothing_of_another_tenant_comes_out(self, ask: Ask, sql: str) -> None:
        status, headers, body = ask(sql, token=TENANT_TOKEN)
        assert "secret-of-b" not in body.replace(sql, "")
        if "v1_things WHERE" not in sql and "throwIf" not in sql:
            assert status != 200, body
        # JDBC takes 164 for a broken host.
        assert headers.get("X-ClickHouse-Exception-Code") != "164"

    @pytest.mark.parametrize("token", [None, TENANT_TOKEN])
    @pytest.mark.parametrize("sql", ANYONE_PROBES)
    def test_nothing_reaches_outside_or_changes(
        self, ask: Ask, sql: str, token: str | None
    ) -> None:
        status, _, body = ask(sql, token=token)
        assert status in (400, 403), body
        assert "root:" not in body

    @pytest.mark.parametrize(
        "query",
        [
            {"log_comment": "tenant-b"},
            {"readonly": "0", "max_memory_usage": "x"},
            {"additional_table_filters": "{'parley.events':'1'}"},
            {"format_schema": "/etc/passwd"},
        ],
    )
    def test_settings_in_the_address_cannot_widen_a_view(
        self, ask: Ask, query: dict[str, str]
    ) -> None:
        assert ask("SELECT * FROM v1_things", token=TENANT_TOKEN, **query)[0] in (400, 403)

    @pytest.mark.parametrize(
        "sql",
        [
            "SHOW TABLES",
            "DESCRIBE TABLE v1_things",
            "EXISTS v1_things",
            "WITH 2 AS two SELECT n * two, countIf(n > 1) FROM v1_things GROUP BY ALL ORDER BY 1",
            "SELECT quantilesTDigestIf(0.5, 0.9)(n, n > 1), uniqExact(text) FROM v1_things",
            "SELECT n, row_number() OVER (ORDER BY n) FROM v1_things",
            "SELECT toStartOfMinute(now()), arrayMap(x -> x + 1, [1, 2]), CAST('1' AS UInt8)",
            "FROM v1_things SELECT max(n)",
            "(SELECT 1) UNION ALL (SELECT 2)",
            "SELECT CASE n WHEN 1 THEN 'a' ELSE 'b' END, n IN (1, 2), n::String FROM v1_things",
            "SELECT a.n FROM v1_things AS a LEFT ANY JOIN v1_things AS b USING (n)",
        ],
    )
    @pytest.mark.parametrize("token", [None, TENANT_TOKEN])
    def test_what_analysts_write_passes(self, ask: Ask, sql: str, token: str | None) -> None:
        status, _, body = ask(sql, token=token)
        assert status == 200, body


def wait_for(condition: Callable[[], bool], deadline_s: float = 10.0) -> None:
    end = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < end, "the condition did not come true in time"
        time.sleep(0.02)
