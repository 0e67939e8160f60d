"""The config of a whole run, composed by Hydra from `conf/` and overrides, typed by the stages' dataclasses.

YAML chooses and overrides; the dataclasses hold the defaults, the types and the checks. `OmegaConf.to_object`
turns the composed config into plain dataclasses once, here. Every error names the override and what exists.
"""

from __future__ import annotations

import ast
import dataclasses
import difflib
import inspect
import itertools
import re
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from pipeline.errors import InputError
from pipeline.source import InputConfig
from pipeline.stages.export import ExportConfig
from pipeline.stages.optimize import OptimizeConfig
from pipeline.stages.reconstruct import ReconstructConfig
from pipeline.stages.tetrahedralize import TetrahedralizeConfig
from pipeline.stages.validate import ValidateConfig

_HERE = Path(__file__).resolve().parent
CONF = next(p for p in (_HERE / "_conf", _HERE.parent / "conf") if p.is_dir())
"""The YAML files: `_conf` in the wheel, `conf` in a checkout or an editable install."""
NAME = "config"
PATHS = ("input.path", "input.prim", "run.dir")


@dataclass
class RunConfig:
    """Where a run lives."""

    name: str | None = None
    """Name of the run. Default: the name of the input file."""
    dir: str | None = None
    """Folder of the run. Default: runs/<name> in the current folder."""
    report: bool = True
    """Write the report page; without it, small shapes of a large batch take half the time."""

    def __post_init__(self) -> None:
        for name in ("name", "dir"):
            if getattr(self, name) == "":
                raise ValueError(f"run.{name} is empty; give a value, or leave it out for the default")


@dataclass
class PipelineConfig:
    """A whole run."""

    input: InputConfig = field(default_factory=InputConfig)
    """What the run starts from."""
    run: RunConfig = field(default_factory=RunConfig)
    """Where the run lives."""
    stages: list[str] | None = None
    """Stages to run, as a list: [tetrahedralize,optimize]. Default: all that are left for the input."""
    force: list[str] = field(default_factory=list)
    """Stages to make again although they are done."""
    seed: int = 0
    """Seed of everything random."""
    device: str = "cpu"
    """Warp device: cpu, cuda:0, or cuda:auto for one that no other run uses."""
    reconstruct: ReconstructConfig = field(default_factory=ReconstructConfig)
    """Points to surface."""
    tetrahedralize: TetrahedralizeConfig = field(default_factory=TetrahedralizeConfig)
    """Surface to tets."""
    optimize: OptimizeConfig = field(default_factory=OptimizeConfig)
    """Tets to better tets."""
    validate: ValidateConfig = field(default_factory=ValidateConfig)
    """Tets to a simulation report."""
    export: ExportConfig = field(default_factory=ExportConfig)
    """Tets and report to an asset."""

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise ValueError(f"seed: expected zero or a positive number, got {self.seed}")
        if not re.fullmatch(r"cpu|cuda(:(\d+|auto))?", self.device):
            raise ValueError(f"device: expected cpu, cuda, cuda:0 or cuda:auto, got {self.device!r}")


def register() -> None:
    """Make the dataclasses known to Hydra, as the schema that `conf/config.yaml` starts from."""
    ConfigStore.instance().store(name="pipeline_schema", node=PipelineConfig, provider="simmesh")


def compose_config(overrides: Sequence[str] = (), config_dir: str | None = None) -> PipelineConfig:
    """Compose the config of a run.

    Args:
        overrides: As on the command line: `optimize.rounds=4`, `validate/material=rubber`.
        config_dir: Folder with more YAML groups, for presets of one's own.

    Raises:
        InputError: An override names nothing, has the wrong type or a value out of range.
    """
    register()
    words = [quoted(word) for word in overrides] + search_path(config_dir)
    with fresh_hydra(), initialize_config_dir(config_dir=str(CONF), version_base="1.3", job_name="simmesh"):
        try:
            composed = compose(config_name=NAME, overrides=words)
        except (HydraException, OmegaConfBaseException) as error:
            raise InputError(explain(error)) from error
    chosen = [word.partition("=")[2] for word in overrides if word.lstrip("+").startswith("experiment=")]
    return to_config(composed, chosen[-1] if chosen else None, config_dir)


@contextmanager
def fresh_hydra() -> Iterator[None]:
    """Leave Hydra as it was found: the caller may be a Hydra program itself."""
    before = GlobalHydra.instance().hydra
    GlobalHydra.instance().clear()
    try:
        yield
    finally:
        GlobalHydra.instance().hydra = before


