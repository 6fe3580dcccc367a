"""Expiries go round through the commands topic, once each: a backlog must not grow by them."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1] / "processors" / "conversation"))

import pytest
from conversation_parts import FIRST, deliveries, transform
from conversation_story import SECOND_US, START_US, says

from schemas.topics import COMMANDS
from streams.conversation_stage import ISSUED_MAX
from streams.transactional_stage import Output

LATE_US = START_US + 10 * SECOND_US
MINUTE_US = 60 * SECOND_US


class Ticking:
    """The conversation stage with a message whose analysis never comes, and its clock."""

    def __init__(self) -> None:
        self.stage = transform()
        self._issued = 0

    def _send(self, topic: str, *_: Any) -> None:
        self._issued += topic == COMMANDS.name

    def batch(self, now_us: int, *commands: Any, commit: bool = True) -> int:
        """How many expiries go out with a batch."""
        self._issued = 0
        records = {FIRST: deliveries(*commands)} if commands else {}
        changes = self.stage.apply(records, now_us, Output(self._send, lambda d, error: None))
        if commit:
            self.stage.committed(changes)
        return self._issued


@pytest.fixture
def ticking() -> Ticking:
    ticking = Ticking()
    assert ticking.batch(START_US, says("m-1")) == 0
    return ticking


def test_one_that_is_in_the_log_is_not_issued_again_while_it_may_still_come_round(
    ticking: Ticking,
) -> None:
    assert ticking.batch(LATE_US) == 1
    assert [ticking.batch(LATE_US + n * SECOND_US) for n in range(1, 60)] == [0] * 59
    assert ticking.batch(LATE_US + MINUTE_US) == 1


def test_one_whose_transaction_failed_is_issued_again_soon(ticking: Ticking) -> None:
    assert ticking.batch(LATE_US, commit=False) == 1
    assert ticking.batch(LATE_US + SECOND_US) == 1
    assert ticking.batch(LATE_US + 2 * SECOND_US) == 0


def test_a_batch_issues_no_more_than_it_can_bear(ticking: Ticking) -> None:
    messages = [moved(says("m-1"), f"c-{n}") for n in range(ISSUED_MAX + 10)]
    ticking.batch(START_US, *messages)
    assert ticking.batch(LATE_US) == ISSUED_MAX
    assert ticking.batch(LATE_US) == 10
    assert ticking.batch(LATE_US) == 0


def moved(command: Any, conversation: str) -> Any:
    return replace(command, envelope=replace(command.envelope, conversation_id=conversation))
