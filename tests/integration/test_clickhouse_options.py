"""Options of ClickHouse as an operator writes them, on a real endpoint."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from clickhouse_process import OWNER_TOKEN, Spawned, clickhouse_process
from tls_door import NAME, tls_door

from infra.clickhouse.errors import ClickHouseError, ClickHouseUnavailable
from infra.settings import load_settings
from parley.verify.opening import open_clickhouse


@pytest.fixture(scope="module")
def spawned(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Spawned]:
    with clickhouse_process(tmp_path_factory.mktemp("clickhouse")) as process:
        yield process


def set_options(monkeypatch: pytest.MonkeyPatch, **options: str) -> None:
    for name, written in options.items():
        monkeypatch.setenv(f"PARLEY_CLICKHOUSE__OPTIONS__{name}", written)


def ask(folder: Path, url: str, sql: str) -> object:
    """One value, asked with the settings of the environment."""
    clickhouse = open_clickhouse(load_settings(folder, clickhouse__url=url).clickhouse)
    try:
        return clickhouse.query_rows(sql)[0][0]
    finally:
        clickhouse.close()


def test_a_token_replaces_user_and_password(
    spawned: Spawned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_options(monkeypatch, ACCESS_TOKEN="of nobody")
    with pytest.raises(ClickHouseError, match="AUTHENTICATION_FAILED"):
        ask(tmp_path, spawned.url, "SELECT 1")
    set_options(monkeypatch, ACCESS_TOKEN=OWNER_TOKEN)
    assert ask(tmp_path, spawned.url, "SELECT 1") == 1


def test_switches_numbers_and_settings_of_the_server_arrive(
    spawned: Spawned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_options(
        monkeypatch,
        ACCESS_TOKEN=OWNER_TOKEN,
        COMPRESS="false",
        DEDICATED_POOL="true",
        SEND_RECEIVE_TIMEOUT="20",
        SETTINGS='{"max_block_size": 1234}',
    )
    assert str(ask(tmp_path, spawned.url, "SELECT getSetting('max_block_size')")) == "1234"


async def test_tls_options_count_on_this_machine_too(
    spawned: Spawned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with tls_door(tmp_path, spawned.http_port) as door:
        url = f"https://127.0.0.1:{door.port}"
        set_options(monkeypatch, ACCESS_TOKEN=OWNER_TOKEN, CA_CERT=str(door.authority))
        with pytest.raises(ClickHouseUnavailable, match=f"CERTIFICATE_VERIFY_FAILED|{NAME}"):
            await asyncio.to_thread(ask, tmp_path, url, "SELECT 1")
        set_options(monkeypatch, SERVER_HOST_NAME=NAME)
        assert await asyncio.to_thread(ask, tmp_path, url, "SELECT 1") == 1
