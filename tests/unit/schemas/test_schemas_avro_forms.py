"""The forms that Avro allows are read, and no others; what is written is checked to the field."""

from __future__ import annotations

import copy
import textwrap
from dataclasses import FrozenInstanceError, dataclass, fields, replace
from typing import Any

import pytest
from record_examples import COMMAND, EXAMPLES, FINDING, RECORDS

from schemas import decoders, encoders
from schemas.codec import RecordCodec, parse_writer_schema
from schemas.commands import RecordAnalysis, SubmitFeedback, SubmitMessage
from schemas.failures import Invalid
from schemas.plans import record_plan
from schemas.records import DeadLetter, FinishedTurn
from schemas.types import Int32


@dataclass(frozen=True, slots=True)
class Longs:
    items: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Texts:
    items: dict[str, bool]


@dataclass(frozen=True, slots=True)
class Long:
    n: int


@dataclass(frozen=True, slots=True)
class Int:
    n: Int32


@dataclass(frozen=True, slots=True)
class Flag:
    on: bool


@dataclass(frozen=True, slots=True)
class Perhaps:
    text: str | None


CODECS: dict[type, RecordCodec[Any]] = {
    kind: RecordCodec(kind) for kind in (Longs, Texts, Long, Int, Flag, Perhaps)
}


def refusal(kind: type, body: bytes) -> str:
    with pytest.raises(Invalid) as caught:
        CODECS[kind].decode(body)
    assert caught.value.code == "decoding"
    return str(caught.value)


@pytest.mark.parametrize(
    "body",
    [
        b"\x06\x02\x04\x06\x00",
        b"\x02\x02\x04\x04\x06\x00",
        b"\x05\x06\x02\x04\x06\x00",
        b"\x01\x02\x02\x04\x04\x06\x00",
        b"\x02\x02\x03\x04\x04\x06\x00",
    ],
    ids=["one block", "two", "one with its size", "a sized one first", "a sized one last"],
)
def test_an_array_is_read_in_any_number_of_blocks(body: bytes) -> None:
    assert CODECS[Longs].decode(body) == Longs((1, 2, 3))


@pytest.mark.parametrize(
    "body",
    [
        b"\x04\x02a\x01\x02b\x00\x00",
        b"\x02\x02a\x01\x02\x02b\x00\x00",
        b"\x03\x0c\x02a\x01\x02b\x00\x00",
        b"\x01\x06\x02a\x01\x02\x02b\x00\x00",
    ],
    ids=["one block", "two", "one with its size", "a sized one first"],
)
def test_a_map_is_read_in_any_number_of_blocks(body: bytes) -> None:
    assert CODECS[Texts].decode(body) == Texts({"a": True, "b": False})


