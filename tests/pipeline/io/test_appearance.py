"""Colours and textures of an input reach the surface that the asset shows, from every format with them."""

from __future__ import annotations

import json
import struct

import numpy as np
import pytest
from pxr import Gf, Sdf, Usd, UsdGeom, UsdMedia, UsdShade, Vt

from pipeline.context import RunContext
from pipeline.io.appearance import transferred
from pipeline.io.artifacts import load_artifact, save_artifact
from pipeline.io.formats import difference, read_surface, write_surface
from pipeline.io.usd_asset import SURFACE
from pipeline.io.usd_check import check_usd
from pipeline.points.sampling import sample_surface
from pipeline.rendering.colormap import to_linear
from pipeline.rendering.png import SIGNATURE, encode_png
from pipeline.stages.export import ExportConfig, export
from pipeline.topology import boundary_faces, compact
from pipeline.types import Appearance, Frame, PointCloud, SurfaceMesh

USD = ExportConfig(formats=["usd"])
PNG = encode_png(np.full((2, 2, 3), 200, dtype=np.uint8))
POINTS = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], dtype=float)
FACES = np.array([[0, 1, 2], [0, 2, 3]], dtype=np.int32)
PLACES = POINTS[:, :2] * [0.5, 0.25] + [0.25, 0.5]
BYTES = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [128, 128, 128]])


def obj(folder):
    rows = [f"v {' '.join(map(str, p))} {' '.join(map(str, c / 255))}" for p, c in zip(POINTS, BYTES)]
    rows += [f"vt {u} {v}" for u, v in PLACES]
    rows += ["mtllib look.mtl", "usemtl plain", "f 1/1 2/2 3/3", "usemtl skin", "f 1/-4 -2/3 -1/-1"]
    (folder / "look.mtl").write_text("newmtl plain\nKd 1 0 0\nnewmtl skin\nmap_Kd -s 1 1 1 skin file.png\n")
    path = folder / "quad.obj"
    path.write_text("\n".join(rows))
    return path


def ply(folder):
    rows = ["ply", "format ascii 1.0", "comment TextureFile skin file.png", "element vertex 4"]
    rows += [f"property {t} {n}" for t, n in (("float", "x"), ("float", "y"), ("float", "z"))]
    rows += [f"property uchar {n}" for n in ("red", "green", "blue")]
    rows += ["property float s", "property float t"]
    rows += ["element face 2", "property list uchar int vertex_indices", "end_header"]
    rows += [" ".join(map(str, [*p, *c, *q])) for p, c, q in zip(POINTS, BYTES, PLACES)]
    rows += [" ".join(map(str, [3, *f])) for f in FACES]
    path = folder / "quad.ply"
    path.write_text("\n".join(rows) + "\n")
    return path


def ply_corners(folder):
    rows = ["ply", "format ascii 1.0", "comment TextureFile skin file.png", "element vertex 4"]
    rows += [f"property {t} {n}" for t, n in (("float", "x"), ("float", "y"), ("float", "z"))]
    rows += [f"property uchar {n}" for n in ("red", "green", "blue")]
    rows += ["element face 2", "property list uchar int vertex_indices"]
    rows += ["property list uchar float texcoord", "end_header"]
    rows += [" ".join(map(str, [*p, *c])) for p, c in zip(POINTS, BYTES)]
    rows += [" ".join(map(str, [3, *f, 6, *PLACES[f].ravel()])) for f in FACES]
    path = folder / "quad.ply"
    path.write_text("\n".join(rows) + "\n")
    return path


