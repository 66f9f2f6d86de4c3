"""Processes on this machine: one file each at a time, in each with one thread unless more are asked for.

Reading, network and writing of different files overlap because the files do; what waits is bounded by two tasks a process. A
process asks for memory when it knows the size of its file and gets it when there is room, in the order of asking; a file that
is larger than all of it goes alone. A process that dies is replaced; the file it was at is tried once more, alone.

Where there are GPUs, one process for each runs the network for all others: see :mod:`hdrcli.batch.serving`.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from hdrcli import parallel
from hdrcli.batch import serving
from hdrcli.batch.engines import Running
from hdrcli.batch.engines._faults import Fault
from hdrcli.batch.manifest import FAILED, Manifest
from hdrcli.batch.planning import Task
from hdrcli.batch.sizes import WORKER_BYTES
from hdrcli.batch.work import Outcome, Setup, failure, perform
from hdrcli.errors import HdrcliError
from hdrcli.machine import few_threads, interrupts_later

_TRIES = 2
_FAILED_STARTS = 3
_PATIENCE = 10.0  # seconds for a process to end


def outcomes(tasks: Sequence[Task], setup: Setup, manifest: Manifest, running: Running) -> Iterator[Outcome]:
    """See :mod:`hdrcli.batch.engines`."""
    count = max(1, min(running.workers or parallel.available(), len(tasks), running.memory // WORKER_BYTES))
    crew = _Crew(setup, running.threads, _Room(max(0, running.memory - count * WORKER_BYTES)))
    todo = deque(_Try(task) for task in tasks)
    try:
        if todo:
            crew.start_servers()
        for _ in range(count if todo else 0):
            crew.hire()
        while todo or any(member.queue for member in crew.members):
            crew.hand_out(todo)
            for member, message in crew.messages():
                if message is None:
                    outcome = _buried(crew, member, todo, setup, manifest)
                    if outcome is not None:
                        yield outcome
                elif isinstance(message, Outcome):
                    member.queue.popleft()
                    crew.room.leave(member)
                    yield message
                elif isinstance(message, Fault):
                    raise message.revived()
                else:
                    message.heard(crew, member)
            crew.room.let_in()
    finally:
        crew.dismiss()


@dataclass
class _Try:
    """A task, and how often it has been begun."""

    task: Task
    begun: int = 0


# -- what processes say ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Ready:
    """A process has loaded all it needs."""

    def heard(self, crew: _Crew, member: _Member) -> None:
        member.ready = True
        crew.failed_starts = 0


@dataclass(frozen=True)
class _Wants:
    """A process knows how many bytes its file takes, and waits."""

    size: int

    def heard(self, crew: _Crew, member: _Member) -> None:
        crew.room.ask(member, self.size, alone=member.queue[0].begun > 0)


_GO = b"go"

# -- this process ------------------------------------------------------------------------------------------------------------


@dataclass(eq=False)
class _Member:
    """A worker process; the first in its queue is what it is at."""

    process: BaseProcess
    pipe: Connection
    ready: bool = False
    queue: deque[_Try] = field(default_factory=deque)


class _Room:
    """Memory that is lent to processes, first come first served."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._lent: dict[_Member, int] = {}
        self._waiting: deque[tuple[_Member, int]] = deque()

    def ask(self, member: _Member, size: int, *, alone: bool) -> None:
        self._waiting.append((member, self._size + 1 if alone else size))

    def leave(self, member: _Member) -> None:
        self._lent.pop(member, None)
        self._waiting = deque(entry for entry in self._waiting if entry[0] is not member)

    def let_in(self) -> None:
        while self._waiting:
            member, size = self._waiting[0]
            if self._lent and sum(self._lent.values()) + size > self._size:
                return
            self._waiting.popleft()
            self._lent[member] = size
            with suppress(OSError):  # dead; told by messages()
                member.pipe.send(_GO)


