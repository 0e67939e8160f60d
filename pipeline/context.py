"""What a stage may know of the run around it: device, seed, progress, checkpoints and counted repairs.

A stage works without a runner: the default context records to the log and keeps no checkpoint.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

log = logging.getLogger("simmesh")


@dataclass
class RunContext:
    """Device, seed and the five ways a stage reports: record, checkpoint, restore, count, note."""

    device: str = "cpu"
    """Warp device name: "cpu" or "cuda:0"."""
    seed: int = 0
    counts: dict[str, float] = field(default_factory=dict)
    """Things repaired, dropped or merged, by name, for the manifest; whole but for shares."""

    def record(self, step: int, *, total: int | None = None, phase: str = "", **values: float) -> None:
        """Report progress: `step` of `total` in `phase`, with named numbers such as a loss.

        Called at most a few times a second in hot loops: values must already be on the host.
        """
        text = ", ".join(f"{k} {v:.4g}" for k, v in values.items())
        log.debug("%s %d/%s %s", phase, step, total, text)

    def checkpoint(self, step: int, **arrays: NDArray[Any]) -> None:
        """Save the state of a loop; the default context keeps nothing."""

    def restore(self) -> tuple[int, dict[str, NDArray[Any]]] | None:
        """Return (step, arrays) of the last checkpoint of this very stage, input and config, or None."""
        return None

    def count(self, name: str, value: float, message: str) -> None:
        """Count something that was repaired, dropped or merged, and log it; zero is not worth a line.

        A whole number stays one; a share may have a fraction.
        """
        value = int(value) if value == int(value) else float(value)
        if value:
            self.counts[name] = self.counts.get(name, 0) + value
            log.info("%s: %s", message, f"{value:,}" if isinstance(value, int) else f"{value:.3g}")

    def note(self, name: str, measure: Callable[[], dict[str, Any]]) -> None:
        """Offer numbers that cost time for the manifest entry of the stage; by default they are not measured.

        Args:
            measure: Makes the numbers (JSON); called only where they are kept.
        """

    def rng(self) -> np.random.Generator:
        """Return a fresh generator for the seed of the run."""
        return np.random.default_rng(self.seed)
