"""The chart of the results: bars side by side, as SVG that reads on light and on dark ground."""

from collections.abc import Mapping, Sequence
from xml.sax.saxutils import escape

from msgspec import Struct

__all__ = ["Group", "chart"]

_COLOURS = {"ours": "#2f81f7", "envoy": "#b4567a"}
_NAMES = {"ours": "this gateway", "envoy": "Envoy"}
_LEFT, _TOP, _BAR, _GAP, _WIDTH = 150, 54, 16, 18, 760
_GREY = "#7d8590"


class Group(Struct, frozen=True):
    """What is measured alike: microseconds by contender."""

    title: str
    cpu_us: Mapping[str, float]


def chart(groups: Sequence[Group]) -> str:
    """One horizontal bar a contender, its figure at its end; the scale begins at zero."""
    most = max((value for group in groups for value in group.cpu_us.values()), default=1.0)
    scale = (_WIDTH - _LEFT - 70) / most
    height = _TOP + sum(len(group.cpu_us) * _BAR + _GAP for group in groups)
    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img" '
            'font-family="system-ui, sans-serif" font-size="12">'
        ),
        "<title>CPU microseconds per request</title>",
        (
            f'<text x="0" y="16" font-size="14" font-weight="600" fill="{_GREY}">'
            "CPU microseconds per request, less is better</text>"
        ),
        *_legend(),
    ]
    y = _TOP
    for group in groups:
        middle = y + len(group.cpu_us) * _BAR / 2 + 4
        parts.append(
            f'<text x="{_LEFT - 10}" y="{middle:.0f}" text-anchor="end" fill="{_GREY}">'
            f"{escape(group.title.strip())}</text>"
        )
        for name, value in group.cpu_us.items():
            length = value * scale
            parts.append(
                f'<rect x="{_LEFT}" y="{y}" width="{length:.1f}" height="{_BAR - 2}" rx="2" '
                f'fill="{_COLOURS[name]}"/>'
                f'<text x="{_LEFT + length + 6:.1f}" y="{y + 11}" fill="{_GREY}">{value:.0f}</text>'
            )
            y += _BAR
        y += _GAP
    return "\n".join([*parts, "</svg>", ""])


def _legend() -> list[str]:
    parts = []
    for index, (name, colour) in enumerate(_COLOURS.items()):
        x = _LEFT + index * 130
        parts.append(
            f'<rect x="{x}" y="28" width="12" height="12" rx="2" fill="{colour}"/>'
            f'<text x="{x + 18}" y="38" fill="{_GREY}">{_NAMES[name]}</text>'
        )
    return parts
