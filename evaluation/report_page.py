"""A comparison as one HTML page that needs nothing else: charts as SVG, tables below them."""

from __future__ import annotations

from html import escape

from evaluation.metrics import MEASURES
from evaluation.recommendation import Evaluation
from evaluation.report import LABELS, Comparison

_CHARTED = ("recall_at_20", "ndcg_at_20")
_WIDTH, _LEFT, _RIGHT, _ROW = 720, 190, 64, 26

_STYLE = """
:root { color-scheme: light dark; --ink: #1c2330; --soft: #68707d; --line: #dfe3e8; --page: #fff; --ours: #0f766e;
  --other: #9aa5b4; --published: #b45309; }
@media (prefers-color-scheme: dark) { :root { --ink: #e7eaef; --soft: #98a1ae; --line: #2c3440; --page: #12161c;
  --ours: #2dd4bf; --other: #64748b; --published: #fbbf24; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--page); max-width: 46rem;
  margin: 2.5rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem } h2 { margin-top: 3rem; font-size: 1.15rem } h3 { font-size: .95rem; margin-bottom: .3rem }
table { border-collapse: collapse; width: 100%; font-size: .82rem; font-variant-numeric: tabular-nums }
td, th { padding: .25rem .5rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap }
td:first-child, th:first-child { text-align: left; white-space: normal } tr.ours td { font-weight: 600 }
tr.published td { color: var(--soft) } svg { width: 100%; height: auto } svg text { fill: var(--ink); font-size: 12px }
.soft { color: var(--soft); font-size: .85rem } div.wide { overflow-x: auto }
"""


def as_page(
    comparisons: list[Comparison], *, title: str = "Recommendation quality", before: str = "", after: str = ""
) -> str:
    """Return the page; *before* and *after* are HTML that stands around the comparisons."""
    sections = "\n".join(_section(comparison) for comparison in comparisons)
    return framed(
        title,
        f'{before}<p class="soft">Bars: mean over users, with the 95&nbsp;% bootstrap interval. Diamonds: published '
        f"for the same split. Dashed line: target.</p>{sections}{after}",
    )


def framed(title: str, content: str) -> str:
    """Return *content*, which is HTML, as a page with the style of all reports."""
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style><h1>{escape(title)}</h1>{content}</html>\n"
    )


def _section(comparison: Comparison) -> str:
    charts = "".join(f"<h3>{LABELS[name]}</h3>{_chart(comparison, name)}" for name in _CHARTED)
    notes = "".join(f"<li>{escape(name)}: {escape(str(value))}</li>" for name, value in comparison.notes.items())
    parts = _parts(comparison)
    return (
        f"<h2>{escape(comparison.data)}</h2>{charts}<div class=wide>{_table(comparison)}</div>"
        + (f"<h3>Recall@20 by part</h3><div class=wide>{parts}</div>" if parts else "")
        + (f'<ul class="soft">{notes}</ul>' if notes else "")
    )


def _chart(comparison: Comparison, metric: str) -> str:
    bars = [(model, each.metrics[metric]) for model, each in comparison.evaluations.items()]
    others = [(each.model, each.metrics[metric]) for each in comparison.published if metric in each.metrics]
    target = comparison.targets.get(metric)
    most = max([each.high for _, each in bars] + [value for _, value in others] + [target or 0, 1e-9])
    scale = (_WIDTH - _LEFT - _RIGHT) / most
    height = (len(bars) + len(others)) * _ROW + 8
    drawn = []
    for row, (model, each) in enumerate(bars):
        top, middle = row * _ROW + 6, row * _ROW + 15
        colour = "--ours" if model == comparison.of_ours else "--other"
        drawn.append(
            f'<text x="{_LEFT - 10}" y="{middle + 4}" text-anchor="end">{escape(model)}</text>'
            f'<rect x="{_LEFT}" y="{top}" width="{each.mean * scale:.1f}" height="18" rx="2" fill="var({colour})"/>'
            f'<path d="M{_LEFT + each.low * scale:.1f} {middle}H{_LEFT + each.high * scale:.1f}" '
            f'stroke="var(--ink)" stroke-width="1.5"/>'
            f'<text x="{_LEFT + each.high * scale + 8:.1f}" y="{middle + 4}">{each.mean:.4f}</text>'
        )
    for row, (model, value) in enumerate(others, start=len(bars)):
        middle, at = row * _ROW + 15, _LEFT + value * scale
        drawn.append(
            f'<text x="{_LEFT - 10}" y="{middle + 4}" text-anchor="end">{escape(model)}</text>'
            f'<path d="M{at - 6:.1f} {middle}l6 -6l6 6l-6 6z" fill="var(--published)"/>'
            f'<text x="{at + 12:.1f}" y="{middle + 4}">{value:.4f}</text>'
        )
    if target is not None:
        at = _LEFT + target * scale
        drawn.append(f'<path d="M{at:.1f} 0V{height}" stroke="var(--soft)" stroke-dasharray="4 4"/>')
    label = escape(f"{LABELS[metric]} by model, {comparison.data}")
    return f'<svg viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{label}">{"".join(drawn)}</svg>'


def _table(comparison: Comparison) -> str:
    rows = [
        _row([model, *_figures(each)], "ours" if model == comparison.of_ours else "")
        for model, each in comparison.evaluations.items()
    ]
    for published in comparison.published:
        cells = [f"{published.metrics[name]:.4f}" if name in published.metrics else "" for name in MEASURES]
        rows.append(_row([f"{published.model} ({published.source})", *cells, "", ""], "published"))
    return _framed(["", *(LABELS[name] for name in MEASURES), "coverage", "novelty"], rows)


def _parts(comparison: Comparison) -> str:
    names: dict[str, int] = {}
    for each in comparison.evaluations.values():
        names |= {name: part.users for name, part in each.segments.items()}
    if not names:
        return ""
    rows = []
    for model, each in comparison.evaluations.items():
        parts = (each.segments.get(name) for name in names)
        cells = [f"{part.metrics['recall_at_20'].mean:.4f}" if part else "" for part in parts]
        rows.append(_row([model, *cells], "ours" if model == comparison.of_ours else ""))
    return _framed(["", *(f"{name} ({users:,} users)" for name, users in names.items())], rows)


def _figures(evaluation: Evaluation) -> list[str]:
    means = [f"{estimate.mean:.4f}" for estimate in evaluation.metrics.values()]
    return [*means, f"{evaluation.coverage:.3f}", f"{evaluation.novelty:.2f}"]


def _row(cells: list[str], kind: str) -> str:
    return f'<tr class="{kind}">' + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>"


def _framed(header: list[str], rows: list[str]) -> str:
    return "<table><tr>" + "".join(f"<th>{escape(cell)}</th>" for cell in header) + "</tr>" + "".join(rows) + "</table>"
