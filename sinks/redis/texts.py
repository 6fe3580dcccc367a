"""Opens the sealed texts that a projection shows, and says what stands for those that are gone."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import Protocol

from infra.keys.errors import KeyErased, SealBroken
from schemas.envelope import Sealed
from schemas.events import Event
from schemas.records import AnswerPiece
from sinks.redis.frames import ERASED, UNREADABLE, sealed_texts

log = logging.getLogger(__name__)


class Opener(Protocol):
    """What is needed of `infra.keys.Sealer`."""

    def open(
        self,
        sealed: Sealed,
        *,
        tenant_id: str,
        conversation_id: str,
        piece: tuple[str, int, int] | None = None,
    ) -> str: ...

    def is_open_cached(self, sealed: Sealed, *, tenant_id: str) -> bool: ...

    async def prefetch_open(self, sealed: Sealed, *, tenant_id: str) -> None: ...


async def fetch_keys(opener: Opener, tenant_id: str, texts: Iterable[Sealed]) -> None:
    """Gets the keys of texts, so that opening them does not wait for the key store.

    Raises `Unavailable` when the key store is away. Erased and unknown keys are found out again
    when the text is opened.
    """
    for sealed in texts:
        if not opener.is_open_cached(sealed, tenant_id=tenant_id):
            try:
                await opener.prefetch_open(sealed, tenant_id=tenant_id)
            except (KeyErased, SealBroken):
                continue


def event_texts(opener: Opener, event: Event) -> Sequence[str]:
    """The texts of an event that frontends see. One that can't be read shows a fixed marker.

    Raises `Unavailable` when the key store is away.
    """
    envelope = event.envelope
    return [
        _opened(opener, sealed, envelope.tenant_id, envelope.conversation_id)
        for sealed in sealed_texts(event)
    ]


def _opened(opener: Opener, sealed: Sealed, tenant_id: str, conversation_id: str) -> str:
    try:
        return opener.open(sealed, tenant_id=tenant_id, conversation_id=conversation_id)
    except KeyErased:
        return ERASED
    except SealBroken as error:
        log.error("shown as %s: %s", UNREADABLE, error)
        return UNREADABLE


def piece_text(opener: Opener, piece: AnswerPiece) -> str | None:
    """The text of a piece; None when it can't be read, since no marker has its length.

    Raises `Unavailable` when the key store is away.
    """
    try:
        text = opener.open(
            piece.text,
            tenant_id=piece.tenant_id,
            conversation_id=piece.conversation_id,
            piece=(piece.turn_id, piece.attempt, piece.start),
        )
    except KeyErased:
        return None
    except SealBroken as error:
        log.error("a piece of turn %s is left out: %s", piece.turn_id, error)
        return None
    if len(text) != piece.end - piece.start:
        log.error("a piece of turn %s is left out: its length is not its stretch", piece.turn_id)
        return None
    return text
