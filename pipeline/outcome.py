"""How a command ends: an exit code, and one message instead of a traceback.

0 ready (or done), 1 the run ended but a check is below its limit, 2 it could not run, 130 Ctrl-C,
143 SIGTERM.
"""

from __future__ import annotations

import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn

from pipeline.errors import SimmeshError

if TYPE_CHECKING:
    from pipeline.config import PipelineConfig

READY, BELOW_LIMIT, COULD_NOT_RUN, INTERRUPTED, TERMINATED = 0, 1, 2, 130, 143


def perform(config: PipelineConfig) -> int:
    """Run the chain with a composed config, print the summary, return the exit code."""
    from pipeline.progress import Progress, log_to
    from pipeline.runner import run

    progress = Progress()
    with log_to(progress):
        result = run(config=config, progress=progress)
    print(result.summary, flush=True)
    return BELOW_LIMIT if result.ready is False else READY


class Terminated(KeyboardInterrupt):
    """The process was asked to end (SIGTERM): it ends as after Ctrl-C, with another exit code."""


@contextmanager
def terminable() -> Iterator[None]:
    """Raise `Terminated` on SIGTERM while the block runs; a second signal does not disturb the first."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(*_: object) -> NoReturn:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise Terminated

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def guarded(command: Callable[[], int], show_traceback: bool = False, job: str = "") -> int:
    """Run a command and turn its errors into one message and an exit code.

    Args:
        command: Returns the exit code.
        show_traceback: Say where an error comes from as well.
        job: Combination of a sweep: errors name it, and Ctrl-C is passed on to end the whole sweep.
    """
    where = f"{job}: " if job else ""
    try:
        return command()
    except KeyboardInterrupt as end:
        if job:
            raise
        _error("interrupted; what ended is kept, the same command goes on from there")
        return TERMINATED if isinstance(end, Terminated) else INTERRUPTED
    except BrokenPipeError:
        sys.stderr.close()
    except Exception as error:
        if show_traceback:
            traceback.print_exc()
        _error(f"{where}{message_of(error)}")
    return COULD_NOT_RUN


def message_of(error: Exception) -> str:
    """Say in one message what went wrong and what to do."""
    if isinstance(error, SimmeshError):
        return str(error)
    if isinstance(error, MemoryError):
        return "out of memory; ask for a smaller mesh or fewer points"
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        remedy = "; check its rights" if isinstance(error, PermissionError) else ""
        return f"{error.filename}: {error.strerror.lower()}{remedy}"
    hint = "this is a fault of simmesh; add --traceback to see where"
    return f"{type(error).__name__}: {error}\n  {hint}"


def _error(text: str) -> None:
    print(f"simmesh: error: {text}", file=sys.stderr, flush=True)
