"""The quality of a catalogue's recommendations, offline and served, as text, JSON and a page."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from html import escape
from pathlib import Path
from typing import Any

from evaluation.agreement import Agreement, Reasons
from evaluation.charts import bars, shares
from evaluation.recommendation import Estimate
from evaluation.report import Comparison, as_text
from evaluation.report_page import as_page

LABELS = {
    "overlap_at_10": "overlap@10",
    "overlap_at_20": "overlap@20",
    "overlap_by_cf_at_20": "overlap@20 by cf alone",
    "rank_correlation": "rank correlation",
}
TITLE = "Recommendations: offline and as served"


@dataclass(frozen=True)
class ServedReport:
    """
    What came of an evaluation.

    Args:
        quality: Models by what they find of what came after the cut.
        agreement: The served lists beside those of the same version offline; None where nothing was asked over HTTP.
        gained: NDCG@20 over HTTP less that of the same version offline, by user; None where both have seen the answers.
    """

    quality: Comparison
    agreement: Agreement | None = None
    gained: Estimate | None = None

    def faults(self) -> list[str]:
        """What keeps the served path from being what its version says."""
        return [] if self.agreement is None else self.agreement.faults()

    def verdict(self) -> list[str]:
        """Whether served and offline agree, and why not: a sentence each."""
        if self.agreement is None:
            return ["Nothing was asked over HTTP: give --url, or start a stack."]
        return [*_sound(self.agreement), *_lists(self.agreement), *_finds(self.gained)]

    def document(self) -> dict[str, Any]:
        """All there is to know."""
        return asdict(self) | {"faults": self.faults(), "verdict": self.verdict()}

    def text(self) -> str:
        """The tables, and the verdict."""
        lines = [as_text([self.quality]), ""]
        if self.agreement is not None:
            lines += [f"Served beside offline, collaborative {self.agreement.version}, {self.agreement.users} users"]
            lines += [f"  {LABELS[name]:<24} {_told(each)}" for name, each in self.agreement.figures.items()]
            lines += _reasons("of the offline lists, not among the first 20 served", self.agreement.missing)
            lines += _reasons("of the served lists, not in the offline list", self.agreement.added)
            lines.append("")
        return "\n".join([*lines, *self.verdict()])

    def page(self) -> str:
        """The same with charts."""
        return as_page([self.quality], title=TITLE, before=self._verdict_section(), after=self._agreement_section())

    def write(self, directory: Path, name: str) -> list[Path]:
        """Write all three below *directory*; return where."""
        directory.mkdir(parents=True, exist_ok=True)
        document = json.dumps(self.document(), indent=2)
        paths = []
        for suffix, content in {"txt": self.text(), "json": document, "html": self.page()}.items():
            path = directory / f"{name}.{suffix}"
            path.write_text(content.rstrip("\n") + "\n", encoding="utf-8")
            paths.append(path)
        return paths

    def _verdict_section(self) -> str:
        return "<ul>" + "".join(f"<li>{escape(sentence)}</li>" for sentence in self.verdict()) + "</ul>"

    def _agreement_section(self) -> str:
        if self.agreement is None:
            return ""
        found = self.agreement
        figures = [(LABELS[name], each) for name, each in found.figures.items()]
        return (
            f"<h2>Served beside offline: collaborative {escape(found.version)}, {found.users:,} users</h2>"
            + bars(figures, label="agreement of served and offline lists", most=1.0, ours=LABELS["overlap_at_20"])
            + "<h3>What becomes of the 20 that the version puts first</h3>"
            + shares(_whole(found.missing), label="where the products of the offline lists are")
            + "<h3>Where the first 20 served come from</h3>"
            + shares(_whole(found.added), label="where the served products come from")
        )


def _sound(found: Agreement) -> list[str]:
    if faults := found.faults():
        return [f"The served path is not what version {found.version} says.", *faults]
    folded = found.vectors.get("fold_in", 0)
    newer = f" {folded} users have events since training, which serving folds in." if folded else ""
    return [
        (
            f"The served path is what version {found.version} says: {found.cf_compared:,} values of cf computed again, "
            f"none further off than {found.cf_furthest:.6f}.{newer}"
        )
    ]


def _lists(found: Agreement) -> list[str]:
    overlap, by_cf = found.figures["overlap_at_20"], found.figures["overlap_by_cf_at_20"]
    if overlap.high >= 1:
        return ["Served and offline lists do not differ beyond chance."]
    reasons = [f"{share:.0%} {reason}" for reason, share in list(found.missing.items())[:3]]
    return [
        f"Served and offline lists differ: overlap@20 {_told(overlap)}. Of the offline lists {', '.join(reasons)}.",
        f"Ordered by cf alone, the served candidates overlap {_told(by_cf)}"
        + (": retrieval leaves nothing out." if by_cf.mean >= 1 else ": the rest is no candidate."),
    ]


def _finds(gained: Estimate | None) -> list[str]:
    if gained is None:
        return [
            (
                "What the served path finds is not scored: the version in use has seen the events after the cut. "
                "--second-stack serves what was known before it."
            )
        ]
    if gained.low <= 0 <= gained.high:
        return [f"What they find does not differ beyond chance: NDCG@20 served less offline {_told(gained)}."]
    more = "more" if gained.mean > 0 else "less"
    return [f"They disagree: served lists find {more}, NDCG@20 served less offline {_told(gained)}."]


def _told(each: Estimate) -> str:
    return f"{each.mean:.4f} ({each.low:.4f} to {each.high:.4f})"


def _reasons(of: str, reasons: Reasons) -> list[str]:
    return [f"  {of}:", *(f"    {share:6.1%} {reason}" for reason, share in reasons.items())] if reasons else []


def _whole(reasons: Reasons) -> Reasons:
    return {"in both lists": max(0.0, round(1 - sum(reasons.values()), 4))} | reasons
