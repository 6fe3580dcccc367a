"""What the command line does without any stack: help, refusals, exit codes."""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from running_stack import run_parley

from parley.catalogue import COMMANDS, Entry
from parley.cli import load
from parley.exits import Ended, Exit, verdict

GROUPS = ("knowledge", "topics", "models", "dead-letters")
"""Commands of commands."""


@pytest.mark.parametrize("entry", COMMANDS, ids=lambda entry: entry.name)
def test_every_command_loads_and_explains_itself(entry: Entry) -> None:
    command = load(entry)
    assert command.name == entry.name or entry.name in GROUPS
    assert inspect.cleandoc(command.help or "")
    shown = [each for each in command.params if not getattr(each, "hidden", False)]
    assert all(getattr(each, "help", "") for each in shown)


def test_every_stack_command_takes_a_data_folder() -> None:
    for entry in COMMANDS:
        found = load(entry)
        for command in found.commands.values() if entry.name in GROUPS else [found]:
            options = {each for option in command.params for each in option.opts}
            assert "--data" in options, (entry.name, command.name)


def test_help_imports_none_of_the_heavy_parts() -> None:
    code = (
        "import sys; sys.argv = ['parley', '--help']\n"
        "from parley.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'pydantic', 'confluent_kafka', 'aiohttp', 'numpy', 'faust', 'onnxruntime'}\n"
        "print('LOADED', sorted(heavy & set(sys.modules)))"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "LOADED []" in ended.stdout


def test_an_unknown_command_is_wrong_usage_and_suggests_one() -> None:
    answered = run_parley("statsu")
    assert answered.code == Exit.USAGE
    assert "status" in answered.err


def test_no_stack_is_unreachable_with_the_command_that_starts_one(tmp_path: Path) -> None:
    for arguments in (["status"], ["say", "Hello"]):
        folder = str(tmp_path / "none")
        answered = run_parley(*arguments, "--data", folder, PARLEY_GATEWAY__PORT="9")
        assert answered.code == Exit.UNREACHABLE, answered.err
        assert "parley up --data" in answered.err
        assert "Traceback" not in answered.err


def test_a_stopped_stack_is_never_taken_for_another_on_the_usual_port(tmp_path: Path) -> None:
    (tmp_path / "format.json").write_text('{"format": 1}')
    answered = run_parley("say", "Hello", "--data", str(tmp_path))
    assert answered.code == Exit.UNREACHABLE
    assert f"no stack runs on {tmp_path}" in answered.err


def test_stopping_what_does_not_run_is_a_negative_finding(tmp_path: Path) -> None:
    assert run_parley("down", "--data", str(tmp_path)).code == Exit.NEGATIVE


def test_a_wrong_setting_is_named_with_its_origin(tmp_path: Path) -> None:
    answered = run_parley("status", "--data", str(tmp_path), PARLEY_GATEWAY__PORT="many")
    assert answered.code == Exit.USAGE
    assert "gateway.port" in answered.err
    assert "environment" in answered.err


def test_secrets_stay_out_of_the_listing_of_settings(tmp_path: Path) -> None:
    secret = "sk-very-secret-key"
    for flags in ([], ["--json"]):
        answered = run_parley(
            "status",
            "--settings",
            *flags,
            "--data",
            str(tmp_path),
            PARLEY_ANSWERING__API_KEY=secret,
        )
        assert answered.code == 0
        assert secret not in answered.out + answered.err
        assert "***" in answered.out


def test_a_folder_with_other_things_is_refused(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("mine")
    answered = run_parley("up", "--data", str(tmp_path))
    assert answered.code == Exit.REFUSED
    assert "holds something else" in answered.err
    assert list(tmp_path.iterdir()) == [tmp_path / "letter.txt"]


def test_a_folder_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    (tmp_path / "format.json").write_text('{"format": 99}')
    answered = run_parley("up", "--data", str(tmp_path))
    assert answered.code == Exit.REFUSED
    assert "newer version" in answered.err


def test_kafka_that_is_away_is_one_sentence_within_ten_seconds(tmp_path: Path) -> None:
    began = time.monotonic()
    answered = run_parley(
        "topics", "check", "--data", str(tmp_path), KAFKA_BOOTSTRAP_SERVERS="127.0.0.1:9"
    )
    assert answered.code == Exit.UNREACHABLE
    assert answered.err.count("\n") == 1
    assert "127.0.0.1:9 does not answer" in answered.err
    assert time.monotonic() - began < 15, "8 s of waiting, and the start of a process"


def test_the_debug_flag_shows_the_trace_and_keeps_the_code(tmp_path: Path) -> None:
    answered = run_parley("--debug", "say", "Hello", "--data", str(tmp_path))
    assert answered.code == Exit.UNREACHABLE
    assert "Traceback" in answered.err


def test_an_unknown_stage_is_wrong_usage(tmp_path: Path) -> None:
    answered = run_parley("worker", "--stages", "dreaming", "--data", str(tmp_path))
    assert answered.code == Exit.USAGE
    assert "dreaming" in answered.err


def test_a_missing_file_is_wrong_usage(tmp_path: Path) -> None:
    missing = str(tmp_path / "none.csv")
    for arguments in (
        ["import", missing, "--format", "banking77"],
        ["knowledge", "import", missing, "--tenant", "demo"],
    ):
        answered = run_parley(*arguments, "--data", str(tmp_path))
        assert answered.code == Exit.USAGE, answered.err
        assert missing in answered.err


def test_unexpected_errors_ask_for_a_report() -> None:
    ended = verdict(KeyError("x"))
    assert ended.code is Exit.INTERNAL
    assert "--debug" in str(ended)


def test_a_verdict_on_a_verdict_is_the_same() -> None:
    ended = Ended(Exit.REFUSED, "no")
    assert verdict(ended) is ended


def test_analyse_records_placeholders_and_never_values() -> None:
    answered = run_parley("analyse", text="Mail ada.holt@example.com\n\nMy card is lost\n")
    assert answered.code == 0, answered.err
    first, second = (json.loads(line) for line in answered.out.splitlines())
    assert first["redacted"] == "Mail <EMAIL_1>"
    assert [found["kind"] for found in first["findings"]] == ["EMAIL"]
    assert second["findings"] == []
    assert all(len(each["digest"]) == 64 for each in first["inferences"])
    assert "ada.holt" not in answered.out


def test_output_that_nobody_reads_ends_quietly() -> None:
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as closed:
        ended = subprocess.run(
            [sys.executable, "-m", "parley", "status", "--settings"],
            stdout=closed,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("command", [("say", "hi"), ("chat",)], ids=["say", "chat"])
@pytest.mark.parametrize("name", ["a b", "ä", "a/b", "x" * 65, ""])
def test_an_id_that_no_conversation_can_have_is_wrong_usage(
    command: tuple[str, ...], name: str, tmp_path: Path
) -> None:
    answered = run_parley(*command, "--conversation", name, "--data", str(tmp_path))
    assert answered.code == Exit.USAGE
    assert "1 to 64" in answered.err


def test_analyse_says_how_to_give_it_a_text_instead_of_a_file() -> None:
    answered = run_parley("analyse", "I was charged twice")
    assert answered.code == Exit.USAGE
    assert "echo TEXT" in answered.err


def test_say_reads_what_to_say_from_the_input_where_it_is_a_dash(tmp_path: Path) -> None:
    answered = run_parley("say", "-", "--data", str(tmp_path), text="  \n")
    assert answered.code == Exit.USAGE
    assert "says nothing" in answered.err
