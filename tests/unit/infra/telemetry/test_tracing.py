"""Traces: one trace across processes, nothing when off, and never a sentence."""

from __future__ import annotations

import subprocess
import sys
import threading
import timeit
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from infra.settings.behaviour import TelemetrySettings
from infra.telemetry import (
    TRACING_OFF,
    Tracing,
    now_ns,
    open_tracing,
    traceparent_of,
    with_traceparent,
)
from infra.telemetry.names import CONVERSATION, MESSAGE, TENANT
from infra.telemetry.trace_files import SpanLine, children_of, find_traces, read_spans
from infra.telemetry.traceparent import format_traceparent, parse_traceparent

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
UNSAMPLED = PARENT[:-1] + "0"


@pytest.fixture
def tracing(tmp_path: Path) -> Iterator[Tracing]:
    opened = open_tracing(TelemetrySettings(exporter="file", trace_dir=tmp_path), "gateway")
    yield opened
    opened.close()


def spans(tracing: Tracing, folder: Path) -> dict[str, SpanLine]:
    assert tracing.flush()
    return {span.name: span for span in read_spans(folder)}


def test_a_traceparent_survives_a_round_through_its_parts() -> None:
    context = parse_traceparent(PARENT)
    assert context is not None
    assert format_traceparent(context) == PARENT


@pytest.mark.parametrize(
    "written",
    [
        None,
        "",
        "00",
        PARENT[:-1],
        PARENT + "0",
        "01" + PARENT[2:],
        PARENT.upper(),
        PARENT.replace("-", "_"),
        PARENT.replace("4bf92f3577b34da6a3ce929d0e0e4736", "0" * 32),
        PARENT.replace("00f067aa0ba902b7", "0" * 16),
        "00-+bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    ],
)
def test_a_malformed_traceparent_is_none(written: str | None) -> None:
    assert parse_traceparent(written) is None


def test_headers_carry_exactly_one_traceparent() -> None:
    headers = with_traceparent([("ce_id", b"1"), ("traceparent", b"old")], PARENT)
    assert headers == [("ce_id", b"1"), ("traceparent", PARENT.encode())]
    assert traceparent_of(headers) == PARENT
    assert with_traceparent(headers, None) == [("ce_id", b"1")]
    assert traceparent_of(None) is None
    assert traceparent_of([("traceparent", b"\xff\xfe"), ("ce_id", None)]) is None


def test_a_span_hangs_under_its_parent_and_names_itself_to_its_children(
    tracing: Tracing, tmp_path: Path
) -> None:
    with (
        tracing.span("send", PARENT, {TENANT: "bank", CONVERSATION: None}, "server") as outer,
        tracing.span("produce", outer.traceparent) as inner,
    ):
        inner.set({"parley.seq": 4})
    found = spans(tracing, tmp_path)
    assert found["send"].trace_id == PARENT[3:35]
    assert found["send"].parent_id == PARENT[36:52]
    assert found["send"].attributes == {TENANT: "bank"}
    assert found["send"].service == "gateway"
    assert found["produce"].parent_id == found["send"].span_id
    assert found["produce"].attributes == {"parley.seq": 4}


def test_a_span_after_the_fact_keeps_its_times(tracing: Tracing, tmp_path: Path) -> None:
    start = now_ns() - 1_000_000_000
    child_of = tracing.record("fold", PARENT, start, start + 2_500_000, failure="timeout")
    tracing.record("sink", child_of, start, start + 1)
    found = spans(tracing, tmp_path)
    assert (found["fold"].start_ns, found["fold"].duration_ms) == (start, 2.5)
    assert found["fold"].failure == "timeout"
    assert found["sink"].parent_id == found["fold"].span_id


def test_an_error_marks_the_span_by_its_type_and_passes_on(
    tracing: Tracing, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="my card"), tracing.span("send"):
        raise ValueError("my card is lost again")
    assert spans(tracing, tmp_path)["send"].failure == "ValueError"
    assert b"my card" not in b"".join(path.read_bytes() for path in tmp_path.iterdir())


def test_a_sentence_in_an_attribute_is_withheld(tracing: Tracing, tmp_path: Path) -> None:
    text = "my card was stolen yesterday"
    with tracing.span("send", None, {"text": text}) as span:
        span.set({"more": text, "list": ["my", "card"]})  # type: ignore[dict-item]
        span.fail(text)
    found = spans(tracing, tmp_path)["send"]
    assert found.attributes == {"text": "(withheld)", "more": "(withheld)", "list": "list"}
    assert found.failure == "(withheld)"


def test_a_trace_that_was_not_sampled_stays_so(tracing: Tracing, tmp_path: Path) -> None:
    with tracing.span("send", UNSAMPLED) as span:
        assert span.traceparent is not None
        assert span.traceparent[:35] == UNSAMPLED[:35]
        assert span.traceparent.endswith("-00")
    assert spans(tracing, tmp_path) == {}


def test_a_sample_ratio_of_zero_keeps_nothing(tmp_path: Path) -> None:
    settings = TelemetrySettings(exporter="file", trace_dir=tmp_path, sample_ratio=0)
    tracing = open_tracing(settings, "gateway")
    with tracing.span("send"):
        pass
    assert spans(tracing, tmp_path) == {}
    tracing.close()


def test_off_makes_no_spans_and_hands_the_parent_on() -> None:
    assert open_tracing(TelemetrySettings(), "gateway") is TRACING_OFF
    assert not TRACING_OFF.enabled
    with TRACING_OFF.span("send", PARENT, {TENANT: "bank"}) as span:
        span.set({MESSAGE: "m"})
        span.fail("reason")
        assert span.traceparent == PARENT
    assert TRACING_OFF.record("fold", PARENT, 1, 2) == PARENT
    assert TRACING_OFF.flush()
    TRACING_OFF.close()


def test_off_costs_a_small_part_of_on(tracing: Tracing) -> None:
    def use(chosen: Tracing) -> None:
        with chosen.span("send", PARENT):
            pass

    off, on = (
        min(timeit.repeat(lambda chosen=chosen: use(chosen), number=500, repeat=5))
        for chosen in (TRACING_OFF, tracing)
    )
    assert off * 5 < on


def test_thousands_of_spans_that_end_at_once_are_all_kept(tracing: Tracing, tmp_path: Path) -> None:
    for number in range(10_000):
        tracing.record(f"record-{number}", PARENT, 1, 2)
    assert len(spans(tracing, tmp_path)) == 10_000


WRITE = """
import sys
from pathlib import Path
from infra.settings.behaviour import TelemetrySettings
from infra.telemetry import open_tracing
tracing = open_tracing(TelemetrySettings(exporter="file", trace_dir=Path(sys.argv[1])), sys.argv[2])
for number in range(500):
    tracing.record("work", sys.argv[3], number, number + 1, {"parley.message_id": "m-1"})
tracing.close()
"""


def test_many_processes_write_one_folder_without_harm(tmp_path: Path) -> None:
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITE, str(tmp_path), f"stage {number}", PARENT])
        for number in range(3)
    ]
    assert [writer.wait(60) for writer in writers] == [0, 0, 0]
    (trace,) = find_traces(tmp_path, "m-1")
    assert len(trace) == 1500
    assert {span.service for span in trace} == {"stage 0", "stage 1", "stage 2"}


