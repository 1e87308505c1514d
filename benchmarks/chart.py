"""The chart of the results: bars side by side, as SVG that reads on light and on dark ground."""

from collections.abc import Mapping, Sequence
from xml.sax.saxutils import escape

from msgspec import Struct

__all__ = ["Group", "Section", "chart"]

_COLOURS = {
    "ours": "#2f81f7",
    "envoy": "#b4567a",
    "naive": "#4f9a75",
    "node": "#b08235",
    "hive": "#8a63d2",
}
_NAMES = {
    "ours": "this gateway",
    "envoy": "Envoy",
    "naive": "FastAPI, grpc.aio",
    "node": "Fastify, grpc-js",
    "hive": "Hive Gateway",
}
_LEFT, _BAR, _GAP, _WIDTH = 190, 16, 14, 760
_HEAD, _SECTION = 26, 50
_GREY = "#7d8590"


class Group(Struct, frozen=True):
    """What is measured alike: microseconds by contender."""

    title: str
    cpu_us: Mapping[str, float]


class Section(Struct, frozen=True):
    """Groups on one scale: rivals that cost ten times as much would leave nothing to see of the others."""

    title: str
    groups: Sequence[Group]


def chart(sections: Sequence[Section]) -> str:
    """One horizontal bar a contender, its figure at its end; each section's scale begins at zero."""
    parts = []
    y = _HEAD
    for section in sections:
        if section.groups:
            drawn, y = _section(section, y)
            parts += drawn
    return "\n".join(
        [
            (
                f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {y}" role="img" '
                'font-family="system-ui, sans-serif" font-size="12">'
            ),
            "<title>CPU microseconds per request</title>",
            (
                f'<text x="0" y="16" font-size="14" font-weight="600" fill="{_GREY}">'
                "CPU microseconds per request, less is better</text>"
            ),
            *parts,
            "</svg>",
            "",
        ]
    )


def _section(section: Section, y: int) -> tuple[list[str], int]:
    """Its lines, and where the next one begins."""
    most = max(value for group in section.groups for value in group.cpu_us.values())
    scale = (_WIDTH - _LEFT - 70) / most
    parts = _legend(section, y)
    y += _SECTION
    for group in section.groups:
        middle = y + len(group.cpu_us) * _BAR / 2 + 4
        parts.append(
            f'<text x="{_LEFT - 10}" y="{middle:.0f}" text-anchor="end" fill="{_GREY}">'
            f"{escape(group.title)}</text>"
        )
        for name, value in group.cpu_us.items():
            length = value * scale
            parts.append(
                f'<rect class="bar" x="{_LEFT}" y="{y}" width="{length:.1f}" height="{_BAR - 2}" rx="2" '
                f'fill="{_COLOURS[name]}"/>'
                f'<text x="{_LEFT + length + 6:.1f}" y="{y + 11}" fill="{_GREY}">{value:.0f}</text>'
            )
            y += _BAR
        y += _GAP
    return parts, y


def _legend(section: Section, y: int) -> list[str]:
    """The title, and whose bars are drawn."""
    parts = [
        f'<text x="0" y="{y + 28}" font-weight="600" fill="{_GREY}">{escape(section.title)}</text>'
    ]
    drawn = [name for name in _NAMES if any(name in group.cpu_us for group in section.groups)]
    for index, name in enumerate(drawn):
        x = _LEFT + index * 135
        parts.append(
            f'<rect x="{x}" y="{y + 18}" width="12" height="12" rx="2" fill="{_COLOURS[name]}"/>'
            f'<text x="{x + 18}" y="{y + 28}" fill="{_GREY}">{_NAMES[name]}</text>'
        )
    return parts
