"""`parley say TEXT`: one message, its answer streamed."""

from __future__ import annotations

import asyncio
import sys
from typing import Annotated, Any

import typer

from infra.settings import Settings, load_settings
from parley.answer_view import AnswerView
from parley.client import Exchange
from parley.exits import Exit
from parley.options import Data, Json, Tenant, client_id, filled
from parley.talk import ask, follow, open_client
from parley.terminal import err, out, print_json

ConversationOption = Annotated[
    str | None,
    typer.Option(
        "--conversation",
        "-c",
        metavar="C",
        callback=client_id,
        help="Go on with this conversation; a new one by this id if there is none.",
    ),
]
Person = Annotated[str, typer.Option("--sub", metavar="S", help="The person who speaks.")]


def said(text: str) -> str:
    """What the argument stands for; a callback for `typer.Argument`."""
    return filled(sys.stdin.read().strip() if text == "-" else text)


def say(
    text: Annotated[
        str, typer.Argument(help="What to say; - reads it from the input.", callback=said)
    ],
    conversation: ConversationOption = None,
    tenant: Tenant = "demo",
    sub: Person = "terminal",
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Sends one message and streams the answer. Exits 1 if none was completed.

    Examples:

      parley say "My card has not arrived"

      parley say "And how long does that take?" --conversation 01J8…
    """
    settings = load_settings(data)
    view = AnswerView(out())
    name, exchange = asyncio.run(_say(settings, text, conversation, tenant, sub, view, as_json))
    if as_json:
        print_json(as_json_document(name, exchange, view.attempt))
    else:
        err().print(f"conversation {name}, message {exchange.mid}", style="dim", soft_wrap=True)
    if exchange.outcome != "completed":
        raise typer.Exit(Exit.NEGATIVE)


async def _say(
    settings: Settings,
    text: str,
    conversation_id: str | None,
    tenant: str,
    sub: str,
    view: AnswerView,
    quiet: bool,
) -> tuple[str, Exchange]:
    async with open_client(settings, tenant, sub) as client:
        conversation = await follow(client, conversation_id)
        try:
            exchange = await ask(conversation, text, view.note if quiet else view.show)
        except asyncio.CancelledError:
            # Ctrl-C: the answer goes on without us, and can be looked up.
            err().print(f"\nstopped looking; conversation {conversation.id}", soft_wrap=True)
            raise
        if not quiet:
            view.finish(exchange)
        return conversation.id, exchange


def as_json_document(conversation: str, exchange: Exchange, attempt: int) -> dict[str, Any]:
    """An exchange for scripts. Latencies in milliseconds after the send."""
    times = {
        "ok": exchange.ok_at,
        "received": exchange.received_at,
        "first_text": exchange.first_text_at,
        "finished": exchange.finished_at,
    }
    return {
        "conversation": conversation,
        "message": exchange.mid,
        "turn": exchange.turn,
        "outcome": exchange.outcome,
        "attempt": attempt,
        "text": exchange.text,
        "citations": list(exchange.citations),
        "declined": exchange.declined,
        "degraded": list(exchange.degraded),
        "code": exchange.code,
        "problem": exchange.message,
        "latency_ms": {
            step: round((at - exchange.sent_at) * 1000, 1)
            for step, at in times.items()
            if at is not None
        },
    }
