"""How far the stages are: read from the metrics of the processes that run them, and added up."""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import Any

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample
from rich.table import Table
from rich.text import Text

ANSWER_S = 2.0
BETWEEN_S = 1.0
"""Rates are taken from two looks at this distance."""


@dataclass(slots=True)
class StageFigures:
    """One stage, over all processes that run it."""

    stage: str
    parts: list[str] = field(default_factory=list)
    partitions: int = 0
    records: dict[str, float] = field(default_factory=dict)
    """Records handled by each process since it began, by part."""
    records_per_s: float = 0.0
    last_commit_at: float | None = None
    """Seconds since 1970; None if it has committed nothing yet."""
    dead_letters: int = 0
    """Put aside since its processes began."""
    lags: list[int] = field(default_factory=list)
    """Records not handled yet, of each partition of which that is known."""

    @property
    def lag(self) -> int | None:
        """Records that it has not handled yet; None until every partition's is known."""
        return sum(self.lags) if len(self.lags) >= self.partitions else None

    def as_json(self) -> dict[str, Any]:
        """For scripts."""
        return {**asdict(self), "lag": self.lag}


def look(addresses: Mapping[str, str]) -> list[StageFigures]:
    """The stages of these parts, by the address of each part's metrics. Takes a second.

    A part that does not answer is left out.
    """
    began = time.monotonic()
    before = add_up(_scraped(addresses))
    time.sleep(max(0.0, BETWEEN_S - (time.monotonic() - began)))
    seconds = time.monotonic() - began
    after = add_up(_scraped(addresses))
    for stage, figures in after.items():
        earlier = before[stage].records if stage in before else {}
        figures.records_per_s = _handled(earlier, figures.records) / seconds
    return list(after.values())


def _handled(before: Mapping[str, float], after: Mapping[str, float]) -> float:
    """Records handled between two looks, by the processes that answered both times."""
    both = [(before[part], after[part]) for part in after if part in before]
    # A process that was started meanwhile counts from nothing again.
    return sum(now - then if now >= then else now for then, now in both)


def add_up(exposed: Mapping[str, str]) -> dict[str, StageFigures]:
    """Stages by name, from the exposition text of each part."""
    stages: dict[str, StageFigures] = {}
    for part, text in exposed.items():
        for sample in _samples(text):
            name = sample.labels.get("stage")
            if name is not None:
                _add(stages.setdefault(name, StageFigures(name)), part, sample)
    return {name: figures for name, figures in sorted(stages.items()) if figures.parts}


def _samples(text: str) -> Iterator[Sample]:
    for family in text_string_to_metric_families(text):
        yield from family.samples


def _add(figures: StageFigures, part: str, sample: Sample) -> None:
    match sample.name:
        case "parley_assigned_partitions":
            figures.parts.append(part)
            figures.partitions += int(sample.value)
        case "parley_lag_records":
            figures.lags.append(int(sample.value))
        case "parley_records_total":
            figures.records[part] = sample.value
        case "parley_dead_letters_total":
            figures.dead_letters += int(sample.value)
        case "parley_last_commit_timestamp_seconds" if sample.value:
            figures.last_commit_at = max(figures.last_commit_at or 0.0, sample.value)


def _scraped(addresses: Mapping[str, str]) -> dict[str, str]:
    with ThreadPoolExecutor(max(1, len(addresses))) as pool:
        answers = zip(addresses, pool.map(_scrape, addresses.values()), strict=True)
        return {part: text for part, text in answers if text is not None}


def _scrape(address: str) -> str | None:
    try:
        with urllib.request.urlopen(f"{address}/metrics", timeout=ANSWER_S) as response:
            return str(response.read().decode())
    except (urllib.error.URLError, OSError, ValueError):
        return None


def stage_table(stages: Sequence[StageFigures], restarts: Mapping[str, int], now: float) -> Table:
    """One row per stage. `restarts` counts those of each part."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for title in ("stage", "runs in"):
        table.add_column(title, overflow="fold")
    for title in ("lag", "rate/s", "last commit", "restarts", "dead letters"):
        table.add_column(title, justify="right")
    for each in stages:
        again = sum(restarts.get(part, 0) for part in each.parts)
        table.add_row(
            each.stage,
            ", ".join(each.parts),
            "?" if each.lag is None else Text(f"{each.lag:,}", "yellow" if each.lag else ""),
            f"{each.records_per_s:,.0f}",
            _ago(each.last_commit_at, now),
            Text(str(again), "yellow" if again else ""),
            Text(str(each.dead_letters), "bold red" if each.dead_letters else ""),
        )
    return table


def _ago(at: float | None, now: float) -> str:
    if at is None:
        return "none yet"
    seconds = max(0.0, now - at)
    if seconds < 120:
        return f"{seconds:.0f} s ago"
    return f"{seconds / 60:.0f} min ago" if seconds < 7200 else f"{seconds / 3600:.0f} h ago"
