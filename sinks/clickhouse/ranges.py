"""How a range of offsets becomes rows once, whatever crashes: the protocol, without any I/O.

Kafka keeps, beside a group's committed offset, a note. For each partition the sink goes round:

1. *declare*: commit `(first, "first-last,generation")`. Offset `first` is still to be read, so a
   reader that knows nothing of notes loses nothing;
2. *write* exactly the records `first … last` under the token
   `projection:generation:topic:partition:first-last`;
3. *settle*: commit `(last + 1, "")`.

A crash leaves a note that names the range in doubt. The next owner of the partition reads it from
the log again, which never changes, until it has all of it, and writes it under the same token:
ClickHouse drops it if it has it. A range is therefore never cut differently once it was declared,
in a retry as little as after a crash.

    note      next step
    none      records at hand → declare them; none → wait
    a range   all of it at hand → write it, settle; else → wait for the rest

Records that can't be rows are named in the note (`first-last,generation,skip:3+9`) before the rest
is written, so that a repetition leaves out the same.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

_NOTE = re.compile(r"(\d+)-(\d+),(\d+)(?:,skip:(\d+(?:\+\d+)*))?")
SKIPPED_MAX = 100
"""Kafka keeps 4,096 bytes of note. More bad records than this in one range are no bad records."""


class NoteForeign(Exception):
    """The note in Kafka is not one of this projection's."""


@dataclass(frozen=True, slots=True)
class Range:
    """Offsets `first … last` of a partition, both inclusive, without `skipped`."""

    first: int
    last: int
    generation: int
    skipped: tuple[int, ...] = ()

    @property
    def note(self) -> str:
        """The range as the note beside offset `first`."""
        skip = ",skip:" + "+".join(map(str, self.skipped)) if self.skipped else ""
        return f"{self.first}-{self.last},{self.generation}{skip}"

    def token(self, projection: str, topic: str, partition: int) -> str:
        """The de-duplication token of the range; the same for every repetition."""
        return f"{projection}:{self.generation}:{topic}:{partition}:{self.first}-{self.last}"


@dataclass(frozen=True, slots=True)
class Declare:
    """Commit the range's note at its first offset. Then it is pending."""

    range: Range


@dataclass(frozen=True, slots=True)
class Write:
    """Insert the first `count` records at hand under the pending range's token, then settle."""

    range: Range
    count: int


@dataclass(frozen=True, slots=True)
class Wait:
    """More records are needed."""


def pending_range(note: str, generation: int) -> Range | None:
    """The range that a note says is in doubt; None if there is no note.

    Raises `NoteForeign` if it is of another projection or generation.
    """
    if not note:
        return None
    found = _NOTE.fullmatch(note)
    if found is None or int(found.group(3)) != generation:
        raise NoteForeign(
            f"the consumer group's note {note!r} is not of generation {generation}: "
            "give this projection a consumer group of its own"
        )
    skipped = tuple(map(int, found.group(4).split("+"))) if found.group(4) else ()
    return Range(int(found.group(1)), int(found.group(2)), generation, skipped)


def next_step(
    pending: Range | None, offsets: Sequence[int], generation: int, records_max: int
) -> Declare | Write | Wait:
    """What to do with the records at hand, given by their rising offsets."""
    if pending is None:
        if not offsets:
            return Wait()
        return Declare(Range(offsets[0], offsets[:records_max][-1], generation))
    if offsets and offsets[-1] >= pending.last:
        return Write(pending, bisect_right(offsets, pending.last))
    return Wait()
