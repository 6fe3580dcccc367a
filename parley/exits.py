"""What the exit codes of `parley` mean, and which failure ends a command with which."""

from __future__ import annotations

import sys
from enum import IntEnum


class Exit(IntEnum):
    """Exit codes of every command. README shows the same table."""

    OK = 0
    NEGATIVE = 1
    """Everything ran, and the finding is negative: a difference, an unanswered message."""
    USAGE = 2
    """A wrong argument, setting or input file."""
    UNREACHABLE = 3
    """The stack, or a part of it, does not answer."""
    REFUSED = 4
    """The machine or a person's rights say no: folder or port in use, a damaged model, a token."""
    NOT_STARTED = 5
    """A part could not be fetched or did not come up."""
    INTERNAL = 70
    """A defect of ours."""
    INTERRUPTED = 130
    """Ctrl-C."""


class Ended(Exception):
    """Ends a command with a sentence that says what happened and what to do next.

    `detail` holds lines that help to see why, such as the end of a log.
    """

    def __init__(self, code: Exit, sentence: str, detail: str = "") -> None:
        super().__init__(sentence)
        self.code = code
        self.detail = detail


_CODES: tuple[tuple[str, tuple[str, ...], Exit], ...] = (
    ("infra.settings.errors", ("SettingsInvalid",), Exit.USAGE),
    ("infra.knowledge_files.documents", ("KnowledgeFileError",), Exit.USAGE),
    ("parley.importing.dialogues", ("ImportFileError",), Exit.USAGE),
    ("infra.local.errors", ("FolderInUse", "FolderRefused", "PortInUse"), Exit.REFUSED),
    ("infra.local.errors", ("FetchFailed", "PartFailed"), Exit.NOT_STARTED),
    ("infra.inference.artifacts", ("ArtifactTampered",), Exit.REFUSED),
    ("infra.inference.artifacts", ("ArtifactError",), Exit.NOT_STARTED),
    ("infra.inference.encoder", ("DeviceUnavailable",), Exit.USAGE),
    ("infra.keys.errors", ("KeyStoreUnavailable",), Exit.UNREACHABLE),
    ("infra.keys.errors", ("KeyStoreUnusable",), Exit.REFUSED),
    ("gateway.server", ("PortTaken",), Exit.REFUSED),
    ("infra.clickhouse.folder", ("FolderInUse",), Exit.REFUSED),
    ("sinks.clickhouse.migrations", ("SchemaNewer", "MigrationChanged"), Exit.REFUSED),
    ("sinks.clickhouse.ranges", ("NoteForeign",), Exit.REFUSED),
    ("infra.kafka_admin", ("KafkaAdminError",), Exit.UNREACHABLE),
    ("infra.schema_registry", ("Incompatible",), Exit.NEGATIVE),
    ("schemas.failures", ("Unavailable",), Exit.UNREACHABLE),
    (
        "parley.client.failures",
        ("GatewayClosed", "CommandRefused", "ConversationRefused"),
        Exit.REFUSED,
    ),
    ("aiohttp.client_exceptions", ("ClientConnectionError",), Exit.UNREACHABLE),
)
"""By module and class. A module that was never imported cannot have raised anything."""


def verdict(error: BaseException) -> Ended:
    """What a failure means to the user of a command."""
    if isinstance(error, Ended):
        return error
    for module, names, code in _CODES:
        loaded = sys.modules.get(module)
        kinds = tuple(getattr(loaded, name) for name in names) if loaded else ()
        if isinstance(error, kinds):
            return Ended(code, str(error), getattr(error, "log_tail", ""))
    if isinstance(error, OSError) and error.filename is not None:
        return Ended(Exit.USAGE, f"{error.filename}: {error.strerror}")
    return Ended(
        Exit.INTERNAL,
        f"{type(error).__name__}: {error}. This should not happen: "
        'run it again as "parley --debug …" and report what it prints',
    )
