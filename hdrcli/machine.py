"""What this machine has to give, and how other processes are started on it."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

# libraries take their number of threads from these when they are loaded
_THREADS_OF_TORCH = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
THREADS_OF_NUMPY = "OPENBLAS_NUM_THREADS"
"""To be 1: we call NumPy from threads of our own, and its own beside those wait for each other, at three times the cost."""


def free_memory() -> int:
    """Bytes that can be had, as far as the system tells: what is free, or what a container still may take if that is less."""
    found = [_number_after("/proc/meminfo", "MemAvailable:", 1024)]
    limit, used = _number_in("/sys/fs/cgroup/memory.max"), _number_in("/sys/fs/cgroup/memory.current")
    # of what a container uses, the cache of files can be had as well
    cache = _number_after("/sys/fs/cgroup/memory.stat", "file ", 1) or 0
    found.append(None if limit is None or used is None else max(limit - used + cache, 0))
    known = [number for number in found if number is not None]
    if known:
        return min(known)
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    except (AttributeError, ValueError, OSError):  # Windows
        return 4 << 30


def _number_in(path: str) -> int | None:
    try:
        with open(path, encoding="ascii") as file:
            return int(file.read())
    except (OSError, ValueError):  # no such file, or "max": no limit
        return None


def _number_after(path: str, label: str, unit: int) -> int | None:
    try:
        with open(path, encoding="ascii") as file:
            line = next((line for line in file if line.startswith(label)), None)
    except (OSError, ValueError):
        return None
    return None if line is None else int(line.removeprefix(label).split()[0]) * unit


@contextmanager
def few_threads(count: int) -> Iterator[None]:
    """What is started meanwhile computes with so many threads."""
    wanted = {**dict.fromkeys(_THREADS_OF_TORCH, str(count)), THREADS_OF_NUMPY: "1"}
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def interrupts_later() -> Iterator[None]:
    """Ctrl-C waits until the block has ended; what is started meanwhile never hears of it, not even while it starts."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
