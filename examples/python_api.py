"""The five stages as functions: a point cloud in, an asset out, every step in your hands.

python examples/python_api.py
"""

from pathlib import Path

from pipeline import (
    ReconstructConfig,
    TetrahedralizeConfig,
    export,
    optimize,
    read_surface,
    reconstruct,
    tetrahedralize,
    validate,
)
from pipeline.points.sampling import sample_surface
from pipeline.source import locate


def main() -> None:
    shape = read_surface(locate("warp:sphere.usd"))  # any ply, obj, stl, off or usd file
    cloud = sample_surface(shape, 2000, seed=0)
    surface = reconstruct(cloud, ReconstructConfig(max_faces=400))
    tets = tetrahedralize(surface, TetrahedralizeConfig(target_tets=400))
    better = optimize(tets, surface=surface)
    report = validate(better)
    asset = export(better, report, folder=Path("asset"))

    for check in report.checks:
        print(f"{'pass' if check.passed else 'FAIL'}  {check.name} {check.value:.4g} (limit {check.limit:g})")
    print(f"{len(better.tets)} tets, {asset.volume:.3f} m^3, {asset.mass:.0f} kg: {asset.paths['usd']}")


if __name__ == "__main__":
    main()