def glb(folder):
    # Two triangles that share no vertex, as viewers have it; colours are linear, v counts from above.
    corner = FACES.ravel()
    position, color = POINTS[corner].astype("<f4"), to_linear(BYTES / 255)[corner].astype("<f4")
    place = (PLACES[corner] * [1, -1] + [0, 1]).astype("<f4")
    index = np.arange(6, dtype="<u4")
    blocks = [position.tobytes(), color.tobytes(), place.tobytes(), index.tobytes(), PNG]
    starts = np.cumsum([0, *map(len, blocks)])
    views = [{"buffer": 0, "byteOffset": int(s), "byteLength": len(b)} for s, b in zip(starts, blocks)]
    kinds = [("VEC3", 5126, 6), ("VEC3", 5126, 6), ("VEC2", 5126, 6), ("SCALAR", 5125, 6)]
    document = {
        "asset": {"version": "2.0"},
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0}],
        "meshes": [
            {
                "primitives": [
                    {
                        "attributes": {"POSITION": 0, "COLOR_0": 1, "TEXCOORD_0": 2},
                        "indices": 3,
                        "material": 0,
                    }
                ]
            }
        ],
        "materials": [{"pbrMetallicRoughness": {"baseColorTexture": {"index": 0}}}],
        "textures": [{"source": 0}],
        "images": [{"bufferView": 4, "mimeType": "image/png"}],
        "accessors": [
            {"bufferView": k, "type": t, "componentType": c, "count": n} for k, (t, c, n) in enumerate(kinds)
        ],
        "bufferViews": views,
        "buffers": [{"byteLength": int(starts[-1])}],
    }
    text = json.dumps(document).encode()
    text += b" " * (-len(text) % 4)
    body = b"".join(blocks)
    body += b"\0" * (-len(body) % 4)
    path = folder / "quad.glb"
    path.write_bytes(
        struct.pack("<III", 0x46546C67, 2, 28 + len(text) + len(body))
        + struct.pack("<II", len(text), 0x4E4F534A)
        + text
        + struct.pack("<II", len(body), 0x004E4942)
        + body
    )
    return path


def usd_stage(folder, left_handed=False):
    path = folder / "quad.usdc"
    stage = Usd.Stage.CreateNew(str(path))
    UsdGeom.SetStageMetersPerUnit(stage, 1.0)
    UsdGeom.SetStageUpAxis(stage, "Z")
    mesh = UsdGeom.Mesh.Define(stage, "/Quad")
    mesh.CreatePointsAttr([Gf.Vec3f(*p) for p in POINTS])
    faces = FACES[:, ::-1] if left_handed else FACES
    if left_handed:
        mesh.CreateOrientationAttr("leftHanded")
    mesh.CreateFaceVertexCountsAttr([3, 3])
    mesh.CreateFaceVertexIndicesAttr(faces.ravel().tolist())
    color = mesh.CreateDisplayColorPrimvar("vertex")
    color.Set(Vt.Vec3fArray.FromNumpy(to_linear(BYTES / 255).astype(np.float32)))
    st = UsdGeom.PrimvarsAPI(mesh).CreatePrimvar("UVMap", Sdf.ValueTypeNames.TexCoord2fArray, "faceVarying")
    st.Set(Vt.Vec2fArray.FromNumpy(PLACES.astype(np.float32)))
    st.SetIndices(faces.ravel().tolist())
    material = UsdShade.Material.Define(stage, "/Look")
    shader = UsdShade.Shader.Define(stage, "/Look/Surface")
    shader.CreateIdAttr("UsdPreviewSurface")
    texture = UsdShade.Shader.Define(stage, "/Look/Texture")
    texture.CreateIdAttr("UsdUVTexture")
    texture.CreateInput("file", Sdf.ValueTypeNames.Asset).Set("./skin file.png")
    reader = UsdShade.Shader.Define(stage, "/Look/Reader")
    reader.CreateIdAttr("UsdPrimvarReader_float2")
    reader.CreateInput("varname", Sdf.ValueTypeNames.String).Set("UVMap")
    texture.CreateInput("st", Sdf.ValueTypeNames.Float2).ConnectToSource(
        reader.CreateOutput("result", Sdf.ValueTypeNames.Float2)
    )
    shader.CreateInput("diffuseColor", Sdf.ValueTypeNames.Color3f).ConnectToSource(
        texture.CreateOutput("rgb", Sdf.ValueTypeNames.Float3)
    )
    material.CreateSurfaceOutput().ConnectToSource(shader.CreateOutput("surface", Sdf.ValueTypeNames.Token))
    UsdShade.MaterialBindingAPI.Apply(mesh.GetPrim()).Bind(material)
    stage.GetRootLayer().Save()
    return path


