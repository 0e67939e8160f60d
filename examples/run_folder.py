"""A whole run from Python: the same folder, manifest and report as `simmesh run`, and the same overrides.

python examples/run_folder.py
"""

from pipeline import run


def main() -> None:
    result = run("experiment=smoke", "run.name=from_python", "validate/material=rubber")
    print(result.summary)
    for name, entry in result.manifest["stages"].items():
        print(f"{name}: {entry['seconds']} s, {', '.join(entry['outputs'])}")

    again = run("experiment=smoke", "run.name=from_python", "validate/material=rubber")
    print("made again:", "nothing" if "everything was done already" in again.summary else "something")


if __name__ == "__main__":
    main()
