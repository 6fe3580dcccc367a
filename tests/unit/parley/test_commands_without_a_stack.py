"""What commands answer where no stack runs, or where what they were given is of no use."""

from __future__ import annotations

from pathlib import Path

import pytest
from running_stack import Answered
from typer.testing import CliRunner

from parley.cli import app
from parley.exits import Exit


def parley(*arguments: str, text: str = "", **env: str) -> Answered:
    """Runs the command line in this process, which is a second faster than one of its own."""
    ended = CliRunner().invoke(app, arguments, input=text, env=env, prog_name="parley")
    return Answered(ended.exit_code, ended.stdout, ended.stderr)


@pytest.mark.parametrize("command", [["say", ""], ["say", " \n"], ["sql", ""], ["sql", "-"]])
def test_saying_nothing_is_wrong_usage(tmp_path: Path, command: list[str]) -> None:
    answered = parley(*command, "--data", str(tmp_path))
    assert (answered.code, answered.out) == (Exit.USAGE, "")
    assert "says nothing" in answered.err


@pytest.mark.parametrize(
    "command",
    [
        ["topics", "apply"],
        ["topics", "check"],
        ["worker"],
        ["gateway"],
        ["analytics", "--embedded"],
    ],
    ids=" ".join,
)
def test_without_a_stack_or_an_address_nobody_on_the_usual_port_is_asked(
    tmp_path: Path, command: list[str]
) -> None:
    answered = parley(*command, "--data", str(tmp_path))
    assert (answered.code, answered.out) == (Exit.UNREACHABLE, "")
    [sentence] = answered.err.splitlines()
    assert f"no stack runs on {tmp_path}" in sentence
    assert "set PARLEY_KAFKA__BOOTSTRAP_SERVERS" in sentence
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("variable", ["KAFKA_BOOTSTRAP_SERVERS", "PARLEY_KAFKA__BOOTSTRAP_SERVERS"])
def test_the_usual_port_is_asked_where_somebody_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    asked = []
    monkeypatch.setattr("parley.applying.check", lambda settings: asked.append(settings) or ())
    usual = "127.0.0.1:9092"
    answered = parley("topics", "check", "--data", str(tmp_path), **{variable: usual})
    assert answered.code == Exit.OK, answered.err
    assert [settings.kafka.bootstrap_servers for settings in asked] == [usual]


def test_a_token_is_refused_beside_the_folder_of_a_stack(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "dev-secret").write_text("00" * 32)
    beside = parley("token", "--data", str(tmp_path))
    assert (beside.code, beside.out) == (Exit.USAGE, "")
    assert f"no stack has run on {tmp_path}" in beside.err
    assert [path.name for path in tmp_path.iterdir()] == ["data"]
    assert parley("token", "--data", str(tmp_path / "data")).code == Exit.OK


def test_a_token_of_a_key_that_somebody_named_needs_no_stack(tmp_path: Path) -> None:
    key = tmp_path / "key"
    answered = parley("token", "--data", str(tmp_path), PARLEY_AUTH__DEV_SECRET_FILE=str(key))
    assert answered.code == Exit.OK, answered.err
    assert key.exists()


def test_a_folder_without_traces_is_wrong_usage(tmp_path: Path) -> None:
    answered = parley("trace", "m-1", "--data", str(tmp_path))
    assert (answered.code, answered.out) == (Exit.USAGE, "")
    assert f"no traces in {tmp_path / 'traces'}: give the stack's folder by --data" in answered.err


def test_spans_that_a_collector_has_are_not_looked_for_in_the_folder(tmp_path: Path) -> None:
    answered = parley("trace", "m-1", "--data", str(tmp_path), PARLEY_TELEMETRY__EXPORTER="otlp")
    assert answered.code == Exit.NEGATIVE
    assert "look for m-1 there" in answered.err


def test_an_import_of_knowledge_names_the_files_that_it_passes_over(tmp_path: Path) -> None:
    (tmp_path / "pin.md").write_text("# PIN\n\nChange it at a machine.")
    for number in range(5):
        (tmp_path / f"{number}.pdf").touch()
    into = ("--tenant", "demo", "--data", str(tmp_path / "none"))
    answered = parley("knowledge", "import", str(tmp_path), *into)
    assert answered.code == Exit.UNREACHABLE
    said = answered.err.splitlines()
    assert said[0] == "5 files of other kinds passed over: 0.pdf, 1.pdf, 2.pdf and 2 more"


def test_a_folder_without_any_knowledge_is_wrong_usage(tmp_path: Path) -> None:
    (tmp_path / "pin.pdf").touch()
    answered = parley("knowledge", "import", str(tmp_path), "--tenant", "demo")
    assert (answered.code, answered.out) == (Exit.USAGE, "")
    assert f"{tmp_path}: holds no documents: .csv, .htm" in answered.err


@pytest.mark.parametrize("given", [".", "other"], ids=("the folder above", "one beside it"))
def test_a_stack_nearby_is_named(tmp_path: Path, given: str) -> None:
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "stack.json").write_text("{}")
    answered = parley("say", "hello", "--data", str(tmp_path / given))
    assert answered.code == Exit.UNREACHABLE
    assert f"one runs on {tmp_path / 'demo'}, so give --data" in answered.err


def test_a_data_folder_that_is_a_file_is_said_to_be_none(tmp_path: Path) -> None:
    file = tmp_path / "README.md"
    file.touch()
    answered = parley("status", "--data", str(file))
    assert answered.code == Exit.USAGE
    assert "is no folder" in answered.err
