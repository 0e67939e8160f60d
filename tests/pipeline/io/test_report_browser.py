"""The report page in a browser: it loads in silence, turns, plays, fits a phone and needs no network."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import numpy as np
import pytest

from pipeline.batch import Job, Outcome
from pipeline.io import report_pictures, report_worst
from pipeline.io.artifacts import save_artifact
from pipeline.io.batch_page import write_batch_page
from pipeline.io.report import write_report
from pipeline.topology import boundary_faces
from pipeline.types import Check, Motion, Obstacle, SimReport, SurfaceMesh, TetMesh
from tests.pipeline.io.browser import Browser, BrowserError, find_browser

pytestmark = pytest.mark.skipif(find_browser() is None, reason="no Chromium (apt-get install chromium)")

VIEW = "document.getElementById('view')"
CANVAS = "document.querySelector('#view canvas')"
DESKTOP, PHONE = (1100, 800), (360, 740)


def box_run(folder: Path, mesh: TetMesh) -> Path:
    """A run of a box that falls and is sheared on the way."""
    faces = boundary_faces(mesh.tets)[0]
    save_artifact("surface_mesh", SurfaceMesh(mesh.points, faces), folder / "input")
    for name, stage in (("tet_mesh", "tetrahedralize"), ("sim_mesh", "optimize")):
        save_artifact(name, mesh, folder / stage)
    times = np.linspace(0.0, 0.2, 6)
    shear, fall = np.array([2.0, 0.0, 0.0]), np.array([0.0, 0.0, -4.0])
    frames = [mesh.points + t * (np.outer(mesh.points[:, 2], shear) + fall) for t in times]
    # A slab below the body that sinks with it.
    ground = Obstacle(mesh.points - [0.0, 0.0, 1.1], faces, np.outer(times, fall))
    drop = {"series": {"time": times.tolist(), "energy": (1 - times).tolist()}}
    report = SimReport(
        (Check("min_dihedral_angle", 21.5, 8.0, "min", "deg", "A long description of the check. " * 4),),
        {"tets": len(mesh.tets)},
        {"drop": drop},
        {"youngs_modulus": 1e6, "density": 1000.0},
        {"drop": Motion(times, np.array(frames), {"ground": ground})},
    )
    paths = save_artifact("sim_report", report, folder / "validate")
    done = {"status": "done", "seconds": 1.0, "outputs": {}, "counts": {}, "config": {"word": "x" * 200}}
    outputs = {path.relative_to(folder).as_posix(): "0" for path in paths}
    stages = {name: dict(done) for name in ("tetrahedralize", "optimize")} | {
        "validate": done | {"outputs": outputs}
    }
    manifest = {
        "run": "a_rather_long_name_" * 6,
        "stages": stages,
        "input": {"path": "box.ply"},
        "ready": True,
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


@pytest.fixture(scope="module")
def page(tmp_path_factory, make_box):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(report_pictures, "SIZE", (160, 120))
        patch.setattr(report_worst, "SIZE", (120, 90))
        patch.setattr(report_worst, "OVERVIEW", (160, 120))
        return write_report(box_run(tmp_path_factory.mktemp("run with space"), make_box(2, seed=1)))


@pytest.fixture(scope="module")
def browser():
    try:
        started = Browser(find_browser())
    except BrowserError as error:
        pytest.skip(f"the browser does not start here: {error}")
    with started:
        yield started


def opened(browser: Browser, page: Path, size: tuple[int, int], phone: bool = False) -> Browser:
    browser.resize(*size, phone)
    browser.open(page)
    if not browser.evaluate("!!document.createElement('canvas').getContext('webgl2')"):
        pytest.skip("this browser draws no WebGL 2")
    browser.evaluate(f"{VIEW}.scrollIntoView({{behavior: 'instant'}})")
    browser.wait_for(f"{VIEW}.dataset.drawn > 0")
    return browser


def pixels(browser: Browser) -> np.ndarray:
    """What the canvas shows, shape (h, w, 4); the page keeps its last drawing."""
    text = (
        f"(() => {{ const c = {CANVAS}, g = c.getContext('webgl2');"
        " const p = new Uint8Array(4 * c.width * c.height);"
        " g.readPixels(0, 0, c.width, c.height, g.RGBA, g.UNSIGNED_BYTE, p);"
        " let t = ''; for (let i = 0; i < p.length; i += 8192)"
        " t += String.fromCharCode(...p.subarray(i, i + 8192)); return [c.height, c.width, btoa(t)]; })()"
    )
    height, width, data = browser.evaluate(text)
    return np.frombuffer(base64.b64decode(data), np.uint8).reshape(height, width, 4)[::-1]


def middle(browser: Browser) -> tuple[float, float]:
    box = browser.evaluate(
        f"(() => {{ const r = {CANVAS}.getBoundingClientRect(); return [r.x, r.y, r.width, r.height]; }})()"
    )
    return box[0] + box[2] / 2, box[1] + box[3] / 2


def changed(before: np.ndarray, after: np.ndarray) -> float:
    """Share of the body's pixels that differ."""
    body = (before[..., 3] > 0) | (after[..., 3] > 0)
    return float((before != after).any(axis=-1)[body].mean())


