"""What a run stands on: the device, the versions of the packages, the memory it has held."""

from __future__ import annotations

import subprocess
import sys
from importlib import metadata
from pathlib import Path

from pipeline.context import log
from pipeline.errors import InputError

PACKAGES = ("warp-lang", "numpy", "scipy", "meshio", "trimesh", "usd-core", "hydra-core")


def prepare_device(device: str) -> str:
    """Start Warp quietly and return the full name of a device.

    Raises:
        InputError: There is no such device here.
    """
    import warp as wp

    wp.config.log_level = wp.LOG_ERROR  # without a GPU, Warp warns that there is none
    wp.init()
    wp.config.log_level = wp.LOG_WARNING
    try:
        found = str(wp.get_device(device))
    except Exception as error:  # Warp raises what it likes for a device that is missing
        known = ", ".join(str(d) for d in wp.get_devices())
        raise InputError(f"device={device}: not on this machine; here are {known}") from error
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
