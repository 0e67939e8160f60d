"""Turn tetrahedra that you already have into an asset for Newton, Omni PhysX and MuJoCo.

    python examples/export_a_tet_mesh.py

writes asset/bear.usdc, .msh, .vtu and .npz, in metres and Z up, from the bear that ships inside the warp-lang
wheel.
"""

from pathlib import Path

import warp as wp

from pipeline.io.formats import read_tets
from pipeline.stages.export import ExportConfig, export
from pipeline.types import Frame

bear = Path(wp.__file__).parent / "examples" / "assets" / "bear.usd"

# The file says metres and the bear is 5.5 units tall: call a unit a centimetre. Any file with tets will do.
mesh = read_tets(bear, frame=Frame(metres_per_unit=0.01, up="y"))

config = ExportConfig(name="bear", youngs_modulus=5e4, poissons_ratio=0.4, density=900.0)
asset = export(mesh, config=config, folder="asset")

for kind, path in asset.paths.items():
    print(f"{kind}: {path}, {path.stat().st_size:,} bytes")
print(f"{asset.counts['tets']:,} tets, {1e6 * asset.volume:.1f} cm^3, {1e3 * asset.mass:.1f} g")