def choose(browser: Browser, label: str) -> None:
    found = browser.evaluate(
        "(() => { const b = [...document.querySelectorAll('.shapes button')].find(b => b.textContent === "
        f"{json.dumps(label)}); if (b) b.click(); return !!b; }})()"
    )
    assert found, f"no button {label}"


def settle(browser: Browser) -> None:
    """Wait until what was asked for is drawn."""
    browser.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")


def test_the_page_loads_in_silence_and_asks_for_nothing_but_itself(browser, page):
    opened(browser, page, DESKTOP)
    for label in ("Surface", "Tets", "Optimized tets", "Drop"):
        choose(browser, label)
        settle(browser)
    assert browser.problems() == []
    assert browser.requests() == [page.resolve().as_uri()]


def test_a_wide_screen_shows_the_wide_histogram_alone(browser, page):
    opened(browser, page, DESKTOP)
    shown = "[...document.querySelectorAll('#quality svg.plot')].map(e => e.getBoundingClientRect().width)"
    assert [width > 0 for width in browser.evaluate(shown)] == [True, False]


def test_a_drag_turns_the_view(browser, page):
    opened(browser, page, DESKTOP)
    before = pixels(browser)
    assert (before[..., 3] > 0).mean() > 0.02, "nothing is drawn"
    settle(browser)
    np.testing.assert_array_equal(pixels(browser), before)  # it stands still by itself
    x, y = middle(browser)
    browser.drag((x, y), (x + 120, y + 20))
    settle(browser)
    assert changed(before, pixels(browser)) > 0.1


def test_the_animation_plays_pauses_and_is_scrubbed(browser, page):
    opened(browser, page, DESKTOP)
    assert browser.evaluate("document.querySelector('.player').hidden") is True
    choose(browser, "Drop")
    browser.wait_for(f"{VIEW}.dataset.time > 0")
    first = pixels(browser)
    assert browser.evaluate("document.querySelector('.player').hidden") is False
    browser.wait_for(f"{VIEW}.dataset.time === '1'")  # it plays to the end by itself, and stops
    settle(browser)
    last = pixels(browser)
    assert changed(first, last) > 0.05
    assert "Play" in browser.evaluate("document.querySelector('[name=play]').textContent")
    # Back to the middle with the slider: the clock shows half of the time, and the picture stands.
    browser.evaluate(
        "(() => { const t = document.querySelector('[name=time]'); t.value = 500;"
        " t.dispatchEvent(new Event('input')); })()"
    )
    settle(browser)
    half = pixels(browser)
    assert changed(half, last) > 0.05
    assert browser.evaluate("document.querySelector('[name=clock]').textContent").startswith(
        "0.1000 of 0.2000 s"
    )
    # Play and pause with the button.
    browser.evaluate("document.querySelector('[name=play]').click()")
    browser.wait_for(f"{VIEW}.dataset.time > 0.5")
    browser.evaluate("document.querySelector('[name=play]').click()")
    settle(browser)
    at = browser.evaluate(f"{VIEW}.dataset.time")
    settle(browser)
    assert browser.evaluate(f"{VIEW}.dataset.time") == at
    assert browser.problems() == []


