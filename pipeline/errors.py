"""The errors a caller may handle. Every message names the cause and, where one is known, the remedy.

The command line prints the message of a `SimmeshError` alone and exits with 2; anything else is a bug.
"""

from __future__ import annotations

from collections.abc import Sequence


class SimmeshError(Exception):
    """Base of every error that simmesh raises on purpose."""


class InputError(SimmeshError, ValueError):
    """A file or an argument that cannot be used: missing, empty, unreadable, wrong kind, out of range."""


class InvalidMeshError(InputError):
    """Arrays that do not form a valid point cloud or mesh.

    Attributes:
        rows: The first offending rows (indices into the array that the message names).
    """

    def __init__(self, message: str, rows: Sequence[int] = ()) -> None:
        super().__init__(message)
        self.rows = tuple(int(r) for r in rows)


class OutputError(SimmeshError, OSError):
    """A file that cannot be written: no permission, no space, a format that cannot hold the data."""


class StageError(SimmeshError, RuntimeError):
    """A stage that cannot reach a valid result from valid input, such as a surface that encloses nothing."""
