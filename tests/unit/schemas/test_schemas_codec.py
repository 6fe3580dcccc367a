"""Encoding refuses whatever does not fit exactly, decoding whatever is no such record."""

from __future__ import annotations

import copy
import dataclasses
import re
from dataclasses import dataclass, replace
from io import BytesIO
from typing import Any

import fastavro
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from record_examples import COMMAND, EVENT, EXAMPLES, FINDING, RECORDS, TURN_ID, sealed
from record_strategies import any_record

from schemas.avro_types import record_schema
from schemas.codec import RecordCodec, parse_writer_schema
from schemas.commands import CompleteTurn, ExpireTurn, RecordAnalysis, RestartTurn, SubmitMessage
from schemas.envelope import Sealed
from schemas.events import MessageReceived, TurnStarted
from schemas.failures import Invalid
from schemas.records import AnswerPiece, ConversationSnapshot, DeadLetter, KnowledgeDocument
from schemas.topics import full_name
from schemas.types import Int32

CODECS: dict[type, RecordCodec[Any]] = {record: RecordCodec(record) for record in RECORDS}
SECRET = "my card is 4111 1111 1111 1111"


def example(record: type, **changes: Any) -> Any:
    return replace(EXAMPLES[record], **changes)


def encoding_error(record: Any) -> Invalid:
    with pytest.raises(Invalid) as caught:
        CODECS[type(record)].encode(record)
    return caught.value


MISFITS = {
    "an int32 that is too large": example(RestartTurn, attempt=2**31),
    "an int32 that is far too large": example(RestartTurn, attempt=2**40),
    "an int32 that is too small": example(RestartTurn, attempt=-(2**31) - 1),
    "a long that is too large": example(RecordAnalysis, message_seq=2**63),
    "a long that is too small": example(RecordAnalysis, message_seq=-(2**63) - 1),
    "a fraction for an int": example(RestartTurn, attempt=3.7),
    "a whole float for a long": example(RecordAnalysis, message_seq=3.0),
    "True for an int": example(RestartTurn, attempt=True),
    "True for a long": example(RecordAnalysis, message_seq=True),
    "an int for a float": example(CompleteTurn, confidence=1),
    "1 for a bool": example(CompleteTurn, declined=1),
    "a number as text": example(RestartTurn, attempt="3"),
    "text for bytes": example(ConversationSnapshot, handled="abc"),
    "a bytearray for bytes": example(ConversationSnapshot, handled=bytearray(b"abc")),
    "bytes for text": example(SubmitMessage, mid=b"m-1"),
    "None where it is not nullable": example(SubmitMessage, mid=None),
    "None for a nested record": example(SubmitMessage, text=None),
    "the wrong nested record": example(SubmitMessage, text=FINDING),
    "the wrong envelope": example(SubmitMessage, envelope=EVENT),
    "a dict for a nested record": example(SubmitMessage, text=dataclasses.asdict(sealed("text"))),
    "a list for a tuple": example(RecordAnalysis, findings=[FINDING]),
    "the wrong record in a tuple": example(RecordAnalysis, findings=(FINDING, sealed("x"))),
    "the wrong value in a tuple": example(RecordAnalysis, degraded=("a", 1)),
    "an int that is too large in a tuple": example(TurnStarted, context=(1, 2**63)),
    "a bool in a tuple of ints": example(TurnStarted, context=(1, True)),
    "the wrong value in a map": example(DeadLetter, headers={"a": b"b"}),
    "the wrong key in a map": example(DeadLetter, headers={1: "b"}),
    "a list of pairs for a map": example(DeadLetter, headers=[("a", "b")]),
    "a lone surrogate": example(SubmitMessage, mid="\ud800"),
    "a lone surrogate in a nested record": example(
        SubmitMessage, envelope=replace(COMMAND, actor="\udfff")
    ),
    "a lone surrogate in a tuple": example(RecordAnalysis, degraded=("\ud800",)),
    "a lone surrogate as a key of a map": example(DeadLetter, headers={"\ud800": ""}),
    "an int32 that is too large in a nested record": example(
        RecordAnalysis, findings=(replace(FINDING, end=2**31),)
    ),
}


