"""Numbers in text, all at once."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import InputError


def numbers_in(name: str, text: bytes) -> NDArray[np.float64]:
    """All numbers of a text, separated by white space, shape (k,).

    Raises:
        InputError: Something else is there too; `name` says where.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # NumPy stops at what is no number, with a warning
        try:
            return np.fromstring(text.decode("ascii", "replace"), dtype=np.float64, sep=" ")
        except (DeprecationWarning, ValueError) as error:
            raise InputError(f"{name} holds what is no number: damaged; write it again") from error
