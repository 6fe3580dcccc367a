"""What can go wrong with the embedded stack.

StackError
├── FetchFailed      a part could not be fetched
├── PortInUse        a port asked for belongs to somebody else
├── FolderInUse      another process runs on the data folder
├── FolderRefused    the data folder is not ours, or a newer version wrote it
└── PartFailed       a part did not start
"""

from __future__ import annotations


class StackError(Exception):
    """The embedded stack cannot do what was asked; the message says why and what to do."""


class FetchFailed(StackError):
    """A file of a part could not be fetched, or is not the file that was pinned."""


class PortInUse(StackError):
    """A port that was asked for is in use."""


class FolderInUse(StackError):
    """Another process runs on the data folder."""


class FolderRefused(StackError):
    """The data folder cannot be used by this version."""


class PartFailed(StackError):
    """A part died or stayed unready while the stack was starting.

    `log_tail` holds the last lines of its log, for whoever shows the error.
    """

    def __init__(self, message: str, log_tail: str = "") -> None:
        super().__init__(message)
        self.log_tail = log_tail
