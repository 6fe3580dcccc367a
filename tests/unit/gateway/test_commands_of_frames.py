"""No frame and no command of people is left out; who adds one is told where it is missing."""

from __future__ import annotations

from typing import get_args

from gateway.commands import RECORDS
from gateway.frames import FRAMES, ClientFrame, CommandFrame
from processors.conversation.admission import ClientCommand


def names(kinds: object) -> str:
    return ", ".join(sorted(kind.__name__ for kind in kinds))  # type: ignore[attr-defined]


def test_every_frame_can_be_parsed() -> None:
    missing = set(get_args(ClientFrame)) - set(FRAMES.values())
    assert not missing, f"add {names(missing)} to FRAMES in gateway/frames.py"


def test_every_frame_that_asks_for_a_change_becomes_a_command() -> None:
    missing = set(get_args(CommandFrame)) - RECORDS.keys()
    assert not missing, f"say in RECORDS of gateway/commands.py what {names(missing)} becomes"


def test_every_command_of_people_has_a_frame() -> None:
    missing = set(get_args(ClientCommand)) - set(RECORDS.values())
    assert not missing, (
        f"{names(missing)} is a command of people that no client can send: add a frame to "
        "CommandFrame in gateway/frames.py and to RECORDS in gateway/commands.py"
    )
