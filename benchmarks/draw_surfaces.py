"""Draw surfaces side by side, as the README shows them.

    python benchmarks/draw_surfaces.py surfaces.png dress.ply:y chambers.ply block.ply

A letter after the file is its up axis, z if there is none. The sides that face inward are drawn brown.
"""

from __future__ import annotations

import sys
from pathlib import Path

from pipeline.io.atomic import atomic_write_bytes
from pipeline.io.formats import read_surface
from pipeline.rendering.camera import three_quarter_view
from pipeline.rendering.picture import draw_surface, side_by_side
from pipeline.rendering.png import encode_png
from pipeline.rendering.scene import Picture, Style
from pipeline.types import rotate_up

SIZE = (430, 410)


def panel(source: str) -> Picture:
    """Draw one surface, FILE or FILE:UP."""
    file, _, up = source.partition(":")
    mesh = read_surface(Path(file))
    points = rotate_up(mesh.points, up or "z")
    view = three_quarter_view(points, elevation=20.0, aspect=SIZE[0] / SIZE[1])
    return draw_surface(points, mesh.faces, view=view, size=SIZE, style=Style(edges=0.3))


def main(target: str, *sources: str) -> None:
    """Draw all surfaces into one picture."""
    data = encode_png(side_by_side([panel(source) for source in sources]))
    atomic_write_bytes(Path(target), data)
    print(f"{target}: {len(sources)} panels, {len(data) / 1000:.0f} kB")


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
