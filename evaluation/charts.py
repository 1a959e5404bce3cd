"""Charts as SVG, in the colours of the report's style sheet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from evaluation.recommendation import Estimate

_WIDTH, _LEFT, _RIGHT, _ROW = 720, 190, 64, 26
_SHARES = ("--ours", "--published", "--other", "--line", "--soft")


def bars(rows: Sequence[tuple[str, Estimate]], *, label: str, most: float | None = None, ours: str = "") -> str:
    """
    Return a bar for each estimate, with its interval and its value.

    Args:
        rows: Names and estimates.
        label: What the chart shows, for those who cannot see it.
        most: The right end of the scale; None: the largest value.
        ours: The name whose bar stands out.
    """
    scale = (_WIDTH - _LEFT - _RIGHT) / (most or max([each.high for _, each in rows] + [1e-9]))
    drawn = []
    for row, (name, each) in enumerate(rows):
        top, middle = row * _ROW + 6, row * _ROW + 15
        low, high = (max(0.0, end) * scale for end in (each.low, each.high))
        drawn.append(
            f'<text x="{_LEFT - 10}" y="{middle + 4}" text-anchor="end">{escape(name)}</text>'
            f'<rect x="{_LEFT}" y="{top}" width="{max(0.0, each.mean) * scale:.1f}" height="18" rx="2" '
            f'fill="var({"--ours" if name == ours else "--other"})"/>'
            f'<path d="M{_LEFT + low:.1f} {middle}H{_LEFT + high:.1f}" stroke="var(--ink)" stroke-width="1.5"/>'
            f'<text x="{_LEFT + high + 8:.1f}" y="{middle + 4}">{each.mean:.3f}</text>'
        )
    return _svg("".join(drawn), len(rows) * _ROW + 8, label)


def shares(parts: Mapping[str, float], *, label: str) -> str:
    """Return one bar cut into *parts*, which add up to at most 1, with what each is below it."""
    drawn, at = [], 0.0
    for row, (name, share) in enumerate(parts.items()):
        colour = _SHARES[min(row, len(_SHARES) - 1)]
        drawn.append(
            f'<rect x="{at * _WIDTH:.1f}" y="4" width="{share * _WIDTH:.1f}" height="22" fill="var({colour})"/>'
            f'<rect x="0" y="{39 + row * 20}" width="12" height="12" rx="2" fill="var({colour})"/>'
            f'<text x="20" y="{49 + row * 20}">{share:.1%} {escape(name)}</text>'
        )
        at += share
    return _svg("".join(drawn), 42 + len(parts) * 20, label)


def _svg(content: str, height: int, label: str) -> str:
    return f'<svg viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{escape(label)}">{content}</svg>'