def left_handed_stage(folder):
    return usd_stage(folder, left_handed=True)


@pytest.mark.parametrize("make", [obj, ply, ply_corners, glb, usd_stage, left_handed_stage])
def test_every_format_gives_the_same_look(tmp_path, make):
    (tmp_path / "skin file.png").write_bytes(PNG)
    mesh = read_surface(make(tmp_path))
    assert len(mesh.points) == 4
    look = mesh.appearance
    # Positions in the frame of the file, which is Y up for glTF alone; corners may be turned around.
    at = {tuple(p): k for k, p in enumerate(POINTS)}
    row = np.array([at[tuple(np.round(p).tolist())] for p in mesh.points])
    np.testing.assert_allclose(look.colors, to_linear(BYTES / 255)[row], atol=1e-6)
    np.testing.assert_allclose(look.texture_coordinates, PLACES[row[mesh.faces]], atol=1e-6)
    assert look.texture.endswith("quad.glb[0]" if make is glb else "skin file.png")
    # And through the archive of a run.
    save_artifact("surface_mesh", mesh, tmp_path)
    back = load_artifact("surface_mesh", tmp_path).appearance
    np.testing.assert_array_equal(back.colors, look.colors)
    np.testing.assert_array_equal(back.texture_coordinates, look.texture_coordinates)
    assert back.texture == look.texture


def test_a_look_that_does_not_fit_is_left_out_and_counted(tmp_path):
    path = tmp_path / "half.obj"
    path.write_text("v 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\nvt 0 0\nf 1/1 2/1 3/1\nf 1 3 4\n")
    context = RunContext()
    assert read_surface(path, context=context).appearance is None
    assert context.counts == {"looks_ignored": 3}


def sphere(rings: int = 24) -> SurfaceMesh:
    """A unit sphere with the map of its longitude and height, colours of its positions, and a seam."""
    u, v = np.meshgrid(np.linspace(0, 1, 2 * rings + 1), np.linspace(0.02, 0.98, rings), indexing="ij")
    angle, height = 2 * np.pi * u, np.pi * v
    points = np.stack(
        [np.sin(height) * np.cos(angle), np.sin(height) * np.sin(angle), -np.cos(height)], axis=-1
    )
    index = np.arange(u.size).reshape(u.shape)
    a, b, c, d = index[:-1, :-1], index[1:, :-1], index[1:, 1:], index[:-1, 1:]
    corner = np.concatenate([np.stack(t, axis=-1).reshape(-1, 3) for t in ((a, b, c), (a, c, d))])
    flat, places = points.reshape(-1, 3), np.stack([u, v], axis=-1).reshape(-1, 2)
    return SurfaceMesh(flat, corner, appearance=Appearance(0.5 + 0.5 * flat, places[corner], "skin.png"))


