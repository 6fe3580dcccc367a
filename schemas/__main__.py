"""`python -m schemas` writes the Avro files under `schemas/avro/` from the record definitions."""

from __future__ import annotations

import json
from pathlib import Path

from schemas.avro_types import record_schema
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


def main() -> None:
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


if __name__ == "__main__":
    main()
