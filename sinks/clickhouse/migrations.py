"""Brings a database to the tables and views that this code knows, and notes what was done.

Tables change by numbered files, applied once and never edited afterwards. Views are put in place
anew whenever their text differs: their columns are a contract, the SELECT behind them is not.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from importlib import resources

import pyarrow as pa

from infra.clickhouse.port import ClickHouse

_NUMBERED = re.compile(r"(\d{4})_(\w+)\.sql")
_LEDGER = """
CREATE TABLE IF NOT EXISTS {database}.migrations
(
    name String COMMENT 'Numbered file, or database and view',
    number UInt32 COMMENT 'Number of the file, 0 for views',
    digest String COMMENT 'sha256 of the text',
    applied_at DateTime64(3, 'UTC') DEFAULT now64(3, 'UTC')
)
ENGINE = MergeTree
ORDER BY (name, applied_at)
COMMENT 'What was applied to this database, in order'
"""
TENANT_SCOPE = "PREWHERE tenant_id = getSetting('log_comment')"
"""The embedded endpoint sets this setting to the reader's tenant and locks it."""


class SchemaNewer(Exception):
    """The database was migrated by a newer version."""


class MigrationChanged(Exception):
    """A numbered file is not the one that was applied."""


@dataclass(frozen=True, slots=True)
class Script:
    """A file of statements."""

    name: str
    number: int
    text: str

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()

    def statements(self) -> list[str]:
        """Its statements, in order and without comments on lines of their own."""
        bare = re.sub(r"(?m)^--.*\n", "", self.text)
        return [s.strip() for s in re.split(r";\s*(?:\n|\Z)", bare) if s.strip()]


def migrate(
    clickhouse: ClickHouse, database: str = "parley", tenant_database: str | None = None
) -> list[str]:
    """Applies what is missing and returns its names. Safe to run at every start.

    `tenant_database`: also puts the views there, narrowed to the tenant that the embedded
    endpoint sets. A real server has row policies instead. Raises `SchemaNewer` and
    `MigrationChanged` before anything is touched.
    """
    clickhouse.command(f"CREATE DATABASE IF NOT EXISTS {database}")
    clickhouse.command(_LEDGER.format(database=database))
    applied = _applied(clickhouse, database)
    scripts = _numbered()
    _check(applied, scripts)
    done = []
    for script in scripts:
        if script.name not in applied:
            _apply(clickhouse, script, database, database=database)
            done.append(script.name)
    targets = [(database, "")]
    if tenant_database is not None:
        clickhouse.command(f"CREATE DATABASE IF NOT EXISTS {tenant_database}")
        targets.append((tenant_database, TENANT_SCOPE))
    for target, scope in targets:
        for view in _views(target):
            if applied.get(view.name) != view.digest:
                _apply(clickhouse, view, database, database=database, target=target, scope=scope)
                done.append(view.name)
    return done


def _numbered() -> list[Script]:
    """The numbered files, in order."""
    scripts = []
    for file in resources.files("sinks.clickhouse").joinpath("migrations").iterdir():
        if found := _NUMBERED.fullmatch(file.name):
            name = file.name.removesuffix(".sql")
            scripts.append(Script(name, int(found.group(1)), file.read_text("utf-8")))
    return sorted(scripts, key=lambda script: script.number)


def _views(target: str) -> list[Script]:
    """The views, in alphabetical order; none of them reads another."""
    files = resources.files("sinks.clickhouse").joinpath("views").iterdir()
    sql = sorted((f.name, f.read_text("utf-8")) for f in files if f.name.endswith(".sql"))
    return [Script(f"{target}.{name.removesuffix('.sql')}", 0, text) for name, text in sql]


def _applied(clickhouse: ClickHouse, database: str) -> dict[str, str]:
    """The latest digest of each name in the ledger."""
    rows = clickhouse.query_rows(
        f"SELECT name, argMax(digest, applied_at) FROM {database}.migrations GROUP BY name"
    )
    return dict(rows)


def _check(applied: dict[str, str], scripts: list[Script]) -> None:
    known = {script.name: script for script in scripts}
    for name, digest in applied.items():
        if not re.match(r"\d{4}_", name):
            continue
        if name not in known:
            raise SchemaNewer(
                f"the database has migration {name}, which this version does not know: "
                "run the newer version, or rebuild into another database"
            )
        if known[name].digest != digest:
            raise MigrationChanged(
                f"migration {name} differs from the one that was applied: "
                "put its text back and write a new migration"
            )


def _apply(clickhouse: ClickHouse, script: Script, ledger: str, **places: str) -> None:
    for statement in script.statements():
        for place, value in places.items():
            statement = statement.replace(f"{{{place}}}", value)
        clickhouse.command(statement)
    row = {"name": [script.name], "number": pa.array([script.number], pa.uint32())}
    clickhouse.insert_arrow(f"{ledger}.migrations", pa.table({**row, "digest": [script.digest]}))
