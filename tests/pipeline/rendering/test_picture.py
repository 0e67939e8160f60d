"""Pictures of known scenes: area, colour, what is hidden, what is cut away."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.rendering.camera import View, three_quarter_view
from pipeline.rendering.colormap import quality_colors
from pipeline.rendering.picture import cut_plane, draw_points, draw_surface, draw_tets, side_by_side
from pipeline.rendering.scene import Style, corner_normals, surface_openness
from pipeline.topology import boundary_faces

PLAIN = Style(edges=0.0, shadow=0.0)
SIZE = (160, 120)
FRONT = View(
    eye=np.array([0.0, -10.0, 0.0]),
    right=np.array([1.0, 0.0, 0.0]),
    up=np.array([0.0, 0.0, 1.0]),
    forward=np.array([0.0, 1.0, 0.0]),
    focal=2.0,
)


def square(x0=-1.0, x1=1.0) -> tuple[np.ndarray, np.ndarray]:
    """A square in the plane y = 0, facing the front."""
    points = np.array([[x0, 0, -1], [x1, 0, -1], [x1, 0, 1], [x0, 0, 1]], dtype=float)
    return points, np.array([[0, 1, 2], [0, 2, 3]], dtype=np.int32)


def block(cells: int) -> tuple[np.ndarray, np.ndarray]:
    """A cube [-1, 1]^3 of cells^3 cells, six tets each (Kuhn), positive volumes."""
    axis = np.linspace(-1, 1, cells + 1)
    points = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)
    n = cells + 1
    corner = np.stack(np.meshgrid(*[np.arange(cells)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    step, tets = np.array([n * n, n, 1]), []
    for order, odd in (
        ((0, 1, 2), 0),
        ((1, 2, 0), 0),
        ((2, 0, 1), 0),
        ((0, 2, 1), 1),
        ((2, 1, 0), 1),
        ((1, 0, 2), 1),
    ):
        rows = [corner @ step]
        for axis_index in order:
            rows.append(rows[-1] + step[axis_index])
        tets.append(np.stack([rows[0], rows[2], rows[1], rows[3]] if odd else rows, axis=1))
    return points, np.concatenate(tets).astype(np.int32)


def test_a_square_covers_its_share_of_the_picture(device):
    picture = draw_surface(*square(), view=FRONT, size=SIZE, style=PLAIN, device=device)
    # Side 2 at depth 10 with focal 2 x 120 pixels: 48 pixels, on whole pixel borders.
    assert picture.shape == (120, 160, 4)
    assert (picture[..., 3] > 0).sum() == 48 * 48
    assert picture[60, 80, 3] == 255
    assert (picture[0, 0] == 0).all()


def test_each_face_has_its_own_colour(device):
    points, faces = square()
    colors = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    picture = draw_surface(points, faces, colors=colors, view=FRONT, size=SIZE, style=PLAIN, device=device)
    lower_right, upper_left = picture[80, 100], picture[40, 60]
    assert lower_right[0] > 100
    assert lower_right[2] == 0
    assert upper_left[2] > 100
    assert upper_left[0] == 0


def test_vertex_colours_are_interpolated(device):
    points, faces = square()
    colors = np.array([[0.0, 0, 0], [1.0, 1, 1], [1.0, 1, 1], [0.0, 0, 0]])
    picture = draw_surface(points, faces, colors=colors, view=FRONT, size=SIZE, style=PLAIN, device=device)
    row = picture[60, 57:103, 0].astype(int)
    assert (np.diff(row) >= 0).all()
    assert row[-1] - row[0] > 100


def test_colours_of_another_length_are_refused():
    with pytest.raises(ValueError, match="colors: expected"):
        draw_surface(*square(), colors=np.zeros((7, 3)), view=FRONT, size=SIZE)


def test_the_nearer_surface_hides_the_farther_one(device):
    points, faces = square()
    both = np.concatenate([points, points + np.array([0, 2, 0])])
    rows = np.concatenate([faces, faces + 4])
    colors = np.repeat([[1.0, 0, 0], [0, 1.0, 0]], 2, axis=0)
    picture = draw_surface(both, rows, colors=colors, view=FRONT, size=SIZE, style=PLAIN, device=device)
    assert (picture[..., 1][picture[..., 3] > 0] == 0).all()


def test_edges_darken_and_only_near_edges(device):
    plain = draw_surface(*square(), view=FRONT, size=SIZE, style=PLAIN, device=device).astype(int)
    lined = draw_surface(*square(), view=FRONT, size=SIZE, style=Style(edges=1.0, shadow=0.0), device=device)
    assert lined[59, 80, 0] < 0.6 * plain[59, 80, 0]  # on the diagonal
    assert lined[70, 92, 0] == plain[70, 92, 0]  # 15 pixels from it


def test_the_same_scene_gives_the_same_pixels_also_far_from_the_origin(device):
    points, tets = block(2)
    first = draw_tets(points, tets, np.linspace(0, 70, len(tets)), size=SIZE, device=device)
    again = draw_tets(points, tets, np.linspace(0, 70, len(tets)), size=SIZE, device=device)
    np.testing.assert_array_equal(first, again)
    far = draw_tets(points + 2.0**20, tets, np.linspace(0, 70, len(tets)), size=SIZE, device=device)
    # The scene is brought to its box in float64: moving it changes a rounding here and there.
    assert (np.abs(far.astype(int) - first).max(axis=-1) > 8).mean() < 0.01


def test_the_shadow_lies_on_the_ground_only_and_is_transparent(device):
    points, tets = block(1)
    faces, _ = boundary_faces(tets)
    picture = draw_surface(points, faces, size=SIZE, style=Style(shadow=0.5), device=device)
    bare = draw_surface(points, faces, size=SIZE, style=Style(shadow=0.0), device=device)
    added = picture[..., 3].astype(int) - bare[..., 3]
    assert added.min() >= 0
    assert (added > 10).sum() > 100
    assert added.max() <= 128  # strength 0.5 of 255
    # The ground ends behind the block: the upper third of the picture is free.
    assert not added[: SIZE[1] // 3].any()


def test_points_are_seen_where_they_are_and_in_their_colour(device):
    points = np.array([[-1.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
    colors = np.array([[1.0, 0, 0], [0, 0, 1.0]])
    picture = draw_points(
        points, colors=colors, radius=0.2, view=FRONT, size=SIZE, style=PLAIN, device=device
    )
    left, right = picture[60, 80 - 24], picture[60, 80 + 24]
    assert left[0] > 100
    assert left[2] == 0
    assert right[2] > 100
    assert right[0] == 0
    # Two discs of radius 4.8 pixels, with soft borders of one pixel.
    assert picture[..., 3].sum() / 255 == pytest.approx(2 * np.pi * 4.8**2, rel=0.1)


def test_a_dense_cloud_looks_closed_and_hides_its_back(device):
    rng = np.random.default_rng(0)
    points = rng.normal(size=(20_000, 3))
    points /= np.linalg.norm(points, axis=1)[:, None]
    colors = np.where(points[:, 1:2] < 0, [1.0, 0, 0], [0, 1.0, 0])
    picture = draw_points(points, points, colors=colors, view=FRONT, size=SIZE, style=PLAIN, device=device)
    middle = picture[45:75, 65:95]
    assert (middle[..., 3] == 255).mean() > 0.97
    assert (middle[..., 1] > middle[..., 0]).mean() < 0.05


def test_the_cut_opens_the_near_half_and_colours_the_inside_by_quality(device):
    points, tets = block(4)
    values = np.full(len(tets), 5.0)
    view = three_quarter_view(points, aspect=4 / 3)
    picture = draw_tets(points, tets, values, view=view, size=SIZE, style=PLAIN, device=device)
    whole = draw_tets(
        points,
        tets,
        values,
        plane=(np.array([0, -1.0, 0]), 9.0),
        view=view,
        size=SIZE,
        style=PLAIN,
        device=device,
    )
    bad = quality_colors(np.array([5.0]))[0]
    solid = picture[picture[..., 3] == 255][:, :3].astype(float)
    red = solid[:, 0] > 1.8 * solid[:, 2]
    assert bad[0] > 1.8 * bad[2]
    # The cut face of the block is about a third of what is seen of it; the skin keeps its pale colour.
    assert 0.15 < red.mean() < 0.9
    skin = whole[whole[..., 3] == 255][:, :3].astype(float)
    assert not (skin[:, 0] > 1.8 * skin[:, 2]).any()
    assert (whole[..., 3] == 255).sum() > (picture[..., 3] == 255).sum()


def test_the_cut_plane_faces_the_camera_and_keeps_its_share():
    points, tets = block(4)
    normal, offset = cut_plane(points, three_quarter_view(points), share=0.25)
    np.testing.assert_array_equal(normal, [0, -1, 0])
    kept = points[tets].mean(axis=1) @ normal <= offset
    assert kept.mean() == pytest.approx(0.25)


def test_nothing_is_an_empty_picture():
    for picture in (
        draw_surface(np.zeros((0, 3)), np.zeros((0, 3), np.int32), size=SIZE),
        draw_points(np.zeros((0, 3)), size=SIZE),
        draw_tets(np.zeros((0, 3)), np.zeros((0, 4), np.int32), size=SIZE),
    ):
        assert picture.shape == (120, 160, 4)
        assert not picture.any()


def test_a_degenerate_triangle_does_not_break_the_picture():
    points, faces = square()
    points = np.concatenate([points, [[5.0, 0, 0], [6.0, 0, 0], [7.0, 0, 0]]])
    picture = draw_surface(points, np.concatenate([faces, [[4, 5, 6]]]), view=FRONT, size=SIZE, style=PLAIN)
    assert (picture[..., 3] > 0).sum() == 48 * 48


def test_smooth_normals_stop_at_creases():
    points, tets = block(1)
    faces, _ = boundary_faces(tets)
    np.testing.assert_allclose(corner_normals(points, faces, 50.0), corner_normals(points, faces, 0.0))
    bent, rows = square()
    bent[2, 1] = 0.2
    assert np.abs(corner_normals(bent, rows, 50.0) - corner_normals(bent, rows, 0.0)).max() > 0.01


def test_a_flat_sheet_is_fully_open_and_a_corner_is_not(device):
    points, faces = square()
    np.testing.assert_array_equal(surface_openness(points, faces, device=device), np.ones(4))
    fold = np.concatenate([points, points[:2] + np.array([0, -2.0, 0])])
    rows = np.concatenate([faces, [[0, 4, 5], [0, 5, 1]]]).astype(np.int32)
    assert surface_openness(fold, rows, device=device)[:2].max() < 1.0


def test_pictures_stand_side_by_side():
    pair = side_by_side([np.full((3, 4, 4), 7, np.uint8), np.full((3, 2, 4), 9, np.uint8)], gap=1)
    assert pair.shape == (3, 7, 4)
    assert (pair[:, :4] == 7).all()
    assert (pair[:, 4] == 0).all()
    assert (pair[:, 5:] == 9).all()