def quoted(override: str) -> str:
    """Quote the value of a path, so that spaces, commas and brackets in file names need no second quotes."""
    name, equals, value = override.partition("=")
    plain = re.fullmatch(r"[\w./:~+@%-]*", value)
    if name not in PATHS or not equals or plain or value[:1] in "'\"":
        return override
    escaped = value.replace("\\", "\\\\").replace('"', '\\"') if '"' in value else value
    return f'{name}="{escaped}"'


def search_path(config_dir: str | None) -> list[str]:
    """Return the override that adds a folder of YAML groups."""
    if config_dir is None:
        return []
    if not config_dir:
        raise InputError("--config-dir is empty; give the folder with your presets")
    folder = Path(config_dir).resolve()
    if not folder.is_dir():
        raise InputError(f"--config-dir {config_dir}: no such folder")
    return [f'hydra.searchpath=["file://{folder}"]']


def to_config(
    composed: DictConfig, experiment: str | None = None, config_dir: str | None = None
) -> PipelineConfig:
    """Turn a composed config into dataclasses.

    Args:
        composed: What Hydra made.
        experiment: Name of the preset; what it leaves open with `???` must have a value.
        config_dir: Folder where it may be.

    Raises:
        InputError: A value is missing, unknown or out of range.
    """
    if missing := _missing(composed, experiment, config_dir):
        what = "points" if composed.stages == ["reconstruct"] else "input"
        asked = [f"give the {what}, {k}=FILE" if k == "input.path" else f"give {k}=VALUE" for k in missing]
        raise InputError(f"experiment={experiment}: {'; '.join(asked)}")
    for name in composed:
        if name not in setting_names(PipelineConfig):
            raise InputError(unknown_key(str(name)))
    try:
        config = OmegaConf.to_object(composed)
    except (ValueError, TypeError, OmegaConfBaseException) as error:
        raise InputError(_located(composed, error)) from error
    assert isinstance(config, PipelineConfig)
    return config


def _missing(composed: DictConfig, experiment: str | None, config_dir: str | None) -> list[str]:
    """Return what a preset leaves open and nobody gave; composing drops a `???` over a default."""
    folders = [*([Path(config_dir)] if config_dir else []), CONF]
    files = [folder / "experiment" / f"{experiment}.yaml" for folder in folders]
    found = next((file for file in files if experiment and file.is_file()), None)
    if found is None:
        return []
    return sorted(
        key
        for key in OmegaConf.missing_keys(OmegaConf.load(found))
        if OmegaConf.select(composed, key) is None
    )


def _located(composed: DictConfig, error: Exception) -> str:
    """Put the name of its group before what a dataclass says about one of its values."""
    path: list[str] = []
    group: Any = composed
    while group is not None:
        failing = next((k for k in group if isinstance(group[k], DictConfig) and _fails(group[k])), None)
        group = None if failing is None else group[failing]
        path += [] if failing is None else [str(failing)]
    text = _first_line(error)
    for k in range(len(path)):  # the text may name its groups, or the last of them, itself
        if text.startswith(".".join(path[k:]) + "."):
            return ".".join([*path[:k], text])
    return ".".join([*path, text])


def _fails(group: DictConfig) -> bool:
    try:
        OmegaConf.to_object(group)
    except (ValueError, TypeError, OmegaConfBaseException):
        return True
    return False


def to_yaml(config: Any) -> str:
    """Write a config as YAML."""
    return OmegaConf.to_yaml(OmegaConf.structured(config))


# --- errors


def explain(error: Exception) -> str:
    """Say in one message what is wrong with an override and what would be right."""
    text = str(error)
    cause = str(error.__cause__ or "")
    if match := re.search(r"Could not override '([^']+)'", text):
        key = match.group(1)
        if "is not in struct" in text + cause or "No match" in text or "Key '" in text + cause:
            return unknown_key(key)
    if match := re.search(r"Could not (?:find|load) '([^']+)'", text):
        group, _, choice = match.group(1).rpartition("/")
        options = group_options(group)
        if options:
            return f"{group}={choice}: there is no such choice; known: {', '.join(options)}"
        return unknown_key(match.group(1).replace("/", "."))
    if match := re.search(r"Ambiguous value for argument '([^']+)'", text):
        name, _, value = match.group(1).partition("=")
        return (
            f"{name}={value}: several values are a sweep: simmesh run -m {name}={value}; a list is [{value}]"
        )
    if "mismatched input" in text or "no viable alternative" in text or "token recognition" in text:
        return f"{_first_line(error)}; write an override as name=value, with quotes around special characters"
    if match := re.search(r"full_key: (\S+)", text + "\n" + cause):
        return _wrong_type(match.group(1), _first_line(error.__cause__ or error))
    return _first_line(error.__cause__ or error)


