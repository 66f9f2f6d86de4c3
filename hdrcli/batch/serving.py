"""One process a GPU runs the network for all workers; photos of equal working size go through it together.

Workers read, blend and write; each has at most one photo at the network, so what waits is bounded by their number. While the
card computes one group, the next one gathers: no photo waits for others to come.

Only on cards: on a CPU a photo goes through the network no faster in company (measured: 0.030 s alone, 0.038 s in groups of 2
to 8, default bundle, one thread), so there each worker has its own.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Client, Connection, Listener, wait
from pathlib import Path
from typing import Any

import numpy as np

from hdrcli.batch.engines._faults import Fault
from hdrcli.errors import HdrcliError, ModelError
from hdrcli.inference.generator import Floats, Generator, GeneratorSpec

Key = tuple[str, str, str]  # of a generator: model, backend, role
Inputs = Mapping[str, Floats]
Loader = Callable[[str, str, str, str], Generator]  # model, backend, device, role

MOST = 16  # photos in a group
_CARDS = Path("/proc/driver/nvidia/gpus")


@dataclass(frozen=True)
class Served:
    """A generator that runs in another process, at an address."""

    key: Key
    address: Any
    spec: GeneratorSpec
    ran_on: str


class RemoteGenerator:
    """A generator that is asked over a connection; otherwise as any. Raises ModelError if its process has died."""

    def __init__(self, served: Served) -> None:
        self.spec, self.ran_on = served.spec, served.ran_on
        self._pipe = Client(served.address, authkey=bytes(multiprocessing.current_process().authkey))

    def __call__(self, inputs: Inputs) -> Floats:
        """See :class:`hdrcli.inference.generator.Generator`."""
        try:
            self._pipe.send({name: inputs[name] for name in self.spec.inputs})
            answer = self._pipe.recv()
        except (EOFError, OSError):
            raise ModelError("the process that runs the network has died", remedy="use --device cpu") from None
        if isinstance(answer, Fault):
            raise answer.revived()
        return np.asarray(answer, dtype=np.float32)


def grouped(requests: Sequence[Inputs], most: int = MOST) -> Iterator[list[int]]:
    """Which requests go through the network together: those of equal shapes, in the order of asking, at most ``most``."""
    groups: dict[tuple[tuple[str, tuple[int, ...]], ...], list[int]] = {}
    for number, inputs in enumerate(requests):
        shapes = tuple((name, values.shape[1:]) for name, values in sorted(inputs.items()))
        groups.setdefault(shapes, []).append(number)
    for numbers in groups.values():
        for first in range(0, len(numbers), most):
            yield numbers[first : first + most]


def answers(generator: Generator, requests: Sequence[Inputs]) -> Iterator[tuple[int, Floats | Fault]]:
    """The generator's answer to each request by its number, as they come. A group that fails is asked one by one."""
    for numbers in grouped(requests):
        found = _asked(generator, [requests[n] for n in numbers])
        if isinstance(found, Fault) and len(numbers) > 1:  # too many for the card's memory, perhaps
            yield from ((n, _asked(generator, [requests[n]])) for n in numbers)
        elif isinstance(found, Fault):
            yield numbers[0], found
        else:
            yield from ((n, found[i : i + 1]) for i, n in enumerate(numbers))


def _asked(generator: Generator, requests: Sequence[Inputs]) -> Floats | Fault:
    try:
        return generator({name: np.concatenate([inputs[name] for inputs in requests]) for name in requests[0]})
    except HdrcliError as error:
        return Fault.of(error)


def cards(device: str) -> tuple[str, ...]:
    """The devices that "auto", "cuda" or "cuda:N" stand for; none for "cpu", and where there is no driver."""
    from hdrcli.inference.generator import device_kind
    from hdrcli.inference.onnx_backend import cuda_driver_present

    kind, _ = device_kind(device)
    if kind == "cpu" or not cuda_driver_present():
        return ()
    if ":" in device:
        return (device,)
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    count = len([v for v in visible.split(",") if v.strip()]) if visible is not None else len(_folders(_CARDS))
    return tuple(f"cuda:{number}" for number in range(max(count, 0 if visible is not None else 1)))


def _folders(path: Path) -> list[Path]:
    try:
        return list(path.iterdir())
    except OSError:
        return []


class Server:
    """A process that has one generator on one device."""

    def __init__(self, key: Key, device: str, load: Loader) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self.process = context.Process(target=_run, args=(theirs, key, device, load), daemon=True)
        self.process.start()
        theirs.close()
        self.device, self._key = device, key

    def ready(self) -> Served | None:
        """Waits until it has loaded. None if it found itself on no card; raises what loading raised."""
        try:
            answer = self._pipe.recv()
        except EOFError:
            self.process.join()
            fault = f"the process for {self.device} ends as it starts (exit code {self.process.exitcode})"
            raise HdrcliError(fault, remedy="use --device cpu, or see hdrcli doctor") from None
        if isinstance(answer, Fault):
            raise answer.revived()
        assert answer is None or isinstance(answer, Served)
        return answer

    def end(self) -> None:
        """End the process."""
        self.process.terminate()
        self.process.join()
        self._pipe.close()


def load(model: str, backend: str, device: str, role: str) -> Generator:
    """The usual :data:`Loader`."""
    from hdrcli.conversion import load_generator

    return load_generator(model, backend, device, role)


def _run(pipe: Connection, key: Key, device: str, load: Loader) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_follow_parent, daemon=True).start()
    model, backend, role = key
    try:
        generator = load(model, backend, device, role)
    except HdrcliError as error:
        pipe.send(Fault.of(error))
        return
    if generator.ran_on.endswith("CPU"):
        pipe.send(None)
        return
    with Listener(authkey=bytes(multiprocessing.current_process().authkey)) as listener:
        clients: list[Connection] = []
        come, came = multiprocessing.Pipe(duplex=False)
        threading.Thread(target=_accept, args=(listener, clients, came), daemon=True).start()
        # a read-only view of a dictionary can't be sent
        spec = replace(generator.spec, network=dict(generator.spec.network))
        pipe.send(Served(key, listener.address, spec, generator.ran_on))
        while True:
            _answer(generator, clients, come)


def _accept(listener: Listener, clients: list[Connection], came: Any) -> None:
    while True:
        try:
            clients.append(listener.accept())
        except (OSError, EOFError, multiprocessing.AuthenticationError):  # a worker that died as it came
            continue
        came.send_bytes(b"!")


def _answer(generator: Generator, clients: list[Connection], come: Connection) -> None:
    """All that has been asked by now, once."""
    asking: list[Connection] = []
    requests: list[Inputs] = []
    for pipe in wait([come, *clients]):
        assert isinstance(pipe, Connection)
        if pipe is come:
            pipe.recv_bytes()
            continue
        try:
            requests.append(pipe.recv())
            asking.append(pipe)
        except (EOFError, OSError):
            clients.remove(pipe)
    for number, answer in answers(generator, requests):
        try:
            asking[number].send(answer)
        except OSError:
            clients.remove(asking[number])


def _follow_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def use(served: Sequence[Served]) -> None:
    """From here on, in this process, conversions ask these generators instead of loading their own. For worker processes."""
    from hdrcli import conversion

    own = conversion.load_generator
    remote = {one.key: RemoteGenerator(one) for one in served}

    def load_generator(model: str, backend: str = "auto", device: str = "auto", role: str = "g_y") -> Generator:
        return remote.get((model, backend, role)) or own(model, backend, device, role)

    # conversion's functions look the name up when they are called
    setattr(conversion, "load_generator", load_generator)  # noqa: B010
