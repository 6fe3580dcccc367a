"""Rules of the code's shape that a test can hold: directions, names, sizes, silent imports."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("schemas", "processors", "streams", "sinks", "gateway", "infra", "parley")
FILE_LINES_MAX, FUNCTION_LINES_MAX = 400, 70
EMPTY_NAMES = frozenset(
    ("util", "utils", "helper", "helpers", "manager", "common", "misc", "base", "data", "info")
)


@cache
def tracked() -> tuple[Path, ...]:
    """Every file that the project consists of, also those that are about to be added."""
    listed = subprocess.check_output(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, text=True
    )
    return tuple(path for line in listed.splitlines() if (path := ROOT / line).is_file())


def modules(*folders: str) -> list[Path]:
    """The Python files below some folders."""
    return [p for p in tracked() if p.suffix == ".py" and p.relative_to(ROOT).parts[0] in folders]


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def shown(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_there_is_something_to_look_at() -> None:
    """An empty list would pass every test below."""
    for package in PACKAGES:
        assert len(modules(package)) > 5, package


def test_arrows_point_one_way() -> None:
    ended = subprocess.run(
        [Path(sys.executable).parent / "lint-imports", "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout[-3000:] + ended.stderr[-1000:]
    assert "0 broken" in ended.stdout


def test_no_name_says_nothing() -> None:
    names = {
        part: shown(path)
        for path in modules(*PACKAGES, "benchmarks", "tests")
        for part in path.relative_to(ROOT).with_suffix("").parts
    }
    hollow = {
        where
        for part, where in names.items()
        if part in EMPTY_NAMES or part.rpartition("_")[2] in EMPTY_NAMES - {"data", "base", "info"}
    }
    assert hollow == set()


def test_no_file_is_too_long() -> None:
    lengths = {p: len(p.read_text().splitlines()) for p in modules(*PACKAGES, "benchmarks")}
    assert {shown(p): n for p, n in lengths.items() if n > FILE_LINES_MAX} == {}


def test_no_function_is_too_long() -> None:
    lengths = {
        f"{shown(path)}:{node.lineno} {node.name}": (node.end_lineno or 0) - node.lineno + 1
        for path in modules(*PACKAGES, "benchmarks", "tests")
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert {where: n for where, n in lengths.items() if n > FUNCTION_LINES_MAX} == {}


def test_every_module_says_what_it_is_for() -> None:
    silent = [
        shown(path)
        for path in modules(*PACKAGES, "benchmarks", "tests")
        if path.read_text().strip() and not ast.get_docstring(parsed(path))
    ]
    assert silent == []


def test_nothing_happens_when_modules_are_imported() -> None:
    """No thread, no connection, no file: an import registers and opens nothing."""
    names = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in modules(*PACKAGES)
        if path.stem not in ("__init__", "__main__")
    ]
    script = Path(__file__).parent / "silent_imports.py"
    found = subprocess.run(
        [sys.executable, script, str(ROOT), *names],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stderr[-2000:]
    assert found.stdout.strip().splitlines()[-1] == "[]"


MACHINE_PATHS = re.compile(r"(?<![\w.])/(?:work|root|home/\w+|Users/\w+|mnt/\w+|builds)/[\w.]")
REGISTRIES = re.compile(
    r"\b[\w.-]*(?:pypi|pythonhosted|artifactory|nexus|devpi|npmjs|maven|mirror|proxy)[\w-]*"
    r"(?:\.[\w-]+)*\.(?:org|com|io|net|dev|internal|local|lan|corp|cloud)\b",
    re.IGNORECASE,
)


@pytest.mark.parametrize(
    ("pattern", "what"),
    [(MACHINE_PATHS, "a path of one machine"), (REGISTRIES, "the host of a package registry")],
    ids=["paths", "registries"],
)
def test_no_file_names_a_place_that_others_do_not_have(pattern: re.Pattern[str], what: str) -> None:
    found = []
    for path in tracked():
        try:
            text = path.read_text()
        except UnicodeDecodeError:
            continue
        found += [f"{shown(path)}: {m.group()}" for m in pattern.finditer(text)]
    assert found == [], what


@pytest.mark.parametrize(
    ("pattern", "text", "is_found"),
    [
        (MACHINE_PATHS, "see /" + "home/someone/x", True),
        (MACHINE_PATHS, "open('/" + "root/a')", True),
        (MACHINE_PATHS, "schemas/work/x, and/or/root", False),
        (REGISTRIES, "index-url = https://pypi" + ".example.internal/simple", True),
        (REGISTRIES, "repo.maven" + ".apache.org", True),
        (REGISTRIES, "the schema registry at registry.example", False),
    ],
)
def test_the_patterns_find_what_they_should(
    pattern: re.Pattern[str], text: str, is_found: bool
) -> None:
    assert bool(pattern.search(text)) == is_found


@pytest.mark.parametrize("folder", ["schemas", "processors", "streams", "gateway"])
def test_each_folder_explains_itself(folder: str) -> None:
    assert (ROOT / folder / "README.md").is_file()


def test_every_link_in_the_documents_leads_somewhere() -> None:
    links = [
        (path, link)
        for path in tracked()
        if path.suffix == ".md" and "knowledge" not in path.parts
        for link in re.findall(r"\]\(([^)#\s]+)[^)]*\)", path.read_text())
        if "://" not in link
    ]
    broken = [f"{shown(path)}: {link}" for path, link in links if not (path.parent / link).exists()]
    assert broken == []


def test_every_module_named_in_the_readmes_of_the_core_exists() -> None:
    """A table that names what is gone sends a newcomer astray."""
    missing = []
    for folder in ("schemas", "streams"):
        for line in (ROOT / folder / "README.md").read_text().splitlines():
            if line.startswith("| `"):
                cell = line.split("|")[1]
                missing += [
                    f"{folder}/{name}"
                    for name in re.findall(r"`([a-z_]+)/?`", cell)
                    if name not in ("str", "bool", "bytes", "float", "int")
                    and not (ROOT / folder / name).is_dir()
                    and not (ROOT / folder / f"{name}.py").is_file()
                ]
    assert missing == []


def test_test_files_have_names_of_their_own() -> None:
    """They are imported by their file name alone, so two of one name would shadow each other.

    Those of a package are imported by its name.
    """
    alone = [path for path in modules("tests") if not (path.parent / "__init__.py").exists()]
    names = [path.name for path in alone if path.name != "conftest.py"]
    assert sorted(n for n in names if names.count(n) > 1) == []
