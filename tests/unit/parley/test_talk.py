"""What commands say before they talk with the gateway."""

from __future__ import annotations

from typing import cast

import pytest

from parley.client import Client, Conversation
from parley.client.conversation import Line
from parley.talk import follow


class Gateway:
    """A client of a gateway that knows the events of one conversation."""

    async def conversation(self, conversation_id: str | None = None) -> Conversation:
        conversation = Conversation(conversation_id or "made", cast("Line", None))
        conversation.head = 7 if conversation_id == "known" else 0
        return conversation


@pytest.mark.parametrize(
    ("asked", "said"),
    [("unknown", "this begins a new conversation unknown\n"), ("known", ""), (None, "")],
)
async def test_only_an_id_that_nobody_has_used_is_said_to_begin_a_conversation(
    asked: str | None, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    conversation = await follow(cast("Client", Gateway()), asked)
    assert conversation.id == (asked or "made")
    assert capsys.readouterr() == ("", said)
