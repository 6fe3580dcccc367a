"""One run: customers, stages, faults. Whoever drives it decides each step."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from functools import reduce
from hashlib import sha256
from random import Random

from confluent_kafka import KafkaException
from storm.history import History, Outcome, Place, Send
from storm.oracle import ENDS, START, judge
from storm.rules import Finding, Rule
from storm.world import Row, World

from processors.conversation.evolve import evolve
from processors.conversation.policy import Policy
from processors.conversation.state import new_conversation
from schemas.commands import SubmitMessage
from schemas.envelope import CommandEnvelope, Sealed
from schemas.events import Event
from schemas.identifiers import client_command_id
from schemas.topics import COMMANDS, CONVERSATIONS, EVENTS, conversation_key
from streams.batch import StageLost

from .broker import PARTITIONS, Broker, Fenced, Written
from .processes import CONVERSATION, STAGES, Stage, Steps, conversation, on_commands, placed
from .site import TRANSACTION_US, Process, Site, simulated_kafka
from .wires import EVENT_WIRE, SNAPSHOT_WIRE

START_US = 1_790_000_000_000_000
QUIET_ROUNDS = 600
QUIET_IN_A_ROW = 25
WORKERS = ("conversation-1", "conversation-2", "conversation-3")
WORKER_STEPS = 4
"""Of a worker, in one round: they do their work in smaller steps."""
TENANTS = ("storm-a", "storm-b")


class Simulation:
    """A run that has not ended yet. `settle` ends it and says what is wrong.

    Use it in a `with` block: meanwhile the engine's clients and its clock are simulated.
    """

    def __init__(
        self,
        seed: int,
        broken: frozenset[str] = frozenset(),
        stages: Mapping[str, Stage] = STAGES,
    ) -> None:
        self._stages = stages
        self.rng = Random(seed)
        policy = Policy(
            analysis_deadline_us=2_000_000,
            turn_deadline_us=self.rng.choice((10_000_000, 60_000_000)),
            interrupt=self.rng.random() < 0.3,
            waiting_max=self.rng.choice((1, 16)),
        )
        self.site = Site(Broker(), self.rng, policy, START_US, broken=broken)
        self.site.broker.checks_epochs = "no epochs" not in broken
        self.site.broker.checks_members = "no members" not in broken
        self.history = History()
        self._wire: list[tuple[Send, Written]] = []
        self._exits: list[str] = []
        """Why workers ended by themselves."""
        self.waited_out = False
        """Whether a transaction stayed open until the broker's timeout. It may, but seldom: where
        the heir of a partition waits for it, and is to inherit its leader only then."""
        self._workers: dict[str, Process] = {}
        self._running: dict[str, list[Steps]] = {
            name: [start(self.site)] for name, start in stages.items()
        }
        self._kafka = simulated_kafka()

    def __enter__(self) -> Simulation:
        Site.current = self.site
        self._kafka.__enter__()
        self._workers = {name: Process(self.site, conversation) for name in WORKERS}
        return self

    def __exit__(self, *error: object) -> None:
        for worker in self._workers.values():
            worker.kill()
        self._kafka.__exit__(None, None, None)

    # What may happen next

    def step(self, name: str, *, zombie: bool = False) -> None:
        """A process goes on to its next interruption; or one that was replaced does."""
        if self.rng.random() < 0.5:
            self.site.broker.write_marker()
        if name in WORKERS:
            self._step_worker(name)
            return
        processes = self._running[name]
        process = processes[0 if zombie else -1]
        try:
            next(process)
        except Fenced:
            processes.remove(process)
            if not processes:
                processes.append(self._stages[name](self.site))

    def _step_worker(self, name: str) -> None:
        try:
            self._workers[name].go_on()
        except (StageLost, KafkaException) as error:
            self._exits.append(str(error))
            self.crash(name)
        else:
            if self._workers[name].has_ended:
                self._workers[name] = Process(self.site, conversation)

    def crash(self, name: str) -> None:
        """A process dies where it is; another one takes its place."""
        if name in WORKERS:
            self._workers[name].kill()
            self._dismiss(name)
            self._workers[name] = Process(self.site, conversation)
        else:
            self._running[name][-1] = self._stages[name](self.site)

    def replace(self, name: str) -> None:
        """Another process takes over, and the one before does not know it yet."""
        if name in WORKERS:
            self._dismiss(name)
        else:
            self._running[name].append(self._stages[name](self.site))

    def stop(self, name: str) -> None:
        """A worker is asked to end; another one takes its place when it has."""
        self._workers[name].stop()

    def _dismiss(self, name: str) -> None:
        self.site.broker.groups[CONVERSATION].dismiss(self._workers[name].member)

    def is_to_have(self, name: str, partition: int) -> bool:
        """Whether the group wants this worker to have the partition."""
        group = self.site.broker.groups[CONVERSATION]
        return group.target[partition] == self._workers[name].member

    def move(self, partition: int, number: int) -> None:
        """One of the workers shall have the partition, and its owner is asked for it."""
        self.site.broker.groups[CONVERSATION].move(partition % PARTITIONS, number)

    def empty_redis(self) -> None:
        """Redis loses everything."""
        self.site.redis.empty()

    def pass_time(self, us: int) -> None:
        """The clock goes on."""
        self.site.pass_time(us)

    def say(self, number: int) -> None:
        """A customer says something new."""
        place = TENANTS[number % 2], f"c-{number}"
        mid = f"m-{len(self.history.sends)}"
        send = Send(place, mid, f"text {mid}")
        self.history.sends.append(send)
        self.history.screen(place)
        self.repeat(send)

    def repeat(self, send: Send) -> None:
        """A message is on its way, perhaps once more."""
        send.times += 1
        self._wire.append((send, on_commands(_submit(send, self.site.now_us))))

    def deliver(self, number: int, *, acknowledged: bool) -> None:
        """Any message that is on its way reaches the log; its sender hears of it, or does not."""
        if self._wire:
            send, written = self._wire.pop(number % len(self._wire))
            self.site.broker.append(written)
            if acknowledged:
                send.outcome = Outcome.OK

    # The end

    def settle(self) -> list[Finding]:
        """Lets everything come to rest without further faults, and judges.

        First without any deadline of a turn: whatever is open by now must be answered, not
        given up. Then timers may fall due, which must not be needed any more.
        """
        while self._wire:
            self.deliver(0, acknowledged=True)
        # Or it could be taken for quiet while an answer is only late by chance.
        self.site.hesitation = self.site.mishap = 0.0
        # Analysis has a deadline of two seconds, a turn of ten at least.
        rests = self._rest(step_us=10_000, rounds_max=QUIET_ROUNDS)
        if rests and self.site.broker.open_transactions:
            self.waited_out = True
            self.pass_time(TRANSACTION_US)
            rests = self._rest(step_us=10_000, rounds_max=QUIET_ROUNDS)
        if not rests:
            return [Finding(Rule.DRAINED, ("", ""), "it never came to rest")]
        waiting = [*self._unanswered(), *self._left()]
        # Whoever was dismissed knows it by now: nobody has a reason to end any more.
        self._exits.clear()
        if not self._rest(step_us=2_000_000, rounds_max=QUIET_ROUNDS):
            return [Finding(Rule.DRAINED, ("", ""), "it never came to rest after its timers")]
        waiting += [Finding(Rule.DRAINED, ("", ""), f"a worker ended: {e}") for e in self._exits]
        events = self._events()
        return [*waiting, *self._judge(events), *self._folds(events)]

    def _rest(self, step_us: int, rounds_max: int) -> bool:
        """Goes round all stages until nothing has changed for a while."""
        quiet, before = 0, -1
        for _ in range(rounds_max):
            for name in self._stages:
                self.step(name)
            for name in WORKERS * WORKER_STEPS:
                self.step(name)
            self.pass_time(step_us)
            quiet = quiet + 1 if self.site.broker.changes == before else 0
            before = self.site.broker.changes
            if quiet == QUIET_IN_A_ROW:
                return True
        return False

    def _unanswered(self) -> list[Finding]:
        """Turns that are open although nothing stands in their way."""
        opened: dict[str, Place] = {}
        for event in self._events():
            place, row = placed(event)
            if row.type == START:
                opened[row.turn] = place
            elif row.type in ENDS:
                opened.pop(row.turn, None)
        return [Finding(Rule.ANSWERED, p, f"turn {turn} is left") for turn, p in opened.items()]

    def _left(self) -> list[Finding]:
        """Work that nobody does although nothing stands in its way."""
        broker, nowhere = self.site.broker, ("", "")
        found = []
        if broker.open_transactions:
            found.append(Finding(Rule.DRAINED, nowhere, "a transaction is left open"))
        for partition in range(PARTITIONS):
            position = broker.position(CONVERSATION, partition)
            done = position.offset if position else 0
            if broker.log(COMMANDS.name, partition).read(done, 1)[0]:
                found.append(Finding(Rule.DRAINED, nowhere, f"partition {partition} waits"))
        return found

    def _events(self) -> list[Event]:
        return [EVENT_WIRE.decode(record.value) for record in self.site.broker.read(EVENTS.name)]

    def _judge(self, events: list[Event]) -> list[Finding]:
        log: dict[Place, list[Row]] = defaultdict(list)
        for event in events:
            place, row = placed(event)
            log[place].append(row)
        rows_of_table = {
            place: sorted(rows, key=lambda row: row.seq)
            for place, rows in self.site.clickhouse.rows.items()
        }
        world = World(dict(log), dict(self.site.redis.rows), rows_of_table)
        found = judge(self.history, world, screens=False, refusals=("too_many_waiting",))
        found += [Finding(Rule.LOST, ("", ""), why) for why in self.site.poisoned]
        return found

    def _folds(self, events: list[Event]) -> list[Finding]:
        latest = {r.key: r.value for r in self.site.broker.read(CONVERSATIONS.name)}
        found = []
        for place in self.history.screens:
            mine = [
                e for e in events if (e.envelope.tenant_id, e.envelope.conversation_id) == place
            ]
            state = reduce(evolve, mine, new_conversation(*place))
            snapshot = latest.get(conversation_key(*place))
            if mine and snapshot != SNAPSHOT_WIRE.encode(state):
                found.append(Finding(Rule.FOLD, place, "the snapshot is not the log's fold"))
        return found


def _submit(send: Send, now_us: int) -> SubmitMessage:
    tenant, conversation = send.place
    actor = f"p-{conversation}"
    envelope = CommandEnvelope(
        client_command_id(tenant, conversation, actor, send.mid, "SubmitMessage"),
        tenant,
        conversation,
        now_us,
        "client",
        None,
        f"corr-{send.mid}",
        None,
        actor,
        sha256(send.text.encode()).digest()[:16],
    )
    text = Sealed(actor, "2026-11/1", "o", "text", bytes(12), send.text.encode())
    return SubmitMessage(envelope, send.mid, text)


def random_run(
    seed: int,
    steps: int,
    broken: frozenset[str] = frozenset(),
    stages: Mapping[str, Stage] = STAGES,
) -> list[Finding]:
    """A whole run whose every step follows from the seed."""
    with Simulation(seed, broken, stages) as run:
        go_wild(run, steps)
        return run.settle()


def go_wild(run: Simulation, steps: int) -> None:
    """Steps and faults, all of which follow from the seed."""
    rng = run.rng
    names = (*STAGES, *WORKERS * 2)
    awake = set(names)
    for _ in range(steps):
        chance = rng.random()
        name = rng.choice(names)
        if chance < 0.66:
            # Alone for a while, as processes are; one that sleeps misses what happens meanwhile.
            for _ in range(rng.choice((1, 1, 1, 2, 5, 20)) if name in awake else 0):
                run.step(name)
        elif chance < 0.68:
            awake ^= {name}
        elif chance < 0.72:
            run.step(name, zombie=True)
        elif chance < 0.80:
            run.say(rng.randrange(3))
        elif chance < 0.89:
            run.deliver(rng.randrange(8), acknowledged=rng.random() < 0.8)
        elif chance < 0.92:
            if run.history.sends:
                run.repeat(rng.choice(run.history.sends))
        elif chance < 0.935:
            run.crash(name)
        elif chance < 0.965:
            run.replace(name)
        elif chance < 0.97:
            run.stop(rng.choice(WORKERS))
        elif chance < 0.973:
            run.empty_redis()
        elif chance < 0.985:
            run.move(rng.randrange(PARTITIONS), rng.randrange(len(WORKERS)))
        else:
            run.pass_time(rng.choice((1000, 100_000, 3_000_000, 30_000_000)))
