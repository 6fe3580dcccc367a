"""Bars and curves as SVG, readable on light and dark ground."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from math import ceil, floor, log10
from typing import NamedTuple

ROW, LEFT, WIDTH = 34, 170, 720


def bars(title: str, values: Mapping[str, tuple[float, float, float]]) -> str:
    """A bar for the median of each name, with a line from its least to its most."""
    most = max(high for _, _, high in values.values())
    scale = (WIDTH - LEFT - 110) / most
    height = 50 + ROW * len(values)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        'font-family="system-ui, sans-serif" font-size="14">',
        "<style>text{fill:#1b2130} .bar{fill:#3557d6} .range{stroke:#9a5b00;stroke-width:2}"
        "@media (prefers-color-scheme:dark){text{fill:#e8ebf2} .bar{fill:#8ea6ff}}</style>",
        f'<text x="8" y="24" font-weight="600">{escape(title)}</text>',
    ]
    for row, (name, (least, median, high)) in enumerate(values.items()):
        y = 44 + row * ROW
        middle = y + 10
        parts += [
            f'<text x="{LEFT - 10}" y="{y + 15}" text-anchor="end">{escape(name)}</text>',
            f'<rect class="bar" x="{LEFT}" y="{y}" width="{median * scale:.1f}" height="20"/>',
            f'<line class="range" x1="{LEFT + least * scale:.1f}" x2="{LEFT + high * scale:.1f}" '
            f'y1="{middle}" y2="{middle}"/>',
            f'<text x="{LEFT + high * scale + 8:.1f}" y="{y + 15}">{median:,.0f}</text>',
        ]
    return "\n".join([*parts, "</svg>", ""])


class Point(NamedTuple):
    """A place on a curve, and what is written beside it."""

    x: float
    y: float
    label: str


COLOURS = ("#3557d6", "#c0501c")


def _round_step(most: float) -> float:
    """A distance of ticks that people can count in: 1, 2 or 5 times a power of ten."""
    rough = most / 6
    decade = 10.0 ** floor(log10(rough))
    return next(decade * times for times in (1, 2, 5, 10) if decade * times >= rough)


def curve(lines: Mapping[str, Sequence[Point]], x_title: str, y_title: str) -> str:
    """Each line through its points; y is logarithmic, and lower right is better."""
    height, left, bottom, top = 420, 70, 60, 60
    most = max(point.x for points in lines.values() for point in points) * 1.12
    decades = [log10(point.y) for points in lines.values() for point in points]
    low, high = floor(min(decades)), ceil(max(decades))

    def at(point: Point) -> tuple[float, float]:
        x = left + point.x / most * (WIDTH - left - 20)
        share = (log10(point.y) - low) / max(1, high - low)
        return x, height - bottom - share * (height - bottom - top)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        'font-family="system-ui, sans-serif" font-size="13">',
        "<style>text{fill:#1b2130} .grid{stroke:#9aa3b5;stroke-width:.5}"
        "@media (prefers-color-scheme:dark){text{fill:#e8ebf2}}</style>",
        f'<text x="{WIDTH - 20}" y="{height - 16}" text-anchor="end">{escape(x_title)}</text>',
        f'<text x="8" y="20" font-weight="600">{escape(y_title)}</text>',
    ]
    for decade in range(low, high + 1):
        _, y = at(Point(0, 10.0**decade, ""))
        parts += [
            f'<line class="grid" x1="{left}" x2="{WIDTH - 20}" y1="{y:.1f}" y2="{y:.1f}"/>',
            f'<text x="{left - 8}" y="{y + 4:.1f}" text-anchor="end">{10.0**decade:g}</text>',
        ]
    step = _round_step(most)
    for tick in range(1, int(most / step) + 1):
        x, _ = at(Point(tick * step, 10.0**low, ""))
        parts.append(
            f'<text x="{x:.1f}" y="{height - bottom + 18}" text-anchor="middle">'
            f"{tick * step:,.0f}</text>"
        )
    for row, (colour, (name, points)) in enumerate(zip(COLOURS, lines.items(), strict=False)):
        places = [at(point) for point in points]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        for (x, y), point in zip(places, points, strict=True):
            parts += [
                f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}"/>',
                f'<text x="{x + 8:.1f}" y="{y - 8:.1f}">{escape(point.label)}</text>',
            ]
        parts.append(
            f'<text x="{WIDTH - 20}" y="{20 + 18 * row}" text-anchor="end" '
            f'style="fill:{colour}">{escape(name)}</text>'
        )
    return "\n".join([*parts, "</svg>", ""])
