"""Contact between surfaces: of bodies with themselves and each other, and with static triangle meshes.

Several bodies are several connected parts of one model. Vertices feel triangles and edges feel edges, in both
directions, through the barrier of `warp_kernels/surface_contact.py`; a Newton step ends before any pair has
used nine tenths of its distance, so that surfaces which do not intersect at the start never do, whatever the
time step.

Pairs come from a search over boxes, made once per Newton step for all positions between its ends, and kept
while no point has left its box by more than half of d_hat. The pattern of the Hessian changes with the pairs:
`find_pattern` says when.

Source: Li et al. 2020, Incremental Potential Contact.
"""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import warp as wp
from numpy.typing import ArrayLike, NDArray

from sim.contact_surface import SurfaceTopology
from sim.energy import total
from sim.model import SoftBodyModel
from warp_kernels import surface_candidates, surface_contact, time_integration
from warp_kernels.surface_candidates import Candidates

Floats = NDArray[np.float64]
Ints = NDArray[np.int32]

_SLACK = 0.5
"""How far a point may leave its box before the pairs are searched again, over d_hat."""
_PAIRS_PER_QUERY = 256
"""Pairs per vertex or edge above which a shorter motion is searched instead."""
_SPARE = 1.5
"""Pairs nearer than so many thicknesses join the pattern ahead of their contact."""

_logger = logging.getLogger(__name__)


class PairPattern:
    """Block pattern of pairs of four corners that grows as pairs come in."""

    def __init__(self, body_points: int) -> None:
        self._n = body_points
        self._keys = np.zeros(0, dtype=np.int64)
        self._slots = np.zeros((0, 16), dtype=np.int32)
        empty = np.zeros(0, dtype=np.int32)
        self.rows, self.columns = empty, empty

    def has(self, keys: NDArray[np.int64]) -> bool:
        """Tell whether all pairs have a place, and not far too many others have one too."""
        if len(self._keys) > 8 * len(keys) + 256:
            return False
        return bool(np.isin(keys, self._keys, assume_unique=True).all())

    def set(self, keys: NDArray[np.int64], corners: Ints) -> None:
        """Take exactly these pairs, with corners of shape (k, 4); blocks of static points have no place."""
        order = np.argsort(keys)
        self._keys, corners = keys[order], corners[order]
        rows, columns = np.repeat(corners, 4, axis=1).ravel(), np.tile(corners, (1, 4)).ravel()
        is_body = (rows < self._n) & (columns < self._n)
        self.rows, self.columns = rows[is_body], columns[is_body]
        self._slots = np.where(is_body, np.cumsum(is_body) - 1, -1).astype(np.int32).reshape(-1, 16)

    def slots(self, keys: NDArray[np.int64]) -> Ints:
        """Return the places of the 16 blocks of each pair, shape (k, 16)."""
        return self._slots[np.searchsorted(self._keys, keys)]


