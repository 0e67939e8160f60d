"""What a stage counted while it worked, in words: for the summary of a run and for its report page.

What was altered in the shape itself is said in sentences, every other count by its name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

SIZES = ("points", "faces", "tets")
"""Counts that are the size of what a stage made."""
ALTERED = {
    "open_edges": "the surface is open: {n} edges on its border",
    "nonmanifold_edges": "{n} edges have three or more faces",
    "intersecting_faces": "{n} faces intersect others",
    "unexplained_points": "{n} points are far from the surface",
    "turned_faces": "{n} faces were turned to agree with each other and to face outward",
    "turned_patches": "{n} inside-out patches were turned outward",
    "unorientable_edges": "the faces at {n} edges cannot be oriented alike",
    "misoriented_faces": "{n} faces are not oriented as their neighbours",
    "lost_parts": "{n} parts of the surface are missing: too small or thin for this number of tets",
    "open_sheets": "{n} open sheets beside the body were left out",
    "crumbs": "{n} loose crumbs were dropped",
}
"""Sentences for what changes the shape or is wrong with it, by name of the count."""
OPENINGS, OPENING_SHARE = "closed_openings", "closed_percent"


def altered_words(counts: Mapping[str, Any]) -> str:
    """Say what was altered in the shape, or is wrong with it; empty when nothing was."""
    words = []
    if counts.get(OPENINGS):
        share = counts.get(OPENING_SHARE)
        of = f", {share:.3g} % of the boundary" if isinstance(share, int | float) else ""
        one = "opening" if counts[OPENINGS] == 1 else "openings"
        words.append(f"surface was open: {_number(counts[OPENINGS])} {one} closed{of}")
    words += [text.format(n=_number(counts[name])) for name, text in ALTERED.items() if counts.get(name)]
    return "; ".join(words)


def count_words(counts: Mapping[str, Any]) -> str:
    """List all that was counted in one line: what was altered in sentences, the rest by name."""
    told = {*SIZES, *ALTERED, OPENINGS, OPENING_SHARE}
    rest = [f"{name.replace('_', ' ')} {_number(n)}" for name, n in counts.items() if name not in told and n]
    return "; ".join(part for part in (altered_words(counts), ", ".join(rest)) if part)


def _number(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int | float) else str(value)
