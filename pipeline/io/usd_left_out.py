"""Say what a USD stage holds that is not read, or is read in another way than a viewer shows it.

missing layers, references and payloads; layers of another unit or up axis, which USD does not convert
prims of other kinds (Sphere, BasisCurves, ...) and prims without points
variant sets, animation, skinning, subdivision, holes
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

Note = tuple[str, int, str]
"""Name of the count, number, sentence."""
_LISTED = 3


def incomplete(stage: Any) -> list[str]:
    """What of a stage could not be found or put together, in USD's words."""
    return [" ".join(str(error).split())[:300] for error in stage.GetCompositionErrors()]


def other_units(stage: Any) -> list[str]:
    """Layers whose unit or up axis is another one than that of the stage, each in one sentence."""
    from pxr import UsdGeom

    root = stage.GetRootLayer()
    own = {"metersPerUnit": UsdGeom.GetStageMetersPerUnit(stage), "upAxis": UsdGeom.GetStageUpAxis(stage)}
    sentences = []
    for layer in stage.GetUsedLayers():
        if layer.anonymous or layer == root:
            continue
        told = {key: layer.pseudoRoot.GetInfo(key) for key in own if layer.pseudoRoot.HasInfo(key)}
        differing = [f"{key} {value} (not {own[key]})" for key, value in told.items() if value != own[key]]
        if differing:
            sentences.append(
                f"{layer.GetDisplayName()} has {', '.join(differing)}, and USD converts nothing: "
                "only a transform in the stage does"
            )
    return sentences


def left_out(root: Any, read: Sequence[Any], told: Sequence[Any] = ()) -> list[Note]:
    """Notes on prims at or below `root`.

    Args:
        root: A prim.
        read: The prims whose points and cells are read.
        told: Prims that are left out, and that the reader tells itself.
    """
    from pxr import Usd, UsdGeom

    paths = {prim.GetPath() for prim in (*read, *told)}
    kinds: Counter[str] = Counter()
    empty, variants = 0, []
    for prim in Usd.PrimRange(root, Usd.TraverseInstanceProxies()):
        sets = prim.GetVariantSets()
        for name in sets.GetNames():
            variants.append(f"{prim.GetPath()} {name}={sets.GetVariantSelection(name) or '(none)'}")
        if not prim.IsA(UsdGeom.Gprim) or prim.GetPath() in paths:
            continue
        if any(prim.IsA(kind) for kind in (UsdGeom.Mesh, UsdGeom.TetMesh, UsdGeom.Points)):
            has_points = UsdGeom.PointBased(prim).GetPointsAttr().HasValue()
            kinds[str(prim.GetTypeName())] += has_points
            empty += not has_points
        elif is_shown(prim):
            kinds[str(prim.GetTypeName())] += 1
    words = ", ".join(f"{count} {kind}" for kind, count in kinds.items() if count)
    return [
        ("prims_ignored", kinds.total(), f"prims that are not read ({words})"),
        ("prims_without_points", empty, "prims without points, not read"),
        ("variant_sets", len(variants), f"variant sets, read as selected ({_few(variants)})"),
        *_read_otherwise(read),
    ]


def _read_otherwise(read: Sequence[Any]) -> list[Note]:
    """What a viewer shows in another way than it is read."""
    from pxr import UsdGeom

    moving = skinned = smooth = holes = 0
    for prim in read:
        moving += _moves(prim)
        skinned += bool(prim.GetAttribute("primvars:skel:jointIndices").HasAuthoredValue())
        if prim.IsA(UsdGeom.Mesh):
            mesh = UsdGeom.Mesh(prim)
            scheme = mesh.GetSubdivisionSchemeAttr()
            smooth += scheme.HasAuthoredValue() and scheme.Get() != UsdGeom.Tokens.none
            holes += len(mesh.GetHoleIndicesAttr().Get() or [])
    return [
        ("prims_animated", moving, "prims that move: read at the default time, else at the first sample"),
        ("prims_skinned", skinned, "prims with a skeleton: read in their bind pose"),
        ("subdivision_ignored", smooth, "meshes that ask for subdivision: read as they are before it"),
        ("holes_filled", holes, "faces that are marked as holes: read as faces"),
    ]


def is_shown(prim: Any) -> bool:
    """Whether a viewer draws the prim: visible, and not a stand-in for another."""
    from pxr import UsdGeom

    imageable, tokens = UsdGeom.Imageable(prim), UsdGeom.Tokens
    purpose = imageable.ComputePurpose()
    return imageable.ComputeVisibility() != tokens.invisible and purpose not in (tokens.guide, tokens.proxy)


def _moves(prim: Any) -> bool:
    """Whether points or a transform above them vary in time."""
    from pxr import UsdGeom

    if UsdGeom.PointBased(prim).GetPointsAttr().ValueMightBeTimeVarying():
        return True
    while prim and not prim.IsPseudoRoot():
        if prim.IsA(UsdGeom.Xformable) and UsdGeom.Xformable(prim).TransformMightBeTimeVarying():
            return True
        prim = prim.GetParent()
    return False


def _few(words: list[str]) -> str:
    more = f" and {len(words) - _LISTED:,} more" if len(words) > _LISTED else ""
    return ", ".join(words[:_LISTED]) + more
