"""A stack beside the tests' own, run as `plain_stack.py FOLDER`, for settings that spoil a log.

It has no analytics, and no registry: the folder must hold the schema ids of another stack.
"""

from __future__ import annotations

import sys
from pathlib import Path

from infra.local import Stack, fetch
from parley.local_parts import embedded_parts


def main(folder: Path) -> None:
    kafka, _registry, redis, talk, think, _analytics, gateway = embedded_parts(fetch(), folder)
    Stack(folder, [kafka, redis, talk, think, gateway]).run()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
