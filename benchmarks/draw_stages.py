"""Draw the stages of a finished run side by side, as the README shows them.

    python benchmarks/draw_stages.py runs/bunny docs/images/bunny.png

The background is transparent, so the picture fits light and dark pages.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from pipeline.io.atomic import atomic_write_bytes
from pipeline.io.report_contents import collect, upright
from pipeline.io.report_pictures import Geometry, common_view, draw
from pipeline.rendering.picture import side_by_side
from pipeline.rendering.png import encode_png
from pipeline.topology import boundary_faces
from pipeline.types import SimReport, SurfaceMesh, TetMesh

PANELS = ("point_cloud", "surface_mesh", "sim_mesh")
SCENARIO = "stretch"
SIZE = (430, 410)


def deformed(report: SimReport | None, mesh: Geometry | None) -> SurfaceMesh | None:
    """Return the skin of the tets at the end of a scenario, or None where it was not run."""
    motion = report.motions.get(SCENARIO) if report is not None else None
    if motion is None or not isinstance(mesh, TetMesh):
        return None
    used, tets = np.unique(mesh.tets, return_inverse=True)
    skin = boundary_faces(tets.reshape(-1, 4).astype(np.int32))[0]
    return SurfaceMesh(motion.points[-1][: len(used)].astype(np.float64), skin)


def main(run_folder: str, target: str) -> None:
    """Draw the input points, the surface, the optimized tets and their skin at the end of a scenario."""
    contents = collect(Path(run_folder))
    made = [*map(contents.geometry, PANELS), deformed(contents.report, contents.geometry("sim_mesh"))]
    shapes = [shape for shape in made if shape is not None]
    if not shapes:
        sys.exit(f"{run_folder} holds no result to draw; make a run first")
    view = common_view([upright(shape.points, shape.frame) for shape in shapes], SIZE)
    data = encode_png(side_by_side([draw(shape, view, SIZE) for shape in shapes]))
    atomic_write_bytes(Path(target), data)
    print(f"{target}: {len(shapes)} panels, {len(data) / 1000:.0f} kB")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
