"""The error bar of a validation in one line, for the summary of a run and for its report page."""

from __future__ import annotations

from pipeline.types import SimReport


def error_bar(report: SimReport) -> str:
    """Say how far the tets of the scenarios are from quadratic ones; empty where it was not estimated."""
    found: dict[str, float] = {}
    sag = report.metrics.get("sag_error")
    if isinstance(sag, int | float):
        found["sag under own weight"] = -sag
    for name, scenario in report.scenarios.items():
        estimate = scenario.get("error_estimate") or {}
        value = estimate.get("element")
        value = estimate.get("small") if value is None else value
        if isinstance(value, int | float):
            found[f"{name}, {scenario.get('value_name', 'value')}"] = value
    if not found:
        return ""
    element = {"averaged": "linear tets with averaged volumes"}.get(
        report.metrics.get("element", ""), "linear tets"
    )
    errors = "; ".join(f"{name} {100.0 * value:+.2g} %" for name, value in found.items())
    return f"{element} against quadratic ones: {errors}"
