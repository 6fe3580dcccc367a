"""Logs: readable by people and machines, and silent about what people wrote."""

from __future__ import annotations

import asyncio
import gc
import io
import json
import logging
from collections.abc import Iterator

import pytest

from infra.keys import KeyStoreUnavailable
from infra.settings.behaviour import TelemetrySettings
from infra.telemetry import set_up_logging

TEXT = "my card was stolen yesterday"


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def restored_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(False)


def logged(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


@pytest.fixture
def stream() -> io.StringIO:
    out = io.StringIO()
    set_up_logging(TelemetrySettings(), "gateway", out)
    return out


def test_a_pipe_gets_one_json_object_a_line(stream: io.StringIO) -> None:
    logging.getLogger("gateway.server").info("listening", extra={"port": 8080})
    (line,) = logged(stream)
    assert line.pop("ts", "") != ""
    assert line == {
        "level": "info",
        "service": "gateway",
        "logger": "gateway.server",
        "message": "listening",
        "port": 8080,
    }


def test_a_terminal_gets_a_coloured_line() -> None:
    out = Terminal()
    set_up_logging(TelemetrySettings(), "gateway", out)
    logging.getLogger("gateway").warning("slow", extra={"clients": 3})
    assert "\033[33mWARNING\033[0m" in out.getvalue()
    assert out.getvalue().endswith("slow clients=3\n")


def test_plain_into_a_file_has_no_colours() -> None:
    out = io.StringIO()
    set_up_logging(TelemetrySettings(log_format="plain"), "gateway", out)
    logging.getLogger("gateway").error("stop")
    assert "ERROR   gateway stop" in out.getvalue()
    assert "\033" not in out.getvalue()


def test_only_our_own_packages_log_below_warning(stream: io.StringIO) -> None:
    logging.getLogger("streams.engine").info("ours")
    logging.getLogger("aiohttp.access").info("theirs")
    logging.getLogger("streams.engine").debug("too fine")
    assert [line["message"] for line in logged(stream)] == ["ours"]


def test_setting_up_twice_does_not_double_lines(stream: io.StringIO) -> None:
    set_up_logging(TelemetrySettings(), "gateway", stream)
    logging.getLogger("gateway").info("once")
    assert len(logged(stream)) == 1


def test_the_words_of_a_foreign_error_are_withheld_but_not_its_place(stream: io.StringIO) -> None:
    try:
        try:
            raise KeyError(TEXT)
        except KeyError as error:
            raise ValueError(TEXT) from error
    except ValueError:
        logging.getLogger("gateway").exception("a frame failed")
    (line,) = logged(stream)
    assert TEXT not in stream.getvalue()
    assert "KeyError: (withheld)" in str(line["error"])
    assert "ValueError: (withheld)" in str(line["error"])
    assert "test_logging.py" in str(line["error"])


def test_our_own_errors_and_the_systems_are_printed(stream: io.StringIO) -> None:
    for error in (
        KeyStoreUnavailable("key store x does not answer"),
        ConnectionRefusedError(111, "no"),
    ):
        logging.getLogger("gateway").error("failed", exc_info=error)
    first, second = logged(stream)
    assert first["error"] == "KeyStoreUnavailable: key store x does not answer"
    assert second["error"] == "ConnectionRefusedError: [Errno 111] no"


def test_a_sentence_in_an_extra_field_is_withheld(stream: io.StringIO) -> None:
    logging.getLogger("gateway").info("x", extra={"text": TEXT, "record": {"text": TEXT}})
    (line,) = logged(stream)
    assert (line["text"], line["record"]) == ("(withheld)", "dict")


async def test_a_task_that_nobody_awaited_does_not_leak_its_error(stream: io.StringIO) -> None:
    async def fail() -> None:
        raise ValueError(TEXT)

    task = asyncio.create_task(fail())
    await asyncio.wait([task])
    del task
    gc.collect()
    assert "Task exception was never retrieved" in stream.getvalue()
    assert TEXT not in stream.getvalue()
