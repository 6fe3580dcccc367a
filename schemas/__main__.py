"""`python -m schemas` writes the Avro files under `schemas/avro/` from the record definitions.

`python -m schemas check` says where today's schemas break with released ones, or where the files
are not up to date; `python -m schemas release` adds what changed to the released ones.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from schemas.avro_types import record_schema
from schemas.releases import breaks, present_schemas, release, releases
from schemas.topics import TOPICS

AVRO_FOLDER = Path(__file__).parent / "avro"


def avro_files() -> dict[Path, str]:
    """Every Avro file by its path below `schemas/avro/`, with the text it should have."""
    return {
        Path(topic.name, f"{record.__name__}.avsc"): json.dumps(record_schema(record), indent=2)
        + "\n"
        for topic in TOPICS
        for record in topic.records
    }


def stale_files() -> list[str]:
    """Sentences about Avro files that are not what the records say."""
    wanted = avro_files()
    present = {p.relative_to(AVRO_FOLDER): p.read_text() for p in AVRO_FOLDER.glob("*/*.avsc")}
    return [
        f'schemas/avro/{path} is not what its record says: run "python -m schemas"'
        for path in sorted(wanted.keys() | present.keys())
        if wanted.get(path) != present.get(path)
    ]


def write() -> list[str]:
    """Writes the files and removes those that no record stands behind."""
    wanted = avro_files()
    for path in AVRO_FOLDER.glob("*/*.avsc"):
        if path.relative_to(AVRO_FOLDER) not in wanted:
            path.unlink()
    for name, text in wanted.items():
        path = AVRO_FOLDER / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    print(f"{len(wanted)} schemas written to {AVRO_FOLDER.name}/")
    return []


def check() -> list[str]:
    """What is wrong with the files, and what released schemas rule out."""
    return stale_files() + breaks(present_schemas(), releases())


def add_release() -> list[str]:
    """Adds a version of every schema that changed; what is wrong if that can't be."""
    stale = stale_files()
    if stale:
        return stale
    written, broken = release()
    print("\n".join(written) if written else "no schema changed since its last release")
    return broken


def main() -> int:
    """Exit code 1 if something is wrong, with a sentence for each."""
    parser = argparse.ArgumentParser(prog="python -m schemas", description=__doc__)
    parser.add_argument("step", nargs="?", default="write", choices=("write", "check", "release"))
    step = {"write": write, "check": check, "release": add_release}[parser.parse_args().step]
    sentences = step()
    print(*sentences, sep="\n", end="\n" if sentences else "", file=sys.stderr)
    return 1 if sentences else 0


if __name__ == "__main__":
    sys.exit(main())
