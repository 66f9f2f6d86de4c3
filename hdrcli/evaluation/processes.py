"""Many pairs beside each other: one process a core, each with its share of threads, as many at once as memory has room for.

Processes are spawned, not forked: forked ones hang in the pools that OpenCV and OpenEXR had before. Results come in the order
of the units, whatever the order in which they are done.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing.connection import wait
from typing import Any

from hdrcli import parallel
from hdrcli.errors import HdrcliError
from hdrcli.evaluation.pairs import Unit
from hdrcli.evaluation.scoring import Plan, Scored, score
from hdrcli.machine import few_threads, free_memory, interrupts_later

Report = Callable[[int, str], None]  # how many pairs are done, and which was the last

_BYTES_PER_PIXEL = 700  # measured with all metrics and protocols: 600; with the usual ones 140
_USED = 0.7  # of the memory that is free when it starts
_SHARES = 256  # in which it is handed out
_PATIENCE = 10.0  # seconds for a process to leave what it is doing

_gate: _Gate | None = None  # of a worker process


def run(units: Sequence[Unit], plan: Plan, *, processes: int, report: Report) -> list[Scored]:
    """Every unit, in order. ``processes``: at most so many; one, or a single unit: in this process, with all its threads.

    Raises UsageError for options, HdrcliError if a process died. When it is interrupted no process stays behind.
    """
    if min(processes, len(units)) <= 1:
        return list(_one_by_one(units, replace(plan, threads=parallel.threads()), report))
    workers = min(processes, len(units))
    plan = replace(plan, threads=max(1, parallel.threads() // workers))
    context = multiprocessing.get_context("spawn")
    gate = (context.Lock(), context.Semaphore(_SHARES), _pixels_at_once())
    found: list[Scored | None] = [None] * len(units)
    with few_threads(plan.threads), _killed_at_the_end():
        pool = ProcessPoolExecutor(workers, context, _prepare, (plan.threads, gate))
        try:
            with interrupts_later():  # processes are started here
                places: dict[Future[Scored], int] = {pool.submit(_work, unit, plan): i for i, unit in enumerate(units)}
            for done, future in enumerate(as_completed(places), 1):
                place = places[future]
                found[place] = future.result()
                report(done, units[place].image)
            pool.shutdown()
        except BrokenProcessPool:
            fault = "a process that scores pairs died, most likely for lack of memory"
            raise HdrcliError(fault, remedy="use fewer with --threads, or smaller pictures") from None
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
    return [scored for scored in found if scored is not None]


def _one_by_one(units: Sequence[Unit], plan: Plan, report: Report) -> Iterator[Scored]:
    for done, unit in enumerate(units, 1):
        yield score(unit, plan)
        report(done, unit.image)


def _pixels_at_once() -> int:
    """How many pixels may be measured at the same time, in all processes."""
    return int(_USED * free_memory() / _BYTES_PER_PIXEL)


@contextmanager
def _killed_at_the_end() -> Iterator[None]:
    """Ends the processes that were started meanwhile, should the block be left by an error or Ctrl-C."""
    before = set(multiprocessing.active_children())
    try:
        yield
    except BaseException:
        mine = [child for child in multiprocessing.active_children() if child not in before]
        for child in mine:
            child.terminate()
        for child in mine:
            child.join(_PATIENCE)
            if child.is_alive():
                child.kill()
                child.join()
        raise


class _Gate:
    """Lets pairs in while there is memory; one that is larger than all of it goes alone.

    A semaphore of so many shares of the memory. A lock around taking several, so that no two wait for each other's.
    """

    def __init__(self, queue: Any, shares: Any, pixels: int) -> None:
        self._queue, self._shares, self._pixels = queue, shares, pixels

    @contextmanager
    def room(self, pixels: int) -> Iterator[None]:
        """Waits until ``pixels`` more may be measured."""
        wanted = min(_SHARES, -(-pixels * _SHARES // max(1, self._pixels)))
        with self._queue:
            for _ in range(wanted):
                self._shares.acquire()
        try:
            yield
        finally:
            for _ in range(wanted):
                self._shares.release()


def _prepare(threads: int, gate: tuple[Any, Any, int]) -> None:
    """A worker's first act."""
    global _gate
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes of a terminal; the first one ends the others
    parallel.limit_threads(threads)
    _gate = _Gate(*gate)
    threading.Thread(target=_follow_parent, daemon=True).start()


def _unwind(number: int, frame: object) -> None:
    """The end by way of all that is open, so that no half-written map stays behind."""
    raise SystemExit(1)


def _follow_parent() -> None:
    """A parent that was killed can't end its workers; they would wait for work for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(_PATIENCE)
        os._exit(1)


def _work(unit: Unit, plan: Plan) -> Scored:
    assert _gate is not None
    try:
        signal.signal(signal.SIGTERM, _unwind)
        return score(unit, plan, _gate.room)
    except SystemExit:
        os._exit(1)  # the pool would take it for a result and go on
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
