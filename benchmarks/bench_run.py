"""Time one whole run, from points to asset: cold kernel cache, warm cache, and once more with nothing to do.

    python benchmarks/bench_run.py [--cold] [overrides of simmesh run]

Without overrides it is the default run on the bunny. Prints the seconds of each stage as the manifest holds
them, the wall and processor time of the whole process, and its peak memory. The peer is pytetwild (the extra
`baselines`), which does the part of tetrahedralize and optimize on the same surface.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def run(folder: Path, overrides: list[str], cache: Path | None) -> None:
    """Run the chain in a process of its own and print a row."""
    environment = dict(os.environ)
    if cache is not None:
        environment["WARP_CACHE_PATH"] = str(cache)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    command = [sys.executable, "-m", "pipeline", f"run.dir={folder}", *overrides]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    wall = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode not in (0, 1):
        sys.exit(done.stderr or done.stdout)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    manifest = json.loads((folder / "manifest.json").read_text())
    stages = ", ".join(f"{name} {entry['seconds']:.1f}" for name, entry in manifest["stages"].items())
    print(
        f"  wall {wall:6.1f} s, processor {cpu:6.1f} s, peak {manifest['peak_memory_mb']:.0f} MB   ({stages})"
    )


def peer(folder: Path) -> None:
    """Time pytetwild with its defaults on the surface of the run."""
    try:
        import pytetwild
    except ImportError as error:
        print(f"  not run: {error}")
        return
    from pipeline.io.artifacts import load_artifact
    from pipeline.metrics.tet import tet_quality

    surface, ours = (
        load_artifact("surface_mesh", folder / "reconstruct"),
        load_artifact("sim_mesh", folder / "optimize"),
    )
    here = os.getcwd()
    with tempfile.TemporaryDirectory() as scratch:  # fTetWild writes a file into the current folder
        os.chdir(scratch)
        start = time.process_time()
        points, tets = pytetwild.tetrahedralize(surface.points, surface.faces, optimize=True)
        seconds = time.process_time() - start
        os.chdir(here)
    for name, x, t in (("simmesh", ours.points, ours.tets), ("pytetwild", points, tets[:, [0, 2, 1, 3]])):
        angle = tet_quality(x, t)["min_dihedral_angle"]
        print(f"  {name:10} {len(t):7,} tets, smallest dihedral angle {angle.min():.1f} degrees")
    print(f"  pytetwild took {seconds:.1f} s of processor time")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cold", action="store_true", help="begin with an empty kernel cache")
    parser.add_argument("--peer", action="store_true", help="pytetwild on the same surface, too")
    options, overrides = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as scratch:
        cache = Path(scratch) / "kernels" if options.cold else None
        if options.cold:
            print("empty kernel cache")
            run(Path(scratch) / "cold", overrides, cache)
        print("kernels compiled")
        run(Path(scratch) / "warm", overrides, cache)
        print("again, nothing to do")
        run(Path(scratch) / "warm", overrides, cache)
        if options.peer:
            print("peer on the same surface")
            peer(Path(scratch) / "warm")


if __name__ == "__main__":
    main()