@pytest.mark.parametrize(
    ("body", "what"),
    [
        (b"", "nothing"),
        (b"\x02\x02", "no end"),
        (b"\x04\x02\x00", "an item too few"),
        (b"\x01\x04\x02\x00", "a size that is too large"),
        (b"\x01\x00\x02\x00", "a size that is too small"),
        (b"\x01\x01\x02\x00", "a size below zero"),
        (b"\x01", "no size"),
        (b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01\x02\x00", "an absurd count"),
        (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x02\x02\x00", "the least of all counts"),
    ],
)
def test_a_broken_block_is_refused(body: bytes, what: str) -> None:
    refusal(Longs, body)
    refusal(Texts, body)


def test_an_absurd_count_is_refused_before_any_item_is_read() -> None:
    assert "more items than bytes" in refusal(Longs, b"\x80\x80\x80\x80\x80\x20" + bytes(1000))


@pytest.mark.parametrize("bits", range(64))
def test_the_numbers_around_every_power_of_two_come_back(bits: int) -> None:
    for n in {1 << bits, (1 << bits) - 1, -(1 << bits), -(1 << bits) - 1}:
        for kind, width in ((Long, 63), (Int, 31)):
            if -(1 << width) <= n < 1 << width:
                assert CODECS[kind].decode(CODECS[kind].encode(kind(n))) == kind(n)
            else:
                with pytest.raises(Invalid, match=f"{kind.__name__}.n takes {width + 1} bits"):
                    CODECS[kind].encode(kind(n))


@pytest.mark.parametrize(
    ("body", "what"),
    [
        (b"\x80\x00", "0 in two bytes"),
        (b"\x82\x80\x00", "1 in three bytes"),
        (b"\xff" * 9 + b"\x02", "65 bits"),
        (b"\xff" * 10 + b"\x00", "eleven bytes"),
        (b"\xff" * 9, "no end"),
    ],
)
def test_a_number_in_another_form_than_the_shortest_is_refused(body: bytes, what: str) -> None:
    refusal(Long, body)
    refusal(Int, body)


def test_a_foreign_writers_numbers_are_held_to_the_same_bounds() -> None:
    newer = copy.deepcopy(CODECS[Int].schema)
    newer["fields"].append({"name": "more", "type": "boolean", "default": False})
    writer = parse_writer_schema(newer)
    largest, too_large = (CODECS[Long].encode(Long(n)) + b"\x01" for n in (2**31 - 1, 2**31))
    assert CODECS[Int].decode(largest, writer=writer) == Int(2**31 - 1)
    with pytest.raises(Invalid, match="more than 32 bits"):
        CODECS[Int].decode(too_large, writer=writer)


@pytest.mark.parametrize("byte", range(256))
def test_a_boolean_is_0_or_1(byte: int) -> None:
    if byte < 2:
        assert CODECS[Flag].decode(bytes((byte,))) == Flag(byte == 1)
    else:
        assert "boolean" in refusal(Flag, bytes((byte,)))


@pytest.mark.parametrize("byte", range(256))
def test_the_index_of_a_union_is_0_or_1(byte: int) -> None:
    if byte == 0:
        assert CODECS[Perhaps].decode(b"\x00") == Perhaps(None)
    elif byte == 2:
        assert CODECS[Perhaps].decode(b"\x02\x02a") == Perhaps("a")
    else:
        refusal(Perhaps, bytes((byte,)) + b"\x02a")
        refusal(Perhaps, bytes((byte,)))


@pytest.mark.parametrize(
    ("misfit", "sentence"),
    [
        (
            replace(EXAMPLES[SubmitMessage], text=FINDING),
            "SubmitMessage.text takes Sealed, not Finding",
        ),
        (
            replace(EXAMPLES[SubmitMessage], envelope=replace(COMMAND, causation_id=1)),
            "CommandEnvelope.causation_id takes str or NoneType, not int",
        ),
        (
            replace(EXAMPLES[SubmitFeedback], comment="good"),
            "SubmitFeedback.comment takes Sealed or NoneType, not str",
        ),
        (
            replace(EXAMPLES[SubmitMessage], mid="\ud800"),
            "SubmitMessage.mid can't be UTF-8: surrogates not allowed",
        ),
        (
            replace(EXAMPLES[RecordAnalysis], findings=(FINDING, replace(FINDING, end=2**31))),
            "Finding.end takes 32 bits, 2147483648 needs more",
        ),
        (
            replace(EXAMPLES[DeadLetter], headers={"a": 1}),
            "DeadLetter.headers takes str, not int",
        ),
        (
            replace(EXAMPLES[DeadLetter], headers={1: "a"}),
            "DeadLetter.headers takes keys of type str",
        ),
    ],
)
def test_a_refusal_names_the_place_however_deep_it_is(misfit: Any, sentence: str) -> None:
    with pytest.raises(Invalid) as caught:
        RecordCodec(type(misfit)).encode(misfit)
    assert str(caught.value) == f"{type(misfit).__name__} can't be encoded: {sentence}"


@pytest.mark.parametrize("record", RECORDS)
def test_records_that_come_out_are_of_their_own_class_and_frozen(record: type) -> None:
    decoded = RecordCodec(record).decode(RecordCodec(record).encode(EXAMPLES[record]))
    assert type(decoded) is record
    with pytest.raises(FrozenInstanceError):
        setattr(decoded, fields(decoded)[0].name, None)


def test_a_class_that_does_more_than_hold_its_fields_can_not_be_a_record() -> None:
    @dataclass(frozen=True, slots=True)
    class Checking:
        n: int

        def __post_init__(self) -> None:
            assert self.n > 0

    with pytest.raises(TypeError, match="Checking"):
        RecordCodec(Checking)


def test_the_functions_shown_as_examples_are_those_that_are_written() -> None:
    encode, decode = encoders.EncoderText(), decoders.DecoderText()
    for text, module in ((encode, encoders), (decode, decoders)):
        text.add(record_plan(FinishedTurn), "value")
        assert textwrap.indent(str(text), "    ") in (module.__doc__ or "")
