"""Launch a kernel in slices over CPU threads; on CUDA a plain launch.

A CPU launch of Warp is one sequential loop, and the interpreter lock is released while it runs. So slices of
a kernel that only gathers (every thread writes its own rows, no atomics) run at the same time with equal
results. The first argument of such a kernel is `offset: int`, and its first line is `i = wp.tid() + offset`.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import warp as wp

MIN_SLICE = 2048
"""Items below which a slice is not worth a thread."""

_executor: ThreadPoolExecutor | None = None


def thread_count() -> int:
    """Return the CPU threads of a sliced launch: `SIMMESH_THREADS`, else the cores of this process."""
    value = os.environ.get("SIMMESH_THREADS", "")
    if value.isdigit() and int(value) > 0:
        return int(value)
    if hasattr(os, "sched_getaffinity"):
        return max(1, min(16, len(os.sched_getaffinity(0))))
    return max(1, min(16, os.cpu_count() or 1))


def launch_sliced(kernel: Any, count: int, inputs: list[Any], outputs: list[Any], device: Any) -> None:
    """Launch a gather-only kernel over `count` items; `offset` is put before `inputs`."""
    global _executor
    device = wp.get_device(device)
    threads = thread_count() if device.is_cpu else 1
    if threads == 1 or count < 2 * MIN_SLICE:
        wp.launch(kernel, dim=count, inputs=[0, *inputs], outputs=outputs, device=device, record_tape=False)
        return
    if _executor is None or _executor._max_workers != threads:
        _executor = ThreadPoolExecutor(threads, thread_name_prefix="simmesh")
    slices = max(1, min(8 * threads, count // MIN_SLICE))
    edges = [count * i // slices for i in range(slices + 1)]
    # The first item alone loads the module, which two threads must not do at once.
    edges.insert(1, 1)

    def work(i: int) -> None:
        wp.launch(
            kernel,
            dim=edges[i + 1] - edges[i],
            inputs=[edges[i], *inputs],
            outputs=outputs,
            device=device,
            record_tape=False,
        )

    work(0)
    for _ in _executor.map(work, range(1, slices + 1)):
        pass
