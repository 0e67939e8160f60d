"""Write files so that nothing half-written ever stands under its final name.

A file is written beside its final name (same folder, same extension, hidden), flushed to the disk and
renamed.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pipeline.errors import OutputError

_REMEDY = {
    errno.ENOSPC: "the disk is full; free some space or write to another folder",
    errno.EDQUOT: "the disk quota is used up; free some space or write to another folder",
    errno.EFBIG: "the file is larger than this system allows",
    errno.EACCES: "no permission to write there; choose another folder",
    errno.EPERM: "no permission to write there; choose another folder",
    errno.EROFS: "the file system is read-only; choose another folder",
    errno.ENOTDIR: "a part of the path is a file, not a folder",
    errno.EEXIST: "a part of the path is a file, not a folder",
    errno.EISDIR: "that name is a folder; choose another name",
    errno.ENAMETOOLONG: "the name is too long",
}


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` on success, remove it on error.

    Missing parent folders are made. The temporary name keeps the extension, so that libraries which choose
    the format by extension write the right one. A link stays one: the file that it leads to is replaced.

    Raises:
        OutputError: The folder cannot be made or the file cannot be written (permission, full disk, a folder,
            device or pipe of that name); an earlier file of that name stays as it was.
    """
    path = Path(path)
    if _is_stream(path):
        raise OutputError(f"cannot write {path}: that name is a device or a pipe; choose another name")
    if path.is_symlink():
        path = Path(os.path.realpath(path))
    part = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    try:
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        path.parent.mkdir(parents=True, exist_ok=True)
        yield part
        _flush(part)
        part.replace(path)
    except OutputError:
        raise
    except OSError as error:
        raise output_error(path, error) from error
    finally:
        with suppress(OSError):
            part.unlink()


def _is_stream(path: Path) -> bool:
    """Whether a name is that of a device or a pipe, such as /dev/stdout: it must never be renamed over."""
    return path.parent == Path("/dev") or (path.exists() and not path.is_file() and not path.is_dir())


def output_error(path: str | Path, error: OSError) -> OutputError:
    """Describe why `path` cannot be written, with the remedy where one is known."""
    text = error.strerror or str(error) or type(error).__name__
    # Libraries that count the bytes themselves raise without a number.
    reason = _REMEDY.get(error.errno, text) if error.errno else f"{text}; is the disk full?"
    return OutputError(f"cannot write {path}: {reason}")


def atomic_write_bytes(path: str | Path, data: bytes) -> Path:
    """Write `data` to `path` atomically, or into the device or pipe of that name; raises `OutputError`."""
    path = Path(path)
    if _is_stream(path):
        try:
            with path.open("ab") as stream:
                stream.write(data)
        except OSError as error:
            raise output_error(path, error) from error
        return path
    with atomic_path(path) as part:
        part.write_bytes(data)
    return path


def atomic_write_text(path: str | Path, text: str) -> Path:
    """Write `text` to `path` atomically as UTF-8; raises `OutputError`."""
    return atomic_write_bytes(path, text.encode("utf-8"))


def remove_leftovers(folder: str | Path) -> int:
    """Remove what killed writers left in `folder` and return how many files; nobody may be writing there."""
    leftovers = [p for p in Path(folder).glob(".*.part*") if p.is_file()]
    for leftover in leftovers:
        with suppress(OSError):
            leftover.unlink()
    return len(leftovers)


def _flush(path: Path) -> None:
    """Ask the system to put the file on the disk before it gets its name."""
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
