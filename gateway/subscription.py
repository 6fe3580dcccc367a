"""One conversation on one socket: attach to the live feed, replay the log, drop the overlap.

A subscription is live, where frames pass straight from the feed to the client, or it catches up,
where a task reads the log from the cursor. Whenever something may be missing, or the client is
too slow, it falls back to catching up; nothing but the cursor is kept then.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Protocol

from gateway import replies
from gateway.authorise import before_owner, may_read
from gateway.bells import Bells
from gateway.delivery import Delivery, resumable
from gateway.frames import Position
from gateway.outbox import Outbox
from gateway.read_model import Logged, Page, ReadModel
from gateway.refusals import ErrorCode, Refused, temporary
from gateway.token_merge import Stretch
from schemas.failures import Unavailable
from sinks.redis.keys import conversation_keys

_LOG = logging.getLogger(__name__)

LAG_WAIT_S = 2.0
"""A client may know more than this gateway's Redis; that long it is believed."""
ATTACH_WAIT_S = 5.0
HELD_MAX = 256
RETRY_S_MAX = 2.0

FrameId = int | str | None


@dataclass(frozen=True, slots=True)
class Reader:
    """Who reads."""

    tenant_id: str
    subject: str
    roles: frozenset[str]


class Opened(Protocol):
    """Told how the subscription began, and what happened to it later."""

    def __call__(self, kind: str) -> None:
        """`kind` is resumed or snapshot; later slow, and caught_up for another snapshot."""


