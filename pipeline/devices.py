"""`device=cuda:auto`: each run on a GPU that no other run of this user uses, so that a batch fills them all.

A claim is a lock of the operating system on a file named by the device's identity; it ends with the process.
"""

from __future__ import annotations

import getpass
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pipeline.context import log
from pipeline.errors import InputError
from pipeline.run_folder import lock_file

AUTO = "cuda:auto"
POLL = 0.2
"""Time between two looks for a device that has become free [s]."""


@contextmanager
def claimed_device(device: str) -> Iterator[str]:
    """Give the name of the device to use while the block runs; `cuda:auto` waits for a free one.

    Raises:
        InputError: `cuda:auto` where there is no CUDA device.
    """
    if device != AUTO:
        yield device
        return
    import warp as wp

    from pipeline.environment import start_warp

    start_warp()
    known = {str(d.uuid): d.alias for d in wp.get_cuda_devices()} if wp.is_cuda_available() else {}
    if not known:
        raise InputError(f"device={AUTO}: this machine has no CUDA device; use device=cpu")
    folder = Path(tempfile.gettempdir()) / f"simmesh-devices-{getpass.getuser()}"
    folder.mkdir(exist_ok=True)
    with claim(list(known), folder) as name:
        log.info("device: %s", known[name])
        yield known[name]


@contextmanager
def claim(names: Sequence[str], folder: Path) -> Iterator[str]:
    """Hold the first of some names that nobody holds, while the block runs; wait when all are held."""
    is_told = False
    while True:
        for name in names:
            with open(folder / f"{name}.lock", "a", encoding="utf-8") as file:
                try:
                    lock_file(file)
                except OSError:
                    continue
                yield name
                return
        if not is_told:
            log.info("all %d CUDA devices are in use by other runs; waiting", len(names))
            is_told = True
        time.sleep(POLL)