def test_nearest_points_give_colours_and_places_and_no_triangle_spans_the_seam():
    source = sphere(40)
    coarse = sphere(13)
    turn = np.array([[np.cos(0.05), -np.sin(0.05), 0], [np.sin(0.05), np.cos(0.05), 0], [0, 0, 1]])
    points = coarse.points @ turn.T
    look = transferred(source, points, coarse.faces)
    # Colours are linear in the position: the error is the distance of the two surfaces, below 1 %.
    np.testing.assert_allclose(look.colors, 0.5 + 0.5 * points, atol=0.01)
    assert look.texture == "skin.png"
    places = look.texture_coordinates
    height = np.arccos(-np.clip(points[coarse.faces][..., 2], -1, 1)) / np.pi
    np.testing.assert_allclose(places[..., 1], height, atol=0.02)
    # The circle is the unit of u: triangles at the seam go on beyond 0 or 1 instead of running back.
    angle = np.arctan2(points[coarse.faces][..., 1], points[coarse.faces][..., 0]) / (2 * np.pi)
    error = places[..., 0] - angle
    is_inner = (np.abs(points[coarse.faces][..., 2]) < 0.9).all(axis=1)  # at the poles u has no value
    np.testing.assert_allclose(error[is_inner], np.round(error[is_inner]), atol=0.02)
    assert np.ptp(places[is_inner][..., 0], axis=1).max() < 2.0 / 26


def test_the_render_mesh_gets_colours_texture_and_material(tmp_path, make_box):
    box = make_box(2)
    points, faces, _ = compact(box.points, boundary_faces(box.tets)[0])
    (tmp_path / "in.png").write_bytes(PNG)
    places = points[faces][..., :2]
    # The input is in centimetres and Y up: (x, y, z) in metres is (x, z, -y) there.
    turned = 100.0 * points[:, [0, 2, 1]] * [1, 1, -1]
    look = Appearance(points.copy(), places, str(tmp_path / "in.png"))
    surface = SurfaceMesh(turned, faces, Frame(0.01, "y"), look)
    for extension in (".usdc", ".usdz"):
        out = tmp_path / extension[1:]
        config = ExportConfig(formats=["usd"], usd_extension=extension)
        asset = export(box, None, config, surface=surface, folder=out)
        stage = Usd.Stage.Open(str(asset.paths["usd"]))
        mesh = UsdGeom.Mesh(stage.GetPrimAtPath(SURFACE))
        color = mesh.GetDisplayColorPrimvar()
        assert color.GetInterpolation() == "vertex"
        np.testing.assert_allclose(color.Get(), mesh.GetPointsAttr().Get(), atol=1e-6)
        st = UsdGeom.PrimvarsAPI(mesh).GetPrimvar("st")
        assert (st.GetTypeName(), st.GetInterpolation()) == ("texCoord2f[]", "faceVarying")
        corner = np.array(mesh.GetFaceVertexIndicesAttr().Get())
        expected = np.array(mesh.GetPointsAttr().Get())[corner][:, :2]
        np.testing.assert_allclose(st.ComputeFlattened(), expected, atol=1e-6)
        # Our own reader finds colours, places and texture again.
        back = read_surface(asset.paths["usd"], prim=SURFACE).appearance
        assert back.texture.endswith(".png" if extension == ".usdc" else "asset_texture.png]")
        found = check_usd(asset.paths["usd"], profiles=("newton", "omni"), require_physics=True)
        assert found.passed(strict=True), found.findings
    assert (tmp_path / "usdc" / "asset_texture.png").read_bytes() == PNG


def test_a_texture_that_is_gone_is_counted_and_the_rest_is_written(tmp_path, make_box):
    box = make_box(1)
    points, faces, _ = compact(box.points, boundary_faces(box.tets)[0])
    look = Appearance(None, points[faces][..., :2], str(tmp_path / "gone.png"))
    context = RunContext()
    surface = SurfaceMesh(points, faces, appearance=look)
    asset = export(box, None, USD, surface=surface, folder=tmp_path, context=context)
    assert context.counts == {"textures_left_out": 1}
    stage = Usd.Stage.Open(str(asset.paths["usd"]))
    assert UsdGeom.PrimvarsAPI(stage.GetPrimAtPath(SURFACE)).GetPrimvar("st").HasValue()
    assert not stage.GetPrimAtPath("/Asset/Materials/Look")


