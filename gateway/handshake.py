"""From the upgrade to a known person: hello, the token, the pseudonym from the key store."""

from __future__ import annotations

import time

from gateway.auth import Caller, Verifier
from gateway.close_codes import BAD_FRAME, BAD_TOKEN, DRAINING, IDENTITY_CHANGED, NO_HELLO
from gateway.commands import Author
from gateway.frames import PROTOCOL_VERSION, ClientFrame, Hello
from gateway.refusals import Ended
from infra.keys import KeyErased, Sealer
from schemas.failures import Unavailable
from schemas.headers import rfc3339


def as_hello(frame: ClientFrame) -> Hello:
    """The first frame as what it must be. Raises `Ended`."""
    if not isinstance(frame, Hello):
        raise Ended(NO_HELLO, "the first frame must be hello")
    if frame.v != PROTOCOL_VERSION:
        raise Ended(BAD_FRAME, f"this gateway speaks version {PROTOCOL_VERSION} of the protocol")
    return frame


async def identify(hello: Hello, upgraded_as: Caller | None, verifier: Verifier) -> Caller:
    """Who is there, by the token in hello or by the one that came with the upgrade."""
    if hello.token is None:
        if upgraded_as is None:
            raise Ended(BAD_TOKEN, "no token: send one in hello or with the upgrade")
        return upgraded_as
    try:
        caller = await verifier.verify(hello.token)
    except Unavailable as error:
        raise Ended(DRAINING, str(error)) from None
    if upgraded_as is not None and not upgraded_as.same_person(caller):
        raise Ended(IDENTITY_CHANGED)
    return caller


async def contact(caller: Caller, sealer: Sealer) -> Author:
    """The person's pseudonym, and the key of this month so that sealing finds it in memory."""
    month = rfc3339(time.time_ns() // 1000)[:7]
    try:
        identity = await sealer.prefetch(caller.tenant_id, caller.sub, month)
    except KeyErased:
        raise Ended(BAD_TOKEN, "this person was erased") from None
    except Unavailable:
        message = "the key store is away, and this person is new here: connect again later"
        raise Ended(DRAINING, message) from None
    return Author(caller.tenant_id, caller.sub, identity)
