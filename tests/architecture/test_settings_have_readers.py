"""No setting without a reader: one that nothing reads is a promise that nobody keeps."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from functools import cache

import pytest
from pydantic import BaseModel
from test_structure import PACKAGES, modules, parsed

from infra.settings import Settings

SECTIONS: dict[str, type[BaseModel]] = {
    name: field.annotation
    for name, field in Settings.model_fields.items()
    if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
}
KINDS = {kind.__name__: section for section, kind in SECTIONS.items()}
FIELDS = [(section, field) for section, kind in SECTIONS.items() for field in kind.model_fields]

Meanings = dict[str, set[str]]
"""By name: the sections that it may stand for."""


def last_name(node: ast.AST) -> str:
    """The name that an expression ends with: `chosen`, or the `gateway` of `settings.gateway`."""
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def annotated(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """Names whose annotation is the class of a section: parameters, variables, fields."""
    for node in ast.walk(tree):
        if isinstance(node, ast.arg | ast.AnnAssign) and node.annotation is not None:
            name = node.arg if isinstance(node, ast.arg) else last_name(node.target)
            for word in re.findall(r"\w+", ast.unparse(node.annotation)):
                if word in KINDS:
                    yield name, KINDS[word]


def assigned(tree: ast.AST) -> Iterator[tuple[ast.AST, ast.AST]]:
    """Each target with its value, those of `a, b = c, d` one by one."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign):
            for target in node.targets:
                if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
                    yield from zip(target.elts, node.value.elts, strict=False)
                else:
                    yield target, node.value


@cache
def fields_of_objects() -> Meanings:
    """Fields of our own objects that hold a section, as `Services.settings` does."""
    found: Meanings = defaultdict(set)
    for path in modules(*PACKAGES):
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.ClassDef):
                for name, section in annotated(ast.Module(node.body, [])):
                    found[name].add(section)
    return found


def sections_of(node: ast.AST, here: Meanings) -> set[str]:
    """The sections that an expression may stand for in a module."""
    name = last_name(node)
    found = set(here.get(name, ()))
    if isinstance(node, ast.Attribute):
        found |= fields_of_objects().get(name, set()) | ({name} & set(SECTIONS))
    return found


@cache
def read_fields() -> frozenset[tuple[str, str]]:
    """Every field that is looked up on something that may be its section."""
    found = set()
    for path in modules(*PACKAGES):
        tree = parsed(path)
        here: Meanings = defaultdict(set)
        for name, section in annotated(tree):
            here[name].add(section)
        for target, value in assigned(tree):
            here[last_name(target)] |= sections_of(value, here)
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute):
                found |= {(section, node.attr) for section in sections_of(node.value, here)}
            if isinstance(node, ast.ClassDef) and node.name in KINDS:
                # What a section reads itself, it reads for whoever calls its methods.
                found |= {
                    (KINDS[node.name], inner.attr)
                    for inner in ast.walk(node)
                    if isinstance(inner, ast.Attribute) and last_name(inner.value) == "self"
                }
    return frozenset(found)


def test_there_are_settings_to_look_for() -> None:
    """An empty list would pass the test below."""
    assert len(SECTIONS) > 10
    assert len(FIELDS) > 80


@pytest.mark.parametrize(("section", "field"), FIELDS)
def test_every_setting_has_a_reader(section: str, field: str) -> None:
    where = f"{section}.{field}"
    assert (section, field) in read_fields(), f"nothing reads {where}: read it or remove it"


@pytest.mark.parametrize(
    ("section", "field"),
    [("kafka", "partitions"), ("redis", "timeout_ms"), ("state", "url")],
)
def test_a_field_of_something_else_is_no_reader(section: str, field: str) -> None:
    assert (section, field) not in read_fields()
