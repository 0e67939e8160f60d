"""The report page of a run: `report/index.html`, one file without network, of whatever stages ended."""

from __future__ import annotations

from pathlib import Path

from pipeline.io.atomic import atomic_write_text
from pipeline.io.report_comparison import comparison_file
from pipeline.io.report_contents import PAGE, collect
from pipeline.io.report_page import build_page

__all__ = ["PAGE", "comparison_text", "write_report"]


def comparison_text(run_folder: str | Path) -> str:
    """What a comparison in the run folder says, empty without one: a new one makes a new page."""
    path = comparison_file(Path(run_folder))
    try:
        return "" if path is None else path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def write_report(run_folder: str | Path) -> Path:
    """Write the report page of a run folder and return its path.

    Reads `manifest.json` and the artifacts of the stages that are done. What is missing, failed or damaged is
    said on the page, with its error text; nothing of that kind fails the report.

    Raises:
        OutputError: The page cannot be written.
    """
    folder = Path(run_folder)
    return Path(atomic_write_text(folder / PAGE, build_page(collect(folder))))
