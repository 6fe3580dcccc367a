"""An incompatible change of a schema is found where it is made, without a registry."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from record_examples import EXAMPLES, PLACES, RECORDS
from schema_changes import COMPATIBLE, INCOMPATIBLE, field, record

from schemas.__main__ import check
from schemas.avro_types import record_schema
from schemas.compatibility import incompatibilities, unreadable
from schemas.events import TurnCompleted, TurnStarted
from schemas.releases import breaks, present_schemas, release, releases, unreleased
from schemas.topics import full_name
from schemas.wire import schema_name

PRESENT = present_schemas()
RELEASED = releases()


@pytest.mark.parametrize("change", COMPATIBLE)
def test_a_harmless_change_is_allowed_in_both_directions(change: str) -> None:
    one, other = COMPATIBLE[change]
    assert incompatibilities(one, other) == incompatibilities(other, one) == []


@pytest.mark.parametrize("change", INCOMPATIBLE)
def test_a_breaking_change_is_refused_in_both_directions(change: str) -> None:
    one, other = INCOMPATIBLE[change]
    assert incompatibilities(one, other)
    assert incompatibilities(other, one)


def test_a_direction_that_works_is_told_from_one_that_does_not() -> None:
    narrow, wide = record(field("a", "int")), record(field("a", "long"))
    assert unreadable(reader=wide, writer=narrow) == []
    assert unreadable(reader=narrow, writer=wide) == ["a is long and would be read as int"]


def test_a_sentence_names_the_field_by_its_path() -> None:
    changed = copy.deepcopy(record_schema(TurnCompleted))
    (citations,) = (f for f in changed["fields"] if f["name"] == "citations")
    del citations["type"]["items"]["fields"][0]
    (why,) = incompatibilities(record_schema(TurnCompleted), changed)
    assert "citations[].marker is missing and has no default" in why


def test_a_record_that_holds_itself_can_be_compared() -> None:
    chain = record(field("next", ["null", "parley.Thing"]))
    assert incompatibilities(chain, copy.deepcopy(chain)) == []


@pytest.mark.parametrize("kind", RECORDS, ids=full_name)
def test_every_schema_is_compatible_with_itself(kind: type) -> None:
    assert incompatibilities(record_schema(kind), record_schema(kind)) == []


@settings(deadline=None)
@given(st.sampled_from(RECORDS), st.data())
def test_no_field_of_any_record_can_be_dropped_or_retyped_unseen(
    kind: type, data: st.DataObject
) -> None:
    present = record_schema(kind)
    changed = copy.deepcopy(present)
    fields = [f for f in changed["fields"] if "default" not in f]
    chosen = data.draw(st.sampled_from(fields))
    if data.draw(st.booleans()):
        changed["fields"].remove(chosen)
    else:
        chosen["type"] = {"type": "map", "values": "boolean"}
    assert incompatibilities(present, changed)


def test_todays_schemas_break_with_no_released_version() -> None:
    assert check() == []


def test_every_schema_of_today_is_released() -> None:
    assert unreleased(PRESENT, RELEASED) == {}, 'run "python -m schemas release"'


def test_released_versions_are_numbered_without_gaps_and_name_their_record() -> None:
    assert set(RELEASED) == {(topic.name, kind.__name__) for topic, kind in PLACES}
    for (_, name), versions in RELEASED.items():
        assert [v.version for v in versions] == list(range(1, len(versions) + 1))
        assert {schema_name(v.schema) for v in versions} == {f"parley.{name}"}


def test_a_breaking_change_of_a_released_record_is_found() -> None:
    place = ("parley.events.v1", "TurnStarted")
    changed = copy.deepcopy(record_schema(TurnStarted))
    next(f for f in changed["fields"] if f["name"] == "mid")["type"] = "long"
    sentences = breaks({**PRESENT, place: changed}, RELEASED)
    assert len(sentences) == 2
    assert all("parley.events.v1/TurnStarted" in s and "version 1" in s for s in sentences)


def test_a_released_record_can_not_leave_its_topic() -> None:
    place = ("parley.events.v1", "TurnStarted")
    without = {p: schema for p, schema in PRESENT.items() if p != place}
    (sentence,) = breaks(without, RELEASED)
    assert "parley.events.v1/TurnStarted was released and is gone" in sentence


def test_a_release_adds_what_changed_and_nothing_else(tmp_path: Path) -> None:
    written, broken = release(tmp_path)
    assert len(written) == len(EXAMPLES)
    assert not broken
    assert release(tmp_path) == ([], [])
    changed = tmp_path / "parley.events.v1" / "TurnRestarted.1.avsc"
    older = json.loads(changed.read_text())
    older["fields"].append(field("gone_since", default=""))
    changed.write_text(json.dumps(older))
    assert release(tmp_path) == (["parley.events.v1/TurnRestarted.2.avsc"], [])


def test_a_breaking_change_prevents_every_release(tmp_path: Path) -> None:
    release(tmp_path)
    changed = tmp_path / "parley.events.v1" / "TurnRestarted.1.avsc"
    older = json.loads(changed.read_text())
    older["fields"].append(field("gone_since"))
    changed.write_text(json.dumps(older))
    written, broken = release(tmp_path)
    assert written == []
    assert len(broken) == 1
