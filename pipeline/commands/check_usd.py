"""`simmesh check-usd FILE`: look inside the TetMesh prims of a USD file, where no stock validator looks."""

from __future__ import annotations

from pipeline.commands.command import Command, parse
from pipeline.outcome import BELOW_LIMIT, READY

HELP = """simmesh check-usd FILE [options]: will simulators load this USD asset as it is meant?

Looks inside the TetMesh prims (indices, orientation, volumes, duplicates, surface faces, rest shape), at
their physics and material, at the stage (units, up axis, default prim, extents), and runs the validators of
OpenUSD where this version has them. The file is opened in a process of its own: a damaged one is a finding.

  simmesh check-usd asset.usdc
  simmesh check-usd asset.usdz --strict --profile newton,omni --require-physics

  --json FILE          every finding as JSON; - prints it instead of the table
  --strict             warnings fail too
  --profile NAMES      physics to expect: newton, omni, or newton,omni (newton)
  --require-tetmesh    a stage without TetMesh fails
  --require-physics    a TetMesh without soft-body physics and material fails
  --no-core            leave the validators of OpenUSD out

Exit code: 0 no error, 1 errors (with --strict, warnings), 2 it could not be checked.
"""

OPTIONS = {
    "--json": True,
    "--strict": False,
    "--profile": True,
    "--require-tetmesh": False,
    "--require-physics": False,
    "--no-core": False,
}


def call(arguments: list[str]) -> int:
    """Check a file and print its findings."""
    words = parse("check-usd", arguments, (1, 1), OPTIONS, names="FILE")
    from pipeline.errors import InputError
    from pipeline.io.usd_check import check_usd, report_json, report_table, write_report

    if words.settings:
        raise InputError(f"{words.settings[0]}: check-usd has no settings; see simmesh check-usd --help")
    report = check_usd(
        words.files[0],
        profiles=[name for name in words.options.get("--profile", "newton").split(",") if name],
        require_tets=words.has("--require-tetmesh"),
        require_physics=words.has("--require-physics"),
        core=not words.has("--no-core"),
    )
    strict, target = words.has("--strict"), words.options.get("--json")
    if target is not None and target != "-":
        write_report(target, report, strict)
    print(report_json(report, strict) if target == "-" else report_table(report, strict), flush=True)
    return READY if report.passed(strict) else BELOW_LIMIT


COMMAND = Command("check-usd", "what is wrong inside a USD asset", "asset.usdc --strict", lambda: HELP, call)
