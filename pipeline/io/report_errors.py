"""The error bar and the worst elements of a validation in one line each, for summaries and report pages."""

from __future__ import annotations

from pipeline.types import SimReport


def worst_elements(report: SimReport) -> str:
    """Name the worst tet of each kind and where it lies [m]; empty where none is known."""
    found: dict[str, str] = {}
    lists = [report.metrics.get("worst_elements"), *(s.get("worst") for s in report.scenarios.values())]
    for rows, where in zip(lists, ["", *(f" in {name}" for name in report.scenarios)]):
        for row in rows or []:
            place = ", ".join(f"{value:.3g}" for value in row["position"])
            words = f"tet {row['tet']} at ({place}), {row['metric']}{where} {row['value']:.3g}"
            found.setdefault(row["metric"] + where, words)
    return "; ".join(found.values())


def error_bar(report: SimReport) -> str:
    """Say how far values are from those of quadratic tets and of steps without end; empty where unknown."""
    of_element: dict[str, float] = {}
    of_steps: dict[str, float] = {}
    sag = report.metrics.get("sag_error")
    if isinstance(sag, int | float):
        of_element["sag under own weight"] = -sag
    for name, scenario in report.scenarios.items():
        estimate = scenario.get("error_estimate") or {}
        label = f"{name}, {scenario.get('value_name', 'value')}"
        value = estimate.get("element")
        value = estimate.get("small") if value is None else value
        for found, number in ((of_element, value), (of_steps, estimate.get("steps"))):
            if isinstance(number, int | float):
                found[label] = number
    element = {"averaged": "linear tets with averaged volumes"}.get(
        report.metrics.get("element", ""), "linear tets"
    )
    parts = ((f"{element} against quadratic ones", of_element), ("finite steps", of_steps))
    return "; ".join(
        f"{words}: " + "; ".join(f"{name} {100.0 * value:+.2g} %" for name, value in found.items())
        for words, found in parts
        if found
    )