@pytest.mark.parametrize("misfit", MISFITS)
def test_a_value_that_does_not_fit_exactly_is_refused(misfit: str) -> None:
    assert encoding_error(MISFITS[misfit]).code == "encoding"


@pytest.mark.parametrize("misfit", MISFITS)
def test_a_refusal_does_not_wear_off(misfit: str) -> None:
    record = MISFITS[misfit]
    for _ in range(2):
        encoding_error(record)
    CODECS[type(record)].encode(EXAMPLES[type(record)])
    encoding_error(record)


def test_the_bounds_themselves_are_accepted() -> None:
    for attempt in (2**31 - 1, -(2**31)):
        record = example(RestartTurn, attempt=attempt)
        assert CODECS[RestartTurn].decode(CODECS[RestartTurn].encode(record)) == record
    for seq in (2**63 - 1, -(2**63)):
        record = example(RecordAnalysis, message_seq=seq)
        assert CODECS[RecordAnalysis].decode(CODECS[RecordAnalysis].encode(record)) == record


def test_another_record_of_the_same_fields_is_refused() -> None:
    with pytest.raises(Invalid, match="expected ExpireTurn, got RestartTurn"):
        CODECS[ExpireTurn].encode(EXAMPLES[RestartTurn])


def test_a_subclass_with_more_fields_is_refused() -> None:
    @dataclass(frozen=True)
    class Wider(ExpireTurn):
        secret: str = "x"

    with pytest.raises(Invalid):
        CODECS[ExpireTurn].encode(Wider(COMMAND, TURN_ID))


def test_a_dict_with_all_the_fields_is_no_record() -> None:
    with pytest.raises(Invalid):
        CODECS[ExpireTurn].encode(dataclasses.asdict(EXAMPLES[ExpireTurn]))  # type: ignore[arg-type]


def test_a_record_whose_fields_were_never_set_is_refused() -> None:
    empty = object.__new__(ExpireTurn)
    assert encoding_error(empty).code == "encoding"


@pytest.mark.parametrize(
    "record",
    [
        example(AnswerPiece, text=replace(sealed("answer"), ciphertext=SECRET)),
        example(SubmitMessage, mid=SECRET.encode()),
        example(SubmitMessage, mid=SECRET + "\ud800"),
        example(SubmitMessage, text=(SECRET,)),
        example(DeadLetter, headers={SECRET: 1}),
        example(DeadLetter, headers={SECRET + "\ud800": ""}),
        example(RecordAnalysis, degraded=(SECRET, 1)),
    ],
)
def test_a_refusal_says_where_and_never_quotes(record: Any) -> None:
    error = encoding_error(record)
    assert type(record).__name__ in str(error)
    assert "4111" not in str(error)


def test_a_refusal_names_the_field_and_both_types() -> None:
    error = encoding_error(MISFITS["True for an int"])
    assert str(error) == "RestartTurn can't be encoded: RestartTurn.attempt takes int, not bool"


# Decoding


@pytest.mark.parametrize("record", RECORDS, ids=full_name)
@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_every_value_comes_back_as_it_was(record: type, data: st.DataObject) -> None:
    value = data.draw(any_record(record))
    codec = CODECS[record]
    body = codec.encode(value)
    assert codec.decode(body) == value
    assert codec.encode(codec.decode(body)) == body


@pytest.mark.parametrize("record", RECORDS, ids=full_name)
def test_what_comes_back_is_frozen_through_and_through(record: type) -> None:
    def check(value: Any) -> None:
        assert not isinstance(value, list)
        if isinstance(value, tuple):
            for item in value:
                check(item)
        elif dataclasses.is_dataclass(value):
            for field in dataclasses.fields(value):
                check(getattr(value, field.name))

    check(CODECS[record].decode(CODECS[record].encode(EXAMPLES[record])))


