"""How the registry is opened from the settings."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.settings import load_settings
from parley.applying import open_registry
from schemas.failures import Unavailable


@pytest.fixture
def silent_address() -> Iterator[str]:
    """Takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def test_nobody_waits_longer_for_the_registry_than_the_settings_say(
    tmp_path: Path, silent_address: str
) -> None:
    settings = load_settings(tmp_path, registry={"url": silent_address, "timeout_ms": 200})
    began = time.monotonic()
    with pytest.raises(Unavailable, match="does not answer"):
        open_registry(settings).schema_of(1)
    assert 0.2 <= time.monotonic() - began < 2