class _Crew:
    """The worker processes."""

    def __init__(self, setup: Setup, threads: int, room: _Room) -> None:
        self._setup, self._threads, self.room = setup, threads, room
        self._context = multiprocessing.get_context("spawn")
        self.members: list[_Member] = []
        self.failed_starts = 0
        self._servers: list[serving.Server] = []
        self._served: list[list[serving.Served]] = []  # for each card, the generators on it
        self._hired = 0

    def start_servers(self) -> None:
        """A process for each generator on each card. Raises what loading raises."""
        with few_threads(self._threads), interrupts_later():
            started = [
                [serving.Server((model, backend, role), card, serving.load) for card in serving.cards(device)]
                for model, backend, device, role in self._setup.recipe.generators
            ]
        self._servers = [server for servers in started for server in servers]
        found = [[served for server in servers if (served := server.ready())] for servers in started]
        self._served = [list(on_one_card) for on_one_card in zip(*found, strict=True)]

    def hire(self) -> None:
        mine, theirs = self._context.Pipe()
        served = self._served[self._hired % len(self._served)] if self._served else []
        self._hired += 1
        process = self._context.Process(target=_serve, args=(theirs, self._setup, self._threads, served), daemon=True)
        with few_threads(self._threads), interrupts_later():
            process.start()
        theirs.close()  # so that the pipe ends when the process does
        self.members.append(_Member(process, mine))

    def hand_out(self, todo: deque[_Try]) -> None:
        # one more waits in each process's pipe, but not when that might leave another one idle at the end
        depth = 2 if len(todo) > 4 * len(self.members) else 1
        for length in range(depth):
            for member in self.members:
                if todo and member.ready and len(member.queue) == length:
                    member.queue.append(todo[0])
                    try:
                        member.pipe.send(todo[0].task)
                    except OSError:  # dead; told by messages()
                        member.queue.pop()
                        continue
                    todo.popleft()

    def messages(self) -> Iterator[tuple[_Member, Any]]:
        """What processes say, waiting for at least one; None from one that has died."""
        by_pipe: dict[Any, _Member] = {member.pipe: member for member in self.members}
        servers: dict[Any, serving.Server] = {server.process.sentinel: server for server in self._servers if self._served}
        for pipe in wait([*by_pipe, *servers]):
            if pipe in servers:
                fault = f"the process that runs the network on {servers[pipe].device} died"
                raise HdrcliError(fault, remedy="use --device cpu; what is done is done")
            member = by_pipe[pipe]
            try:
                yield member, member.pipe.recv()
            except (EOFError, OSError):
                yield member, None

    def bury(self, member: _Member) -> int | None:
        """Let go of a process that has died. Returns its exit code; raises HdrcliError if none of them gets started."""
        self.members.remove(member)
        self.room.leave(member)
        member.pipe.close()
        member.process.join(_PATIENCE)
        if not member.ready:
            self.failed_starts += 1
            if self.failed_starts >= _FAILED_STARTS:
                fault = f"worker processes end as they start (exit code {member.process.exitcode})"
                raise HdrcliError(fault, remedy="use fewer with -j, or see hdrcli doctor")
        return member.process.exitcode

    def dismiss(self) -> None:
        for member in self.members:
            member.process.terminate()
        for member in self.members:
            member.process.join(_PATIENCE)
            if member.process.is_alive():
                member.process.kill()
                member.process.join()
            member.pipe.close()
        self.members.clear()
        for server in self._servers:
            server.end()
        self._servers.clear()


def _buried(crew: _Crew, member: _Member, todo: deque[_Try], setup: Setup, manifest: Manifest) -> Outcome | None:
    """Replace a process that has died; the file it was at goes back, or is given up."""
    code = crew.bury(member)
    crew.hire()
    if not member.queue:
        return None
    suspect, *innocent = member.queue
    todo.extendleft(reversed(innocent))
    suspect.begun += 1
    if suspect.begun < _TRIES:
        todo.appendleft(suspect)
        return None
    end = f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"
    fault = f"{suspect.task.source}: the process that converts it died {_TRIES} times ({end}), maybe for lack of memory"
    record = failure(suspect.task, setup, f"{fault} (try it alone with hdrcli expand or tonemap)")
    manifest.append(record)
    return Outcome(FAILED, suspect.task.source, suspect.task.outputs[0], record)


# -- a worker process --------------------------------------------------------------------------------------------------------


def _serve(pipe: Connection, setup: Setup, threads: int, served: Sequence[serving.Served]) -> None:
    """What a worker process does until its pipe ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes of a terminal; the first one ends the others
    threading.Thread(target=_follow_parent, daemon=True).start()
    waiting: deque[Task] = deque()

    def room(size: int) -> None:
        pipe.send(_Wants(size))
        while (message := pipe.recv()) != _GO:
            waiting.append(message)

    try:
        parallel.limit_threads(threads)
        manifest = Manifest(Path(setup.manifest))
        if served:
            serving.use(served)
        else:
            _load(setup)
        pipe.send(_Ready())
        while True:
            pipe.send(perform(waiting.popleft() if waiting else pipe.recv(), setup, manifest, room))
    except HdrcliError as error:
        pipe.send(Fault.of(error))
    except (EOFError, BrokenPipeError):  # the first process has gone
        return


def _load(setup: Setup) -> None:
    from hdrcli.conversion import load_generator

    for model, backend, device, role in setup.recipe.generators:
        load_generator(model, backend, device, role)


def _follow_parent() -> None:
    """A parent that was killed can't end its workers. Whatever they were at is not whole yet, and goes with the next run."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
