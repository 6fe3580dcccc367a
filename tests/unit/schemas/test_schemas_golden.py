"""The contract does not drift: files, bytes and records agree, in every released version."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from golden_files import FOLDER, golden_bytes, golden_path
from record_examples import COMMAND, EXAMPLES, PLACES, RECORDS, TURN_ID

from schemas.__main__ import AVRO_FOLDER, avro_files
from schemas.avro_types import record_schema
from schemas.codec import RecordCodec, parse_writer_schema
from schemas.commands import ExpireTurn
from schemas.releases import releases
from schemas.topics import Topic, full_name

RELEASED = releases()
VERSIONS = [(t, r, v) for t, r in PLACES for v in RELEASED.get((t.name, r.__name__), [])]
IDS = [f"{r.__name__}.{v.version}" for _, r, v in VERSIONS]


def text(value: str) -> bytes:
    """A string as Avro writes it: its length as a zigzag number, then its UTF-8."""
    assert len(value) < 64  # so that the length takes one byte
    return bytes((2 * len(value),)) + value.encode()


def test_there_is_an_example_of_every_record_and_of_nothing_else() -> None:
    assert len(RECORDS) == len(set(RECORDS)) == len(EXAMPLES)
    assert set(RECORDS) == set(EXAMPLES)


@pytest.mark.parametrize(("topic", "record"), PLACES, ids=[full_name(r) for _, r in PLACES])
def test_the_committed_avro_file_is_what_the_record_says(topic: Topic, record: type) -> None:
    path = Path(topic.name, f"{record.__name__}.avsc")
    committed = AVRO_FOLDER / path
    said = committed.read_text() if committed.exists() else None
    assert said == avro_files()[path], 'run "python -m schemas"'


def test_no_avro_file_is_left_of_a_record_that_is_gone() -> None:
    committed = {path.relative_to(AVRO_FOLDER) for path in AVRO_FOLDER.glob("**/*.avsc")}
    assert committed == set(avro_files()), 'run "python -m schemas"'


@pytest.mark.parametrize("record", RECORDS, ids=full_name)
def test_an_example_is_encoded_to_the_golden_bytes_of_the_latest_release(record: type) -> None:
    latest = max((v.version for _, r, v in VERSIONS if r is record), default=None)
    assert latest is not None, 'run "python -m schemas release"'
    assert RecordCodec(record).encode(EXAMPLES[record]) == golden_bytes(record, latest)


@pytest.mark.parametrize(("topic", "record", "version"), VERSIONS, ids=IDS)
def test_golden_bytes_of_every_release_are_decoded_today(
    topic: Topic, record: type, version: Any
) -> None:
    body = golden_bytes(record, version.version)
    decoded = RecordCodec(record).decode(body, writer=parse_writer_schema(version.schema))
    if version.schema == record_schema(record):
        assert decoded == EXAMPLES[record] == RecordCodec(record).decode(body)
    else:
        for field in version.schema["fields"]:
            if type(getattr(decoded, field["name"])) in (str, int, bool, bytes, float):
                name = field["name"]
                assert getattr(decoded, name) == getattr(EXAMPLES[record], name)


def test_there_are_golden_bytes_of_every_release_and_no_others() -> None:
    wanted = {golden_path(r, v.version) for _, r, v in VERSIONS}
    assert set(FOLDER.iterdir()) == wanted, 'run "python tests/unit/schemas/golden_files.py"'


def test_bytes_written_by_hand_are_the_golden_ones() -> None:
    """The one place where nothing of ours and no library has a say in what Avro looks like."""
    issued_at = COMMAND.issued_at << 1  # zigzag of a positive number
    varint = bytearray()
    while issued_at > 127:
        varint.append(issued_at & 127 | 128)
        issued_at >>= 7
    varint.append(issued_at)
    assert COMMAND.traceparent is not None
    body = (
        text(COMMAND.command_id)
        + text("demo")
        + text("c-1")
        + bytes(varint)
        + text("client")
        + b"\x02"  # the second member of the union, so not null
        + text("c0ffee")
        + text("corr-1")
        + b"\x02"
        + text(COMMAND.traceparent)
        + text("p-1")
        + b"\x02\x20"  # 16 bytes
        + bytes(range(16))
        + text(TURN_ID)
    )
    assert body == golden_bytes(ExpireTurn, 1)
    assert RecordCodec(ExpireTurn).decode(body) == ExpireTurn(COMMAND, TURN_ID)