class Subscription:
    """See the module. All methods run on the event loop."""

    def __init__(
        self,
        reader: Reader,
        conversation: str,
        *,
        bells: Bells,
        read_model: ReadModel,
        outbox: Outbox,
        on_end: Callable[[Subscription], None],
        on_broken: Callable[[], None],
        on_owner: Callable[[str, str, str], None] = lambda tenant, conversation, owner: None,
        on_opened: Opened = lambda kind: None,
        is_own: Callable[[str], bool] = lambda mid: False,
    ) -> None:
        self.conversation = conversation
        self._reader = reader
        self._keys = conversation_keys(reader.tenant_id, conversation)
        self._bells = bells
        self._read_model = read_model
        self._outbox = outbox
        self._on_end = on_end
        self._on_broken = on_broken
        self._on_owner = on_owner
        self._on_opened = on_opened
        self._is_own = is_own
        self._delivery = Delivery(conversation, outbox)
        self._authorised = False
        self._live = False
        self._held: list[Logged | Stretch] | None = None
        self._rang = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def is_empty(self) -> bool:
        """Whether the conversation is followed and has no message yet, so that nobody owns it."""
        return self._live and not self._authorised

    # Life

    def open(self, frame_id: FrameId, position: Position) -> None:
        """Begins; `subbed` or `err` follows."""
        self._feed = self._bells.attach(self._keys, self.conversation, self)
        self._start(self._open(frame_id, position))

    def close(self) -> None:
        """Stops, and says nothing more to the client."""
        if self._closed:
            return
        self._closed = True
        self._live = False
        self._bells.detach(self._keys, self)
        if self._task is not None and self._task is not asyncio.current_task():
            self._task.cancel()

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        self._live = False
        self._task = asyncio.create_task(work, name="subscription")
        self._task.add_done_callback(self._check)

    def _check(self, task: asyncio.Task[None]) -> None:
        """A defect must not leave a client that waits in silence."""
        if not task.cancelled() and (error := task.exception()) is not None:
            _LOG.error("a subscription broke", exc_info=error)
            self._on_broken()

    # The live feed

    def on_event(self, event: Logged) -> None:
        """An event from the feed: the next one passes, an old one is dropped."""
        self._rang.set()
        if not self._live:
            self._hold(event)
        elif not (self._authorised and self._delivery.event(event)):
            self._fall_back()

    def on_stretch(self, stretch: Stretch) -> None:
        """A stretch of an answer from the feed."""
        if not self._live:
            self._hold(stretch)
        elif not (self._authorised and self._delivery.stretch(stretch)):
            self._fall_back()

    def on_attached(self) -> None:
        """The feed is whole from here on; what came while it was not must be read."""
        self._read_again()

    def judge_again(self, reader: Reader) -> None:
        """The person's roles are others now: the next page says whether they may still read."""
        self._reader = reader
        self._read_again()

    def _read_again(self) -> None:
        self._rang.set()
        self._held = None
        if self._live:
            self._start(self._catch_up())

    def _fall_back(self) -> None:
        """From live to reading: something is missing, or the client is too slow."""
        if self._outbox.full:
            self._on_opened("slow")
        self._start(self._catch_up())

    def _hold(self, item: Logged | Stretch) -> None:
        """Keeps what rings while a page is being read; too much of it means reading again."""
        if self._held is not None:
            self._held.append(item)
            if len(self._held) > HELD_MAX:
                self._held = None

    # Reading

    async def _open(self, frame_id: FrameId, position: Position) -> None:
        try:
            page = await self._first_page(position)
            while self._outbox.full:
                await self._outbox.room()
                page = await self._first_page(position)
            page = self._authorised_part(page, position.epoch, position.seq or 0)
        except Refused as refused:
            self._refuse(frame_id, refused)
            return
        if self._closed:
            return
        # The client must know of the subscription before the snapshot that `begin` may send.
        resumed = resumable(page, position)
        self._outbox.put(
            replies.subbed(frame_id, self.conversation, page.epoch, page.head, resumed)
        )
        self._delivery.begin(page, position)
        self._on_opened("resumed" if resumed else "snapshot")
        if not self._goes_on(page):
            await self._catch_up()

    async def _first_page(self, position: Position) -> Page:
        """The state to begin from, once the feed is attached and has the client's events."""
        await self._attached()
        after = position.seq or 0
        deadline = asyncio.get_running_loop().time() + LAG_WAIT_S
        while True:
            self._rang.clear()
            self._held = []
            try:
                page = await self._read_model.read(self._keys, after)
            except Unavailable as error:
                raise temporary(f"{error}: subscribe again", 1000) from None
            left = deadline - asyncio.get_running_loop().time()
            known = position.epoch in (None, page.epoch)
            if after <= page.head or not known or left <= 0:
                return page
            try:
                async with asyncio.timeout(min(left, 0.25)):
                    await self._rang.wait()
            except TimeoutError:
                continue

    async def _attached(self) -> None:
        if self._feed.attached.is_set():
            return
        try:
            async with asyncio.timeout(ATTACH_WAIT_S):
                await self._feed.attached.wait()
        except TimeoutError:
            raise temporary("Redis does not answer: subscribe again", 1000) from None

    async def _catch_up(self) -> None:
        """Reads from the cursor until the feed can take over."""
        while not self._closed:
            await self._outbox.room()
            await self._feed.attached.wait()
            self._held = []
            page = await self._page()
            if self._closed:
                return
            try:
                page = self._authorised_part(page, self._delivery.epoch, self._delivery.seq)
            except Refused as refused:
                self._refuse(None, refused)
                return
            snapshots = self._delivery.snapshots
            goes_on = self._goes_on(page)
            if self._delivery.snapshots > snapshots:
                self._on_opened("caught_up")
            if goes_on:
                return

    def _goes_on(self, page: Page) -> bool:
        """Sends the page and what rang since it was asked for; whether the feed takes over."""
        if not (self._delivery.page(page) and self._drain_held()):
            return False
        self._live = not self._closed
        return True

    async def _page(self) -> Page:
        """Reads until Redis answers; the client keeps its socket meanwhile."""
        pause = 0.05
        while True:
            if self._closed:
                raise asyncio.CancelledError
            try:
                return await self._read_model.read(self._keys, self._delivery.seq)
            except Unavailable:
                await asyncio.sleep(random.uniform(pause / 2, pause))
                pause = min(RETRY_S_MAX, pause * 2)
                self._held = []

    def _drain_held(self) -> bool:
        """Passes what rang while the page was read; False when the log must be read again."""
        held, self._held = self._held, None
        if held is None or (held and not self._authorised):
            return False
        for item in held:
            if isinstance(item, Logged):
                passed = self._delivery.event(item)
            else:
                passed = self._delivery.stretch(item)
            if not passed:
                return False
        return True

    # Permission

    def _authorised_part(self, page: Page, epoch: str | None, seq: int) -> Page:
        """What the caller, whose cursor is given, may see of the conversation as it now stands.

        Raises `Refused` when it is somebody else's. One that nobody owns yet is judged again with
        whatever comes next.
        """
        self._authorised = False
        if page.view is None:
            return page
        owner = page.view.owner
        self._on_owner(self._reader.tenant_id, self.conversation, owner)
        self._authorised = may_read(owner, self._reader.subject, self._reader.roles)
        if self._authorised:
            return page
        if owner:
            raise Refused(ErrorCode.FORBIDDEN, "this conversation belongs to somebody else")
        return before_owner(page, seq if epoch == page.epoch else 0, self._is_own)

    def _refuse(self, frame_id: FrameId, refused: Refused) -> None:
        self._outbox.put(replies.err(frame_id, refused, self.conversation))
        self._on_end(self)
