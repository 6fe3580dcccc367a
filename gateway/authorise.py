"""Who may see a conversation and write into it, by tenant and participant."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from gateway.read_model import Logged, Page, ReadModel, View
from gateway.refusals import ErrorCode, Refused
from schemas.failures import Unavailable

READING_ROLES = frozenset(("agent", "supervisor", "admin"))
"""Roles that may read conversations of others within their tenant."""
OWNERS_MAX = 50_000


def may_read(owner: str, subject: str, roles: frozenset[str]) -> bool:
    """Whether a caller may see a conversation, and go on to see it.

    One without an owner is nobody's: who were let in now would read what its owner says later.
    The tenant needs no check here: it is part of every key, and comes from the token alone.
    """
    return owner == subject or not READING_ROLES.isdisjoint(roles)


def before_owner(page: Page, seq: int, is_own: Callable[[str], bool]) -> Page:
    """What a caller that has events up to `seq` may see of a conversation without an owner.

    Its log holds refused commands and nothing else, since the first message makes its author the
    owner. The caller's own, told by their `mid`, are shown as far as they follow each other; from
    somebody else's on, all is for whoever becomes the owner.
    """
    if seq > page.head:
        seq = 0
    shown: list[Logged] = []
    for event in page.events:
        if event.seq != seq + len(shown) + 1 or event.mid is None or not is_own(event.mid):
            break
        shown.append(event)
    head = seq + len(shown)
    view = View(head, page.epoch, "", b"{}") if head else None
    return Page(page.epoch, view, tuple(shown), None)


class Owners:
    """Owners of conversations; an owner never changes, so one that is known stays known."""

    def __init__(self, read_model: ReadModel) -> None:
        self._read_model = read_model
        self._known: OrderedDict[tuple[str, str], str] = OrderedDict()

    def learn(self, tenant_id: str, conversation_id: str, owner: str) -> None:
        """Remembers an owner that was read anyway."""
        if owner:
            self._known[tenant_id, conversation_id] = owner
            if len(self._known) > OWNERS_MAX:
                self._known.popitem(last=False)

    def forget(self) -> None:
        """Another log may give conversations to others."""
        self._known.clear()

    async def check_writer(self, tenant_id: str, conversation_id: str, subject: str) -> None:
        """Raises `Refused` when the view says that the conversation is somebody else's.

        Without a view the conversation stage decides, as it does in any case.
        """
        owner = self._known.get((tenant_id, conversation_id))
        if owner is None:
            try:
                owner = await self._read_model.owner(tenant_id, conversation_id)
            except Unavailable:
                return
            if owner:
                self.learn(tenant_id, conversation_id, owner)
        if owner and owner != subject:
            raise Refused(ErrorCode.FORBIDDEN, "this conversation belongs to somebody else")
