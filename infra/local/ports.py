"""Ports on loopback: the usual one if it is free, and the same one again at the next start."""

from __future__ import annotations

import json
import random
import socket
from collections.abc import Mapping
from pathlib import Path

import psutil

from infra.local.errors import PortInUse
from infra.local.files import read_json, write_json

HOST = "127.0.0.1"

# Below every usual range of ephemeral ports: a client that reconnects to an ephemeral port while
# its server is down can be given that very port, connect to itself, and keep the server out.
_FIRST, _LAST = 20_000, 32_000


class Ports:
    """The ports of one data folder, remembered in a file of it.

    `asked` holds ports that the user insists on, by the name they are taken under.
    """

    def __init__(self, path: Path, asked: Mapping[str, int] | None = None) -> None:
        self._path = path
        self._asked = dict(asked or {})
        self._remembered: dict[str, int] = _read(path)
        self._taken: dict[str, int] = {}

    def take(self, name: str, usual: int) -> int:
        """The port of `name`: the one asked for, else the last one, else `usual`, else a free one.

        Raises:
            PortInUse: the port was asked for and somebody else listens on it.
        """
        if name in self._asked:
            port = self._asked[name]
            if not self._free(port):
                raise PortInUse(_in_use(name, port))
        else:
            wished = [self._remembered[name]] if name in self._remembered else []
            port = next((each for each in [*wished, usual] if self._free(each)), 0)
            port = port or self._any_free()
        self._taken[name] = port
        self._remembered[name] = port
        write_json(self._path, self._remembered)
        return port

    def _free(self, port: int) -> bool:
        return port not in self._taken.values() and is_free(port)

    def _any_free(self) -> int:
        for port in random.sample(range(_FIRST, _LAST), k=_LAST - _FIRST):
            if self._free(port) and port not in self._remembered.values():
                return port
        raise PortInUse(f"no port from {_FIRST} to {_LAST} is free on {HOST}: stop some servers")


def is_free(port: int) -> bool:
    """Whether a server could listen on this port of loopback now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As servers do, so that connections that linger after a stop do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
            probe.listen(1)
        except OSError:
            return False
    return True


def _in_use(name: str, port: int) -> str:
    holder = _holder(port)
    by = f" by {holder}" if holder else ""
    return f"port {port}, asked for {name}, is in use{by}: end that process or choose another port"


def _holder(port: int) -> str:
    """The process that listens on a port, as far as we may see it."""
    try:
        connections = psutil.net_connections(kind="tcp")
    except (psutil.AccessDenied, OSError):
        return ""
    for each in connections:
        if each.status == psutil.CONN_LISTEN and each.laddr.port == port and each.pid:
            try:
                return f"process {each.pid} ({psutil.Process(each.pid).name()})"
            except psutil.Error:
                return f"process {each.pid}"
    return ""


def _read(path: Path) -> dict[str, int]:
    try:
        found = read_json(path)
    except json.JSONDecodeError:
        return {}
    if not isinstance(found, dict):
        return {}
    return {str(name): port for name, port in found.items() if isinstance(port, int)}
