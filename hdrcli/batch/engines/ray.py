"""A Ray cluster: each file is a Ray task; what is lost with a worker or a node is done again on another.

All machines see the sources, the output folder and the manifest under the same paths, as on a shared file system, and have
hdrcli installed. A task takes as many cores as it has threads, a share of a GPU if asked for, and memory by the size of its
file, so that Ray places no more on a node than it can do; no more than twice what the cluster does at once is handed to it.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any

from hdrcli import parallel
from hdrcli.batch.engines import Running
from hdrcli.batch.engines._faults import Fault
from hdrcli.batch.manifest import FAILED, Manifest
from hdrcli.batch.planning import Task
from hdrcli.batch.sizes import pixels_in
from hdrcli.batch.work import BYTES_PER_PIXEL, Outcome, Setup, failure, perform
from hdrcli.errors import HdrcliError, MissingExtra, UsageError

_RETRIES = 3  # of a file whose worker or node is lost
_AHEAD = 2  # times what the cluster does at once


def outcomes(tasks: Sequence[Task], setup: Setup, manifest: Manifest, running: Running) -> Iterator[Outcome]:
    """See :mod:`hdrcli.batch.engines`. Raises MissingExtra without Ray, UsageError for a cluster that can't be reached."""
    ray = _library()
    begun = not ray.is_initialized()
    if begun:
        _connect(ray, running.address)
    setup = replace(
        setup,
        **{name: os.path.abspath(getattr(setup, name)) for name in ("folder", "staging", "manifest")},  # noqa: PTH100
    )
    remote = ray.remote(_perform)
    usual = {"num_cpus": running.threads, "num_gpus": running.gpus, "max_retries": _RETRIES}
    todo = deque(replace(task, source=os.path.abspath(task.source)) for task in tasks)  # noqa: PTH100
    given: dict[Any, Task] = {}
    try:
        shared = ray.put(setup)
        while todo or given:
            cores, memory = _cluster(ray)
            at_once = max(1, int(cores // running.threads))
            most = _AHEAD * min(running.workers or at_once, at_once)
            while todo and len(given) < most:
                task = todo.popleft()
                # what is larger than any node gets one for itself
                size = min(BYTES_PER_PIXEL * pixels_in(task.source), memory)
                given[remote.options(memory=size, **usual).remote(task, shared, running.threads)] = task
            ready, _ = ray.wait(list(given), num_returns=1)
            for reference in ready:
                yield _outcome(ray, reference, given.pop(reference), setup, manifest)
    finally:
        for reference in given:
            ray.cancel(reference, force=True)
        if begun:
            ray.shutdown()


def _library() -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # else a cluster that is started here reports itself to its makers
    try:
        return import_module("ray")
    except ImportError:
        raise MissingExtra("ray", "ray", purpose="--engine ray") from None


def _connect(ray: Any, address: str | None) -> None:
    """To the cluster at ``address``, or that of RAY_ADDRESS, or one that is started on this machine for this run."""
    try:
        ray.init(address=address, logging_level="ERROR", log_to_driver=False, include_dashboard=None if address else False)
    except (ConnectionError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise UsageError(f"can't reach a Ray cluster: {reason}", where="--address", remedy="see ray status") from error


def _cluster(ray: Any) -> tuple[float, int]:
    """Cores of all nodes that live, and the memory of the largest."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return sum(n.get("CPU", 0) for n in nodes), int(max((n.get("memory", 0) for n in nodes), default=0))


def _outcome(ray: Any, reference: Any, task: Task, setup: Setup, manifest: Manifest) -> Outcome:
    try:
        result = ray.get(reference)
    except ray.exceptions.RayError as error:
        reason = " ".join(str(error).split())[:300]
        record = failure(task, setup, f"{task.source}: lost {_RETRIES + 1} times with its worker: {reason}")
        manifest.append(record)
        return Outcome(FAILED, task.source, task.outputs[0], record)
    if isinstance(result, Fault):
        raise result.revived()
    assert isinstance(result, Outcome)
    return result


def _perform(task: Task, setup: Setup, threads: int) -> Outcome | Fault:
    """In a worker process of Ray, which does many tasks and keeps what it has loaded."""
    try:
        return perform(task, setup, _manifest(setup.manifest, threads), lambda size: None)
    except HdrcliError as error:
        return Fault.of(error)


@lru_cache(maxsize=1)
def _manifest(path: str, threads: int) -> Manifest:
    parallel.limit_threads(threads)
    return Manifest(Path(path))
