"""Which messages are read from the files of each format, and how wrong files are refused."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from pathlib import Path
from typing import cast

import pytest
from typer.testing import CliRunner

from parley.cli import app
from parley.client import Client, Exchange
from parley.exits import Exit
from parley.importing.dialogues import Dialogue, ImportFileError
from parley.importing.figures import Figures, percentile
from parley.importing.formats import read_dialogues
from parley.importing.player import PEOPLE, PEOPLE_MAX, Player, people_for


def test_each_row_of_banking77_is_a_conversation(tmp_path: Path) -> None:
    file = tmp_path / "train.csv"
    file.write_text('text,category\nWhere is my card?,card_arrival\n"Two\nlines, quoted",other\n')
    assert read_dialogues(file, "banking77") == [
        Dialogue("row-1", ("Where is my card?",)),
        Dialogue("row-2", ("Two\nlines, quoted",)),
    ]


def test_only_the_users_turns_of_sgd_are_played(tmp_path: Path) -> None:
    turns = [
        {"speaker": "USER", "utterance": "A table, please"},
        {"speaker": "SYSTEM", "utterance": "Where?"},
        {"speaker": "USER", "utterance": "In Oakland"},
    ]
    (tmp_path / "dialogues_001.json").write_text(
        json.dumps([{"dialogue_id": "1_0", "turns": turns}])
    )
    (tmp_path / "schema.json").write_text("[]")
    assert read_dialogues(tmp_path, "sgd") == [Dialogue("1_0", ("A table, please", "In Oakland"))]


def test_only_the_users_utterances_of_taskmaster_are_played(tmp_path: Path) -> None:
    file = tmp_path / "one.json"
    utterances = [{"speaker": "user", "text": "A latte"}, {"speaker": "assistant", "text": "Sure"}]
    file.write_text(json.dumps([{"conversation_id": "dlg", "utterances": utterances}]))
    assert read_dialogues(file, "taskmaster") == [Dialogue("dlg", ("A latte",))]


def test_json_lines_come_in_three_shapes(tmp_path: Path) -> None:
    file = tmp_path / "own.jsonl"
    spoken = [{"role": "user", "content": "c"}, {"role": "assistant", "content": "no"}]
    lines = [{"text": "a"}, {"id": "x", "messages": ["b", " "]}, {"messages": spoken}]
    file.write_text("\n\n".join(json.dumps(line) for line in lines))
    assert [d.messages for d in read_dialogues(file, "jsonl")] == [("a",), ("b",), ("c",)]


def test_the_limit_counts_conversations(tmp_path: Path) -> None:
    file = tmp_path / "own.jsonl"
    file.write_text('{"text": "a"}\n' * 5)
    assert len(read_dialogues(file, "jsonl", limit=2)) == 2


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("banking77", "question,label\na,b\n"),
        ("sgd", "{}"),
        ("sgd", '[{"utterances": []}]'),
        ("taskmaster", "[1]"),
        ("jsonl", "not json"),
        ("jsonl", '{"question": "a"}'),
        ("jsonl", '{"messages": [3]}'),
        ("jsonl", "\n"),
    ],
)
def test_a_file_of_another_shape_is_refused_with_its_name(
    tmp_path: Path, name: str, content: str
) -> None:
    file = tmp_path / "wrong"
    file.write_text(content)
    with pytest.raises(ImportFileError, match=str(file)):
        read_dialogues(file, name)


@pytest.mark.parametrize(
    ("name", "needed"),
    [
        ("banking77", ["text"]),
        ("sgd", ["turns", "speaker", "utterance"]),
        ("taskmaster", ["utterances", "speaker", "text"]),
        ("jsonl", ["text", "messages"]),
    ],
)
def test_the_help_says_in_a_line_what_each_format_needs(name: str, needed: list[str]) -> None:
    helped = CliRunner().invoke(app, ["import", "--help"], prog_name="parley").stdout
    [line] = [line for line in helped.splitlines() if line.strip().startswith(name)]
    assert all(f'"{each}"' in line for each in needed)


def test_a_binary_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "wrong"
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ImportFileError, match="UTF-8"):
        read_dialogues(file, "jsonl")


def test_percentiles_are_values_that_occurred() -> None:
    ordered = [float(value) for value in range(1, 101)]
    assert [percentile(ordered, p) for p in (50, 99, 100)] == [50.0, 99.0, 100.0]
    assert percentile([7.0], 50) == 7.0


def test_a_message_without_a_completed_answer_is_reported() -> None:
    figures = Figures(began_at=0.0, ended_at=2.0)
    done = Exchange("m1", sent_at=0.0, ok_at=0.01, finished_at=0.5, outcome="completed")
    failed = Exchange("m2", sent_at=0.0, outcome="failed", message="the turn took too long")
    figures.add("c1", done)
    figures.add("c2", failed)
    report = figures.as_json()
    assert report["completed"] == 1
    assert report["messages_per_s"] == 1.0
    assert report["unanswered"] == [
        {"conversation": "c2", "message": "m2", "why": "the turn took too long"}
    ]
    assert report["latency_ms"]["send → completed"]["p50"] == 500.0


def test_a_rate_takes_as_many_customers_as_keep_it_up() -> None:
    assert people_for(None, 1000) == PEOPLE
    assert people_for(50, 1000) == 100
    assert people_for(5000, 1000) == PEOPLE_MAX
    assert people_for(50, 3) == 3


class Answering:
    """A client whose gateway answers a few messages and then none."""

    reconnects = 3

    def __init__(self, answers: int) -> None:
        self.id = "c"
        self._answers = answers
        self.stuck = asyncio.Event()

    async def __aenter__(self) -> Answering:
        return self

    async def __aexit__(self, *_: object) -> None: ...

    async def conversation(self, conversation_id: str) -> Answering:
        return self

    async def leave(self, conversation: Answering) -> None: ...

    async def send(self, text: str, mid: str) -> Exchange:
        if not self._answers:
            self.stuck.set()
            await asyncio.Event().wait()
        self._answers -= 1
        exchange = Exchange(mid, outcome="completed")
        exchange.finished.set()
        return exchange


async def test_what_was_done_until_somebody_stopped_it_is_measured() -> None:
    client = Answering(answers=2)
    player = Player(lambda sub: cast("Client", client))
    playing = asyncio.create_task(player.play([Dialogue("d", ("a", "b", "c"))]))
    await asyncio.wait_for(client.stuck.wait(), 5)
    playing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await playing
    report = player.figures.as_json()
    assert (report["completed"], report["unanswered"], report["reconnects"]) == (2, [], 3)
    assert player.figures.ended_at > player.figures.began_at


@pytest.mark.parametrize("flag", [[], ["--json"]])
def test_control_c_prints_the_figures_of_what_was_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flag: list[str]
) -> None:
    async def play(player: Player, dialogues: list[Dialogue]) -> Figures:
        player.figures.add("c", Exchange("m", outcome="completed"))
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.sleep(60)
        return player.figures

    monkeypatch.setattr(Player, "play", play)
    # Whoever runs the tests in the background may have Ctrl-C ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    monkeypatch.setattr("parley.commands.imports.gateway_url", lambda settings: "http://nowhere")
    # It is for a process of its own; here it would run into what earlier tests left behind.
    monkeypatch.setattr("parley.commands.imports.collect_rarely", lambda: None)
    file = tmp_path / "own.jsonl"
    file.write_text('{"text": "a"}\n' * 5)
    asked = ["import", str(file), "--format", "jsonl", "--data", str(tmp_path), *flag]
    try:
        ended = CliRunner().invoke(app, asked)
    finally:
        signal.signal(signal.SIGINT, before)
    assert ended.exit_code == Exit.INTERRUPTED, ended.stderr
    assert "1 of 5 messages" in ended.stderr
    assert ('"completed": 1' if flag else "1 of 1 messages answered") in ended.stdout