def test_colours_of_a_point_cloud_reach_the_render_mesh(tmp_path, make_box):
    box = make_box(2)
    points, faces, _ = compact(box.points, boundary_faces(box.tets)[0])
    bare = SurfaceMesh(points, faces)
    cloud = PointCloud(points + 1e-3, colors=np.clip(points, 0, 1))
    asset = export(box, None, USD, surface=bare, point_cloud=cloud, folder=tmp_path)
    stage = Usd.Stage.Open(str(asset.paths["usd"]))
    mesh = UsdGeom.Mesh(stage.GetPrimAtPath(SURFACE))
    np.testing.assert_allclose(mesh.GetDisplayColorAttr().Get(), np.clip(points, 0, 1), atol=1e-6)


@pytest.mark.parametrize("suffix", [".ply", ".obj", ".glb"])
def test_colours_of_a_surface_are_written_and_read_back(tmp_path, suffix):
    colors = to_linear(BYTES / 255)
    quad = SurfaceMesh(POINTS, FACES, appearance=Appearance(colors))
    path = write_surface(tmp_path / f"quad{suffix}", quad)
    found = read_surface(path).appearance.colors
    # Half a step of eight bits in sRGB is at most 0.0045 in linear light.
    np.testing.assert_allclose(found, colors, atol=5e-3)
    assert len(write_surface(tmp_path / f"bare{suffix}", SurfaceMesh(POINTS, FACES)).read_bytes()) < len(
        path.read_bytes()
    )


def test_colours_that_differ_when_read_back_are_seen():
    quad, other = (SurfaceMesh(POINTS, FACES, appearance=Appearance(c)) for c in (POINTS, 0.5 * POINTS))
    assert difference(quad, quad, colored=True) == ""
    assert difference(quad, other, colored=True) == "colours are not the same"
    assert difference(quad, SurfaceMesh(POINTS, FACES), colored=True) == "colours are not the same"


@pytest.mark.parametrize(("suffix", "lost"), [(".stl", "colours and texture"), (".glb", "texture")])
def test_what_a_file_will_lack_of_the_look_is_told(tmp_path, caplog, suffix, lost):
    caplog.set_level("INFO", logger="simmesh")
    write_surface(tmp_path / f"quad{suffix}", read_surface(ply(tmp_path)))
    assert f"quad{suffix} holds no {lost}: left out" in caplog.text


def test_colours_reach_the_boundary_for_viewers(tmp_path, make_box):
    box = make_box(2)
    points, faces, _ = compact(box.points, boundary_faces(box.tets)[0])
    colors = points - points.min(axis=0)
    colored = SurfaceMesh(points, faces, appearance=Appearance(colors / colors.max()))
    asset = export(box, config=ExportConfig(formats=["surface"]), surface=colored, folder=tmp_path)
    for key in ("ply", "obj", "glb"):
        found = read_surface(asset.paths[key])
        at_rest = found.frame.to_metres(found.points)
        np.testing.assert_allclose(
            found.appearance.colors, (at_rest - at_rest.min(axis=0)) / colors.max(), atol=5e-3
        )


def test_samples_of_a_coloured_surface_are_coloured():
    source = sphere(12)
    cloud = sample_surface(source, 200, seed=3)
    np.testing.assert_allclose(cloud.colors, 0.5 + 0.5 * cloud.points, atol=1e-12)  # linear in the position
    assert sample_surface(SurfaceMesh(source.points, source.faces), 5).colors is None


def test_the_thumbnail_is_named_by_the_asset(tmp_path, make_box):
    asset = export(make_box(1), None, USD, folder=tmp_path)
    stage = Usd.Stage.Open(str(asset.paths["usd"]))
    named = UsdMedia.AssetPreviewsAPI(stage.GetDefaultPrim()).GetDefaultThumbnails().defaultImage
    assert named.path == "./asset_preview.png"
    assert asset.paths["thumbnail"].read_bytes().startswith(SIGNATURE)
    off = ExportConfig(formats=["usd"], thumbnail=False)
    assert list(export(make_box(1), None, off, folder=tmp_path / "off").paths) == ["usd"]
