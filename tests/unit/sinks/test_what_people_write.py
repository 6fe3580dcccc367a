"""What a person writes is sealed and stays sealed: only what a stage has redacted is shown."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import get_args

import pytest

sys.path.append(str(Path(__file__).parents[1] / "processors" / "conversation"))
from conversation_story import ANSWERED, ANSWERING, ASKED, cancels, closes, given, rates, says

from processors.conversation.admission import ClientCommand
from schemas.events import CommandRejected
from sinks.clickhouse.rows import redacted_text
from sinks.redis.frames import sealed_texts

FROM_PEOPLE: tuple[ClientCommand, ...] = (
    says("m-2"),
    cancels(2),
    rates(2, comment="it is wrong"),
    closes(),
)
"""One of each, which has an effect in one of the stories below."""


def test_every_command_of_people_is_looked_at_here() -> None:
    missing = {kind.__name__ for kind in get_args(ClientCommand)}
    missing -= {type(command).__name__ for command in FROM_PEOPLE}
    assert not missing, (
        f"add {missing} to FROM_PEOPLE in tests/unit/sinks/test_what_people_write.py"
    )


@pytest.mark.parametrize("command", FROM_PEOPLE, ids=lambda command: type(command).__name__)
def test_no_text_of_a_persons_command_is_shown(command: ClientCommand) -> None:
    stories = [given(*history).when(command) for history in (ASKED, ANSWERING, ANSWERED)]
    events = [event for story in stories for event in story.latest]
    assert any(not isinstance(event, CommandRejected) for event in events), "nothing was tried"
    for event in events:
        name = type(event).__name__
        assert sealed_texts(event) == (), f"sinks/redis/frames.py shows raw text of {name}"
        assert redacted_text(event) is None, f"sinks/clickhouse/rows.py shows raw text of {name}"
