"""Questions whether a server answers, for `Part.ready`; each gives up after two seconds."""

from __future__ import annotations

import socket
import urllib.error
import urllib.request
from http.client import HTTPException

from infra.local.ports import HOST

TIMEOUT_S = 2.0


def http_answers(url: str) -> bool:
    """Whether a GET of this address gives 200."""
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_S) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, HTTPException, OSError):
        return False


def port_answers(port: int) -> bool:
    """Whether somebody listens on this port of loopback."""
    with socket.socket() as probe:
        probe.settimeout(TIMEOUT_S)
        return probe.connect_ex((HOST, port)) == 0
