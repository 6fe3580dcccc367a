"""One storm from beginning to end: load and faults, healing, quiet, judgement."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from confluent_kafka import Consumer, KafkaException

from infra.local import Stack
from infra.settings import Settings, load_settings
from parley.processes.worker import group
from parley.talk import token_source
from parley.verify.opening import open_sources
from parley.verify.verification import Report, Verification
from parley.wiring import Wiring
from schemas.failures import Unavailable
from schemas.topics import COMMANDS
from sinks.port import TopicPartition
from streams.batch import StageLost
from streams.positions import committed_offsets
from streams.restore import read_to_end

from .customers import Customer, Plan, plans, prefix
from .deployment import GATEWAYS
from .history import History, Place
from .nemesis import Fault, Nemesis, schedule
from .network import SERVER
from .oracle import Rest, judge, judge_rest, lateness, missing
from .provider import StormProvider
from .rules import Finding
from .screens import ends_on_screens, streaming
from .world import World, look

ARMED_S = 45.0
"""A point in the code that was armed so long before the end must have been reached."""

NO_LINKS = f"not ({SERVER} is not on the PATH) "
NO_DISK = "not (no filesystem may be mounted) "

Said = Callable[[str], None]
AWAY = (Unavailable, StageLost, KafkaException)
NOTHING_READ = Report(0, 0, 0, {}, (), 0, (), (), 0.0)


@dataclass(frozen=True, slots=True)
class Weather:
    """What a storm is like. Equal weathers have equal loads, and equal faults on equal machines."""

    seed: int
    duration_s: float
    conversations: int = 200
    fault_every_s: float = 6.0
    quiet_s: float = 60.0
    """How long everything may take to come to rest, once healed."""
    linger_s: float = 12.0
    """It is judged again so long after healing: longer than a gateway keeps what it can't write."""
    faults: tuple[Fault, ...] | None = None
    """These instead of those that follow from the seed."""


@dataclass(slots=True)
class Verdict:
    """What came of it."""

    weather: Weather
    history: History
    findings: list[Finding]
    faults: Sequence[Fault]
    struck: int = 0
    """Faults that took effect; one that hits a part that is down already does not."""
    events: int = 0
    drained_s: float = 0.0
    latest_s: float = 0.0
    """By how long the latest turn missed its deadline; below 0 where none did."""
    streamed: tuple[int, int] = (0, 0)
    """How many answers came to screens, and how many of them streamed."""
    outcomes: dict[str, int] = field(default_factory=dict)

    @property
    def holds(self) -> bool:
        """Whether every promise was kept."""
        return not self.findings

    def as_json(self) -> str:
        """All of it, to look into."""
        return json.dumps(
            {
                "weather": dataclasses.asdict(self.weather),
                "faults": [dataclasses.asdict(fault) for fault in self.faults],
                "counted": self.history.counted(),
                "struck": self.struck,
                "events": self.events,
                "drained_s": round(self.drained_s, 1),
                "latest_s": round(self.latest_s, 1),
                "streamed": self.streamed,
                "turns": self.outcomes,
                "findings": [dataclasses.asdict(finding) for finding in self.findings],
                "sends": [dataclasses.asdict(send) for send in self.history.sends],
                "acts": [dataclasses.asdict(act) for act in self.history.acts],
            },
            indent=1,
        )