@pytest.mark.parametrize("record", RECORDS, ids=full_name)
def test_bytes_after_the_end_are_refused(record: type) -> None:
    body = CODECS[record].encode(EXAMPLES[record])
    for more in (b"\x00", b"\x00\x00", body):
        with pytest.raises(Invalid) as caught:
            CODECS[record].decode(body + more)
        assert caught.value.code == "trailing_bytes"
        assert str(len(more)) in str(caught.value)


@pytest.mark.parametrize("record", RECORDS, ids=full_name)
def test_a_record_cut_off_anywhere_is_refused(record: type) -> None:
    body = CODECS[record].encode(EXAMPLES[record])
    for length in range(len(body)):
        with pytest.raises(Invalid) as caught:
            CODECS[record].decode(body[:length])
        assert caught.value.code == "decoding"


@settings(deadline=None)
@given(
    record=st.sampled_from(RECORDS),
    at=st.integers(0, 10_000),
    new=st.binary(min_size=1, max_size=8),
)
def test_altered_bytes_are_refused_or_are_another_record_whole(
    record: type, at: int, new: bytes
) -> None:
    codec = CODECS[record]
    body = bytearray(codec.encode(EXAMPLES[record]))
    at %= len(body)
    body[at : at + len(new)] = new
    decoded = decoded_or_code(codec, bytes(body))
    if decoded not in ("decoding", "trailing_bytes"):
        assert codec.decode(codec.encode(decoded)) == decoded or "nan" in repr(decoded)


@settings(deadline=None)
@given(st.sampled_from(RECORDS), st.binary(max_size=300))
def test_any_bytes_are_refused_or_are_a_record(record: type, body: bytes) -> None:
    codec = CODECS[record]
    decoded = decoded_or_code(codec, body)
    if decoded not in ("decoding", "trailing_bytes"):
        assert type(decoded) is record
        codec.encode(decoded)


def decoded_or_code(codec: RecordCodec[Any], body: bytes) -> Any:
    """What the bytes are, or the code of their refusal; any other error goes through."""
    try:
        return codec.decode(body)
    except Invalid as error:
        return error.code


@pytest.mark.parametrize(
    ("body", "what"),
    [
        (b"\x02\xff", "no UTF-8"),
        (b"\x01", "a negative length"),
        (b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01", "an absurd length"),
        (b"\xff" * 20, "a number without an end"),
    ],
)
def test_broken_strings_are_refused_without_being_quoted(body: bytes, what: str) -> None:
    rest = CODECS[ExpireTurn].encode(EXAMPLES[ExpireTurn])[37:]
    with pytest.raises(Invalid) as caught:
        CODECS[ExpireTurn].decode(body + SECRET.encode() + rest)
    assert caught.value.code == "decoding"
    assert "4111" not in str(caught.value)
    assert caught.value.__suppress_context__


def test_an_int32_out_of_range_is_refused_on_the_way_out_too() -> None:
    """Whoever wrote it broke the contract, and passing it on would break it for others."""

    @dataclass(frozen=True, slots=True)
    class Wide:
        n: int

    @dataclass(frozen=True, slots=True)
    class Narrow:
        n: Int32

    body = RecordCodec(Wide).encode(Wide(2**31))
    with pytest.raises(Invalid) as caught:
        RecordCodec(Narrow).decode(body)
    assert caught.value.code == "decoding"
    assert RecordCodec(Narrow).decode(RecordCodec(Wide).encode(Wide(2**31 - 1))).n == 2**31 - 1


def test_records_in_a_map_come_back_as_records() -> None:
    @dataclass(frozen=True, slots=True)
    class Shelf:
        pieces: dict[str, Sealed]

    codec = RecordCodec(Shelf)
    assert codec.decode(codec.encode(Shelf({"a": sealed("x")}))) == Shelf({"a": sealed("x")})


# Older and newer writers


def altered(record: type, **edits: Any) -> Any:
    """Today's schema with fields dropped (None) or added (a field's definition)."""
    schema = copy.deepcopy(record_schema(record))
    for name, definition in edits.items():
        schema["fields"] = [f for f in schema["fields"] if f["name"] != name]
        if definition is not None:
            schema["fields"].append({"name": name, **definition})
    return schema


def written_with(schema: Any, datum: dict[str, Any]) -> bytes:
    out = BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(schema), datum)
    return out.getvalue()


