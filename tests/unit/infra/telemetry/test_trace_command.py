"""`parley trace`: the tree of one message, with milliseconds."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner

from infra.settings.behaviour import TelemetrySettings
from infra.telemetry import open_tracing
from infra.telemetry.names import MESSAGE, MODEL
from infra.telemetry.trace_files import find_traces
from parley.commands.trace import render_trace, trace

MS = 1_000_000
START = 1_790_000_000_000 * MS


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder with one message that went through two processes."""
    monkeypatch.delenv("PARLEY_SETTINGS", raising=False)
    folder = tmp_path / "traces"
    gateway = open_tracing(TelemetrySettings(exporter="file", trace_dir=folder), "gateway")
    worker = open_tracing(TelemetrySettings(exporter="file", trace_dir=folder), "worker")
    sent = gateway.record("send", None, START, START + 12 * MS, {MESSAGE: "m-1"})
    folded = worker.record("conversation", sent, START + 4 * MS, START + 9 * MS)
    worker.record(
        "answering",
        folded,
        START + 10 * MS,
        START + 90 * MS,
        {MODEL: "grounded"},
        failure="timeout",
    )
    gateway.close()
    worker.close()
    return tmp_path


def printed(data: Path) -> list[str]:
    console = Console(width=120, record=True, file=io.StringIO())
    (spans,) = find_traces(data / "traces", "m-1")
    console.print(render_trace(spans))
    return console.export_text().splitlines()


def test_the_tree_shows_start_and_duration_of_each_hop_under_its_cause(data: Path) -> None:
    title, send, conversation, answering = printed(data)
    assert "90.0 ms, 3 spans" in title
    assert send.startswith("└── ██")
    assert "+0.0" in send
    assert "12.0 ms  send  gateway" in send
    assert conversation.startswith("    └── ")
    assert "+4.0" in conversation
    assert "5.0 ms  conversation  worker" in conversation
    assert answering.startswith("        └── ")
    assert "80.0 ms  answering  worker  model=grounded  failed: timeout" in answering


def run(*arguments: str) -> tuple[int, str]:
    app = typer.Typer()
    app.command()(trace)
    result = CliRunner().invoke(app, list(arguments))
    return result.exit_code, result.output


def test_the_command_prints_the_tree_or_json(data: Path) -> None:
    code, output = run("m-1", "--data", str(data))
    assert code == 0
    assert "answering" in output
    code, output = run("m-1", "--data", str(data), "--json")
    assert code == 0
    assert [json.loads(line)["name"] for line in output.splitlines()] == [
        "send",
        "conversation",
        "answering",
    ]


def test_an_unknown_message_ends_with_a_sentence_and_1(data: Path) -> None:
    code, output = run("nothing", "--data", str(data))
    assert code == 1
    assert "no span of nothing" in output


def test_the_many_pieces_of_an_answer_share_one_line(tmp_path: Path) -> None:
    worker = open_tracing(TelemetrySettings(exporter="file", trace_dir=tmp_path), "worker")
    turn = worker.record("answering turn", None, START, START + 90 * MS, {MESSAGE: "m-2"})
    for n in range(40):
        begin = START + n * MS
        worker.record("redis AnswerPiece", turn, begin, begin + MS)
    worker.close()
    [spans] = find_traces(tmp_path, "m-2")
    printed = io.StringIO()
    Console(file=printed, width=140).print(render_trace(spans))
    lines = [line for line in printed.getvalue().splitlines() if "AnswerPiece" in line]
    assert len(lines) == 1
    assert "redis AnswerPiece × 40" in lines[0]
    assert "40.0 ms" in lines[0]
