"""For the tests of your own project: hold a mesh to limits and to a baseline.

    from pipeline.testing import assert_simulation_ready

    def test_the_gripper_can_be_simulated():
        assert_simulation_ready("assets/gripper.usdc", baseline="tests/baselines/gripper.json")

It needs no test framework. `SIMMESH_UPDATE_BASELINES=1` writes the baselines instead of judging by them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipeline.checking import Judgement, judge, judgement_table, update_baseline
from pipeline.errors import InvalidMeshError
from pipeline.io.baseline_files import read_baseline
from pipeline.io.formats import read_tets
from pipeline.stages.validate import ValidateConfig
from pipeline.types import TetMesh

UPDATE = "SIMMESH_UPDATE_BASELINES"
"""Environment variable: anything but nothing or 0 writes baselines."""

__all__ = ["UPDATE", "assert_simulation_ready"]


def assert_simulation_ready(
    mesh: TetMesh | str | Path,
    baseline: str | Path | None = None,
    limits: Mapping[str, float | None] | None = None,
    *,
    with_scenarios: bool = True,
    config: ValidateConfig | None = None,
    **read: Any,
) -> Judgement:
    """Raise an `AssertionError` with a table unless a mesh passes its checks and is as good as its baseline.

    Args:
        mesh: Or a file to read.
        baseline: File of `simmesh check MESH --baseline FILE --update`, or of this function with
            `SIMMESH_UPDATE_BASELINES=1`.
        limits: By the name of the check, instead of those of the config; None leaves a check out.
        with_scenarios: False leaves the simulated tests out: structure, quality and readiness take seconds.
        config: Material, scenarios and limits; the defaults where None.
        read: For `read_tets`, where a file is read: `frame`, `prim`, `repair`.

    Returns:
        Everything that was measured.

    Raises:
        AssertionError: A check is below its limit, a metric is worse than the baseline, or the mesh has tets
            without positive volume or twice.
        InputError: The mesh or the baseline cannot be read.
        ValueError: A limit of an unknown name.
    """
    settings = config or ValidateConfig()
    if limits:
        settings = replace(settings, limits={**settings.limits, **limits})
    try:
        tets = mesh if isinstance(mesh, TetMesh) else read_tets(mesh, **read)
    except InvalidMeshError as error:
        raise AssertionError(str(error)) from error
    is_update = os.environ.get(UPDATE, "") not in ("", "0")
    known = None if baseline is None or is_update else read_baseline(baseline)
    found = judge(tets, settings, known, with_scenarios=with_scenarios)
    if baseline is not None and is_update:
        update_baseline(Path(baseline), found)
    if not found.passed:
        name = mesh if isinstance(mesh, str | Path) else "the mesh"
        raise AssertionError(f"{name}:\n{judgement_table(found)}")
    return found
