"""Progress on the terminal: one bar per stage with step, numbers and estimate; else plain lines.

All of it goes to standard error, so that standard output holds the summary alone.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING

from pipeline.context import RunContext

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress

PLAIN_INTERVAL, PHASE_INTERVAL = 5.0, 1.0
"""Least time between two plain lines, and before the line of a new phase [s]."""


def numbers(values: Mapping[str, float]) -> str:
    """Write named numbers in one line: `loss 0.0012, points 4,000`."""
    words = []
    for name, value in values.items():
        whole = isinstance(value, int) or (float(value).is_integer() and abs(value) >= 100)
        words.append(
            f"{name.replace('_', ' ')} {value:,.0f}" if whole else f"{name.replace('_', ' ')} {value:.3g}"
        )
    return ", ".join(words)


def duration(seconds: float) -> str:
    """Write a time: `0.4 s`, `12 s`, `3 min 20 s`."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    return f"{whole} s" if whole < 60 else f"{whole // 60} min {whole % 60} s"


class Progress:
    """Shows which stage works and how far it is. `stream` is standard error unless given."""

    def __init__(self, stream: IO[str] | None = None) -> None:
        self.stream = sys.stderr if stream is None else stream
        self.is_terminal = bool(getattr(self.stream, "isatty", lambda: False)())
        self._bar: RichProgress | None = None
        self._stage = ""
        self._phase = ""
        self._phase_start = self._last_line = 0.0
        self._first_step = 0

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Show the bar of one stage while the block runs."""
        self._stage, self._phase = name, ""
        self._phase_start = self._last_line = time.monotonic()
        if not self.is_terminal:
            try:
                yield
            finally:
                self._stage = ""
            return
        from rich.console import Console
        from rich.progress import BarColumn, SpinnerColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as RichProgress

        columns = (
            SpinnerColumn(),
            TextColumn("{task.fields[stage]:14}"),
            BarColumn(bar_width=24),
            TextColumn("{task.description}"),
            TimeRemainingColumn(compact=True),
        )
        bar = RichProgress(*columns, console=Console(file=self.stream), transient=True, refresh_per_second=5)
        self._task = bar.add_task("", total=None, stage=name)
        self._bar = bar
        try:
            with bar:
                yield
        finally:
            self._bar = None
            self._stage = ""

    def update(self, step: int, total: int | None, phase: str, values: Mapping[str, float]) -> None:
        """Show step `step` of `total` in `phase`."""
        now = time.monotonic()
        is_new = phase != self._phase
        if is_new:
            self._phase, self._phase_start, self._first_step = phase, now, step
        text = " ".join(
            part for part in (phase, f"{step:,}/{total:,}" if total else "", numbers(values)) if part
        )
        if self._bar is not None:
            if is_new:
                self._bar.reset(self._task, total=total)
            self._bar.update(self._task, completed=step, total=total, description=text)
        elif self._stage and now - self._last_line >= (PHASE_INTERVAL if is_new else PLAIN_INTERVAL):
            self._last_line = now
            self.message(f"  {self._stage}: {text}{self._estimate(step, total, now)}")

    def message(self, text: str) -> None:
        """Print a line above the bar."""
        if self._bar is not None:
            self._bar.console.print(text, markup=False, highlight=False, soft_wrap=True)
        else:
            print(text, file=self.stream, flush=True)

    def _estimate(self, step: int, total: int | None, now: float) -> str:
        done = step - self._first_step
        if not total or done <= 0 or step >= total:
            return ""
        return f", about {duration((now - self._phase_start) * (total - step) / done)} left"


class ProgressContext(RunContext):
    """A context without files: progress alone."""

    def __init__(self, progress: Progress, *, device: str = "cpu", seed: int = 0) -> None:
        super().__init__(device=device, seed=seed)
        self.progress = progress

    def record(self, step: int, *, total: int | None = None, phase: str = "", **values: float) -> None:
        super().record(step, total=total, phase=phase, **values)
        self.progress.update(step, total, phase, values)


class LogToProgress(logging.Handler):
    """Prints log lines above the bar."""

    def __init__(self, progress: Progress, level: int = logging.INFO) -> None:
        super().__init__(level)
        self.progress = progress

    def emit(self, record: logging.LogRecord) -> None:
        prefix = f"{record.levelname.lower()}: " if record.levelno >= logging.WARNING else ""
        self.progress.message(f"  {prefix}{self.format(record)}")


@contextmanager
def log_to(progress: Progress) -> Iterator[None]:
    """Send the log of simmesh to `progress` while the block runs."""
    logger = logging.getLogger("simmesh")
    handler = LogToProgress(progress)
    before, propagate = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(min(before or logging.INFO, logging.INFO))
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)
        logger.propagate = propagate
