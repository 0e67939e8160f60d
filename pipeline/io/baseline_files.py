"""Baselines and comparisons as files: JSON for people and programs, JUnit XML for continuous integration.

A baseline is {"simmesh_baseline": 1, "metrics": {name: {"value", "direction", "relative", "absolute"}}}:
people may edit its directions and tolerances, and an update keeps them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from pipeline.errors import InputError
from pipeline.io.artifacts import to_json
from pipeline.io.atomic import atomic_write_bytes, atomic_write_text
from pipeline.metrics.baseline import Comparison, Measure, Row
from pipeline.types import SimReport

FORMAT = 1
_MAX_BYTES = 1 << 24


def write_baseline(
    path: str | Path, measures: Mapping[str, Measure], earlier: Mapping[str, Measure] | None = None
) -> Path:
    """Write measures as a baseline; raises `OutputError`.

    Args:
        path: Where.
        measures: What `measure` returned.
        earlier: The baseline that is replaced: its directions and tolerances are kept.
    """
    lines = []
    for name, new in measures.items():
        old = (earlier or {}).get(name)
        if old is not None:
            new = replace(old, value=new.value)
        entry: dict[str, Any] = {"value": new.value}
        if new.direction != "any":
            entry |= {"direction": new.direction, "relative": new.relative, "absolute": new.absolute}
        lines.append(f"  {json.dumps(name)}: {json.dumps(to_json(entry), allow_nan=False)}")
    metrics = ",\n".join(lines)  # one metric a line: differences are readable
    return atomic_write_text(path, f'{{"simmesh_baseline": {FORMAT}, "metrics": {{\n{metrics}\n}}}}\n')


def read_baseline(path: str | Path) -> dict[str, Measure]:
    """Read a baseline.

    Raises:
        InputError: Missing, damaged, of another format, or with values that are not numbers.
    """
    path = Path(path)
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise InputError(f"larger than {_MAX_BYTES:,} bytes: not a baseline")
        data = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(data, dict) or not isinstance(data.get("metrics"), dict):
            raise InputError('holds no "metrics": not a baseline')
        if data.get("simmesh_baseline") != FORMAT:
            raise InputError(f"is of format {data.get('simmesh_baseline')!r}, expected {FORMAT}")
        return {name: _measure(name, entry) for name, entry in data["metrics"].items()}
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such baseline; write it first (--update)") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: damaged baseline ({error}); write it again (--update)") from error


def limit_rows(report: SimReport) -> tuple[Row, ...]:
    """The checks of a report as rows: against their limits instead of a baseline."""
    return tuple(
        Row(
            f"limit.{check.name}", "same" if check.passed else "worse", float(check.value), float(check.limit)
        )
        for check in report.checks
    )


def write_comparison(path: str | Path, comparison: Comparison, mesh: str = "") -> Path:
    """Write the verdict and every row as JSON; raises `OutputError`."""
    rows = [
        {
            "name": row.name,
            "status": row.status,
            "value": row.value,
            "baseline": row.baseline,
            "allowed": row.allowed,
            "where": row.where,
        }
        for row in comparison.rows
    ]
    return _write_json(Path(path), {"mesh": mesh, "passed": comparison.passed, "metrics": rows})


def write_junit(path: str | Path, comparison: Comparison, mesh: str = "mesh") -> Path:
    """Write each metric as a test case of JUnit XML, a failure where it is worse or missing.

    Raises:
        OutputError: The file cannot be written.
    """
    failures = sum(not row.passed for row in comparison.rows)
    counts = {"tests": str(len(comparison.rows)), "failures": str(failures), "errors": "0"}
    suites = ElementTree.Element("testsuites", counts)
    suite = ElementTree.SubElement(suites, "testsuite", {"name": _printable(mesh), **counts})
    for row in comparison.rows:
        case = ElementTree.SubElement(suite, "testcase", classname="simmesh", name=_printable(row.name))
        if row.passed:
            continue
        message = f"{row.name} is {row.status}: {row.value} now, {row.baseline} before, {row.allowed} allowed"
        failure = ElementTree.SubElement(case, "failure", type=row.status, message=_printable(message))
        failure.text = _printable(row.where)
    ElementTree.indent(suites)
    return atomic_write_bytes(path, ElementTree.tostring(suites, encoding="utf-8", xml_declaration=True))


def _measure(name: str, entry: Any) -> Measure:
    try:
        if not isinstance(entry, dict):
            raise ValueError(f"expected an object, got {type(entry).__name__}")
        return Measure(
            _number(entry["value"]),
            str(entry.get("direction", "any")),
            _number(entry.get("relative", 0.0)),
            _number(entry.get("absolute", 0.0)),
        )
    except (KeyError, ValueError) as error:
        raise InputError(f"metric {name!r}: {error}") from error


def _number(value: Any) -> float:
    """A JSON number, or one of the strings that stand for those that JSON lacks."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(f"expected a number, got {value!r}")
    if isinstance(value, str) and value not in ("nan", "inf", "-inf"):
        raise ValueError(f"expected a number, got {value!r}")
    number = float(value)
    if math.isinf(number) and not isinstance(value, str):
        raise ValueError("a number is too large")
    return number


def _printable(text: str) -> str:
    """Drop what XML cannot hold."""
    return "".join(c for c in text if c.isprintable() or c == " ")


def _write_json(path: Path, data: dict[str, Any]) -> Path:
    return atomic_write_text(path, json.dumps(to_json(data), indent=1, allow_nan=False) + "\n")
