"""Which messages are read from the files of each format, and how wrong files are refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from parley.client import Exchange
from parley.importing.dialogues import Dialogue, ImportFileError
from parley.importing.figures import Figures, percentile
from parley.importing.formats import read_dialogues
from parley.importing.player import PEOPLE, PEOPLE_MAX, people_for


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
