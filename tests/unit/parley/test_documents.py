"""The front documents name only what exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from parley.catalogue import COMMANDS
from parley.cli import load
from parley.exits import Exit

ROOT = Path(__file__).parents[3]
README = (ROOT / "README.md").read_text()
DOCUMENTS = sorted(
    path
    for path in ROOT.rglob("README.md")
    if not any(part.startswith(".") for part in path.relative_to(ROOT).parts)
)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_between_documents_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", document.read_text()):
        assert (document.parent / target).exists(), target


def test_the_readme_calls_only_commands_and_options_that_exist() -> None:
    commands = {entry.name: load(entry) for entry in COMMANDS}
    for line in re.findall(r"^(?:\$ )?parley (\S[^#\n]*)", README, re.M):
        name, *rest = line.split()
        if name.startswith("-"):
            continue
        command = commands[name]
        if hasattr(command, "commands"):
            command = command.commands[rest[0]]
        options = {each for parameter in command.params for each in parameter.opts}
        used = {word for word in rest if word.startswith("--")}
        assert used <= options, line


def test_the_readme_names_make_targets_that_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.M))
    assert set(re.findall(r"`make ([a-z]+)`", README)) <= targets


def test_the_readme_lists_every_exit_code() -> None:
    listed = {int(code) for code in re.findall(r"^\| (\d+) \|", README, re.M)}
    assert listed == {code.value for code in Exit}


def test_the_readme_names_files_that_exist() -> None:
    for name in re.findall(
        r"`((?:schemas|processors|gateway|tests|infra|parley)/[\w/.]+\.py)`", README
    ):
        assert (ROOT / name).exists(), name


def test_the_readme_imports_what_a_clone_has_or_what_it_has_just_written() -> None:
    written = set(re.findall(r"^printf .* > (\S+)", README, re.M))
    imported = re.findall(r"^parley (?:knowledge )?import (\S+)", README, re.M)
    assert len(imported) == 2
    for name in imported:
        assert name in written or (ROOT / name).exists(), name
