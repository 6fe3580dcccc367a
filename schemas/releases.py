"""Schemas that were released, by topic, record and version: what today's must stay compatible with.

They stand under `released/` as `<topic>/<record>.<version>.avsc` and are never changed or deleted:
records that were written with them stay in the log for ever.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from schemas.avro_types import AvroSchema, record_schema
from schemas.compatibility import incompatibilities
from schemas.topics import TOPICS

RELEASED_FOLDER = Path(__file__).parent / "released"

Place = tuple[str, str]
"""A topic's and a record's name."""


@dataclass(frozen=True, slots=True)
class Release:
    """One version of a record's schema."""

    version: int
    schema: AvroSchema


def releases(folder: Path = RELEASED_FOLDER) -> dict[Place, list[Release]]:
    """Every released schema, versions ascending."""
    found: dict[Place, list[Release]] = {}
    for path in folder.glob("*/*.avsc"):
        record, version = path.stem.rsplit(".", 1)
        release = Release(int(version), json.loads(path.read_text()))
        found.setdefault((path.parent.name, record), []).append(release)
    return {place: sorted(found[place], key=lambda r: r.version) for place in sorted(found)}


def present_schemas() -> dict[Place, AvroSchema]:
    """Today's schemas."""
    return {(t.name, r.__name__): record_schema(r) for t in TOPICS for r in t.records}


def breaks(present: dict[Place, AvroSchema], released: dict[Place, list[Release]]) -> list[str]:
    """A sentence for everything that a released schema rules out; empty if all is well."""
    sentences = []
    for place, versions in released.items():
        where = "/".join(place)
        schema = present.get(place)
        if schema is None:
            sentences.append(f"{where} was released and is gone: its records are still in the log")
            continue
        for release in versions:
            version = f"{where}: today's schema against version {release.version}"
            sentences += [f"{version}: {why}" for why in incompatibilities(schema, release.schema)]
    return sentences


def unreleased(
    present: dict[Place, AvroSchema], released: dict[Place, list[Release]]
) -> dict[Place, int]:
    """Records whose last release says something else, with the version that today's would be.

    Documentation may differ: it changes nothing for readers.
    """
    return {
        place: len(released.get(place, [])) + 1
        for place, schema in present.items()
        if place not in released
        or _undocumented(released[place][-1].schema) != _undocumented(schema)
    }


def _undocumented(schema: AvroSchema) -> AvroSchema:
    if isinstance(schema, list):
        return [_undocumented(member) for member in schema]
    if isinstance(schema, dict):
        return {key: _undocumented(value) for key, value in schema.items() if key != "doc"}
    return schema


def release(folder: Path = RELEASED_FOLDER) -> tuple[list[str], list[str]]:
    """Adds a version for every schema that changed, unless one breaks with an earlier version.

    Returns the files written, and the breaks that prevented it.
    """
    present, released = present_schemas(), releases(folder)
    broken = breaks(present, released)
    written = []
    if not broken:
        for (topic, record), version in unreleased(present, released).items():
            path = folder / topic / f"{record}.{version}.avsc"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(present[topic, record], indent=2) + "\n")
            written.append(str(path.relative_to(folder)))
    return written, broken
