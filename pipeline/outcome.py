"""How a command ends: an exit code, and one message instead of a traceback.

0 ready (or done), 1 the run ended but a check is below its limit, 2 it could not run, 130 Ctrl-C.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING

from pipeline.errors import SimmeshError

if TYPE_CHECKING:
    from pipeline.config import PipelineConfig

READY, BELOW_LIMIT, COULD_NOT_RUN, INTERRUPTED = 0, 1, 2, 130


def perform(config: PipelineConfig) -> int:
    """Run the chain with a composed config, print the summary, return the exit code."""
    from pipeline.progress import Progress, log_to
    from pipeline.runner import run

    progress = Progress()
    with log_to(progress):
        result = run(config=config, progress=progress)
    print(result.summary, flush=True)
    return BELOW_LIMIT if result.ready is False else READY


def guarded(command: Callable[[], int], show_traceback: bool = False) -> int:
    """Run a command and turn its errors into one message and an exit code."""
    try:
        return command()
    except KeyboardInterrupt:
        _error("interrupted; what ended is kept, the same command goes on from there")
        return INTERRUPTED
    except SimmeshError as error:
        if show_traceback:
            traceback.print_exc()
        _error(str(error))
    except MemoryError:
        _error("out of memory; ask for a smaller mesh or fewer points")
    except BrokenPipeError:
        sys.stderr.close()
    except Exception as error:
        if show_traceback:
            traceback.print_exc()
        _error(f"{type(error).__name__}: {error}\n  this is a fault of simmesh; add --traceback to see where")
    return COULD_NOT_RUN


def _error(text: str) -> None:
    print(f"simmesh: error: {text}", file=sys.stderr, flush=True)
