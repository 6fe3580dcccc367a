"""The faults: what goes wrong, when, and for how long. The plan is pure and follows from a seed."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from random import Random

import redis

from infra.local import Stack, State

from . import network
from .deployment import GATEWAYS
from .network import Ill, Network
from .process import FOLDER, POINTS
from .provider import Mood, StormProvider
from .small_disk import clear, fill, is_small


class Kind(StrEnum):
    """What can go wrong."""

    KILL = "kill -9"
    TERMINATE = "terminate"
    FREEZE = "freeze"
    EMPTY = "empty"
    DIE_AT = "die at"
    PROVIDER = "provider is"
    LINK = "link is"
    FILL = "fill"


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault. `for_s` is 0 for what heals by itself, as a killed process does."""

    at_s: float
    kind: Kind
    target: str
    for_s: float = 0.0

    def __str__(self) -> str:
        duration = f" for {self.for_s:.0f} s" if self.for_s else ""
        return f"{self.kind} {self.target}{duration}"


WORKERS = ("worker-1", "worker-2")
SINKS = ("worker-redis", "analytics")
SERVERS = ("kafka", "registry", "redis")

_DECK: tuple[tuple[Kind, str, float], ...] = (
    *((Kind.KILL, part, 0.0) for part in (*WORKERS, *GATEWAYS, *SINKS, *SERVERS)),
    (Kind.TERMINATE, "kafka", 0.0),
    (Kind.TERMINATE, "worker-1", 0.0),
    (Kind.TERMINATE, "gateway-2", 0.0),
    # Past the session (2 s) and past the transaction's timeout (10 s): zombies come back.
    (Kind.FREEZE, "worker-1", 15.0),
    (Kind.FREEZE, "worker-2", 5.0),
    (Kind.FREEZE, "worker-redis", 14.0),
    (Kind.FREEZE, "analytics", 8.0),
    (Kind.FREEZE, "gateway", 6.0),
    (Kind.FREEZE, "kafka", 4.0),
    (Kind.FREEZE, "redis", 4.0),
    (Kind.FREEZE, "registry", 12.0),
    (Kind.EMPTY, "redis", 0.0),
    *((Kind.DIE_AT, point, 0.0) for point in POINTS),
    (Kind.PROVIDER, Mood.FAILING, 8.0),
    (Kind.PROVIDER, Mood.SLOW, 8.0),
    (Kind.PROVIDER, Mood.CUT, 8.0),
)


# Past the session and past the transaction's timeout here as well: its owner is a zombie then.
_LINKS: tuple[tuple[Kind, str, float], ...] = (
    (Kind.LINK, f"{network.KAFKA} {Ill.CUT}", 8.0),
    (Kind.LINK, f"{network.KAFKA} {Ill.SWALLOWS}", 14.0),
    (Kind.LINK, f"{network.KAFKA} {Ill.SLOW}", 10.0),
    (Kind.LINK, f"{network.REDIS} {Ill.CUT}", 5.0),
    (Kind.LINK, f"{network.REDIS} {Ill.SWALLOWS}", 8.0),
    (Kind.LINK, f"{network.REDIS} {Ill.SLOW}", 10.0),
)
_DISK: tuple[tuple[Kind, str, float], ...] = ((Kind.FILL, "disk", 6.0),)


def schedule(
    seed: int, duration_s: float, every_s: float, *, links: bool, disk: bool
) -> list[Fault]:
    """Faults about every `every_s`, each kind as often as the others. Equal for equal arguments.

    `links` and `disk` say whether these can be disturbed here.
    """
    rng = Random(f"nemesis {seed}")
    every = (*_DECK, *(_LINKS if links else ()), *(_DISK if disk else ()))
    faults: list[Fault] = []
    deck: list[tuple[Kind, str, float]] = []
    at_s = rng.uniform(0.5, 1.5) * every_s
    while at_s < duration_s:
        if not deck:
            deck = rng.sample(every, k=len(every))
        kind, target, for_s = deck.pop()
        faults.append(Fault(round(at_s, 3), kind, target, for_s))
        at_s += rng.uniform(0.3, 1.7) * every_s
    return faults


