"""Draw the stages of a finished run side by side, as the README shows them.

    python benchmarks/draw_stages.py runs/bunny docs/images/bunny.png

The background is transparent, so the picture fits light and dark pages.
"""

from __future__ import annotations

import sys
from pathlib import Path

from pipeline.io.atomic import atomic_write_bytes
from pipeline.io.report_contents import collect, upright
from pipeline.io.report_pictures import common_view, draw
from pipeline.rendering.picture import side_by_side
from pipeline.rendering.png import encode_png

PANELS = ("point_cloud", "surface_mesh", "sim_mesh")
SIZE = (430, 410)


def main(run_folder: str, target: str) -> None:
    """Draw the input points, the surface and the optimized tets of a run."""
    contents = collect(Path(run_folder))
    shapes = [shape for name in PANELS if (shape := contents.geometry(name)) is not None]
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
