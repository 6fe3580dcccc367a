"""`parley dead-letters list|show|replay`: what no retry could handle."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from parley.exits import Ended, Exit
from parley.options import Data, Json, command_group
from parley.talk import log_settings
from parley.terminal import err, out, print_json
from schemas.headers import REPLAYED

app = command_group("Records that no retry could handle: look at them, send them round again.")
HEX_BYTES = 256
Numbers = Annotated[list[int], typer.Argument(metavar="NUMBER…", help="As list shows them.")]


@app.command("list")
def list_(
    data: Data = None,
    stage: Annotated[str, typer.Option(metavar="NAME", help="Only those of a stage.")] = "",
    limit: Annotated[int, typer.Option(help="The newest so many.", min=1)] = 50,
    as_json: Json = False,
) -> None:
    """Lists what was put aside, oldest first: where it stood, which stage gave up, and why.

    Example:

      parley dead-letters list --stage conversation
    """
    from parley.dead_letters import read

    letters = read(_wiring(data), lambda parked: stage in ("", parked.letter.stage), limit)
    if letters.foreign:
        numbers = ", ".join(map(str, letters.foreign[:5]))
        err().print(f"no letters of ours: {numbers}", style="yellow")
    if as_json:
        print_json([_as_json(parked) for parked in letters.parked])
        return
    if not letters.count:
        stages = ", ".join(sorted(letters.stages))
        of_others = f" by {stage}; letters are of {stages}" if stage and stages else ""
        out().print(f"nothing was put aside{of_others}")
        return
    out().print(_table(letters.parked))
    if older := letters.count - len(letters.parked):
        err().print(f"{older} older ones: --limit shows them", style="dim")


@app.command()
def show(
    number: Annotated[int, typer.Argument(help="As list shows it.")],
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Opens one record with the platform's key. What people wrote in it stays sealed.

    Bytes that are no record even now are shown in hexadecimal, the first 256 of them.

    Example:

      parley dead-letters show 3
    """
    from infra.keys.errors import SealBroken
    from parley.dead_letters import open_letter

    wiring = _wiring(data)
    parked = _chosen(wiring, [number])[0]
    try:
        opened = open_letter(wiring, parked)
    except SealBroken as error:
        raise Ended(Exit.REFUSED, f"letter {number} can't be opened: {error}") from None
    told = {
        **_as_json(parked),
        "headers": parked.letter.headers,
        "key": opened.key.decode("ascii", "backslashreplace"),
        "bytes": len(opened.value),
        "now": opened.why or type(opened.record).__name__,
        "record": None if opened.record is None else _plain(opened.record),
        "hex": "" if opened.record is not None else opened.value[:HEX_BYTES].hex(" ", 4),
    }
    if as_json:
        print_json(told)
        return
    for name, value in told.items():
        if value not in (None, "", {}):
            out().print(Text.assemble((f"{name:<10}", "bold"), str(value)), soft_wrap=True)


@app.command()
def replay(
    numbers: Numbers,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Sends commands that were put aside round again, after the reason is mended.

    One that was handled meanwhile has no second effect, so doing this twice is harmless (a
    person's command is remembered until its conversation has handled 128 others). One that still
    can't be handled is put aside anew, and list says which letter it was before. Nothing is sent
    if one of them must not be.

    Example:

      parley dead-letters replay 3 4
    """
    from parley import dead_letters

    wiring = _wiring(data)
    chosen = _chosen(wiring, numbers)
    try:
        dead_letters.replay(wiring, chosen)
    except dead_letters.NotReplayable as error:
        raise Ended(Exit.REFUSED, str(error)) from None
    if as_json:
        print_json({"replayed": [parked.number for parked in chosen]})
    else:
        out().print(f"{len(chosen)} went round again: see parley dead-letters list")


def _wiring(data: Any) -> Any:
    from parley.wiring import Wiring

    return Wiring(log_settings(data), "dead-letters")


def _chosen(wiring: Any, numbers: Sequence[int]) -> list[Any]:
    from parley.dead_letters import read

    letters = read(wiring, lambda parked: parked.number in numbers)
    known = {parked.number: parked for parked in letters.parked}
    missing = [number for number in numbers if number not in known]
    if missing:
        raise Ended(Exit.USAGE, f"there is no letter {missing[0]}: parley dead-letters list")
    return [known[number] for number in dict.fromkeys(numbers)]


def _as_json(parked: Any) -> dict[str, Any]:
    letter = parked.letter
    return {
        "number": parked.number,
        "failed_at": _time(letter.failed_at),
        "stage": letter.stage,
        "place": parked.place,
        "type": letter.headers.get("ce_type", ""),
        "tenant": letter.headers.get("tenantid", ""),
        "code": letter.code,
        "reason": letter.reason,
        "replay_of": letter.headers.get(REPLAYED, ""),
    }


def _table(letters: Sequence[Any]) -> Table:
    table = Table(header_style="bold", border_style="dim")
    table.add_column("no.", justify="right")
    for title in ("put aside", "stage", "record", "type", "why"):
        table.add_column(title, overflow="fold")
    for parked in letters:
        row = _as_json(parked)
        cells = ("failed_at", "stage", "place", "type", "reason")
        again = f" (was {row['replay_of']})" if row["replay_of"] else ""
        table.add_row(f"{parked.number}{again}", *(Text(row[cell]) for cell in cells))
    return table


def _time(at_us: int) -> str:
    return datetime.fromtimestamp(at_us / 1e6, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _plain(record: Any) -> Any:
    """A record as plain values; sealed text only by its size."""
    from schemas.envelope import Sealed

    if isinstance(record, Sealed):
        return f"sealed, {len(record.ciphertext)} bytes"
    if dataclasses.is_dataclass(record):
        fields = dataclasses.fields(record)
        return {field.name: _plain(getattr(record, field.name)) for field in fields}
    if isinstance(record, (tuple, list)):
        return [_plain(each) for each in record]
    return record.hex() if isinstance(record, bytes) else record
