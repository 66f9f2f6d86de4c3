"""Where a run goes: devices, processes, nodes; and networks wrapped for them, one by one."""

from __future__ import annotations

import atexit
import multiprocessing
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from inspect import ismethod
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader

from hdrcli.errors import MissingRequirement, TrainingError, UsageError
from hdrcli.inference.generator import device_kind
from hdrcli.parallel import limit_threads

PRECISIONS = ("bf16-mixed", "16-mixed", "32-true")


def placement(device: str, devices: int = 1) -> tuple[str, int | list[int]]:
    """Fabric's accelerator and devices for "auto", "cpu", "cuda" or "cuda:N", and a number of processes (0: one a card).

    Raises MissingRequirement or UsageError for what is not there.
    """
    kind, number = device_kind(device)
    cards = torch.cuda.device_count()
    if kind == "cuda" and cards == 0:
        remedy = "use --device cpu or auto, or install torch with CUDA"
        raise MissingRequirement("torch sees no CUDA device", where=f"--device {device}", remedy=remedy)
    if kind == "cuda" and number >= cards:
        fault = f"torch sees {cards} CUDA devices, numbered from 0"
        raise UsageError(fault, where=f"--device {device}", remedy="name one of them, or use --device auto")
    if kind == "cpu" or not cards:
        return "cpu", devices or 1
    count = devices or cards - number
    if number + count > cards:
        fault = f"{count} devices from number {number} on, and torch sees {cards}"
        raise UsageError(fault, where="--devices", remedy="use fewer, or 0 for all")
    return "cuda", list(range(number, number + count))


def fused(parameters: Iterable[nn.Parameter]) -> bool | None:
    """Whether an optimiser of these shall be a fused one: on the CPU it takes a third of the time; elsewhere torch decides."""
    return True if all(p.device.type == "cpu" for p in parameters) else None


