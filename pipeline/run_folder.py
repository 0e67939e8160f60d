"""The folder of a run: its lock, and what one stage keeps there while it works.

The lock is held by the operating system (`flock`, or `msvcrt` on Windows), so it ends with the
process; the file `.lock` only tells who holds it. A stage keeps `history.jsonl`, one line per `record`, and
`checkpoint.npz`, which carries the fingerprint that it belongs to.
"""

from __future__ import annotations

import errno
import json
import os
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from pipeline.context import RunContext, log
from pipeline.errors import InputError, OutputError
from pipeline.io.atomic import atomic_path, output_error
from pipeline.manifest import plain
from pipeline.progress import Progress

LOCK = ".lock"
HISTORY = "history.jsonl"
CHECKPOINT = "checkpoint.npz"
_FINGERPRINT, _STEP, _HISTORY_SIZE = "__fingerprint__", "__step__", "__history_size__"


@contextmanager
def new_folder(folder: Path) -> Iterator[None]:
    """Make a folder for the block; when the block fails, remove it and its parents if made here and empty.

    Raises:
        OutputError: The folder cannot be made.
    """
    made = [p for p in (folder, *folder.parents) if not p.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        _remove_empty(made)
        if error.errno == errno.ENOENT:  # no folder can be made there: a system's own, such as /proc
            raise OutputError(
                f"cannot write {folder}: no folder can be made there; choose another"
            ) from error
        raise output_error(folder, error) from error
    try:
        yield
    except BaseException:
        _remove_empty(made)
        raise


def _remove_empty(folders: list[Path]) -> None:
    for folder in folders:
        with suppress(OSError):
            folder.rmdir()


class RunLock:
    """Exclusive use of a folder of a run or a batch, as a context manager.

    Attributes:
        taken_over: Number of the process that left the lock behind when it was killed, or None.

    Raises:
        InputError: Another process that is alive works in this folder.
        OutputError: The lock cannot be written.
    """

    def __init__(self, folder: Path, remedy: str = "choose another folder with run.dir=FOLDER") -> None:
        self.path = folder / LOCK
        self.remedy = remedy
        self.taken_over: str | None = None
        self._file: IO[str] | None = None

    def __enter__(self) -> RunLock:
        while self._file is None:
            try:
                file = open(self.path, "a+", encoding="utf-8")
            except OSError as error:
                raise output_error(self.path, error) from error
            file.seek(0)
            owner = file.read().strip()
            try:
                lock_file(file)
            except OSError as error:
                file.close()
                if error.errno not in (errno.EACCES, errno.EAGAIN, errno.EDEADLK):
                    raise output_error(self.path, error) from error
                raise InputError(
                    f"{self.path.parent}: another run (process {owner or 'unknown'}) works in this folder; "
                    f"wait for it, or {self.remedy}"
                ) from error
            if not self._is_current(file):  # the holder before us removed the file while we opened it
                file.close()
                continue
            self._file = file
            self.taken_over = owner or None
            try:
                file.seek(0)
                file.truncate()
                file.write(f"{os.getpid()}\n")
                file.flush()
            except OSError as error:
                self._file = None
                file.close()
                raise output_error(self.path, error) from error
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self.path.unlink(missing_ok=True)
            self._file.close()
            self._file = None

    def _is_current(self, file: IO[str]) -> bool:
        try:
            return os.path.samestat(os.fstat(file.fileno()), os.stat(self.path))
        except FileNotFoundError:
            return False


def lock_file(file: IO[str]) -> None:
    """Lock a file until it is closed, or raise `OSError` at once where another has it."""
    if sys.platform == "win32":
        import msvcrt

        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


class StageRecorder(RunContext):
    """The context of one stage in a run folder: progress to the terminal, history and checkpoint to files.

    Attributes:
        resumed: Step of the checkpoint from which the stage went on, or None.
        notes: What the stage measured for its manifest entry, by name.
    """

    def __init__(
        self,
        folder: Path,
        fingerprint: str,
        progress: Progress,
        device: str = "cpu",
        seed: int = 0,
        *,
        interval: float = 1.0,
    ) -> None:
        """Args:
        folder: Folder of the stage; made when missing.
        fingerprint: Fingerprint of the stage: a checkpoint of another one is left unread.
        interval: Least time between two checkpoints [s]; those asked for in between are not written.
        """
        super().__init__(device=device, seed=seed)
        self.folder = folder
        self.fingerprint = fingerprint
        self.progress = progress
        self.interval = interval
        self.resumed: int | None = None
        self.notes: dict[str, Any] = {}
        self._saved_at = -float("inf")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            stored = self._load()
            self._restored = stored[:2] if stored else None
            size = stored[2] if stored else 0
            (folder / HISTORY).touch()
            self._history = (folder / HISTORY).open("r+b")
            self._history.truncate(size)
            self._history.seek(size)
        except OSError as error:
            raise output_error(folder, error) from error

    def note(self, name: str, measure: Callable[[], dict[str, Any]]) -> None:
        self.notes[name] = plain(measure())

    def record(self, step: int, *, total: int | None = None, phase: str = "", **values: float) -> None:
        super().record(step, total=total, phase=phase, **values)
        line = {"phase": phase, "step": int(step), "total": total, **values}
        try:
            self._history.write(json.dumps(plain(line)).encode() + b"\n")
        except OSError as error:
            raise output_error(self.folder / HISTORY, error) from error
        self.progress.update(step, total, phase, values)

    def checkpoint(self, step: int, **arrays: NDArray[Any]) -> None:
        if time.monotonic() - self._saved_at < self.interval:
            return
        try:
            self._history.flush()
        except OSError as error:
            raise output_error(self.folder / HISTORY, error) from error
        own = {_FINGERPRINT: self.fingerprint, _STEP: int(step), _HISTORY_SIZE: self._history.tell()}
        stored: dict[str, Any] = {**own, **arrays}
        with atomic_path(self.folder / CHECKPOINT) as part:
            np.savez(part, **stored)
        self._saved_at = time.monotonic()

    def restore(self) -> tuple[int, dict[str, NDArray[Any]]] | None:
        if self._restored is not None:
            self.resumed = self._restored[0]
            log.info("goes on from its checkpoint at step %d", self.resumed)
        return self._restored

    def finish(self) -> None:
        """Drop the checkpoint of a stage that is done."""
        self.close()
        (self.folder / CHECKPOINT).unlink(missing_ok=True)

    def close(self) -> None:
        """Close the history; the checkpoint stays."""
        try:
            self._history.close()
        except OSError as error:
            raise output_error(self.folder / HISTORY, error) from error

    def _load(self) -> tuple[int, dict[str, NDArray[Any]], int] | None:
        path = self.folder / CHECKPOINT
        if not path.exists():
            return None
        try:
            with np.load(path, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
        except (ValueError, OSError, EOFError, KeyError, zipfile.BadZipFile):
            log.warning("%s cannot be read; the stage starts from the beginning", path)
            return None
        if str(arrays.pop(_FINGERPRINT, "")) != self.fingerprint:
            return None
        step, size = int(arrays.pop(_STEP)), int(arrays.pop(_HISTORY_SIZE))
        return step, arrays, size