class SurfaceContact:
    """Barrier between the surfaces of a model and static triangles; `SelfContact` and `MeshContact` use it.

    Args:
        points: Static vertices [m], shape (m, 3).
        faces: Static triangles, shape (g, 3).
        d_hat: Distance at which surfaces begin to push [m]; within one body at most half of that at rest.
        pressure: Scale of the barrier [Pa].
        with_self: Bodies feel themselves and each other.
    """

    name = "surface contact"

    def __init__(
        self,
        model: SoftBodyModel,
        points: ArrayLike = (),
        faces: ArrayLike = (),
        *,
        d_hat: float,
        pressure: float,
        with_self: bool,
    ) -> None:
        if not (d_hat > 0 and pressure > 0):
            raise ValueError(f"d_hat and pressure must be positive, got {d_hat} and {pressure}")
        self.model, self.d_hat, self.pressure = model, float(d_hat), float(pressure)
        self.is_projected = True
        """Whether the Hessian leaves out what may not be positive, and so is semi-definite."""
        self.topology = topology = SurfaceTopology(model, points, faces)
        self.surface = topology.on_device(self.d_hat, with_self=with_self)
        device, count = model.device, len(topology.rest)

        def vectors(length: int, dtype: Any = wp.vec3d) -> wp.array:
            return wp.zeros(length, dtype=dtype, device=device)

        self._x: wp.array = wp.array(topology.rest, dtype=wp.vec3d, device=device)
        self._dx, self._gradient = vectors(count), vectors(count)
        self._lower, self._upper = vectors(count), vectors(count)
        self._flag, self._bound = vectors(1, wp.int32), vectors(1, wp.float64)
        self._count, self._start = (vectors(topology.query_count, wp.int32) for _ in range(2))
        boxes = [vectors(len(s), wp.vec3f) for s in (topology.faces, topology.edges) for _ in range(2)]
        self._face_boxes, self._edge_boxes = boxes[:2], boxes[2:]
        self._face_tree: wp.Bvh | None = None
        self._edge_tree: wp.Bvh | None = None
        self._reserve(256)
        self.pairs: Any = None
        """Candidates of the last search, None before the first."""
        self.pair_count = 0
        self.pattern_of_pairs = PairPattern(model.vertex_count)
        self._active: wp.array | None = None
        self._slot: wp.array | None = None
        self._has_told = False

    # Search

    def all_points(self, x: wp.array) -> wp.array:
        """Return positions of all points, the static ones behind `x`; valid until the next call."""
        if len(self._x) == len(x):
            return x
        wp.copy(self._x, x, count=len(x))
        return self._x

    def cover(self, x: wp.array) -> None:
        """Make the pairs valid at positions of all points."""
        if self.pairs is not None:
            self._flag.zero_()
            surface_candidates.leave_boxes(x, _SLACK * self.d_hat, self._lower, self._upper, self._flag)
            if self._flag.numpy()[0] == 0:
                return
        self._dx.zero_()
        self._search(x, self._dx, 1.0, None)

    def _search(self, x: wp.array, dx: wp.array, share: float, limit: int | None) -> bool:
        """Find the pairs of a motion; return False where there are more than `limit`."""
        surface, s = surface_candidates, self.surface
        self.pairs = None
        surface.point_boxes(x, dx, share, self._lower, self._upper)
        surface.simplex_boxes(s.faces, self._lower, self._upper, *self._face_boxes)
        surface.simplex_boxes(s.edges, self._lower, self._upper, *self._edge_boxes)
        if self._face_tree is None or self._edge_tree is None:
            low, high = self._face_boxes
            self._face_tree = wp.Bvh(low, high)
            low, high = self._edge_boxes
            self._edge_tree = wp.Bvh(low, high)
        else:
            self._face_tree.rebuild()
            self._edge_tree.rebuild()
        reach = (1.0 + 2.0 * _SLACK) * self.d_hat
        where = (s, self._face_tree, self._edge_tree, self._lower, self._upper, reach, self._start)
        surface.find_pairs(*where, self._count, None)
        wp.utils.array_scan(self._count, self._start, inclusive=False)
        count = int(self._start.numpy()[-1] + self._count.numpy()[-1])
        if limit is not None and count > limit:
            return False
        if count > self._room:
            self._reserve(count + count // 2)
        if count:
            surface.find_pairs(*where, None, self._pair_ids[:count])
        pairs: Any = Candidates()
        for name in ("corners", "is_edges", "thickness", "weight", "threshold"):
            setattr(pairs, name, getattr(self._all_pairs, name)[:count])
        self.pairs, self.pair_count = pairs, count
        if count:
            surface.describe_pairs(s, self._pair_ids[:count], pairs)
            self._tell_touching()
        return True

    def _reserve(self, room: int) -> None:
        device = self.model.device
        self._pair_ids = wp.zeros(room, dtype=wp.vec2i, device=device)
        of: Any = Candidates()
        of.corners = wp.zeros(room, dtype=wp.vec4i, device=device)
        of.is_edges = wp.zeros(room, dtype=wp.bool, device=device)
        of.thickness, of.weight, of.threshold, self._energy, self._distance = (
            wp.zeros(room, dtype=wp.float64, device=device) for _ in range(5)
        )
        self._all_pairs, self._room = of, room

    def _tell_touching(self) -> None:
        if self._has_told:
            return
        count = int((self.pairs.thickness.numpy() == 0.0).sum())
        if count:
            self._has_told = True
            _logger.warning(
                "%s: %d pairs of one body touch at rest and are left alone; separate them there",
                self.name, count,
            )  # fmt: skip

    def pair_ids(self) -> tuple[Ints, Ints]:
        """Return vertex (or number of vertices + edge) and triangle (or edge) of each pair, (k,) each."""
        ids = self._pair_ids.numpy()[: self.pair_count] if self.pair_count else np.zeros((0, 2), np.int32)
        return ids[:, 0], ids[:, 1]

    def keys(self, which: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return one number per pair, the same in every search."""
        queries, partners = self.pair_ids()
        size = max(len(self.topology.faces), len(self.topology.edges))
        return queries[which].astype(np.int64) * size + partners[which]

    def numbers(self, keys: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the numbers of pairs in the last search, which holds them, from their keys."""
        all_keys = self.keys(np.arange(self.pair_count))
        order = np.argsort(all_keys)
        return order[np.searchsorted(all_keys, keys, sorter=order)] if len(keys) else np.zeros(0, np.int64)

    def distances(self) -> Floats:
        """Return the distance of each pair as evaluated last [m], shape (k,); inf where not watched."""
        return self._distance.numpy()[: self.pair_count]

    def thicknesses(self) -> Floats:
        """Return the thickness of each pair [m], shape (k,)."""
        return self.pairs.thickness.numpy() if self.pair_count else np.zeros(0)

    # Energy

    def _evaluate(self, x: wp.array) -> wp.array:
        """Fill energies and distances of the pairs; return positions of all points."""
        points = self.all_points(x)
        self.cover(points)
        if self.pair_count:
            k = self.pair_count
            surface_contact.pair_energy(
                points, self.pairs, self.pressure, self._energy[:k], self._distance[:k]
            )
        return points

    def value(self, x: wp.array) -> float:
        self._evaluate(x)
        return total(self._energy[: self.pair_count]) if self.pair_count else 0.0

    def gradient(self, x: wp.array, out: wp.array) -> None:
        points = self.all_points(x)
        self.cover(points)
        if not self.pair_count:
            return
        self._gradient.zero_()
        surface_contact.pair_gradient(points, self.pairs, self.pressure, self._gradient)
        time_integration.add_scaled(out, 1.0, self._gradient[: len(out)], out)

    def find_pattern(self, x: wp.array) -> bool:
        """Find the pairs with a Hessian at `x`; return whether `pattern` has changed. Comes before it."""
        self._evaluate(x)
        distance, thickness = self.distances(), self.thicknesses()
        near = np.flatnonzero(distance < thickness)
        pattern, keys = self.pattern_of_pairs, self.keys(near)
        has_changed = not pattern.has(keys)
        if has_changed:
            spare = np.flatnonzero(distance < _SPARE * thickness)
            corners = self.pairs.corners.numpy()[spare] if len(spare) else np.zeros((0, 4), dtype=np.int32)
            pattern.set(self.keys(spare), corners)
        device = self.model.device
        self._active = wp.array(near, dtype=wp.int32, device=device)
        self._slot = wp.array(pattern.slots(keys), dtype=wp.int32, device=device) if len(near) else None
        return has_changed

    def pattern(self) -> tuple[Ints, Ints]:
        return self.pattern_of_pairs.rows, self.pattern_of_pairs.columns

    def hessian(self, x: wp.array, out: wp.array) -> None:
        out.zero_()
        if self._active is not None and self._slot is not None:
            surface_contact.pair_hessian(
                self.all_points(x),
                self.pairs,
                self.pressure,
                self.is_projected,
                self._active,
                self._slot,
                out,
            )

    def step_bound(self, x: wp.array, dx: wp.array) -> float:
        points = self.all_points(x)
        self._dx.zero_()
        wp.copy(self._dx, dx, count=len(dx))
        return self._safe_share(points, self._dx)

    def _safe_share(self, points: wp.array, dx: wp.array) -> float:
        share = 1.0
        limit = _PAIRS_PER_QUERY * self.topology.query_count
        while not self._search(points, dx, share, limit if share > 1e-3 else None):
            share *= 0.5
        if not self.pair_count:
            return share
        self._bound.fill_(share)
        surface_contact.safe_share(points, dx, self.pairs, self._bound)
        return float(self._bound.numpy()[0])

    # What callers ask

    def reaction(self, x: wp.array) -> Floats:
        """Return the force of static triangles on the bodies [N], shape (3,)."""
        out = wp.zeros(self.model.vertex_count, dtype=wp.vec3d, device=self.model.device)
        self.gradient(x, out)
        return -out.numpy().sum(axis=0)

    def gap(self, positions: Floats) -> float:
        """Return the smallest distance of two primitives [m], inf where none are within reach of d_hat."""
        self._evaluate(self.model.to_device(positions))
        return float(self.distances().min(initial=np.inf))


class SelfContact(SurfaceContact):
    """Barrier of a model with itself: of each body with itself, and of bodies with each other.

    Args:
        d_hat: Distance at which surfaces begin to push [m]; within one body at most half of that at rest.
        pressure: Scale of the barrier [Pa].
    """

    name = "self-contact"

    def __init__(self, model: SoftBodyModel, *, d_hat: float, pressure: float) -> None:
        super().__init__(model, d_hat=d_hat, pressure=pressure, with_self=True)


class MeshContact(SurfaceContact):
    """A static triangle surface, open or closed; both sides push.

    Args:
        points: [m], shape (m, 3).
        faces: Vertex indices, shape (g, 3); triangles of positive area.
        d_hat: Distance at which the surface begins to push [m].
        pressure: Scale of the barrier [Pa].
    """

    name = "obstacle mesh"

    def __init__(
        self, model: SoftBodyModel, points: ArrayLike, faces: ArrayLike, *, d_hat: float, pressure: float
    ) -> None:
        if not len(np.asarray(faces)):
            raise ValueError("faces: expected at least one triangle")
        super().__init__(model, points, faces, d_hat=d_hat, pressure=pressure, with_self=False)

    def move(self, points: ArrayLike, positions: Floats) -> float:
        """Move the surface straight to `points` [m], shape (m, 3), or as far as the bodies allow.

        Args:
            positions: Of the bodies [m], shape (n, 3).

        Returns:
            The share of the way that was taken; velocities of the surface are not seen by friction.
        """
        n, device = self.model.vertex_count, self.model.device
        start = self.topology.static_points
        way = np.asarray(points, dtype=np.float64) - start
        if way.shape != start.shape or not np.isfinite(way).all():
            raise ValueError(f"points: expected finite {start.shape}, got shape {way.shape}")
        x = self.all_points(self.model.to_device(positions))
        self._dx.zero_()
        wp.copy(self._dx, wp.array(way, dtype=wp.vec3d, device=device), dest_offset=n)
        share = self._safe_share(x, self._dx)
        self.topology.static_points = start + share * way
        self.topology.rest[n:] = self.topology.static_points
        moved: wp.array = wp.array(self.topology.static_points, dtype=wp.vec3d, device=device)
        wp.copy(self._x, moved, dest_offset=n)
        wp.copy(self.surface.rest, moved, dest_offset=n)
        return share
