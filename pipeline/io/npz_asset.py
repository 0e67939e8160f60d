"""Write the asset as a NumPy archive under the keys that `newton.TetMesh.create_from_file` reads.

vertices (n, 3) [m], tet_indices (t, 4), k_mu and k_lambda [Pa], density [kg/m^3], and labels (t,) where
there are any.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import OutputError
from pipeline.io.assets import material_of
from pipeline.io.atomic import atomic_path
from pipeline.io.formats import difference
from pipeline.io.geometry import to_tet_mesh
from pipeline.io.npz import read_arrays, read_npz
from pipeline.types import SimReport, TetMesh

_PER_TET = 12
"""Newton's number for values per tetrahedron; it names the kind of an extra array."""


def write_asset(path: str | Path, mesh: TetMesh, report: SimReport | None, config: Any) -> Path:
    """Write `mesh` (in metres) and its material; raises `OutputError`."""
    path = Path(path)
    material = material_of(report, config)
    arrays: dict[str, Any] = {
        "vertices": mesh.points,
        "tet_indices": mesh.tets,
        "k_mu": np.float64(material.mu),
        "k_lambda": np.float64(material.lam),
        "density": np.float64(material.density),
    }
    if mesh.labels is not None:
        arrays |= {"labels": mesh.labels, "__custom_names__": np.array(["labels"])}
        arrays["__custom_freqs__"] = np.array([_PER_TET], dtype=np.int32)
    with atomic_path(path) as part:
        np.savez(part, **arrays)
        problem = difference(mesh, to_tet_mesh(read_npz(part), mesh.frame))
        found = read_arrays(part)
        for name in ("k_mu", "k_lambda", "density"):
            if name not in found or found[name] != arrays[name]:
                problem = problem or f"{name} is not the same"
        if problem:
            raise OutputError(f"cannot write {path}: what was written differs from the mesh: {problem}")
    return path
