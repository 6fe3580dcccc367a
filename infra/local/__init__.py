"""The embedded stack: real Kafka, registry and Redis, and whatever parts are added to them.

It starts processes and knows nothing of what they are for.
"""

from infra.local.artifacts import Artifacts, fetch
from infra.local.errors import (
    FetchFailed,
    FolderInUse,
    FolderRefused,
    PartFailed,
    PortInUse,
    StackError,
)
from infra.local.part import Part, PartFactory, Restart, Site
from infra.local.progress import Progress
from infra.local.ready import http_answers, port_answers
from infra.local.stack import Stack
from infra.local.status import PartStatus, StackStatus, State
from infra.local.three_parts import three_parts

__all__ = [
    "Artifacts",
    "FetchFailed",
    "FolderInUse",
    "FolderRefused",
    "Part",
    "PartFactory",
    "PartFailed",
    "PartStatus",
    "PortInUse",
    "Progress",
    "Restart",
    "Site",
    "Stack",
    "StackError",
    "StackStatus",
    "State",
    "fetch",
    "http_answers",
    "port_answers",
    "three_parts",
]