def test_what_the_body_touches_is_drawn_in_blue_and_moves(browser, page):
    opened(browser, page, DESKTOP)

    def blue() -> np.ndarray:
        shown = pixels(browser)[..., :3].astype(int)
        return (shown[..., 2] > shown[..., 0] + 40) & (shown[..., 2] > 60)

    choose(browser, "Drop")
    rows = []
    for time in (0, 1000):
        browser.evaluate(
            f"(() => {{ const t = document.querySelector('[name=time]'); t.value = {time};"
            " t.dispatchEvent(new Event('input')); })()"
        )
        settle(browser)
        rows.append(np.nonzero(blue())[0].mean())
    assert rows[1] > rows[0] + 20
    assert browser.problems() == []


def test_the_positions_of_the_animation_are_those_of_the_motion(page):
    text = page.read_text(encoding="utf-8")
    data = json.loads(text.split('id="scene">')[1].split("</script>")[0])
    shape = next(s for s in data["shapes"] if s["kind"] == "motion")
    levels = np.frombuffer(base64.b64decode(shape["frames"]), "<u2")
    x = np.array(shape["low"]) + (np.array(shape["high"]) - shape["low"]) * levels.reshape(6, -1, 3) / 65535
    # The whole body falls by 0.8 in 0.2 s at constant speed; the view is scaled by the diagonal of the body.
    fall = x[:, :, 2].mean(axis=1)
    np.testing.assert_allclose(np.diff(fall), (fall[-1] - fall[0]) / 5, atol=1e-4)
    assert shape["times"] == pytest.approx(np.linspace(0, 0.2, 6))


def test_a_phone_shows_it_all_within_its_width(browser, page):
    opened(browser, page, PHONE, phone=True)
    assert browser.evaluate("document.documentElement.scrollWidth") <= PHONE[0]
    # No part of the page reaches beyond the screen, but for what scrolls in its own frame.
    wide = browser.evaluate(
        "[...document.querySelectorAll('body *')].filter(e => !e.closest('.scroll, svg, noscript') &&"
        " e.getBoundingClientRect().right > innerWidth + 1).map(e => e.tagName + '.' + e.className)"
    )
    assert wide == []
    # Of the histogram, the one whose text a phone can show is there.
    shown = "[...document.querySelectorAll('#quality svg.plot')].map(e => e.getBoundingClientRect().width)"
    assert [width > 0 for width in browser.evaluate(shown)] == [False, True]
    before = pixels(browser)
    x, y = middle(browser)
    browser.swipe((x, y), (x + 90, y + 10))
    settle(browser)
    assert changed(before, pixels(browser)) > 0.1
    # A finger beside the view scrolls the page.
    top = browser.evaluate("scrollY")
    browser.evaluate("scrollBy({top: 50, behavior: 'instant'})")
    assert browser.evaluate("scrollY") != top
    assert browser.problems() == []


def test_a_phone_shows_the_page_of_a_batch_within_its_width(browser, tmp_path):
    outcomes = [
        Outcome(Job(name, tmp_path / name, tmp_path / "runs" / name), 2, f"no such thing in {'x' * 90}", 1.5)
        for name in ("ball.ply", "a_rather_long_name_" * 6)
    ]
    browser.resize(*PHONE, True)
    browser.open(write_batch_page(tmp_path, outcomes, ["notes.md"]))
    assert browser.evaluate("document.documentElement.scrollWidth") <= PHONE[0]
    wide = "[...document.querySelectorAll('td')].filter(e => e.getBoundingClientRect().right > innerWidth)"
    assert browser.evaluate(f"{wide}.length") == 0
    # Numbers that are not there take no room; the others say what they are.
    shown = "[...document.querySelectorAll('td.n')].filter(e => e.offsetWidth).map(e => e.textContent)"
    assert browser.evaluate(shown) == ["1.5 s", "1.5 s"]
    assert browser.problems() == []


def test_without_webgl_the_page_says_so(browser, page, tmp_path):
    text = page.read_text(encoding="utf-8")
    off = "<script>HTMLCanvasElement.prototype.getContext = () => null;</script><body>"
    other = tmp_path / "index.html"
    other.write_text(text.replace("<body>", off, 1), encoding="utf-8")
    browser.resize(*DESKTOP)
    browser.open(other)
    assert "no WebGL 2" in browser.evaluate("document.querySelector('#view .fallback').textContent")
    assert browser.problems() == []
