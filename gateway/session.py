"""What the frames of one person do after hello: subscriptions, commands and new tokens.

A session answers into the outbox and knows nothing of the socket.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import assert_never

from gateway import replies
from gateway.auth import Caller
from gateway.close_codes import IDENTITY_CHANGED
from gateway.commands import Author
from gateway.frames import (
    Ack,
    Auth,
    Cancel,
    ClientFrame,
    Close,
    CommandFrame,
    Feedback,
    Hello,
    Pong,
    Position,
    Send,
    Subscribe,
    Unsubscribe,
)
from gateway.limits import SubscribeLimit
from gateway.outbox import Outbox
from gateway.refusals import Ended, ErrorCode, Refused, temporary
from gateway.services import Services
from gateway.subscription import Reader, Subscription
from schemas.failures import Unavailable

FrameId = int | str | None

COMMANDS_KEPT = 64
"""Latest commands of a socket whose refusal is shown even before the conversation has an owner."""


class Session:
    """One person on one socket."""

    def __init__(
        self,
        services: Services,
        outbox: Outbox,
        caller: Caller,
        author: Author,
        *,
        on_broken: Callable[[], None],
    ) -> None:
        self.caller = caller
        self._services = services
        self._outbox = outbox
        self._author = author
        self._who = (author.tenant_id, author.identity.subject)
        self._on_broken = on_broken
        self._subscriptions: dict[str, Subscription] = {}
        self._subscribe_limit = SubscribeLimit(services.settings.subscriptions)
        self._commands: deque[tuple[str, str]] = deque(maxlen=COMMANDS_KEPT)
        self._in_flight = 0
        self._settled = asyncio.Event()
        self._settled.set()

    async def settled(self) -> None:
        """Waits until every command of this socket has its answer."""
        await self._settled.wait()

    def close(self) -> None:
        """Ends all subscriptions."""
        for conversation in list(self._subscriptions):
            self._drop(conversation)

    def welcome(self, connection_id: str) -> None:
        """Answers hello."""
        settings = self._services.settings
        limits = {
            "frame_bytes": settings.frame_bytes,
            "text_bytes": settings.text_bytes,
            "subscriptions": settings.subscriptions,
            "commands_per_s": settings.commands_per_s,
            "burst": settings.burst,
        }
        ttl_ms = max(0, round((self.caller.expires_at - time.time()) * 1000))
        self._outbox.put(
            replies.welcome(
                connection_id, self._services.server_name, settings.ping_ms, limits, ttl_ms
            )
        )

    async def take(self, frame: ClientFrame) -> None:
        """Does what a frame says. Raises `Ended` when the socket must end."""
        try:
            await self._take(frame)
        except Refused as refused:
            # A client knows what to subscribe to again by the conversation alone.
            self.refuse(frame.id, refused, frame.c if isinstance(frame, Subscribe) else None)

    def refuse(self, frame_id: FrameId, refused: Refused, conversation: str | None = None) -> None:
        """Answers `err`."""
        self._services.metrics.refused.labels(str(refused.code)).inc()
        self._outbox.put(replies.err(frame_id, refused, conversation))

    async def _take(self, frame: ClientFrame) -> None:
        match frame:
            case Send() | Feedback() | Cancel() | Close():
                await self._submit(frame)
            case Subscribe():
                self._subscribe_limit.check()
                self.subscribe(frame.id, frame)
            case Unsubscribe():
                # Never refused: a socket would go on to carry what nobody wants.
                self._drop(frame.c)
                self._outbox.put(replies.ok(frame.id, None))
            case Auth():
                self._subscribe_limit.check()
                await self._renew(frame)
            case Ack() | Pong():
                pass
            case Hello():
                raise Refused(ErrorCode.INVALID, "hello was said already")
            case _:
                assert_never(frame)

    # Subscriptions

    def subscribe(self, frame_id: FrameId, position: Position) -> None:
        """Begins or begins again to follow a conversation; the answer follows."""
        limit = self._services.settings.subscriptions
        if position.c not in self._subscriptions and len(self._subscriptions) >= limit:
            raise Refused(
                ErrorCode.TOO_MANY_SUBSCRIPTIONS,
                f"a socket follows {limit} conversations at most: unsub one or open another socket",
            )
        self._drop(position.c)
        services = self._services
        subscription = Subscription(
            self._reader(),
            position.c,
            bells=services.bells,
            read_model=services.read_model,
            outbox=self._outbox,
            on_end=self._ended,
            on_broken=self._on_broken,
            on_owner=services.owners.learn,
            on_opened=self._opened,
            is_own=lambda mid: (position.c, mid) in self._commands,
        )
        self._subscriptions[position.c] = subscription
        services.metrics.subscriptions.inc()
        subscription.open(frame_id, position)

    def _reader(self) -> Reader:
        return Reader(self._author.tenant_id, self._author.identity.subject, self.caller.roles)

    def _opened(self, kind: str) -> None:
        if kind == "slow":
            self._services.metrics.slow_clients.inc()
        else:
            self._services.metrics.resumes.labels(kind).inc()

    def _ended(self, subscription: Subscription) -> None:
        if self._subscriptions.get(subscription.conversation) is subscription:
            self._drop(subscription.conversation)

    def _drop(self, conversation: str) -> None:
        subscription = self._subscriptions.pop(conversation, None)
        if subscription is not None:
            subscription.close()
            self._services.metrics.subscriptions.dec()

    # Commands

    async def _submit(self, frame: CommandFrame) -> None:
        began = time.perf_counter()
        await self._services.command_limit.check(self._who)
        subscription = self._subscriptions.get(frame.c)
        if subscription is None or not subscription.is_empty:
            await self._services.owners.check_writer(self._who[0], frame.c, self._who[1])

        def answer(refused: Refused | None, known: bool) -> None:
            self._in_flight -= 1
            if self._in_flight == 0:
                self._settled.set()
            if refused is not None:
                self.refuse(frame.id, refused)
                return
            self._services.metrics.send_seconds.observe(time.perf_counter() - began)
            self._outbox.put(replies.ok(frame.id, frame.mid, known))

        self._commands.append((frame.c, frame.mid))
        await self._services.desk.submit(self._author, frame, answer)
        # No report can come before this line: reports reach the loop by a call of their own.
        self._in_flight += 1
        self._settled.clear()

    # Tokens

    async def _renew(self, frame: Auth) -> None:
        try:
            caller = await self._services.verifier.verify(frame.token)
        except Unavailable as error:
            raise temporary(str(error)) from None
        if not self.caller.same_person(caller):
            raise Ended(IDENTITY_CHANGED)
        roles, self.caller = self.caller.roles, caller
        self._outbox.put(replies.ok(frame.id, None))
        if caller.roles != roles:
            for subscription in self._subscriptions.values():
                subscription.judge_again(self._reader())
