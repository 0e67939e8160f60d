"""Which stages a run has and from which artifact it starts, from the input, `stages` and `force`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.errors import InputError
from pipeline.source import KIND
from pipeline.stages.stage import Stage


@dataclass(frozen=True)
class Plan:
    """The stages of a run in order, and the artifact that the input gives."""

    stages: tuple[Stage, ...]
    start: str
    """Artifact name; `point_cloud` for a surface that is sampled."""


def make_plan(
    stages: Sequence[Stage],
    held: str,
    dimension: int,
    *,
    asked: Sequence[str] | None = None,
    force: Sequence[str] = (),
    is_sampled: bool = False,
) -> Plan:
    """Choose the stages of a run.

    Args:
        stages: All stages in the order of the chain.
        held: Artifact name of what the input file holds.
        dimension: 2 or 3; in 2D the first stage runs alone.
        asked: Names of the stages to run; None: all that the input has not been through.
        force: Names of stages to make again.
        is_sampled: A surface is to be sampled into points although `asked` does not say so.

    Raises:
        InputError: A name is unknown, or a stage cannot start from this input.
    """
    names, first = [s.name for s in stages], stages[0]
    for option, given in (("stages", asked or ()), ("force", force)):
        for name in given:
            if name not in names:
                raise InputError(f"{option}: there is no stage {name!r}; the stages are {', '.join(names)}")
    if asked is not None and not asked:
        raise InputError(f"stages: the list is empty; the stages are {', '.join(names)}")
    if dimension == 2:
        if held != "point_cloud":
            raise InputError("the input is a 2D polyline; in 2D only points can be worked on")
        if asked is not None and set(asked) != {first.name}:
            raise InputError(f"the input is 2D: only {first.name} works in 2D; leave stages out")
        asked = [first.name]
    start = held
    if held == "surface_mesh" and (first.name in asked if asked is not None else is_sampled):
        start = "point_cloud"
    outputs = [s.output for s in stages]
    passed = outputs.index(start) + 1 if start in outputs else 0
    chosen = tuple(
        s for s in (stages if asked is not None else stages[passed:]) if asked is None or s.name in asked
    )
    for stage in chosen:
        if stage in stages[:passed]:
            raise InputError(
                f"stages: {stage.name} comes before what the input is, a {KIND.get(held, held)}; "
                f"it can start at {names[passed] if passed < len(stages) else 'no stage'}"
            )
    chosen_names = [s.name for s in chosen]
    for name in force:
        if name not in chosen_names:
            raise InputError(f"force: {name} is not among the stages of this run ({', '.join(chosen_names)})")
    return Plan(chosen, start)
