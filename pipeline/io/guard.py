"""Read an untrusted file in a process of its own, with limits on its time and memory.

The process runs one function that returns a `Geometry`, or what JSON can hold, and sends it back through a
pipe: a line of JSON, then the bytes of the arrays.
If it crashes, hangs or asks for more than its limits, the caller gets one `InputError`.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import signal
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import InputError
from pipeline.io.geometry import Geometry
from pipeline.types import Frame

SECONDS, SECONDS_PER_BYTE = 60.0, 2e-7
"""Time limit: a start, and five megabytes a second."""
MEMORY, MEMORY_PER_BYTE = 2 << 30, 64
"""Limit of address space [byte]: libraries and small files, and what compressed data may grow to."""

_ARRAYS = tuple(f.name for f in fields(Geometry) if f.name not in ("frame", "notes", "texture", "warnings"))
_CODE = "import sys; sys.path.insert(0, sys.argv[1]); from pipeline.io.guard import serve; serve(sys.argv[2])"
_ALIGNMENT = 8
# One thread: each further one reserves address space that is never used.
_ENVIRONMENT = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PXR_WORK_THREAD_LIMIT": "1"}


def read_guarded(function: str, arguments: dict[str, Any], size: int) -> Any:
    """Call `module:name` with keyword arguments (JSON) in a guarded process.

    Args:
        function: Returns a `Geometry` or a JSON value; raises `InputError`.
        arguments: Passed as keywords.
        size: Of the file [byte]; the limits grow with it.

    Raises:
        InputError: That of the function, or that its process crashed or went beyond its limits.
    """
    seconds = SECONDS + size * SECONDS_PER_BYTE
    memory = MEMORY + size * MEMORY_PER_BYTE
    call = json.dumps({"function": function, "arguments": arguments, "memory": memory})
    # The folder that holds this package; -P keeps the current folder, which may hold anything, out of it.
    root = str(Path(__file__).resolve().parents[2])
    child = subprocess.Popen(
        [sys.executable, "-P", "-c", _CODE, root, call],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=os.environ | _ENVIRONMENT,
    )
    try:
        answer, _ = child.communicate(timeout=seconds)
    except subprocess.TimeoutExpired as error:
        raise InputError(f"reading it took more than {seconds:.0f} s: damaged, or far too large") from error
    finally:
        if child.poll() is None:
            child.kill()
            child.communicate()
    if child.returncode or not answer:
        raise InputError(
            f"damaged: {_ending(child.returncode)} while reading it ({memory / 2**30:.1f} GiB allowed)"
        )
    return _received(answer)


def serve(call: str) -> None:
    """Answer one call on standard output; the main function of the guarded process."""
    channel = os.dup(1)
    os.dup2(2, 1)  # what libraries print must not mix with the answer
    request = json.loads(call)
    arrays: list[Any] = []
    _limit(request["memory"])
    module, name = request["function"].split(":")
    try:
        result = getattr(importlib.import_module(module), name)(**request["arguments"])
    except InputError as error:
        header = {"error": str(error)}
    except MemoryError:
        header = {"error": "damaged: it asks for more memory than such a file can need"}
    except Exception as error:
        header = {"failure": f"{type(error).__name__}: {error}"}
    else:
        header, arrays = _sent(result) if isinstance(result, Geometry) else ({"value": result}, [])
    with os.fdopen(channel, "wb") as pipe:
        line = json.dumps(header).encode()
        pipe.write(line + _padding(len(line) + 1, b" ") + b"\n")
        for array in arrays:
            pipe.write(array.data if array.size else b"")
            pipe.write(_padding(array.nbytes))
    os._exit(0)  # libraries may crash in their clean-up after a damaged file; the answer is given


def _limit(memory: int) -> None:
    with contextlib.suppress(
        ImportError, ValueError, OSError
    ):  # systems without such limits keep the timeout
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))


def _padding(length: int, fill: bytes = b"\0") -> bytes:
    """Return what takes `length` bytes to a whole number of largest items, where an array may begin."""
    return fill * (-length % _ALIGNMENT)


def _sent(raw: Geometry) -> tuple[dict[str, Any], list[Any]]:
    names = [name for name in _ARRAYS if getattr(raw, name) is not None]
    arrays = [np.ascontiguousarray(getattr(raw, name)) for name in names]
    header = {
        "arrays": [(name, array.dtype.str, array.shape) for name, array in zip(names, arrays)],
        "frame": None if raw.frame is None else (raw.frame.metres_per_unit, raw.frame.up),
        "notes": raw.notes,
        "texture": raw.texture,
        "warnings": raw.warnings,
    }
    return header, arrays


def _received(answer: bytes) -> Any:
    """Build what the function returned.

    Raises:
        InputError: The error that the function raised.
    """
    end = answer.index(b"\n")
    header = json.loads(answer[:end])
    if "error" in header:
        raise InputError(header["error"])
    if "failure" in header:
        raise ValueError(header["failure"])
    if "value" in header:
        return header["value"]
    position = end + 1
    values: dict[str, Any] = {}
    for name, dtype, shape in header["arrays"]:
        count = int(np.prod(shape))
        values[name] = np.frombuffer(answer, dtype, count, position).reshape(shape)
        size = count * np.dtype(dtype).itemsize
        position += size + len(_padding(size))
    raw = Geometry(**values)
    raw.frame = None if header["frame"] is None else Frame(*header["frame"])
    raw.notes = [tuple(note) for note in header["notes"]]
    raw.texture = header["texture"]
    raw.warnings = list(header["warnings"])
    return raw


def _ending(code: int) -> str:
    if code < 0:
        with contextlib.suppress(ValueError):
            return f"the library that reads it crashed ({signal.Signals(-code).name})"
    return f"the library that reads it gave up (exit {code})"
