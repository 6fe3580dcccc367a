"""Links that can be cut, swallow what they carry, or be slow: toxiproxy, where it is installed.

Some processes reach Kafka and Redis over such links and the others directly, so that a cut leaves
two halves of the stack that both run. Kafka has a listener for the far ones, whose address is that
of the link: a client goes where the broker tells it, wherever it first asked.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from infra.local import Part, PartFactory, Site
from infra.local.ports import HOST
from infra.local.ready import port_answers

SERVER = "toxiproxy-server"
NAME = "toxiproxy"
FAR = ("worker-1", "worker-redis", "gateway-2")
KAFKA, REDIS = LINKS = ("kafka", "redis")

_PATIENCE = aiohttp.ClientTimeout(total=5.0)


def is_installed() -> bool:
    """Whether there is a toxiproxy to be had."""
    return shutil.which(SERVER) is not None


class Ill(StrEnum):
    """What can be wrong with a link."""

    CUT = "cut"
    """Connections are broken off, and new ones refused."""
    SWALLOWS = "swallows everything"
    """Nothing gets through in either direction, and nothing is broken off before it is mended."""
    SLOW = "slow"


_TOXICS: Mapping[Ill, Sequence[tuple[str, str, Mapping[str, int]]]] = {
    Ill.CUT: (),
    Ill.SWALLOWS: tuple(("timeout", way, {"timeout": 0}) for way in ("upstream", "downstream")),
    Ill.SLOW: (("latency", "downstream", {"latency": 150, "jitter": 100}),),
}
"""toxiproxy's toxics: type, direction, attributes (milliseconds)."""


class Network:
    """The links of a running stack."""

    def __init__(self, api: str) -> None:
        self._api = api

    async def fall_ill(self, link: str, ill: Ill) -> bool:
        """Whether it was not so already."""
        if ill is Ill.CUT:
            return await self._ask("POST", f"proxies/{link}", {"enabled": False})
        asked = [
            {"name": f"{ill.name}-{way}", "type": kind, "stream": way, "attributes": attributes}
            for kind, way, attributes in _TOXICS[ill]
        ]
        return all([await self._ask("POST", f"proxies/{link}/toxics", each) for each in asked])

    async def recover(self, link: str, ill: Ill) -> None:
        """Ends that; other ills of the link go on."""
        if ill is Ill.CUT:
            await self._ask("POST", f"proxies/{link}", {"enabled": True})
        for _, way, _ in _TOXICS[ill]:
            await self._ask("DELETE", f"proxies/{link}/toxics/{ill.name}-{way}")

    async def mend(self) -> None:
        """Makes all links whole."""
        await self._ask("POST", "reset")

    async def _ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> bool:
        """False where toxiproxy has it that way already."""
        url = f"{self._api}/{path}"
        async with aiohttp.request(method, url, json=body, timeout=_PATIENCE) as answer:
            if answer.status in (404, 409):
                return False
            answer.raise_for_status()
            return True


def with_links(factories: Sequence[PartFactory]) -> list[PartFactory]:
    """The parts of a stack, some of them at the far end of links."""
    front: dict[str, int] = {}

    def links(site: Site) -> Part:
        front.update({link: site.ports.take(f"{link}-link", 0) for link in LINKS})
        far, port = site.ports.take("kafka-far", 0), site.ports.take(NAME, 0)
        behind = {KAFKA: far, REDIS: urlsplit(site.addresses[REDIS]).port}
        proxies = [
            {
                "name": link,
                "listen": f"{HOST}:{front[link]}",
                "upstream": f"{HOST}:{behind[link]}",
                "enabled": True,
            }
            for link in LINKS
        ]
        config = site.folder.home(NAME) / "links.json"
        config.write_text(json.dumps(proxies))
        _add_listener(site.folder.home(KAFKA) / "server.properties", far, front[KAFKA])
        return Part(
            name=NAME,
            version="",
            argv=(SERVER, "-host", HOST, "-port", str(port), "-config", str(config)),
            log_path=site.log_path(NAME),
            ready=lambda: port_answers(port),
            address=f"http://{HOST}:{port}",
            env={"LOG_LEVEL": "error"},
        )

    def ours(build: PartFactory) -> PartFactory:
        def built(site: Site) -> Part:
            part = build(site)
            if part.name not in FAR:
                return part
            env = {
                "PARLEY_KAFKA__BOOTSTRAP_SERVERS": f"{HOST}:{front[KAFKA]}",
                "PARLEY_REDIS__URL": f"redis://{HOST}:{front[REDIS]}",
            }
            return replace(part, env={**part.env, **env}, needs=(*part.needs, NAME))

        return built

    # The links stand right behind the three servers, which are started before everything of ours.
    return [*factories[:3], links, *map(ours, factories[3:])]


def _add_listener(file: Path, port: int, told: int) -> None:
    """Lets Kafka listen on `port` too, and tell whoever comes there to come to `told`."""
    more: Mapping[str, Callable[[str], str]] = {
        "listeners": lambda known: f"{known},FAR://{HOST}:{port}",
        "advertised.listeners": lambda known: f"{known},FAR://{HOST}:{told}",
        "listener.security.protocol.map": lambda known: f"{known},FAR:PLAINTEXT",
    }
    lines = []
    for line in file.read_text().splitlines():
        key, separator, value = line.partition("=")
        lines.append(f"{key}={more[key](value)}" if separator and key in more else line)
    file.write_text("\n".join([*lines, "inter.broker.listener.name=PLAINTEXT", ""]))
