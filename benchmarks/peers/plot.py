"""Bars as SVG, readable on light and dark ground."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

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
