"""Plots of the report as inline SVG: histograms and lines, coloured by CSS classes for light and dark."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

MINUS = "\N{MINUS SIGN}"


def number(value: float, digits: int = 4) -> str:
    """Write a number for people: few digits, thousands separated, a true minus sign."""
    value = float(value) + 0.0  # no minus sign on zero
    if not np.isfinite(value):
        return "not a number" if np.isnan(value) else "∞" if value > 0 else MINUS + "∞"
    if (value == round(value) or abs(value) >= 1000) and abs(value) < 1e7:
        text = f"{value:,.0f}"
    else:
        text = f"{value:.{digits}g}"
        if "e" in text:
            mantissa, exponent = text.split("e")
            text = f"{mantissa}·10{_superscript(int(exponent))}"
    return text.replace("-", MINUS)


def _superscript(value: int) -> str:
    return str(value).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))


def nice_ticks(low: float, high: float, count: int = 4) -> list[float]:
    """Return round numbers that divide [low, high] into about `count` steps; all lie inside."""
    if not (np.isfinite(low) and np.isfinite(high)) or high <= low:
        return [low] if np.isfinite(low) else []
    raw = (high - low) / count
    power = 10.0 ** np.floor(np.log10(raw))
    step = float(power * min((1, 2, 2.5, 5, 10), key=lambda m: abs(m - raw / power)))
    ticks = np.arange(np.ceil(low / step - 1e-9), np.floor(high / step + 1e-9) + 1) * step
    return [float(t) + 0.0 for t in ticks]


def histogram(
    series: Sequence[tuple[str, str, NDArray]],
    *,
    label: str,
    bounds: tuple[float, float] = (0.0, 180.0),
    bins: int = 60,
    marks: Sequence[tuple[float, str]] = (),
    ticks: Sequence[float] | None = None,
    size: tuple[int, int] = (960, 300),
) -> str:
    """Draw histograms over each other, each as a share of its own total.

    Args:
        series: (name, CSS class, values) of each; the first lies behind.
        label: What the horizontal axis counts, with its unit.
        marks: (value, text) of vertical lines.
        ticks: Labelled values of the horizontal axis; None chooses round ones.
    """
    width, height = size
    left, right, top, bottom = 46, 12, 14, 40
    inner_w, inner_h = width - left - right, height - top - bottom
    edges = np.linspace(*bounds, bins + 1)
    shares = [
        np.histogram(np.clip(v, *bounds), edges)[0] / max(len(v), 1) * 100.0 for _, _, v in series if len(v)
    ]
    peak = max((float(s.max()) for s in shares), default=0.0) or 1.0

    def x(value: float) -> float:
        return left + (value - bounds[0]) / (bounds[1] - bounds[0]) * inner_w

    def y(value: float) -> float:
        return top + inner_h * (1.0 - value / (1.06 * peak))

    parts = []
    for tick in nice_ticks(0.0, 1.06 * peak):
        parts.append(f'<path class="grid" d="M{left} {y(tick):.1f}H{width - right}"/>')
        parts.append(f'<text x="{left - 6}" y="{y(tick) + 4:.1f}" text-anchor="end">{number(tick)} %</text>')
    for tick in ticks if ticks is not None else nice_ticks(*bounds, 6):
        parts.append(f'<path class="axis" d="M{x(tick):.1f} {y(0):.1f}v4"/>')
        parts.append(
            f'<text x="{x(tick):.1f}" y="{y(0) + 17:.1f}" text-anchor="middle">{number(tick)}</text>'
        )
    drawn = [item for item in series if len(item[2])]
    for (_, style, _), share in zip(drawn, shares):
        steps = "".join(f"V{y(s):.1f}H{x(e):.1f}" for s, e in zip(share, edges[1:]))
        parts.append(f'<path class="{escape(style)}" d="M{x(bounds[0]):.1f} {y(0):.1f}{steps}V{y(0):.1f}Z"/>')
    for value, text in marks:
        parts.append(f'<path class="mark" d="M{x(value):.1f} {top}V{y(0):.1f}"/>')
        parts.append(f'<text class="mark-text" x="{x(value) + 4:.1f}" y="{top + 9}">{escape(text)}</text>')
    parts.append(f'<path class="axis" d="M{left} {y(0):.1f}H{width - right}"/>')
    parts.append(
        f'<text class="label" x="{left + inner_w / 2:.1f}" y="{height - 6}" text-anchor="middle">'
        f"{escape(label)}</text>"
    )
    names = ", ".join(name for name, _, _ in drawn)
    return _svg(width, height, f"Histogram of {label}: {names}", parts)


def histograms(series: Sequence[tuple[str, str, NDArray]], **options: Any) -> str:
    """Draw `histogram` wide, and narrow for phones: the text of a picture shrinks with it."""
    sizes = (("wide", (960, 300)), ("narrow", (360, 230)))
    return "".join(
        f'<div class="{screen}">{histogram(series, **options, size=size)}</div>' for screen, size in sizes
    )


def line_plot(
    x: NDArray,
    lines: Sequence[tuple[str, NDArray]],
    *,
    title: str,
    x_label: str,
    size: tuple[int, int] = (320, 190),
) -> str:
    """Draw series as lines over one axis; points that are not finite leave gaps.

    Series longer than 400 points are thinned by keeping the lowest and highest of each stretch.

    Args:
        x: Places, shape (n,).
        lines: (name, values of shape (n,)) of each series; CSS classes line-0 to line-4 in turn.
    """
    width, height = size
    left, right, top, bottom = 58, 12, 26, 34
    x = np.asarray(x, dtype=np.float64)
    values = [np.asarray(y, dtype=np.float64) for _, y in lines]
    good = [np.isfinite(x) & np.isfinite(y) for y in values]
    parts = [f'<text class="title" x="{left}" y="15">{escape(title)}</text>']
    if not any(ok.any() for ok in good):
        parts.append(f'<text x="{left}" y="{height / 2:.0f}">no finite value</text>')
        return _svg(width, height, title, parts)
    x0, x1 = _range(np.concatenate([x[ok] for ok in good]))
    y0, y1 = _range(np.concatenate([y[ok] for y, ok in zip(values, good)]), pad=0.06)

    def px(value: NDArray | float) -> NDArray:
        return left + (np.asarray(value) - x0) / (x1 - x0) * (width - left - right)

    def py(value: NDArray | float) -> NDArray:
        return top + (1.0 - (np.asarray(value) - y0) / (y1 - y0)) * (height - top - bottom)

    for tick in nice_ticks(y0, y1, 3):
        parts.append(f'<path class="grid" d="M{left} {py(tick):.1f}H{width - right}"/>')
        parts.append(f'<text x="{left - 5}" y="{py(tick) + 4:.1f}" text-anchor="end">{number(tick)}</text>')
    for tick in nice_ticks(x0, x1, 3):
        parts.append(
            f'<text x="{px(tick):.1f}" y="{height - bottom + 14}" text-anchor="middle">{number(tick)}</text>'
        )
    parts.append(f'<path class="axis" d="M{left} {height - bottom}H{width - right}"/>')
    for k, (y, ok) in enumerate(zip(values, good)):
        keep = _thin(y, 400)
        path, pen = [], False
        for a, b, drawn in zip(px(x[keep]), py(y[keep]), ok[keep]):
            if drawn:
                path.append(f"{'L' if pen else 'M'}{a:.1f} {b:.1f}")
            pen = bool(drawn)
        dot = " dot" if ok.sum() == 1 else ""
        parts.append(f'<path class="line line-{k % 5}{dot}" d="{"".join(path)}{"h0" if dot else ""}"/>')
    parts.append(
        f'<text class="label" x="{(left + width - right) / 2:.0f}" y="{height - 4}" text-anchor="middle">'
        f"{escape(x_label)}</text>"
    )
    return _svg(width, height, title, parts)


def _range(values: NDArray, pad: float = 0.0) -> tuple[float, float]:
    low, high = float(values.min()), float(values.max())
    if high - low <= 1e-12 * max(abs(low), abs(high), 1e-300):
        spread = 0.5 * abs(low)
        return (low - spread, high + spread) if spread else (0.0, 1.0)
    return low - pad * (high - low), high + pad * (high - low)


def _thin(y: NDArray, count: int) -> NDArray[np.int64]:
    if len(y) <= count:
        return np.arange(len(y))
    finite = np.isfinite(y)
    safe = np.where(finite, y, y[finite].min() if finite.any() else 0.0)
    starts = np.linspace(0, len(y), count // 2 + 1).astype(int)
    keep = {0, len(y) - 1}
    for a, b in pairwise(starts):
        keep.update((a + int(safe[a:b].argmin()), a + int(safe[a:b].argmax())))
    return np.array(sorted(keep))


def _svg(width: int, height: int, title: str, parts: list[str]) -> str:
    return (
        f'<svg class="plot" viewBox="0 0 {width} {height}" role="img" aria-label="{escape(title)}">'
        + "".join(parts)
        + "</svg>"
    )
