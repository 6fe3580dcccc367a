"""The command line as a person or a script meets it: output, errors and exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from running_stack import RunningStack, run_parley

from parley.exits import Exit

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]


def test_status_shows_every_part_ready(stack: RunningStack) -> None:
    answered = stack.parley("status", "--json")
    assert answered.code == 0
    parts = {part["name"]: part for part in answered.json["parts"]}
    assert set(parts) == {
        "kafka",
        "registry",
        "redis",
        "worker-talk",
        "worker-think",
        "analytics",
        "gateway",
    }
    assert {part["state"] for part in parts.values()} == {"ready"}
    assert all(part["memory_bytes"] > 0 and part["address"] for part in parts.values())
    stages = {stage["stage"]: stage["parts"] for stage in answered.json["stages"]}
    assert stages == {
        "conversation": ["worker-talk"],
        "redis": ["worker-talk"],
        "analysis": ["worker-think"],
        "answering": ["worker-think"],
        "clickhouse": ["analytics"],
    }


def test_stack_json_names_the_five_addresses(stack: RunningStack) -> None:
    assert set(stack.addresses) == {"kafka", "registry", "redis", "clickhouse", "gateway"}


def test_every_command_but_trace_is_silent_about_colours_in_a_pipe(stack: RunningStack) -> None:
    for arguments in (["status"], ["status", "--settings"], ["topics", "check"], ["--help"]):
        answered = run_parley(*arguments) if arguments == ["--help"] else stack.parley(*arguments)
        assert "\x1b" not in answered.out + answered.err, arguments


def test_topics_are_as_declared(stack: RunningStack) -> None:
    answered = stack.parley("topics", "check", "--json")
    assert (answered.code, answered.json) == (0, {"differences": []})


def test_applying_topics_again_changes_nothing(stack: RunningStack) -> None:
    answered = stack.parley("topics", "apply", "--json")
    assert answered.code == 0
    assert answered.json["created"] == []


def test_say_answers_and_goes_on_with_the_same_conversation(stack: RunningStack) -> None:
    first = stack.parley("say", "How do I change my PIN?", "--json")
    assert first.code == 0, first.err
    name = first.json["conversation"]
    second = stack.parley("say", "And at a cash machine?", "--conversation", name, "--json")
    assert second.code == 0, second.err
    assert second.json["conversation"] == name
    assert {"ok", "received", "first_text", "finished"} <= set(second.json["latency_ms"])


def test_say_refuses_the_conversation_of_somebody_else(stack: RunningStack) -> None:
    first = stack.parley("say", "Hello", "--json", "--sub", "one")
    name = first.json["conversation"]
    other = stack.parley("say", "Hello", "--conversation", name, "--sub", "two")
    assert other.code == 4, other.err
    assert other.err.startswith("error: ")


def test_chat_reads_lines_and_prints_answers(stack: RunningStack) -> None:
    answered = stack.parley("chat", text="How do I change my PIN?\n\nThanks!\n")
    assert answered.code == 0, answered.err
    assert "PIN" in answered.out


def test_import_answers_every_message_and_reports_latencies(
    stack: RunningStack, tmp_path: Path
) -> None:
    lines = [{"text": "Where is my card?"}, {"messages": ["Hello", "Is there a monthly fee?"]}]
    file = tmp_path / "customers.jsonl"
    file.write_text("\n".join(json.dumps(line) for line in lines))
    answered = stack.parley("import", str(file), "--format", "jsonl", "--json")
    assert answered.code == 0, answered.err
    report = answered.json
    assert (report["conversations"], report["messages"], report["completed"]) == (2, 3, 3)
    assert report["unanswered"] == []
    assert set(report["latency_ms"]["send → first token"]) == {"p50", "p90", "p95", "p99", "max"}


def test_a_second_stack_on_the_same_folder_is_refused(stack: RunningStack) -> None:
    answered = stack.parley("up", "--detach")
    assert answered.code == 4
    assert "is in use by process" in answered.err


def test_a_port_that_somebody_asked_for_is_not_exchanged(
    stack: RunningStack, tmp_path: Path
) -> None:
    taken = stack.addresses["gateway"].rpartition(":")[2]
    folder = str(tmp_path / "other")
    answered = run_parley("up", "--detach", "--data", folder, PARLEY_GATEWAY__PORT=taken)
    assert answered.code == Exit.REFUSED
    assert f"port {taken}, asked for gateway, is in use by process" in answered.err


def test_a_query_that_is_wrong_gets_a_sentence(stack: RunningStack) -> None:
    answered = stack.parley("sql", "SELECT nonsense FROM nowhere")
    assert answered.code in (2, 4)
    assert "Traceback" not in answered.err
