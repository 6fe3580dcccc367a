"""The file that an insert into the embedded engine reads."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from infra.clickhouse.engine import _file_of


@pytest.mark.parametrize("in_memory", [True, False], ids=("memory", "disk"))
def test_it_holds_the_data_and_goes_with_the_insert(
    in_memory: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not in_memory:
        monkeypatch.delattr(os, "memfd_create", raising=False)
    data = bytes(range(256)) * 100
    with _file_of(data) as path:
        assert Path(path).read_bytes() == data
    assert not Path(path).exists()
