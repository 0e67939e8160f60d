"""What a verification study is: numbers beside what they should be.

A study has rows; each row holds a measured number against an expected one by a stated rule. The command
`simmesh verify` and the tests run the same studies.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

Rule = Literal["relative", "absolute", "at_least", "at_most"]


@dataclass(frozen=True)
class Row:
    """One number of a study."""

    name: str
    measured: float
    expected: float
    """What theory says; the bound itself for "at_least" and "at_most"."""
    tolerance: float = 0.0
    """Largest deviation, a share of `expected` for "relative"."""
    rule: Rule = "relative"
    order: float | None = None
    """Observed order of convergence, where several resolutions were run."""

    @property
    def deviation(self) -> float:
        """|measured - expected|, over |expected| for "relative"."""
        difference = abs(self.measured - self.expected)
        return difference / abs(self.expected) if self.rule == "relative" else difference

    @property
    def passed(self) -> bool:
        """Whether the rule holds; a number that is not finite never does."""
        if not np.isfinite(self.measured):
            return False
        if self.rule == "at_least":
            return bool(self.measured >= self.expected)
        if self.rule == "at_most":
            return bool(self.measured <= self.expected)
        return bool(self.deviation <= self.tolerance)


@dataclass(frozen=True)
class Study:
    """One test of the suite."""

    number: int
    """Place in the suite, from 1."""
    title: str
    rows: Callable[[], list[Row]]
    """Measures; seconds to a minute."""
    is_long: bool = False
    """Whether it takes more than about five seconds, kernels compiled; the quick suite leaves it out."""

    @property
    def name(self) -> str:
        """Name of the file that holds it."""
        return self.rows.__module__.rpartition(".")[2]

    @property
    def text(self) -> str:
        """What is tested: equation and source."""
        return inspect.cleandoc(sys.modules[self.rows.__module__].__doc__ or "")


def near(name: str, measured: float, expected: float, tolerance: float, order: float | None = None) -> Row:
    """Return a row that holds when the relative deviation is at most `tolerance`."""
    return Row(name, float(measured), float(expected), tolerance, "relative", order)


def within(name: str, measured: float, expected: float, tolerance: float) -> Row:
    """Return a row that holds when the deviation is at most `tolerance`."""
    return Row(name, float(measured), float(expected), tolerance, "absolute")


def at_most(name: str, measured: float, bound: float) -> Row:
    """Return a row that holds when the number is at most `bound`."""
    return Row(name, float(measured), float(bound), rule="at_most")


def at_least(name: str, measured: float, bound: float) -> Row:
    """Return a row that holds when the number is at least `bound`."""
    return Row(name, float(measured), float(bound), rule="at_least")


def order_row(name: str, errors: ArrayLike, sizes: ArrayLike, bound: float) -> Row:
    """Return a row for the order of convergence of the two finest of some errors; sizes fall."""
    order = orders(errors, sizes)[-1]
    return Row(name, float(order), bound, rule="at_least", order=float(order))


def orders(errors: ArrayLike, sizes: ArrayLike) -> Sequence[float]:
    """Return the observed order between each pair of neighbours: log(e_1 / e_2) / log(h_1 / h_2)."""
    e, h = np.asarray(errors, dtype=np.float64), np.asarray(sizes, dtype=np.float64)
    return list(np.diff(np.log(e)) / np.diff(np.log(h)))