def test_a_trace_file_starts_over_before_it_grows_without_bound(tmp_path: Path) -> None:
    settings = TelemetrySettings(exporter="file", trace_dir=tmp_path, file_bytes_max=65_536)
    tracing = open_tracing(settings, "gateway")
    for _ in range(12):
        for _ in range(100):
            tracing.record("work", PARENT, 1, 2)
        assert tracing.flush()
    tracing.close()
    files = list(tmp_path.iterdir())
    assert len(files) == 2
    assert all(path.stat().st_size <= 65_536 for path in files)


def test_a_half_written_line_is_passed_over(tracing: Tracing, tmp_path: Path) -> None:
    tracing.record("whole", PARENT, 1, 2)
    spans(tracing, tmp_path)
    with next(tmp_path.iterdir()).open("ab") as file:
        file.write(b'{"trace_id": "4bf9')
    assert [span.name for span in read_spans(tmp_path)] == ["whole"]


def test_a_message_is_found_by_any_of_its_ids_within_tenant_and_conversation(
    tracing: Tracing, tmp_path: Path
) -> None:
    for start, (tenant, conversation) in enumerate(
        (("bank", "c1"), ("bank", "c2"), ("shop", "c1"))
    ):
        place = {TENANT: tenant, CONVERSATION: conversation}
        with tracing.span("send", None, {**place, MESSAGE: "m-1"}) as sent:
            tracing.record("fold", sent.traceparent, start, start + 1, {"parley.event_id": "e-1"})
    trace_id = spans(tracing, tmp_path)["send"].trace_id
    assert len(find_traces(tmp_path, "m-1")) == 3
    assert len(find_traces(tmp_path, "m-1", tenant="bank")) == 2
    assert [
        len(trace) for trace in find_traces(tmp_path, "m-1", tenant="bank", conversation="c2")
    ] == [2]
    assert len(find_traces(tmp_path, "e-1")) == 3
    assert len(find_traces(tmp_path, trace_id)) == 1
    assert find_traces(tmp_path, "m-") == []


def test_a_span_whose_parent_is_not_there_is_a_root() -> None:
    def span(span_id: str, parent_id: str, start_ns: int) -> SpanLine:
        return SpanLine("t", span_id, parent_id, span_id, "s", start_ns, start_ns + 1)

    tree = children_of([span("b", "a", 2), span("c", "lost", 0), span("a", "", 1)])
    assert {parent: [each.span_id for each in under] for parent, under in tree.items()} == {
        "": ["c", "a"],
        "a": ["b"],
    }


def test_otlp_reaches_a_collector_over_http() -> None:
    received: list[tuple[str, str | None, bytes]] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received.append((self.path, self.headers.get("authorization"), body))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    with HTTPServer(("127.0.0.1", 0), Collector) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        settings = TelemetrySettings(
            exporter="otlp",
            endpoint=f"http://127.0.0.1:{server.server_port}/v1/traces",
            headers={"authorization": "Bearer x"},  # type: ignore[dict-item]
        )
        tracing = open_tracing(settings, "gateway")
        with tracing.span("send"):
            pass
        tracing.close()
        server.shutdown()
        serving.join()
    ((path, authorization, body),) = received
    assert (path, authorization) == ("/v1/traces", "Bearer x")
    assert b"send" in body
    assert b"gateway" in body