class Storm:
    """A storm over the stack in `folder`, whose answers come from `provider`."""

    def __init__(
        self,
        folder: Path,
        provider: StormProvider,
        said: Said,
        customer: type[Customer] = Customer,
    ) -> None:
        self._folder = folder
        self._said = said
        self._nemesis = Nemesis(folder, provider, said)
        self._customer = customer

    async def run(self, weather: Weather) -> Verdict:
        """Rages for the weather's duration, heals, waits for quiet and judges."""
        settings = load_settings(self._folder)
        faults = weather.faults
        if faults is None:
            links, disk = self._nemesis.has_links, self._nemesis.has_small_disk
            self._said(f"links are {'' if links else NO_LINKS}disturbed")
            self._said(f"the disk is {'' if disk else NO_DISK}filled up")
            every_s = weather.fault_every_s
            faults = schedule(weather.seed, weather.duration_s, every_s, links=links, disk=disk)
        history = History()
        people = [
            self._person(settings, plan, history)
            for plan in plans(weather.seed, weather.duration_s, weather.conversations)
        ]
        began_at = time.monotonic()
        try:
            await asyncio.gather(
                self._nemesis.run(faults, began_at), *(person.talk(began_at) for person in people)
            )
            verdict = await self._judge(settings, weather, history, people, faults)
        finally:
            await self._nemesis.heal()
            await asyncio.gather(*(person.leave() for person in people))
        return verdict

    def _person(self, settings: Settings, plan: Plan, history: History) -> Customer:
        addresses = Stack(self._folder).addresses()
        gateways = [addresses[name] for name in GATEWAYS]
        token = token_source(settings, plan.place[0], plan.person)
        return self._customer(plan, gateways, token, history)

    async def _judge(
        self,
        settings: Settings,
        weather: Weather,
        history: History,
        people: Sequence[Customer],
        faults: Sequence[Fault],
    ) -> Verdict:
        self._said("healing: every part comes up again")
        missed = self._nemesis.missed(weather.duration_s - ARMED_S)
        await self._nemesis.heal()
        healed_at = time.monotonic()
        until = healed_at + weather.quiet_s
        ready = await self._nemesis.all_ready(weather.quiet_s)
        watching = asyncio.gather(*(person.watch() for person in people))
        drained_s: float | None = None
        while True:
            rest = await asyncio.to_thread(_drain, settings, until)
            world = await asyncio.to_thread(_look, settings, history, until)
            world = world.only(prefix(weather.seed))
            await _screens(history, world, until)
            found = [*judge(history, world), *judge_rest(replace(rest, ready=ready))]
            now = time.monotonic()
            if found and now < until:
                # What was acknowledged may still wait before the log, where none of the copies
                # knows of it: whatever is not right yet has the rest of the time to become so.
                continue
            drained_s = drained_s or now - healed_at
            if found or now >= healed_at + weather.linger_s:
                break
            # What nobody knows the outcome of may still lie in a gateway.
            await asyncio.sleep(healed_at + weather.linger_s - now)
        watching.cancel()
        return Verdict(
            weather,
            history,
            [*missing(missed), *found],
            faults,
            self._nemesis.struck,
            rest.report.events,
            drained_s,
            max((late_s for _, late_s in lateness(world.log)), default=0.0),
            streaming(history.screens.values()),
            dict(rest.report.outcomes),
        )


def _drain(settings: Settings, until: float) -> Rest:
    """Verifies until nothing is open and all copies agree, or the time is over."""
    while True:
        try:
            with open_sources(settings) as sources:
                report = Verification(sources).run(max(1.0, until - time.monotonic()))
            unread = _unread(settings)
        except AWAY as error:
            if time.monotonic() > until:
                return Rest(NOTHING_READ, in_time=False, away=str(error))
            continue
        in_time = time.monotonic() <= until
        open_work = report.open_turns or report.waiting_messages or unread
        if (report.agrees and not open_work) or not in_time:
            return Rest(report, in_time=in_time, unread=unread)
        time.sleep(0.25)


def _unread(settings: Settings) -> int:
    """How many commands the conversation stage has not handled."""
    wiring = Wiring(settings, "storm")
    consumer = Consumer(wiring.kafka.for_consumer(group("conversation")))
    try:
        partitions = [TopicPartition(COMMANDS.name, p) for p in range(COMMANDS.partitions)]
        done = committed_offsets(consumer, partitions, 0)
        # Expiries are written in transactions, whose markers nobody handles: only records count.
        left = read_to_end(COMMANDS.name, dict(enumerate(done)), wiring.kafka)
        return sum(len(messages) for _, messages, _ in left)
    finally:
        consumer.close()
        wiring.close()


def _look(settings: Settings, history: History, until: float) -> World:
    """All copies; empty ones, if something is still away when the time is over."""
    while True:
        try:
            with open_sources(settings) as sources:
                return look(sources, list(history.screens))
        except AWAY:
            if time.monotonic() > until:
                return World()


async def _screens(history: History, world: World, until: float) -> None:
    """Waits until every screen shows what the log has."""

    def behind(place: Place) -> bool:
        rows = world.log.get(place, ())
        return ends_on_screens(rows) and history.screen(place).seq < len(rows)

    while any(map(behind, history.screens)) and time.monotonic() < until:  # noqa: ASYNC110
        await asyncio.sleep(0.1)


def keep(verdict: Verdict, folder: Path) -> Path:
    """Keeps what is needed to look into a failure: the verdict and the logs of the parts."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"storm-{verdict.weather.seed}.json"
    file.write_text(verdict.as_json())
    return file


def keep_logs(data: Path, folder: Path) -> None:
    """Copies the logs of the parts beside the verdict."""
    shutil.copytree(data / "logs", folder / "logs", dirs_exist_ok=True)


def last_words(data: Path, most: int = 60) -> str:
    """The latest warnings and errors of our own parts, in the order in which they were said."""
    said: list[tuple[str, str]] = []
    for file in (data / "logs").glob("*.log"):
        for line in file.read_text(errors="replace").splitlines():
            with suppress(ValueError, KeyError, TypeError):
                entry = json.loads(line)
                if entry["level"] != "info":
                    words = f"{entry['ts'][11:23]} {file.stem}: {entry['message'][:200]}"
                    said.append((entry["ts"], words))
    supervisor = (data / "logs" / "supervisor.log").read_text(errors="replace").splitlines()
    return "\n".join([*(words for _, words in sorted(said)[-most:]), *supervisor[-most // 2 :]])
