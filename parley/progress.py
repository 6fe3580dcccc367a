"""Progress of long work: bars on a terminal, a line at begin and end elsewhere."""

from __future__ import annotations

from threading import Lock
from types import TracebackType

from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TransferSpeedColumn,
)

from parley.terminal import err

_MIB = 1 << 20


class Downloads:
    """Bars of bytes; serves both the stack's parts and the models. Use it in a `with` block."""

    def __init__(self) -> None:
        self._console = err()
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )
        self._tasks: dict[str, TaskID] = {}
        self._lock = Lock()

    def __enter__(self) -> Downloads:
        self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bars.stop()

    def advanced(self, label: str, done_bytes: int, total_bytes: int | None) -> None:
        """The piece `label` is at `done_bytes`."""
        with self._lock:
            if label not in self._tasks:
                size = f" ({total_bytes / _MIB:.0f} MiB)" if total_bytes else ""
                self._tasks[label] = self._bars.add_task(label, total=total_bytes)
                self._console.print(f"fetching {label.removeprefix('Fetching ')}{size}")
            self._bars.update(self._tasks[label], completed=done_bytes, total=total_bytes)

    def finished(self, label: str) -> None:
        """The piece `label` is complete."""
        with self._lock:
            if label in self._tasks:
                self._bars.update(self._tasks[label], visible=False)
                self._console.print(f"fetched {label}")

    def __call__(self, label: str, done: int, total: int | None) -> None:
        """The same, as models report it."""
        self.advanced(label, done, total)


def counting() -> Progress:
    """Bars of things done, on standard error; silent where that is no terminal."""
    console = err()
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
