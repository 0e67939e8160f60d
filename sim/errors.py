"""Errors of a simulation that a caller may handle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


class SimulationDiverged(RuntimeError):
    """A step or an equilibrium that was not reached.

    Attributes:
        step: Number of the step that failed, from 0.
        term: Name of the energy that broke, or "residual" when the iteration ended above its tolerance.
        positions: Last good positions [m], shape (n, 3).
        velocities: Last good velocities [m/s], shape (n, 3), or None for an equilibrium.
        details: Numbers of the last iteration.
    """

    def __init__(
        self,
        message: str,
        *,
        step: int = 0,
        term: str = "residual",
        positions: NDArray[np.float64] | None = None,
        velocities: NDArray[np.float64] | None = None,
        details: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.step = step
        self.term = term
        self.positions = positions
        self.velocities = velocities
        self.details = details or {}

    def last_state(self) -> dict[str, NDArray[np.float64]]:
        """Return what is known of the last good state: "positions" [m], "velocities" [m/s], (n, 3) each."""
        known = {"positions": self.positions, "velocities": self.velocities}
        return {name: values for name, values in known.items() if values is not None}

    def save(self, path: str | Path) -> None:
        """Write the last good state, the step and the term to a NumPy archive (.npz)."""
        np.savez(path, step=self.step, term=self.term, **self.last_state())  # type: ignore[arg-type]