def as_datum(record: Any) -> dict[str, Any]:
    """A record as fastavro takes it, by the standard library's hand."""
    return dataclasses.asdict(record)


def test_a_record_of_an_older_writer_gets_the_defaults_of_newer_fields() -> None:
    older = altered(KnowledgeDocument, questions=None, labels=None)
    body = written_with(older, as_datum(EXAMPLES[KnowledgeDocument]))
    decoded = CODECS[KnowledgeDocument].decode(body, writer=parse_writer_schema(older))
    assert decoded == example(KnowledgeDocument, questions=(), labels={})


def test_defaults_are_not_shared_between_records() -> None:
    older = parse_writer_schema(altered(KnowledgeDocument, labels=None))
    body = written_with(
        altered(KnowledgeDocument, labels=None), as_datum(EXAMPLES[KnowledgeDocument])
    )
    one = CODECS[KnowledgeDocument].decode(body, writer=older)
    one.labels["touched"] = "yes"
    assert CODECS[KnowledgeDocument].decode(body, writer=older).labels == {}


def test_a_record_of_a_newer_writer_loses_what_is_not_known_yet() -> None:
    newer = altered(TurnStarted, shade={"type": ["null", "string"], "default": None})
    body = written_with(newer, as_datum(EXAMPLES[TurnStarted]) | {"shade": SECRET})
    decoded = CODECS[TurnStarted].decode(body, writer=parse_writer_schema(newer))
    assert decoded == EXAMPLES[TurnStarted]


def test_bytes_after_a_foreign_writers_record_are_refused_as_well() -> None:
    newer = altered(TurnStarted, shade={"type": "long", "default": 0})
    body = written_with(newer, as_datum(EXAMPLES[TurnStarted]) | {"shade": 7})
    with pytest.raises(Invalid) as caught:
        CODECS[TurnStarted].decode(body + b"\x00", writer=parse_writer_schema(newer))
    assert caught.value.code == "trailing_bytes"


def test_a_writer_whose_schema_breaks_the_contract_is_refused() -> None:
    broken = altered(MessageReceived, mid=None)
    body = written_with(broken, as_datum(EXAMPLES[MessageReceived]))
    with pytest.raises(Invalid) as caught:
        CODECS[MessageReceived].decode(body, writer=parse_writer_schema(broken))
    assert caught.value.code == "decoding"


# Schemas


def test_times_carry_a_logical_type_for_foreign_readers() -> None:
    (field,) = (f for f in record_schema(Sealed)["fields"] if f["name"] == "nonce")
    assert field["type"] == "bytes"
    envelope = record_schema(ExpireTurn)["fields"][0]["type"]
    (issued_at,) = (f for f in envelope["fields"] if f["name"] == "issued_at")
    assert issued_at["type"] == {"type": "long", "logicalType": "timestamp-micros"}


def test_a_nested_record_is_spelled_out_once_and_then_named() -> None:
    fields = {f["name"]: f["type"] for f in record_schema(CompleteTurn)["fields"]}
    assert fields["text"]["name"] == "Sealed"
    titles = [f for f in fields["citations"]["items"]["fields"] if f["name"] == "title"]
    assert titles[0]["type"] == "parley.Sealed"


def test_a_type_without_an_avro_counterpart_is_refused_when_it_is_declared() -> None:
    @dataclass
    class Odd:
        either: int | str

    with pytest.raises(TypeError, match=re.escape("schemas/README.md")):
        record_schema(Odd)
