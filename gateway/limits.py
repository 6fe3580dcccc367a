"""How much one person may ask for: commands and subscriptions per second, sockets at a time.

Commands are counted in Redis for all gateways together, and in this process while Redis is away;
what is one socket's is counted in this process in any case.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files

from redis.exceptions import NoScriptError, RedisError

from gateway.close_codes import TOO_MANY_CONNECTIONS
from gateway.refusals import Ended, ErrorCode, Refused
from sinks.redis.line import Line

_LOG = logging.getLogger(__name__)

REDIS_WAIT_S = 0.25
REDIS_PAUSE_S = 1.0
"""After Redis did not answer, it is left alone for this long."""
SUBJECTS_MAX = 20_000
SUBSCRIBES_PER_S = 20.0

Who = tuple[str, str]
"""Tenant and pseudonym."""


class Gcra:
    """The generic cell rate algorithm for many keys in memory; times in microseconds.

    A key may send `burst` at once and `rate_per_s` in the long run (ITU-T I.371, appendix A).
    """

    def __init__(self, rate_per_s: float, burst: int, keys_max: int = SUBJECTS_MAX) -> None:
        self.interval_us = round(1_000_000 / rate_per_s)
        self.tolerance_us = self.interval_us * burst
        self._keys_max = keys_max
        self._arrivals: OrderedDict[Who, int] = OrderedDict()

    def wait_us(self, key: Who, now_us: int) -> int:
        """Counts one command. 0 when it may pass, else the time after which it would."""
        arrival = max(self._arrivals.get(key, 0), now_us)
        wait = arrival + self.interval_us - now_us - self.tolerance_us
        if wait > 0:
            return wait
        self._arrivals[key] = arrival + self.interval_us
        self._arrivals.move_to_end(key)
        if len(self._arrivals) > self._keys_max:
            self._arrivals.popitem(last=False)
        return 0


class CommandLimit:
    """Commands per second of one person over all gateways."""

    def __init__(self, line: Line, *, rate_per_s: float, burst: int) -> None:
        self._local = Gcra(rate_per_s, burst)
        self._line = line
        self._script = files("gateway").joinpath("gcra.lua").read_bytes()
        self._sha = hashlib.sha1(self._script).hexdigest()
        self._away_until = 0.0

    async def check(self, who: Who) -> None:
        """Raises `Refused` with the time to wait when `who` sends too much."""
        _pass_or_refuse(await self._wait_us(who), "commands")

    async def _wait_us(self, who: Who) -> int:
        now = time.monotonic()
        if now >= self._away_until:
            try:
                async with asyncio.timeout(REDIS_WAIT_S):
                    return await self._ask_redis(who)
            except (RedisError, OSError, TimeoutError) as error:
                if time.monotonic() >= self._away_until:
                    _LOG.warning("limits are counted in this process: %s", type(error).__name__)
                self._away_until = time.monotonic() + REDIS_PAUSE_S
        return self._local.wait_us(who, time.monotonic_ns() // 1000)

    async def _ask_redis(self, who: Who) -> int:
        key = f"parley:limit:{{{who[0]}:{who[1]}}}:commands"
        rest = (1, key, self._local.interval_us, self._local.tolerance_us)
        try:
            return int(await self._line.ask_one(b"EVALSHA", self._sha, *rest))
        except NoScriptError:
            return int(await self._line.ask_one(b"EVAL", self._script, *rest))


class SubscribeLimit:
    """How often one socket may subscribe or bring a new token, each of which costs reads or a
    signature. Everything that it may follow can begin at once, and once again.
    """

    def __init__(self, subscriptions: int) -> None:
        self._rate = Gcra(SUBSCRIBES_PER_S, 2 * subscriptions, keys_max=1)

    def check(self) -> None:
        """Raises `Refused` with the time to wait when the socket asks too often."""
        wait_us = self._rate.wait_us(("", ""), time.monotonic_ns() // 1000)
        _pass_or_refuse(wait_us, "subscriptions or tokens")


def _pass_or_refuse(wait_us: int, what: str) -> None:
    if wait_us:
        wait_ms = -(-wait_us // 1000)
        raise Refused(
            ErrorCode.RATE_LIMITED,
            f"too many {what}: try again in {wait_ms} ms",
            temporary=True,
            retry_after_ms=wait_ms,
        )


class SocketLimit:
    """Open sockets of one person at this gateway."""

    def __init__(self, per_user: int) -> None:
        self._per_user = per_user
        self._open: dict[Who, int] = {}

    @contextmanager
    def hold(self, who: Who) -> Iterator[None]:
        """One socket for as long as the context lasts. Raises `Ended` (4504) when full."""
        count = self._open.get(who, 0)
        if count >= self._per_user:
            raise Ended(TOO_MANY_CONNECTIONS)
        self._open[who] = count + 1
        try:
            yield
        finally:
            left = self._open[who] - 1
            if left:
                self._open[who] = left
            else:
                del self._open[who]