class Nemesis:
    """Carries faults out on a stack, and heals it."""

    def __init__(self, folder: Path, provider: StormProvider, said: Callable[[str], None]) -> None:
        self._folder = folder
        self._stack = Stack(folder)
        self._provider = provider
        self._said = said
        api = self._stack.addresses().get(network.NAME, "")
        self.has_links = bool(api)
        self._network = Network(api)
        self.has_small_disk = is_small(folder)
        self._frozen: set[int] = set()
        self._armed: dict[str, Fault] = {}
        """By point; no process has come by since, as long as its file is there."""
        self.struck = 0
        """Faults that took effect."""

    async def run(self, faults: Sequence[Fault], began_at: float) -> None:
        """Every fault at its time; returns when the last one is over."""
        await asyncio.gather(*(self._inflict(fault, began_at) for fault in faults))

    def missed(self, before_s: float) -> list[Fault]:
        """Points that were armed before a moment and that no process has come by since."""
        armed = (fault for fault in self._armed.values() if self._point(fault).exists())
        return [fault for fault in armed if fault.at_s < before_s]

    def _arm(self, fault: Fault) -> None:
        before = self._armed.get(fault.target)
        if before is not None:
            if self._point(before).exists():
                return  # it goes on waiting for somebody
            self.struck += 1
        self._armed[fault.target] = fault
        self._point(fault).touch()

    def _point(self, fault: Fault) -> Path:
        return self._folder / FOLDER / fault.target

    async def heal(self) -> None:
        """Ends every fault; killed processes are started again by the stack's supervisor."""
        self._provider.mood = Mood.GOOD
        clear(self._folder)
        if self.has_links:
            await self._network.mend()
        for pid in list(self._frozen):
            self._signal(pid, signal.SIGCONT)
        self._frozen.clear()
        for fault in self._armed.values():
            self.struck += not self._point(fault).exists()
            self._point(fault).unlink(missing_ok=True)
        self._armed.clear()

    async def all_ready(self, timeout_s: float) -> bool:
        """Waits until every part runs again; False if that took too long."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            if all(part.state is State.READY for part in self._stack.status().parts):
                return True
            await asyncio.sleep(0.1)
        return False

    async def _inflict(self, fault: Fault, began_at: float) -> None:
        await asyncio.sleep(max(0.0, began_at + fault.at_s - time.monotonic()))
        self._said(str(fault))
        match fault.kind:
            case Kind.KILL:
                self.struck += self._signal(self._pid(fault.target), signal.SIGKILL)
            case Kind.TERMINATE:
                self.struck += self._signal(self._pid(fault.target), signal.SIGTERM)
            case Kind.FREEZE:
                self.struck += await self._freeze(fault)
            case Kind.EMPTY:
                self.struck += await asyncio.to_thread(self._empty_redis)
            case Kind.DIE_AT:
                self._arm(fault)
            case Kind.PROVIDER:
                self.struck += 1
                self._provider.mood = Mood(fault.target)
                await asyncio.sleep(fault.for_s)
                self._provider.mood = Mood.GOOD
            case Kind.LINK:
                link, _, ill = fault.target.partition(" ")
                self.struck += await self._network.fall_ill(link, Ill(ill))
                await asyncio.sleep(fault.for_s)
                await self._network.recover(link, Ill(ill))
            case Kind.FILL:
                self.struck += 1
                await asyncio.to_thread(fill, self._folder)
                await asyncio.sleep(fault.for_s)
                clear(self._folder)

    async def _freeze(self, fault: Fault) -> bool:
        pid = self._pid(fault.target)
        struck = self._signal(pid, signal.SIGSTOP)
        self._frozen.add(pid)
        await asyncio.sleep(fault.for_s)
        self._frozen.discard(pid)
        self._signal(pid, signal.SIGCONT)
        return struck

    def _empty_redis(self) -> bool:
        try:
            with redis.Redis.from_url(self._stack.addresses()["redis"], socket_timeout=3) as client:
                client.flushall()
                return True
        except (redis.RedisError, OSError) as error:
            self._said(f"Redis was away and could not be emptied: {type(error).__name__}")
            return False

    def _pid(self, part: str) -> int:
        return self._stack.status().part(part).pid

    @staticmethod
    def _signal(pid: int, number: signal.Signals) -> bool:
        """Whether there was a process; its number is 0 while the part is started again."""
        if not pid:
            return False
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return False
        return True
