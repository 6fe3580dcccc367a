"""`parley trace MESSAGE`: the spans of one message across all processes, as a tree.

Reads the folder of the file exporter; with OTLP the collector's own pages show the same.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from itertools import groupby
from typing import Annotated

import typer
from rich.text import Text
from rich.tree import Tree

from infra.settings import Settings, load_settings
from infra.telemetry.names import ATTEMPT, DEGRADED, MODEL, OUTCOME, PARTITION, TURN
from infra.telemetry.trace_files import SpanLine, children_of, find_traces
from parley.exits import Ended, Exit
from parley.options import Data, Json
from parley.terminal import err, out

_SHOWN = {
    PARTITION: "partition",
    TURN: "turn",
    ATTEMPT: "attempt",
    MODEL: "model",
    OUTCOME: "outcome",
    DEGRADED: "degraded",
}
"""The attributes worth a place in the tree, by the word they are shown with."""
_BAR_WIDTH = 16
ALIKE_MAX = 3
"""More siblings of one name in a row share a line."""


def trace(
    message: Annotated[
        str, typer.Argument(help="A message's mid, or the id of a command, event or trace.")
    ],
    tenant: Annotated[
        str | None, typer.Option("--tenant", metavar="T", help="Only this tenant.")
    ] = None,
    conversation: Annotated[
        str | None,
        typer.Option("--conversation", "-c", metavar="C", help="Only this conversation."),
    ] = None,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Shows where the time of one message went, hop by hop through every process.

    Reads what the stack's processes left in the data folder; with --json a span a line. Exits 1
    if there is no such message.

    Example:

      parley trace 01M7XXD0SRSJFD6B7YN52QC0DA
    """
    settings = load_settings(data)
    folder = settings.telemetry.trace_dir
    exported = settings.telemetry.exporter == "otlp"
    if not exported and (folder is None or not folder.is_dir()):
        raise Ended(
            Exit.USAGE,
            f"there are no traces in {folder}: give the stack's folder by --data; "
            "its processes write there with telemetry.exporter = file",
        )
    traces = (
        find_traces(folder, message, tenant=tenant, conversation=conversation) if folder else []
    )
    if not traces:
        err().print(_nothing(message, settings), style="yellow", markup=False, soft_wrap=True)
        raise typer.Exit(Exit.NEGATIVE)
    for spans in traces:
        if as_json:
            for span in spans:
                typer.echo(json.dumps(asdict(span)))
        else:
            out().print(render_trace(spans))


def render_trace(spans: list[SpanLine]) -> Tree:
    """The spans of one trace as a tree, each with its start after the first and its duration."""
    start_ns = min(span.start_ns for span in spans)
    end_ns = max(span.end_ns for span in spans)
    title = Text.assemble(
        ("trace ", "dim"),
        (spans[0].trace_id, "bold"),
        (f"  {(end_ns - start_ns) / 1e6:.1f} ms, {len(spans)} spans", "dim"),
    )
    tree = Tree(title, guide_style="dim")
    children = children_of(spans)

    def grow(branch: Tree, parent_id: str) -> None:
        for span in _without_crowds(children.get(parent_id, []), children):
            grow(branch.add(_label(span, start_ns, end_ns)), span.span_id)

    grow(tree, "")
    return tree


def _without_crowds(
    siblings: list[SpanLine], children: Mapping[str, list[SpanLine]]
) -> Iterator[SpanLine]:
    """Siblings in order; many of one name that led to nothing become one line for all of them.

    A streamed answer has a span for each of its pieces.
    """
    for _, alike in groupby(siblings, key=lambda span: (span.name, span.service, span.failure)):
        crowd = list(alike)
        if len(crowd) <= ALIKE_MAX or any(children.get(span.span_id) for span in crowd):
            yield from crowd
            continue
        end_ns = max(span.end_ns for span in crowd)
        name = f"{crowd[0].name} × {len(crowd)}"
        yield replace(crowd[0], name=name, end_ns=end_ns, attributes={})


def _label(span: SpanLine, start_ns: int, end_ns: int) -> Text:
    shown = " ".join(
        f"{word}={span.attributes[name]}"
        for name, word in _SHOWN.items()
        if name in span.attributes
    )
    label = Text.assemble(
        (_bar(span, start_ns, end_ns), "cyan"),
        (f" +{(span.start_ns - start_ns) / 1e6:<7.1f}", "dim"),
        (f"{span.duration_ms:7.1f} ms", "bold"),
        ("  " + span.name, "red" if span.failure else ""),
        ("  " + span.service, "magenta"),
        ("  " + shown if shown else "", "dim"),
        no_wrap=True,
        overflow="ellipsis",
    )
    if span.failure:
        label.append(f"  failed: {span.failure}", "red")
    return label


def _bar(span: SpanLine, start_ns: int, end_ns: int) -> str:
    """Where the span lies within the trace, as a bar of fixed width."""
    whole = max(1, end_ns - start_ns)
    begin = (span.start_ns - start_ns) * _BAR_WIDTH // whole
    stop = -(-(span.end_ns - start_ns) * _BAR_WIDTH // whole)
    begin = min(begin, _BAR_WIDTH - 1)
    return ("·" * begin + "█" * max(1, stop - begin)).ljust(_BAR_WIDTH, "·")


def _nothing(message: str, settings: Settings) -> str:
    folder = settings.telemetry.trace_dir
    if settings.telemetry.exporter == "otlp":
        return f"spans go to {settings.telemetry.endpoint}: look for {message} there"
    return (
        f"no span of {message} in {folder}: check the id, and that the stack runs with "
        "telemetry.exporter = file"
    )
