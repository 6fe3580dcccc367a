"""fastavro as the oracle: the same bytes, the same values, and nothing taken that it refuses."""

from __future__ import annotations

import dataclasses
import math
from io import BytesIO
from typing import Any

import fastavro
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from record_examples import EXAMPLES, INFERENCE, RECORDS
from record_strategies import any_record

from schemas.codec import RecordCodec, parse_writer_schema
from schemas.commands import RecordAnalysis
from schemas.failures import Invalid
from schemas.topics import full_name

CODECS: dict[type, RecordCodec[Any]] = {record: RecordCodec(record) for record in RECORDS}
SCHEMAS = {record: parse_writer_schema(codec.schema) for record, codec in CODECS.items()}


def as_datum(value: Any) -> Any:
    """A record as fastavro takes and gives it."""
    if dataclasses.is_dataclass(value):
        return {f.name: as_datum(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, tuple):
        return [as_datum(item) for item in value]
    if isinstance(value, dict):
        return {key: as_datum(item) for key, item in value.items()}
    return value


def oracle_encode(value: Any) -> bytes:
    out = BytesIO()
    fastavro.schemaless_writer(out, SCHEMAS[type(value)], as_datum(value))
    return out.getvalue()


def oracle_decode(record: type, body: bytes) -> tuple[Any, int]:
    """What fastavro reads, and how many bytes it leaves."""
    data = BytesIO(body)
    return fastavro.schemaless_reader(data, SCHEMAS[record], None), len(body) - data.tell()


@pytest.mark.parametrize("record", RECORDS, ids=full_name)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_bytes_and_values_are_those_of_fastavro(record: type, data: st.DataObject) -> None:
    value = data.draw(any_record(record))
    body = oracle_encode(value)
    assert CODECS[record].encode(value) == body
    decoded = CODECS[record].decode(body)
    assert decoded == value
    assert as_datum(decoded) == oracle_decode(record, body)[0]


@pytest.mark.parametrize("n", [math.nan, -math.nan, math.inf, -math.inf, 0.0, -0.0, 5e-324, 1e308])
def test_every_double_keeps_its_bits(n: float) -> None:
    inference = dataclasses.replace(INFERENCE, confidence=n)
    value = dataclasses.replace(EXAMPLES[RecordAnalysis], inferences=(inference,))
    body = CODECS[RecordAnalysis].encode(value)
    assert body == oracle_encode(value)
    assert repr(CODECS[RecordAnalysis].decode(body)) == repr(value)


@pytest.mark.parametrize("length", [31, 63, 64, 127, 128, 8191, 8192, 70_000, 1_100_000])
def test_texts_and_bytes_of_every_length_are_those_of_fastavro(length: int) -> None:
    for character in "x", "ü", "数", "🙂":
        example = EXAMPLES[RecordAnalysis]
        sealed = dataclasses.replace(example.redacted, ciphertext=bytes(length))
        value = dataclasses.replace(example, mid=character * length, redacted=sealed)
        body = CODECS[RecordAnalysis].encode(value)
        assert body == oracle_encode(value)
        assert CODECS[RecordAnalysis].decode(body) == value


@pytest.mark.parametrize("items", [1, 63, 64, 200, 20_000])
def test_arrays_of_every_length_are_those_of_fastavro(items: int) -> None:
    degraded = tuple(str(n) for n in range(items))
    value = dataclasses.replace(EXAMPLES[RecordAnalysis], degraded=degraded)
    body = CODECS[RecordAnalysis].encode(value)
    assert body == oracle_encode(value)
    assert CODECS[RecordAnalysis].decode(body) == value


BYTES = st.sampled_from([b"\x00", b"\x01", b"\x02", b"\x03", b"\x7f", b"\x80", b"\xff"])
EDITS = st.lists(
    st.tuples(
        st.sampled_from(["replace", "insert", "delete", "cut"]),
        st.integers(0, 2000),
        BYTES | st.binary(min_size=1, max_size=10),
    ),
    min_size=1,
    max_size=3,
)


def edited(body: bytes, edits: list[tuple[str, int, bytes]]) -> bytes:
    out = bytearray(body)
    for what, at, new in edits:
        at %= len(out) + 1
        match what:
            case "replace":
                out[at : at + len(new)] = new
            case "insert":
                out[at:at] = new
            case "delete":
                del out[at : at + len(new)]
            case "cut":
                del out[at:]
    return bytes(out)


@pytest.mark.parametrize("record", RECORDS, ids=full_name)
@settings(max_examples=40, deadline=None)
@given(data=st.data(), edits=EDITS)
def test_whatever_is_taken_of_damaged_bytes_fastavro_reads_the_same(
    record: type, data: st.DataObject, edits: list[tuple[str, int, bytes]]
) -> None:
    source = data.draw(st.just(EXAMPLES[record]) | any_record(record))
    body = edited(CODECS[record].encode(source), edits)
    try:
        decoded = CODECS[record].decode(body)
    except Invalid:
        return
    datum, left = oracle_decode(record, body)
    assert left == 0
    assert repr(as_datum(decoded)) == repr(datum)  # by text, since nan is not equal to itself
