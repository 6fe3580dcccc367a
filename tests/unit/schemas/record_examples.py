"""One full example of every record, with every optional field set, and where each belongs."""

from __future__ import annotations

from typing import Any

from schemas import commands, events, records
from schemas.envelope import CommandEnvelope, Envelope, Sealed
from schemas.parts import Citation, Finding, Inference, Usage
from schemas.topics import TOPICS, Topic

PLACES: list[tuple[Topic, type]] = [(t, record) for t in TOPICS for record in t.records]
RECORDS: list[type] = [record for _, record in PLACES]

COMMAND_ID = "0d9c8b7a-6f5e-5d4c-8b3a-291807f6e5d4"
EVENT_ID = "f1e2d3c4-b5a6-5978-9a8b-7c6d5e4f3a2b"
TURN_ID = "7a6b5c4d-3e2f-5a1b-8c9d-0e1f2a3b4c5d"
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
TIME_US = 1_790_000_000_123_456
HMAC = bytes(range(16))

COMMAND = CommandEnvelope(
    command_id=COMMAND_ID,
    tenant_id="demo",
    conversation_id="c-1",
    issued_at=TIME_US,
    origin="client",
    causation_id="c0ffee",
    correlation_id="corr-1",
    traceparent=TRACE,
    actor="p-1",
    body_hmac=HMAC,
)
EVENT = Envelope(
    event_id=EVENT_ID,
    tenant_id="demo",
    conversation_id="c-1",
    seq=7,
    occurred_at=TIME_US,
    command_id=COMMAND_ID,
    causation_id="c0ffee",
    correlation_id="corr-1",
    traceparent=TRACE,
    actor="p-1",
    body_hmac=HMAC,
)


def sealed(field: str) -> Sealed:
    return Sealed("p-1", "2026-09/1", COMMAND_ID, field, bytes(12), b"\x00\xff sealed \x80")


USAGE = Usage("grounded", "grounded/1", 312, 45, 1_234_567_890)
CITATION = Citation(1, "lost-card", 2, 0.875, sealed("title"))
FINDING = Finding("EMAIL", 3, 10, "email", 1.0)
INFERENCE = Inference("sentiment", "negative", 0.75, "heads/1", "d" * 64, 4200)
PASSAGE = records.Passage(0, "Freeze the card in the app: größer, 数, 🙂.", b"\x00\x00\x80?" * 2)

_EXAMPLES: tuple[Any, ...] = (
    commands.SubmitMessage(COMMAND, "m-1", sealed("text")),
    commands.RecordAnalysis(
        COMMAND, 2, "m-1", sealed("redacted"), (FINDING,), (INFERENCE,), ("models_failed",)
    ),
    commands.ExpireAnalysis(COMMAND, 2),
    commands.CompleteTurn(
        COMMAND,
        TURN_ID,
        2,
        sealed("answer"),
        (CITATION,),
        USAGE,
        False,
        0.5,
        3,
        12_345,
        678_901,
        ("no_history",),
    ),
    commands.FailTurn(COMMAND, TURN_ID, 2, "provider", "the model did not answer"),
    commands.CancelTurn(COMMAND, "m-2", TURN_ID),
    commands.ExpireTurn(COMMAND, TURN_ID),
    commands.RestartTurn(COMMAND, TURN_ID, 3),
    commands.SubmitFeedback(COMMAND, "m-3", TURN_ID, -1, sealed("comment")),
    commands.CloseConversation(COMMAND, "m-4"),
    events.ConversationStarted(EVENT, "p-1"),
    events.MessageReceived(EVENT, "m-1", sealed("text"), TIME_US + 2_000_000),
    events.MessageAnalysed(
        EVENT, 2, "m-1", sealed("redacted"), (FINDING,), (INFERENCE,), True, ("models_failed",)
    ),
    events.TurnStarted(
        EVENT,
        turn_id=TURN_ID,
        message_seq=2,
        analysis_seq=3,
        mid="m-1",
        subject="p-1",
        context=(2, 5, 2**40),
        deadline_at=TIME_US + 60_000_000,
        owner_epoch=1,
        config_version="default",
        prompt_version="grounded/1",
        model="grounded",
        degraded=("analysis_expired",),
    ),
    events.TurnRefused(EVENT, 2, "m-1", "closed", "the conversation was closed", 1500),
    events.TurnRestarted(EVENT, TURN_ID, 3),
    events.TurnCompleted(
        EVENT,
        TURN_ID,
        2,
        2,
        "m-1",
        sealed("answer"),
        (CITATION, CITATION),
        USAGE,
        True,
        -0.25,
        0,
        12_345,
        678_901,
        ("no_history", "analysis_expired"),
    ),
    events.TurnFailed(EVENT, TURN_ID, 2, 2, "m-1", "deadline", "no answer came in time"),
    events.TurnCancelled(EVENT, TURN_ID, 2, 2, "m-1", "client"),
    events.FeedbackReceived(EVENT, "m-3", TURN_ID, 1, sealed("comment")),
    events.ConversationClosed(EVENT, "m-4"),
    events.CommandRejected(EVENT, "CancelTurn", "turn_over", "already over", "m-2", TURN_ID),
    records.ConversationSnapshot(
        tenant_id="demo",
        conversation_id="c-1",
        seq=9,
        status="open",
        owner="p-1",
        owner_epoch=1,
        turn=records.OpenTurn(TURN_ID, 2, 2, "m-1", "corr-1", TRACE, TIME_US + 60_000_000),
        waiting=(records.WaitingMessage(8, "m-9", "p-1", "corr-2", TRACE, 9, TIME_US + 1),),
        unanalysed=(2,),
        finished=(records.FinishedTurn(TURN_ID, 2, "completed"),),
        context=(3, 5),
        handled=bytes(range(64)),
        ended=(2, 300),
        strangers=(bytes(range(32)),),
    ),
    records.AnswerPiece("demo", "c-1", TURN_ID, 2, 0, 17, sealed("answer"), TIME_US, TRACE),
    records.KnowledgeDocument(
        tenant_id="demo",
        document_id="lost-card",
        title="Lost card",
        url="https://bank.example/lost-card",
        imported_at=TIME_US,
        model_digest="d" * 64,
        passages=(PASSAGE,),
        questions=(PASSAGE,),
        labels={"intent": "lost_or_stolen_card"},
    ),
    records.DeadLetter(
        stage="conversation",
        topic="parley.commands.v1",
        partition=3,
        offset=2**40,
        code="wire_format",
        reason="3 bytes on parley.commands.v1 are not Avro",
        failed_at=TIME_US,
        headers={"ce_type": "parley.SubmitMessage"},
        key=b"\x01key",
        content=b"\x01content",
    ),
)

EXAMPLES: dict[type, Any] = {type(example): example for example in _EXAMPLES}

_MISSING = ", ".join(record.__name__ for record in RECORDS if record not in EXAMPLES)
assert not _MISSING, f"add an example of {_MISSING} to tests/unit/schemas/record_examples.py"
