"""What a maker makes is the very record that its class makes: equal, frozen, and no other type."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from dataclasses import FrozenInstanceError, dataclass, fields
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from record_examples import EXAMPLES
from record_strategies import any_record

from schemas.envelope import CommandEnvelope, Envelope, Sealed
from schemas.makers import maker
from schemas.parts import Citation, Finding, Inference, Usage
from schemas.records import FinishedTurn, KnowledgeDocument, OpenTurn, Passage, WaitingMessage

PARTS = (
    *(CommandEnvelope, Envelope, Sealed, Citation, Finding, Inference, Usage, Passage),
    *(FinishedTurn, OpenTurn, WaitingMessage),
)
MAKERS: dict[type, Any] = {record: maker(record) for record in (*EXAMPLES, *PARTS)}


def values(record: Any) -> dict[str, Any]:
    return {f.name: getattr(record, f.name) for f in fields(record)}


@pytest.mark.parametrize("kind", MAKERS, ids=lambda kind: kind.__name__)
@settings(deadline=None, max_examples=20)
@given(choice=st.data())
def test_a_maker_gives_what_the_class_gives(kind: type, choice: st.DataObject) -> None:
    record = choice.draw(any_record(kind))
    for made in (MAKERS[kind](**values(record)), MAKERS[kind](*values(record).values())):
        assert type(made) is kind
        assert isinstance(made, kind)
        assert made == record
        assert repr(made) == repr(record)


@pytest.mark.parametrize("kind", MAKERS, ids=lambda kind: kind.__name__)
@settings(deadline=None, max_examples=1)
@given(choice=st.data())
def test_what_a_maker_gives_is_frozen_and_slotted(kind: type, choice: st.DataObject) -> None:
    made = MAKERS[kind](**values(choice.draw(any_record(kind))))
    name = fields(kind)[0].name
    with pytest.raises(FrozenInstanceError):
        setattr(made, name, None)
    with pytest.raises(FrozenInstanceError):
        delattr(made, name)
    assert not hasattr(made, "__dict__")


def test_what_a_maker_gives_is_hashed_copied_and_pickled_as_any_record() -> None:
    record = Sealed("p-1", "2026-11/1", "origin", "text", bytes(12), b"sealed")
    made = MAKERS[Sealed](**values(record))
    assert hash(made) == hash(record)
    assert len({made, record}) == 1
    for again in (copy.copy(made), copy.deepcopy(made), pickle.loads(pickle.dumps(made))):
        assert type(again) is Sealed
        assert again == record
    assert dataclasses.replace(made, field="answer") == dataclasses.replace(record, field="answer")


def test_a_maker_knows_the_defaults() -> None:
    needed = ("demo", "d-1", "Lost card", None, 0, "d" * 64, ())
    made, other = (MAKERS[KnowledgeDocument](*needed) for _ in range(2))
    assert made == KnowledgeDocument(*needed)
    assert made.questions == ()
    assert made.labels is not other.labels  # a default that can change is made for each


@pytest.mark.parametrize("wrong", [("p-1",), tuple("1234567")])
def test_a_maker_takes_exactly_the_fields(wrong: tuple[str, ...]) -> None:
    with pytest.raises(TypeError):
        MAKERS[Sealed](*wrong)
    with pytest.raises(TypeError):
        MAKERS[Sealed](*"123456", other=1)


@dataclass(frozen=True, slots=True)
class _Checking:
    size: int

    def __post_init__(self) -> None:
        assert self.size > 0


@dataclass(frozen=True, slots=True)
class _Inheriting(_Checking):
    colour: str = ""


@dataclass(frozen=True)
class _WithoutSlots:
    size: int


@dataclass(slots=True)
class _Changeable:
    size: int


@dataclass(frozen=True, slots=True)
class _ByNameOnly:
    size: int = dataclasses.field(kw_only=True)


@dataclass(frozen=True, slots=True)
class _Counted:
    size: int
    places: int = dataclasses.field(default=0, init=False)


@pytest.mark.parametrize(
    "kind",
    [_Checking, _Inheriting, _WithoutSlots, _Changeable, _ByNameOnly, _Counted, int, len],
    ids=lambda kind: kind.__name__,
)
def test_a_class_that_does_more_than_set_its_fields_is_refused(kind: Any) -> None:
    with pytest.raises(TypeError, match="no plain frozen dataclass"):
        maker(kind)


def test_a_field_may_have_any_name() -> None:
    @dataclass(frozen=True, slots=True)
    class Named:
        record: int
        unfrozen: int
        made: int = 3

    assert maker(Named)(1, 2) == Named(1, 2, 3)