def elastic() -> tuple[int, int] | None:
    """Processes on this node, and nodes, if torchrun has started this process."""
    if not torch.distributed.is_available() or "TORCHELASTIC_RUN_ID" not in os.environ:
        return None
    world, local = int(os.environ["WORLD_SIZE"]), int(os.environ.get("LOCAL_WORLD_SIZE", os.environ["WORLD_SIZE"]))
    return local, max(1, world // local)


def make_fabric(device: str, devices: int, num_nodes: int, precision: str) -> Any:
    """A Fabric that has been launched: one process a device. Under torchrun its numbers count.

    Several processes start by running the program again, so whoever calls this must come to the same call in each.
    """
    from lightning.fabric import Fabric

    started = elastic()
    if started is not None:
        devices, num_nodes = started
    accelerator, where = placement(device, devices)
    if precision not in PRECISIONS:
        raise UsageError(f"no precision {precision!r}", where="--precision", remedy=f"there are: {', '.join(PRECISIONS)}")
    if precision == "16-mixed" and accelerator == "cpu":
        raise UsageError("16-mixed needs a CUDA device", where="--precision", remedy="use bf16-mixed or 32-true")
    count = where if isinstance(where, int) else len(where)
    if count * num_nodes == 1:
        return Fabric(accelerator=accelerator, devices=where, precision=precision)  # type: ignore[arg-type]
    from lightning.fabric.strategies.ddp import DDPStrategy

    # buffers are running statistics, each process's own: sent around before each of the several forward passes of a step they
    # would be changed in place while the graph still needs them
    strategy = DDPStrategy(broadcast_buffers=False)
    fabric = Fabric(accelerator=accelerator, devices=where, num_nodes=num_nodes, strategy=strategy, precision=precision)  # type: ignore[arg-type]
    fabric.launch()
    atexit.register(_leave)
    return fabric


def _leave() -> None:
    """Gloo's threads must have ended before the process does: it is aborted now and then otherwise, after all is done."""
    if torch.distributed.is_initialized() and torch.distributed.get_backend() == "gloo":
        torch.distributed.destroy_process_group()


class _Call:
    """A method and its arguments. No container that Fabric looks into: it would round the inputs to half precision, and what a
    network adds to its input would lose eight bits before autocast has any say."""

    def __init__(self, method: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.method, self.args, self.kwargs = method, args, kwargs


class _Entry(nn.Module):
    """A network whose every method goes through ``forward``: the one way that Fabric and DDP see."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, call: _Call) -> Any:
        return getattr(self.network, call.method)(*call.args, **call.kwargs)


class Placed(nn.Module):
    """A network as an objective sees it while the loop runs: called in mixed precision, with the gradients of all processes."""

    def __init__(self, network: nn.Module, fabric: Any) -> None:
        super().__init__()
        self.inner = fabric.setup_module(_Entry(network))

    @property
    def raw(self) -> nn.Module:
        """The network itself."""
        network: nn.Module = self.inner.module.network
        return network

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Calls the network."""
        return self.inner(_Call("forward", args, kwargs))

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            value = getattr(self.raw, name)
            return partial(self._method, name) if ismethod(value) else value

    def _method(self, name: str, *args: Any, **kwargs: Any) -> Any:
        return self.inner(_Call(name, args, kwargs))


@contextmanager
def placed(networks: nn.ModuleDict, fabric: Any) -> Iterator[dict[str, nn.Module]]:
    """The entries of ``networks`` wrapped while the block runs; gives the raw ones by name."""
    raw = dict(networks.items())
    for name, network in raw.items():
        networks[name] = Placed(network, fabric)
    try:
        yield raw
    finally:
        for name, network in raw.items():
            networks[name] = network
            network.requires_grad_(True)


@contextmanager
def ready_to_fork() -> Iterator[None]:
    """While the block runs, OpenCV works on one thread, and at its start OpenEXR on none.

    A forked worker has the parent's thread pools but not their threads: OpenCV would wait for them when its pool is taken down,
    OpenEXR when a file is read, both for ever.
    """
    import cv2

    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    if "OpenEXR" in sys.modules:
        sys.modules["OpenEXR"].set_global_thread_count(0)
    try:
        yield
    finally:
        cv2.setNumThreads(before)


@contextmanager
def memory_kept() -> Iterator[None]:
    """While the block runs, freed memory stays with this process and the workers that it forks (glibc).

    By default it goes back to the system, and each image of a megabyte or more begins with hundreds of page faults: measured on
    a virtual machine, arithmetic on 1 to 64 MiB was 9 to 18 times as slow so. Peak memory is the same. Afterwards glibc is left
    at the largest values that it would choose itself.
    """
    import ctypes

    try:
        library = ctypes.CDLL(None)
        mallopt, trim = library.mallopt, library.malloc_trim
    except (AttributeError, OSError, TypeError):  # another C library
        yield
        return
    trim_threshold, mmap_threshold = -1, -3  # malloc.h
    mallopt(mmap_threshold, 2**31 - 1)
    mallopt(trim_threshold, 2**31 - 1)
    try:
        yield
    finally:
        mallopt(mmap_threshold, 32 << 20)
        mallopt(trim_threshold, 64 << 20)
        trim(0)


def prepare_worker(number: int) -> None:
    """One thread; and what asks the whole group to end (Ctrl-C, Slurm, systemd, GNU timeout) is the main process's business.

    It still needs samples for the step it is in. Workers end when it says so (:func:`served`) or, within seconds, when it has
    gone, which torch's loop in them looks for.
    """
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        if hasattr(signal, name):  # Windows has no SIGHUP
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    limit_threads(1)


@contextmanager
def served(loader: DataLoader[Any]) -> Iterator[Iterator[Any]]:
    """What a loader gives, while the block runs; after it no worker is left, however it ended.

    A worker that has died is a TrainingError of the next batch. Torch's own handler of SIGCHLD raises wherever the main process
    happens to be, in the middle of a step perhaps, of which nothing could be saved.
    """
    if loader.num_workers:
        _check_sockets()
    before = set(multiprocessing.active_children())
    workers: list[Any] = []
    iterator: Any = None
    with ExitStack() as stack:
        try:
            iterator = iter(loader)
            workers = [process for process in multiprocessing.active_children() if process not in before]
            stack.enter_context(_children_die_silently())
            yield _watched(iterator, workers)
        finally:
            workers = workers or [process for process in multiprocessing.active_children() if process not in before]
            # not left to the garbage collector: a traceback may hold the iterator until Python ends
            getattr(iterator, "_shutdown_workers", lambda: None)()
            for worker in workers:
                if worker.is_alive():  # torch has waited and sent SIGTERM, which workers leave to us
                    worker.kill()
                    worker.join()


_LONGEST = 107 if sys.platform == "linux" else 103  # bytes of a socket's path; 103 is macOS's
_NAME = "/listener-12345678"


def _check_sockets() -> None:
    """Workers hand tensors over by sockets in the temporary folder, and where its path is too long, nothing ever arrives.

    So a short folder is taken for them then. Raises TrainingError if there is none.
    """
    from multiprocessing import util

    if sys.platform == "win32" or len(os.fsencode(tempfile.gettempdir())) + len("/pymp-12345678" + _NAME) <= _LONGEST:
        return
    before = tempfile.tempdir
    for folder in ("/tmp", "/var/tmp", "/dev/shm"):
        if os.access(folder, os.W_OK | os.X_OK):
            tempfile.tempdir = folder
            break
    try:
        found = util.get_temp_dir()  # kept for this process and its children, and deleted when it ends
    finally:
        tempfile.tempdir = before
    if len(os.fsencode(found)) + len(_NAME) > _LONGEST:
        fault = "the temporary folder's path is too long for what worker processes need"
        raise TrainingError(fault, where=found, remedy="set TMPDIR to a shorter one, or use --workers 0")


def _watched(iterator: Iterator[Any], workers: list[Any]) -> Iterator[Any]:
    while True:
        _check(workers)
        try:
            batch = next(iterator)
        except RuntimeError:
            _check(workers)
            raise
        yield batch


def _check(workers: list[Any]) -> None:
    """Raises TrainingError if one of them has not ended well."""
    codes = [worker.exitcode for worker in workers if worker.exitcode]
    if codes:
        code = codes[0]
        how = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
        remedy = "if memory ran out, use fewer --workers or less --cache-memory"
        raise TrainingError(f"a process that makes samples {how}", where="--workers", remedy=remedy)


@contextmanager
def _children_die_silently() -> Iterator[None]:
    if not hasattr(signal, "SIGCHLD") or threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGCHLD, before or signal.SIG_DFL)  # None: of one that Python has not set


@contextmanager
def without_sync(fabric: Any, networks: Iterable[nn.Module], *, enabled: bool) -> Iterator[None]:
    """Micro-batches but the last need not tell other processes their gradients."""
    with ExitStack() as stack:
        if enabled and fabric.world_size > 1:
            for network in networks:
                if isinstance(network, Placed):
                    stack.enter_context(fabric.no_backward_sync(network.inner))
        yield


def largest(fabric: Any, *values: float) -> tuple[float, ...]:
    """The largest of each value over all processes, so that all decide alike."""
    if fabric.world_size == 1:
        return values
    tensor = torch.tensor(values, dtype=torch.float64 if fabric.device.type == "cpu" else torch.float32, device=fabric.device)
    torch.distributed.all_reduce(tensor, torch.distributed.ReduceOp.MAX)
    return tuple(float(v) for v in tensor)


def gathered(fabric: Any, value: Any) -> list[Any]:
    """A value (plain or tensors) of every process, in the order of their ranks."""
    if fabric.world_size == 1:
        return [value]
    out: list[Any] = [None] * fabric.world_size
    torch.distributed.all_gather_object(out, value)
    return out
