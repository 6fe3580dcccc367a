"""Stories of one conversation: `given(what happened).when(command).then(events)`.

Commands are made as their authors make them, so the same words twice are the same command twice.
Every decision on the way is checked against the rules that hold always.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import reduce
from hashlib import sha256
from typing import Any

from processors.conversation.decide import decide
from processors.conversation.evolve import evolve
from processors.conversation.policy import Policy
from processors.conversation.state import Conversation, new_conversation
from schemas.commands import (
    CancelTurn,
    CloseConversation,
    Command,
    CompleteTurn,
    ExpireAnalysis,
    ExpireTurn,
    FailTurn,
    RecordAnalysis,
    RestartTurn,
    SubmitFeedback,
    SubmitMessage,
)
from schemas.envelope import CommandEnvelope, Sealed
from schemas.events import Event
from schemas.identifiers import client_command_id, internal_command_id
from schemas.identifiers import turn_id as derived_turn_id
from schemas.parts import Inference, Usage

TENANT, CONVERSATION = "demo", "c-1"
OWNER, STRANGER = "p-owner", "p-stranger"
START_US = 1_790_000_000_000_000
SECOND_US = 1_000_000


def turn_of(message_seq: int) -> str:
    """The id of the turn that answers a message."""
    return derived_turn_id(TENANT, CONVERSATION, message_seq)


def sealed(words: str) -> Sealed:
    return Sealed(OWNER, "2026-09/1", "origin", "text", bytes(12), words.encode())


def _from_person(kind: str, mid: str, body: Any, actor: str, correlation: str) -> CommandEnvelope:
    return CommandEnvelope(
        command_id=client_command_id(TENANT, CONVERSATION, actor, mid, kind),
        tenant_id=TENANT,
        conversation_id=CONVERSATION,
        issued_at=START_US,
        origin="client",
        causation_id=None,
        correlation_id=correlation,
        traceparent=f"trace-{mid}",
        actor=actor,
        body_hmac=sha256(repr(body).encode()).digest()[:16],
    )


def _from_stage(stage: str, causation: str, step: str, ordinal: int = 0) -> CommandEnvelope:
    return CommandEnvelope(
        command_id=internal_command_id(TENANT, CONVERSATION, stage, causation, step, ordinal),
        tenant_id=TENANT,
        conversation_id=CONVERSATION,
        issued_at=START_US,
        origin=stage,
        causation_id=causation,
        correlation_id=f"corr-of-{stage}",
        traceparent=f"trace-of-{stage}",
        actor=stage,
        body_hmac=None,
    )


def says(mid: str = "m-1", words: str = "hello", actor: str = OWNER) -> SubmitMessage:
    envelope = _from_person("SubmitMessage", mid, words, actor, f"corr-{mid}")
    return SubmitMessage(envelope, mid, sealed(words))


def cancels(message_seq: int, mid: str = "cancel-1", actor: str = OWNER) -> CancelTurn:
    turn = turn_of(message_seq)
    return CancelTurn(_from_person("CancelTurn", mid, turn, actor, f"corr-{mid}"), mid, turn)


def rates(
    message_seq: int, score: int = 1, mid: str = "rate-1", comment: str = "", actor: str = OWNER
) -> SubmitFeedback:
    turn = turn_of(message_seq)
    envelope = _from_person("SubmitFeedback", mid, (turn, score, comment), actor, f"corr-{mid}")
    return SubmitFeedback(envelope, mid, turn, score, sealed(comment) if comment else None)


def closes(mid: str = "close-1", actor: str = OWNER) -> CloseConversation:
    return CloseConversation(_from_person("CloseConversation", mid, "", actor, f"corr-{mid}"), mid)


def analysed(message_seq: int, mid: str = "m-1") -> RecordAnalysis:
    return RecordAnalysis(
        _from_stage("analysis", str(message_seq), "record"),
        message_seq=message_seq,
        mid=mid,
        redacted=sealed("redacted"),
        findings=(),
        inferences=(Inference("sentiment", "neutral", 0.9, "heads/1", "d" * 64, 4200),),
    )


def analysis_overdue(message_seq: int) -> ExpireAnalysis:
    return ExpireAnalysis(_from_stage("timer", str(message_seq), "analysis"), message_seq)


def answered(message_seq: int, attempt: int = 1, words: str = "an answer") -> CompleteTurn:
    turn = turn_of(message_seq)
    return CompleteTurn(
        _from_stage("answering", turn, "complete", attempt),
        turn_id=turn,
        attempt=attempt,
        text=sealed(words),
        citations=(),
        usage=Usage("grounded", "grounded", 0, 0, 0),
        declined=False,
        confidence=0.9,
        history_turns=0,
        first_token_us=5000,
        duration_us=9000,
    )


def gives_up(message_seq: int, attempt: int = 1) -> FailTurn:
    turn = turn_of(message_seq)
    envelope = _from_stage("answering", turn, "fail", attempt)
    return FailTurn(envelope, turn, attempt, "provider", "the model did not answer")


def restarts(message_seq: int, attempt: int = 2) -> RestartTurn:
    turn = turn_of(message_seq)
    return RestartTurn(_from_stage("answering", turn, "restart", attempt), turn, attempt)


def turn_overdue(message_seq: int) -> ExpireTurn:
    turn = turn_of(message_seq)
    return ExpireTurn(_from_stage("timer", turn, "turn"), turn)


def elsewhere(command: Command, **envelope: Any) -> Any:
    """The command with another envelope."""
    return replace(command, envelope=replace(command.envelope, **envelope))


@dataclass(frozen=True)
class Later:
    """Time goes by."""

    us: int


@dataclass(frozen=True)
class Expected:
    """An event of which some fields are told; those of its envelope by their own names."""

    kind: type
    fields: dict[str, Any]

    def differences(self, event: Event) -> list[str]:
        if type(event) is not self.kind:
            return [f"{self.kind.__name__} expected, {type(event).__name__} came"]
        found = {
            name: getattr(event if hasattr(event, name) else event.envelope, name)
            for name in self.fields
        }
        return [
            f"{self.kind.__name__}.{name}: {value!r} expected, {found[name]!r} came"
            for name, value in self.fields.items()
            if found[name] != value
        ]


def an(kind: type, **fields: Any) -> Expected:
    """An event with the given fields; the others are not looked at."""
    return Expected(kind, fields)


@dataclass
class Story:
    """A conversation under a policy, with everything that was decided in it."""

    policy: Policy = field(default_factory=Policy)
    now_us: int = START_US
    state: Conversation = field(default_factory=lambda: new_conversation(TENANT, CONVERSATION))
    events: list[Event] = field(default_factory=list)
    latest: tuple[Event, ...] = ()

    def when(self, *steps: Command | Later) -> Story:
        """What happens now; `then` looks at what the last step led to."""
        for step in steps:
            if isinstance(step, Later):
                self.now_us += step.us
            else:
                self._decide(step)
        return self

    def then(self, *expected: type | Expected) -> Story:
        """Exactly these events came of it."""
        wanted = [e if isinstance(e, Expected) else an(e) for e in expected]
        came = [type(e).__name__ for e in self.latest]
        assert came == [e.kind.__name__ for e in wanted]
        problems = [p for e, w in zip(self.latest, wanted, strict=True) for p in w.differences(e)]
        assert not problems
        return self

    def then_nothing(self) -> Story:
        return self.then()

    def _decide(self, command: Command) -> None:
        before = self.state
        self.latest, self.state = decide(before, command, self.now_us, self.policy)
        assert (self.latest, self.state) == decide(before, command, self.now_us, self.policy)
        assert self.state == reduce(evolve, self.latest, before)
        self.events += self.latest
        assert [e.envelope.seq for e in self.events] == list(range(1, len(self.events) + 1))
        assert len({e.envelope.event_id for e in self.events}) == len(self.events)
        assert {e.envelope.occurred_at for e in self.latest} <= {self.now_us}
        assert {e.envelope.command_id for e in self.latest} <= {command.envelope.command_id}


def given(*history: Command | Later, policy: Policy | None = None) -> Story:
    """A conversation in which all this has happened."""
    return Story(policy or Policy()).when(*history)


# What the stories begin with. The numbers are those of the events that the commands lead to.

ASKED = (says("m-1"),)
"""1 started, 2 received: it waits for its analysis."""
ANSWERING = (*ASKED, analysed(2))
"""3 analysed, 4 turn started."""
ANSWERED = (*ANSWERING, answered(2))
"""5 completed."""
QUEUED = (*ANSWERING, says("m-2"))
"""5 received, behind the open turn."""
CLOSED = (*ANSWERED, closes())
"""6 closed."""
