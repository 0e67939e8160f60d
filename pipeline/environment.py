"""What a run stands on: the device, the versions of the packages, the memory it has held."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path

from pipeline.context import log
from pipeline.errors import InputError

PACKAGES = ("warp-lang", "numpy", "scipy", "meshio", "usd-core", "hydra-core")


NO_DRIVER = b"Could not find or load the NVIDIA CUDA driver"


def start_warp() -> None:
    """Start Warp without its words on the modules it loads, and on the driver that a CPU does not need."""
    import warp as wp

    wp.config.log_level = wp.LOG_WARNING
    with _errors_without(NO_DRIVER):
        wp.init()


@contextmanager
def _errors_without(words: bytes) -> Iterator[None]:
    """Hold back what libraries write to standard error in the block, and pass it on without some lines.

    Warp's native part writes past Python and has no setting for it.
    """
    sys.stderr.flush()
    try:
        kept = os.dup(2)
    except OSError:  # no standard error, as under pythonw
        yield
        return
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            held.seek(0)
            for line in held:
                if words not in line:
                    os.write(2, line)


def prepare_device(device: str) -> str:
    """Start Warp quietly and return the full name of a device.

    Raises:
        InputError: There is no such device here.
    """
    import warp as wp

    start_warp()
    known = [str(d) for d in wp.get_devices()]
    device = "cuda" if device == "cuda:auto" else device  # a run claims its own; one stage takes the first
    # Asking Warp for a device that is missing makes its driver write errors of its own.
    if device not in known and not (device == "cuda" and wp.is_cuda_available()):
        raise InputError(
            f"device={device} is not on this machine; it has: {', '.join(known)}; use device={known[-1]}"
        )
    found = str(wp.get_device(device))
    cache = Path(wp.config.kernel_cache_dir or ".")
    if not any(cache.glob("wp_*")):
        log.info("first use on this machine: Warp compiles each stage's kernels once, a minute or two in all")
    return found


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that decide results."""
    found = {"python": ".".join(map(str, sys.version_info[:3]))}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def commit() -> str | None:
    """Return the commit of a checkout, or None for an installed package."""
    root = Path(__file__).resolve().parents[1]
    if not (root / ".git").exists():
        return None
    command = ["git", "-C", str(root), "rev-parse", "--short=12", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=5, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


def peak_memory() -> int | None:
    """Return the most memory that this process has held [MB], or None where the system does not say."""
    if sys.platform == "win32":
        return None
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (1024 * 1024 if sys.platform == "darwin" else 1024))
