"""Structured logging: coloured lines on a terminal, JSON lines into pipes and files.

Text of conversations never belongs in a log. What other libraries' errors say may quote it, so
only messages of our own errors and of the operating system are printed; of others, the type.
"""

from __future__ import annotations

import logging
import sys
import traceback
from datetime import UTC, datetime
from typing import TextIO

import orjson

from infra.settings.behaviour import TelemetrySettings
from infra.telemetry.guard import WITHHELD, without_text

OUR_PACKAGES = ("schemas", "processors", "streams", "sinks", "gateway", "infra", "parley")
_TRUSTED_MODULES = {*OUR_PACKAGES, "cimpl", "confluent_kafka"}
_TRUSTED_TYPES = (OSError, ImportError, AttributeError, NameError, TypeError, NotImplementedError)
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_COLOURS = {"DEBUG": "2", "INFO": "32", "WARNING": "33", "ERROR": "31", "CRITICAL": "1;31"}


def set_up_logging(settings: TelemetrySettings, service: str, stream: TextIO | None = None) -> None:
    """Sends all logs of this process to a stream (standard error).

    Our own packages log from the level in the settings, other libraries from warning.
    """
    out = stream or sys.stderr
    plain = settings.log_format == "plain" or (settings.log_format == "auto" and out.isatty())
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        PlainFormatter(service, colours=out.isatty()) if plain else JsonFormatter(service)
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    for package in OUR_PACKAGES:
        logging.getLogger(package).setLevel(settings.log_level.upper())
    logging.captureWarnings(True)


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time in UTC, level, service, logger, message, extra fields."""

    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service

    def format(self, record: logging.LogRecord) -> str:
        """The line for one record."""
        line: dict[str, object] = {
            "ts": _time(record).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "service": self._service,
            "logger": record.name,
            "message": _message(record),
            **_extra(record),
        }
        if error := _error(record):
            line["error"] = error
        return orjson.dumps(line).decode()


class PlainFormatter(logging.Formatter):
    """One line for people: time, level, service, message, extra fields."""

    def __init__(self, service: str, *, colours: bool) -> None:
        super().__init__()
        self._service = service
        self._colours = colours

    def format(self, record: logging.LogRecord) -> str:
        """The line, and below it the trace of an error."""
        level = f"{record.levelname:<7}"
        service = self._service
        if self._colours:
            level = f"\033[{_COLOURS.get(record.levelname, '0')}m{level}\033[0m"
            service = f"\033[2m{service}\033[0m"
        fields = "".join(f" {name}={value}" for name, value in _extra(record).items())
        clock = _time(record).astimezone().strftime("%H:%M:%S.%f")[:-3]
        line = f"{clock} {level} {service} {_message(record)}{fields}"
        error = _error(record)
        return f"{line}\n{error}" if error else line


def describe_error(error: BaseException) -> str:
    """Type and message of an error, or the type alone where the message may quote text."""
    kind = type(error)
    trusted = isinstance(error, _TRUSTED_TYPES) or kind.__module__.split(".")[0] in _TRUSTED_MODULES
    return f"{kind.__name__}: {error if trusted else WITHHELD}"


def _time(record: logging.LogRecord) -> datetime:
    return datetime.fromtimestamp(record.created, UTC)


def _message(record: logging.LogRecord) -> str:
    message = _without_foreign_words(record).getMessage()
    # asyncio adds the task and with it the error's own words, below its first line.
    return message.partition("\n")[0] if record.name == "asyncio" else message


def _without_foreign_words(record: logging.LogRecord) -> logging.LogRecord:
    """Errors that a library puts into its own message are shown as everywhere: by type."""
    if not isinstance(record.args, tuple) or not any(
        isinstance(each, BaseException) for each in record.args
    ):
        return record
    shown = logging.makeLogRecord(vars(record))
    shown.args = tuple(
        _Words(describe_error(each)) if isinstance(each, BaseException) else each
        for each in record.args
    )
    return shown


class _Words(str):
    """Text that looks the same to `%s` and `%r`."""

    __slots__ = ()
    __repr__ = str.__str__


def _extra(record: logging.LogRecord) -> dict[str, object]:
    return {
        name: without_text(value)
        for name, value in vars(record).items()
        if name not in _STANDARD and not name.startswith("_")
    }


def _error(record: logging.LogRecord) -> str:
    error = record.exc_info[1] if record.exc_info else None
    lines: list[str] = []
    while error is not None and len(lines) < 100:
        frames = "".join(traceback.format_tb(error.__traceback__)).rstrip()
        lines.append(f"{frames}\n{describe_error(error)}" if frames else describe_error(error))
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return "\n\n".join(reversed(lines))
