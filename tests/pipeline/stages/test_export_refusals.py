"""Every writer of an asset reads back what it wrote, and keeps an earlier file when that fails."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pipeline.errors import OutputError
from pipeline.io import formats, mjcf_asset, npz_asset, usd_asset
from pipeline.io.formats import read_any, read_tets
from pipeline.stages.export import EXPORTERS, ExportConfig, export
from pipeline.types import SimReport, TetMesh

MATERIAL = {"youngs_modulus": 1e5, "poissons_ratio": 0.4, "density": 1000.0}
REPORT = SimReport((), material=MATERIAL)


def only(key: str, **settings) -> ExportConfig:
    return ExportConfig(formats=[key], **settings)


def spoil(monkeypatch, key: str) -> None:
    """Let the writer of a format write something else than it was given."""
    suffix = EXPORTERS[key][0]
    if key == "mujoco":
        real = mjcf_asset.ElementTree.ElementTree.write

        def write(tree, target, **options):
            tree.find("worldbody/flexcomp").set("mass", "1e9")
            real(tree, target, **options)
            tree.find("worldbody/flexcomp").set("mass", "1")

        monkeypatch.setattr(mjcf_asset.ElementTree.ElementTree, "write", write)
    elif key == "npz":
        real_savez = np.savez

        def savez(target, **arrays):
            real_savez(target, **(arrays | {"k_mu": np.float64(1.0)}))

        monkeypatch.setattr(npz_asset.np, "savez", savez)
    elif key == "usd":
        real_look = usd_asset._apply_simulation

        def simulation(tet_mesh, names):
            real_look(tet_mesh, names)
            rest = tet_mesh.GetPrim().GetAttribute(names.rest_points)
            rest.Set([2 * p for p in rest.Get()])

        monkeypatch.setattr(usd_asset, "_apply_simulation", simulation)
    else:
        table = formats.TET_WRITERS if suffix in formats.TET_WRITERS else formats.SURFACE_WRITERS
        real_writer = table[suffix]

        def writer(path, mesh, *more):
            real_writer(path, replace(mesh, points=mesh.points * 2.0), *more)

        monkeypatch.setitem(table, suffix, writer)


@pytest.mark.parametrize("key", EXPORTERS)
def test_what_differs_when_read_back_gets_no_name_and_an_earlier_file_stays(
    tmp_path, make_box, monkeypatch, key
):
    name = f"asset{EXPORTERS[key][0]}"
    export(make_box(1), REPORT, only(key), folder=tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    spoil(monkeypatch, key)
    with pytest.raises(OutputError, match=rf"cannot write .*{name}"):
        export(make_box(2, seed=1), REPORT, only(key), folder=tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("key", ["usd", "msh", "vtu", "npz"])
@pytest.mark.parametrize("labels", [[0, 1, -2, 0, 1, 1], [7] * 6])
def test_labels_come_back_from_every_format(tmp_path, make_box, key, labels):
    box = replace(make_box(1), labels=np.array(labels, dtype=np.int32))
    path = export(box, REPORT, only(key), folder=tmp_path).paths[key]
    np.testing.assert_array_equal(read_tets(path).labels, labels)


@pytest.mark.parametrize("key", ["msh", "vtu", "npz"])
def test_double_precision_survives_far_from_the_origin(tmp_path, make_box, key):
    box = make_box(2, seed=3)
    far = TetMesh(box.points * 1e-3 + [1e5, -1e5, 1e5], box.tets)
    path = export(far, REPORT, only(key), folder=tmp_path).paths[key]
    np.testing.assert_array_equal(read_any(path).points, far.points)
    with pytest.raises(OutputError, match="move the mesh near the origin"):
        export(far, REPORT, only("usd"), folder=tmp_path)


@pytest.mark.parametrize(
    ("name", "value", "scale"),
    [("youngs_modulus", 1e39, 1.0), ("density", 1e-46, 1.0), ("mass", 1e-48, 1e-16)],
)
def test_numbers_beyond_single_precision_are_refused(tmp_path, make_box, name, value, scale):
    box = make_box(1)
    report = SimReport((), material=MATERIAL | ({name: value} if name != "mass" else {"density": 1.0}))
    small = TetMesh(box.points * scale, box.tets)
    with pytest.raises(OutputError, match=f"{name} .* beyond USD's single precision"):
        export(small, report, only("usd"), folder=tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("key", ["glb"])
def test_faces_that_collapse_in_single_precision_are_refused(tmp_path, make_box, key):
    box = make_box(1)
    with pytest.raises(OutputError, match=r"differs|cannot be read back"):
        export(TetMesh(box.points * 1e-3 + 1e6, box.tets), REPORT, only(key), folder=tmp_path)
    assert not list(tmp_path.iterdir())
