from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time

import pytest
from scenes import request, write_folders

from hdrcli.errors import HdrcliError, UsageError
from hdrcli.evaluation import engine, processes
from hdrcli.evaluation.scoring import Plan


@pytest.fixture(scope="module")
def units(tmp_path_factory: pytest.TempPathFactory) -> tuple[processes.Unit, ...]:
    root = write_folders(tmp_path_factory.mktemp("scenes"), [f"scene{i}" for i in range(12)])
    return request(root, "good").matching.units


def plan(**settings: object) -> Plan:
    return Plan(engine.complete(request_settings(**settings)))


def request_settings(**settings: object) -> engine.Settings:
    return engine.Settings(protocols=("raw",), metrics=(), **settings)


def silent(done: int, text: str) -> None:
    pass


def none_left() -> bool:
    """The pool's own thread waits for the processes as well: which of both sees the end first is left to chance."""
    ends = time.monotonic() + 10
    while multiprocessing.active_children() and time.monotonic() < ends:
        time.sleep(0.01)
    return multiprocessing.active_children() == []


def test_interrupted_runs_leave_no_process(units: tuple[processes.Unit, ...]) -> None:
    def stop(done: int, text: str) -> None:
        assert multiprocessing.active_children()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        processes.run(units, plan(), processes=2, report=stop)
    assert none_left()


def test_a_process_that_dies_is_told(units: tuple[processes.Unit, ...]) -> None:
    def kill(done: int, text: str) -> None:
        for child in multiprocessing.active_children():
            os.kill(child.pid, signal.SIGKILL)

    with pytest.raises(HdrcliError, match=r"a process that scores pairs died.*--threads"):
        processes.run(units, plan(), processes=2, report=kill)
    assert none_left()


def test_options_that_make_no_sense_end_the_run(units: tuple[processes.Unit, ...]) -> None:
    wrong = Plan(engine.Settings(protocols=("raw",), options={"raw": {"peak_nits": "-1"}}, metrics=()))
    with pytest.raises(UsageError, match="-1 cd/m2 is no luminance"):
        processes.run(units, wrong, processes=2, report=silent)
    assert none_left()


def test_variables_for_threads_are_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    with processes.few_threads(3):
        assert (os.environ["OMP_NUM_THREADS"], os.environ["OPENBLAS_NUM_THREADS"]) == ("3", "1")
    assert os.environ["OMP_NUM_THREADS"] == "7"
    assert "OPENBLAS_NUM_THREADS" not in os.environ


def test_one_process_is_this_one(units: tuple[processes.Unit, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*arguments: object) -> object:
        raise AssertionError("a pool was made")

    monkeypatch.setattr(processes, "ProcessPoolExecutor", none)
    assert len(processes.run(units, plan(), processes=1, report=silent)) == 12
    assert len(processes.run(units[:1], plan(), processes=8, report=silent)) == 1


@pytest.mark.parametrize(("pixels", "least", "most"), [(60, 1, 1), (30, 2, 3), (1000, 1, 1), (1, 4, 8)])
def test_memory_is_shared_out(pixels: int, least: int, most: int) -> None:
    """Of 100 pixels' memory: pairs of 60 go one by one, of 30 three at a time, of 1000 alone."""
    context = multiprocessing.get_context("spawn")
    gate = processes._Gate(context.Lock(), context.Semaphore(processes._SHARES), 100)
    lock, inside, seen = threading.Lock(), 0, []

    def work() -> None:
        nonlocal inside
        with gate.room(pixels):
            with lock:
                inside += 1
                seen.append(inside)
            time.sleep(0.05)
            with lock:
                inside -= 1

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert not any(thread.is_alive() for thread in threads)
    assert least <= max(seen) <= most
