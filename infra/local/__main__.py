"""Starts Kafka, the registry and Redis in the foreground: `python -m infra.local --data DIR`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from infra.local import Stack, StackError, StackStatus, fetch, three_parts


def main() -> int:
    """Runs until it is told to stop; 0 after a clean stop, 1 if a part did not start."""
    parser = argparse.ArgumentParser(prog="python -m infra.local", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="the data folder")
    chosen = parser.parse_args()
    stack = Stack(chosen.data, three_parts(fetch()))
    try:
        stack.run(on_change=_Printer())
    except StackError as error:
        tail = getattr(error, "log_tail", "")
        print(error, tail, sep="\n" if tail else "", file=sys.stderr)
        return 1
    return 0


class _Printer:
    """Prints a line when a part changes its state."""

    def __init__(self) -> None:
        self._states: dict[str, str] = {}

    def __call__(self, status: StackStatus) -> None:
        for part in status.parts:
            if self._states.get(part.name) != part.state:
                self._states[part.name] = part.state
                print(f"{part.name:<10} {part.state:<10} {part.address}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