def _wrong_type(key: str, reason: str) -> str:
    """Say which type a setting expects, where OmegaConf speaks of its own classes."""
    types = {"Integer": "a whole number", "Float": "a number", "Boolean": "true or false"}
    if match := re.search(r"Value '(.*)' of type '\w+' could not be converted to (\w+)", reason):
        return f"{key}: expected {types.get(match.group(2), match.group(2))}, got {match.group(1)!r}"
    if match := re.search(r"Value '(.*)' is not a valid bool", reason):
        return f"{key}: expected true or false, got {match.group(1)!r}"
    if "ListConfig" in reason or "is not a list" in reason.lower():
        return f"{key}: expected a list, written [one,two]"
    if "is not a subclass of" in reason:
        return unknown_key(key)
    if "is not Optional" in reason:
        return f"{key}: cannot be null; leave it out for its default"
    return f"{key}: {reason}"


def unknown_key(key: str) -> str:
    """Say that an override names nothing, and list what exists where it points."""
    cls: Any = PipelineConfig
    seen: list[str] = []
    for word in key.split("."):
        known = {f.name: f for f in dataclasses.fields(cls)}
        if word not in known:
            return _not_here(word, seen, [*known, *(choices("/".join(seen)) if seen else ["experiment"])])
        seen.append(word)
        inner = _dataclass_of(cls, word)
        if inner is None:
            value = _default(cls, word)
            if isinstance(value, dict) and "." in key[len(".".join(seen)) :]:
                return _not_here(key[len(".".join(seen)) + 1 :], seen, list(value))
            return f"{key}: {'.'.join(seen)} is a value and has nothing below it"
        cls = inner
    return f"{key}: is a group of settings; set one of {', '.join(f.name for f in dataclasses.fields(cls))}"


def _not_here(word: str, path: list[str], known: list[str]) -> str:
    where = ".".join(path)
    near = difflib.get_close_matches(word, known, n=1)
    hint = f" (did you mean {near[0]}?)" if near else ""
    inside = f"in {where}" if where else "at the top"
    return f"{'.'.join([*path, word])}: there is no such setting{hint}; {inside} there are {', '.join(known)}"


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


# --- what exists


def group_options(group: str) -> list[str]:
    """Return the choices of a config group, by file name."""
    return sorted(p.stem for p in (CONF / group).glob("*.yaml")) if group else []


def stage_config(stage: str) -> type:
    """Return the config dataclass of a stage."""
    return _dataclass_of(PipelineConfig, stage)


def choices(stage: str) -> list[str]:
    """Return the config groups inside the group of a stage, such as `material` of validate."""
    folder = CONF / stage
    return sorted(p.name for p in folder.iterdir() if p.is_dir()) if folder.is_dir() else []


def setting_names(cls: type) -> list[str]:
    """Return the names of the fields of a config."""
    return [f.name for f in dataclasses.fields(cls)]


def _dataclass_of(cls: Any, name: str) -> Any:
    """Return the dataclass that a field holds, or None."""
    value = _default(cls, name)
    return type(value) if dataclasses.is_dataclass(value) else None


def _default(cls: Any, name: str) -> Any:
    """Return the default of a field that a factory makes, else None."""
    found = next(f for f in dataclasses.fields(cls) if f.name == name)
    return None if found.default_factory is dataclasses.MISSING else found.default_factory()


@dataclass(frozen=True)
class Setting:
    """One field of a config, for the help."""

    name: str
    default: str
    doc: str


def settings(cls: type, prefix: str = "") -> list[Setting]:
    """List the fields of a config dataclass and of those inside it, with their docstrings."""
    found = []
    docs = field_docs(cls)
    for f in dataclasses.fields(cls):
        inner = _dataclass_of(cls, f.name)
        if inner is not None:
            found += settings(inner, f"{prefix}{f.name}.")
            continue
        value = f.default if f.default is not dataclasses.MISSING else ""
        if f.default_factory is not dataclasses.MISSING:
            value = f.default_factory()
        text = "none" if value is None else str(value)
        found.append(Setting(prefix + f.name, text, docs.get(f.name, "")))
    return found


@cache
def field_docs(cls: type) -> dict[str, str]:
    """Return the docstring on the line below each field of a dataclass, read from its source."""
    docs: dict[str, str] = {}
    for base in reversed(cls.__mro__[:-1]):
        try:
            tree = ast.parse(textwrap.dedent(inspect.getsource(base)))
        except (OSError, TypeError, SyntaxError):
            continue
        body = tree.body[0].body if tree.body and isinstance(tree.body[0], ast.ClassDef) else []
        for line, after in itertools.pairwise(body):
            is_doc = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
            if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name) and is_doc:
                docs[line.target.id] = " ".join(str(after.value.value).split())  # type: ignore[attr-defined]
    return docs
