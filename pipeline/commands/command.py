"""What a command is, and how its words are told apart: files, options and settings."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from pipeline.errors import InputError


@dataclass(frozen=True)
class Command:
    """One verb of the command line."""

    name: str
    summary: str
    """What it does, in one line without its name."""
    example: str
    """Words that may follow the name, for the list of commands."""
    help: Callable[[], str]
    """All of what `simmesh NAME --help` prints; made when asked for."""
    call: Callable[[list[str]], int]
    """Does it, with the words after the name; returns the exit code, raises a `SimmeshError`."""
    is_complete: bool = False
    """Whether the name alone says what to do; for others it prints the help."""


@dataclass(frozen=True)
class Words:
    """The words after the name of a command, told apart."""

    files: list[str]
    options: dict[str, str] = field(default_factory=dict)
    """Value by option; flags that were given have an empty one."""
    settings: list[str] = field(default_factory=list)
    """`name=value`, as given."""

    def has(self, option: str) -> bool:
        return option in self.options


REPAIR = "--repair"
"""Flag of every command that reads a mesh: the same as the setting input.repair=true."""


def parse(
    command: str,
    arguments: Sequence[str],
    files: tuple[int, int | None],
    options: Mapping[str, bool] | None = None,
    names: str = "",
) -> Words:
    """Tell files, options and settings apart.

    Args:
        command: Name of the command, for the errors.
        arguments: The words after it.
        files: Fewest and most files that it takes; None for any number.
        options: By name with its dashes: whether a value follows, as `--json FILE` or `--json=FILE`;
            `REPAIR` becomes the setting that it stands for.
        names: What the files are called in the help, such as "IN and OUT".

    Raises:
        InputError: An unknown option, one without its value, or too few or many files.
    """
    known = dict(options or {})
    found = Words([])
    words = iter(arguments)
    for word in words:
        name, equals, value = word.partition("=")
        if word.startswith("-") and len(word) > 1:
            _check_option(command, name, known)
            if known[name]:
                value = value if equals else next(words, "")
                if not value:
                    raise InputError(f"{name}: expected a value after it; see simmesh {command} --help")
            elif equals:
                raise InputError(f"{name} takes no value")
            found.options[name] = value
        elif is_setting(word):
            found.settings.append(word)
        else:
            found.files.append(word)
    if found.options.pop(REPAIR, None) is not None:
        found.settings.append("input.repair=true")
    fewest, most = files
    if len(found.files) < fewest or (most is not None and len(found.files) > most):
        many = f"{fewest} file{'s' * (fewest != 1)}" if fewest == most else f"at least {fewest} files"
        called = f", {names}" if names else ""
        got = " ".join(found.files) or "none"
        raise InputError(f"{command} takes {many}{called}; got {len(found.files)}: {got}")
    return found


def is_setting(word: str) -> bool:
    """Whether a word is `name=value` and no file name with an equals sign in it."""
    name = word.lstrip("+~").partition("=")[0]
    plain = name.replace("/", "").replace(".", "").replace("_", "").isalnum()
    return "=" in word and plain and name[0].isalpha()


def _check_option(command: str, name: str, known: Mapping[str, bool]) -> None:
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f" (did you mean {near[0]}?)" if near else ""
        raise InputError(f"{name}: no such option{hint}; see simmesh {command} --help")
