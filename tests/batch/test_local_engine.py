"""Processes beside each other: what they make, what becomes of those that die, and how memory is shared out."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from photos import LINEAR, OOPS, Deadly, batch, converted, photo, photos, recipe, tree

import hdrcli
from hdrcli.batch.engines import Running, local
from hdrcli.batch.manifest import NAME, Manifest
from hdrcli.batch.recipe import Recipe
from hdrcli.batch.running import prepared, run
from hdrcli.batch.work import Outcome
from hdrcli.conversion import ExpandOptions
from hdrcli.errors import MissingModel, UnwritableOutput, UsageError


def none_left() -> bool:
    ends = time.monotonic() + 10
    while multiprocessing.active_children() and time.monotonic() < ends:
        time.sleep(0.01)
    return multiprocessing.active_children() == []


def contents(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.iterdir() if p.suffix == ".exr"}


def test_all_are_done_once_whatever_the_number_of_processes(tmp_path: Path) -> None:
    source = photos(tmp_path / "in", 9)
    (source / "bad.png").write_bytes(b"no photo")
    heard: list[Outcome] = []
    summary = converted(source, tmp_path / "two", workers=2, report=heard.append)
    assert (summary.done, summary.left, [Path(s).name for s, _ in summary.failed]) == (9, 0, ["bad.png"])
    assert sorted(outcome.output for outcome in heard) == sorted([*(f"{n:03d}.exr" for n in range(9)), "bad.exr"])
    assert len({outcome.record["host"] for outcome in heard}) == 1
    converted(source, tmp_path / "one", workers=1)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    assert len(contents(tmp_path / "one")) == 9
    again = converted(source, tmp_path / "two", workers=2)
    assert (again.done, again.current, len(again.failed)) == (0, 9, 1)
    assert tree(tmp_path / "two") == {NAME, *contents(tmp_path / "two")}
    assert none_left()


def test_processes_that_are_killed_are_replaced(tmp_path: Path) -> None:
    killed: list[int] = []
    heard: list[Outcome] = []

    def kill(outcome: Outcome) -> None:
        heard.append(outcome)
        if len(heard) in (1, 5, 9):  # apart, so that no file meets two of them
            child = multiprocessing.active_children()[0]
            assert child.pid is not None
            killed.append(child.pid)
            os.kill(child.pid, signal.SIGKILL)

    summary = converted(photos(tmp_path / "in", 12), tmp_path / "out", workers=2, report=kill)
    assert (summary.done + summary.current, summary.failed) == (12, [])
    assert len(killed) == 3
    assert len(contents(tmp_path / "out")) == 12
    assert all(hdrcli.read(tmp_path / "out" / name).width == 24 for name in contents(tmp_path / "out"))
    assert tree(tmp_path / "out") == {NAME, *contents(tmp_path / "out")}


def test_a_photo_that_kills_its_process_is_given_up(tmp_path: Path) -> None:
    source = photos(tmp_path / "in", 4)
    photo(source / "deadly.png", width=OOPS)
    summary = converted(source, tmp_path / "out", Deadly(".exr", LINEAR), workers=2)
    assert summary.done == 4
    ((name, fault),) = summary.failed
    assert (name, "died 2 times (signal 9)" in fault) == (str(source / "deadly.png"), True)
    (failed,) = [e for e in Manifest(tmp_path / "out" / NAME).entries().values() if e.outcome == "failed"]
    assert failed.input == str(source / "deadly.png")
    assert none_left()


def test_processes_that_can_not_start(tmp_path: Path) -> None:
    class Broken(Recipe):  # can't be found by its name in another process
        pass

    with pytest.raises((AttributeError, TypeError)):
        converted(photos(tmp_path / "in", 2), tmp_path / "out", Broken(".exr", LINEAR))
    assert none_left()
    assert tree(tmp_path / "out") == {NAME}


def test_faults_of_the_whole_run_come_once(tmp_path: Path) -> None:
    job = batch(photos(tmp_path / "in", 2), tmp_path / "out")
    made = recipe(expand=ExpandOptions(model="default"))
    _ = made.digest
    object.__setattr__(made, "expand", ExpandOptions(model="nowhere"))
    object.__setattr__(job, "recipe", made)
    with pytest.raises(MissingModel, match="no model 'nowhere'"):
        run(job, Running(workers=2))
    assert none_left()
    assert tree(tmp_path / "out") == {NAME}


def test_interrupted_runs_leave_nothing_behind(tmp_path: Path) -> None:
    def stop(outcome: Outcome) -> None:
        raise KeyboardInterrupt

    source = photos(tmp_path / "in", 6)
    with pytest.raises(KeyboardInterrupt):
        converted(source, tmp_path / "out", workers=2, report=stop)
    assert none_left()
    assert tree(tmp_path / "out") == {NAME, *contents(tmp_path / "out")}
    summary = converted(source, tmp_path / "out", workers=2)
    assert summary.done + summary.current == 6
    assert summary.current >= 1


PARENT = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from photos import converted
if __name__ == "__main__":
    converted(Path(sys.argv[1]), Path(sys.argv[2]), workers=2, report=lambda outcome: print(outcome.output, flush=True))
"""


def test_workers_of_a_killed_run_end_and_the_next_run_goes_on(tmp_path: Path) -> None:
    source = photos(tmp_path / "in", 40)
    script = tmp_path / "parent.py"
    script.write_text(PARENT, encoding="utf-8")
    here = str(Path(__file__).parent)
    command = [sys.executable, str(script), str(source), str(tmp_path / "out"), here]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        process.kill()
    ends = time.monotonic() + 20
    while any(_runs(child) for child in children) and time.monotonic() < ends:
        time.sleep(0.02)
    assert not any(_runs(child) for child in children)
    before = len(contents(tmp_path / "out"))
    assert before >= 1
    summary = converted(source, tmp_path / "out", workers=2)
    assert (summary.done + summary.current, summary.current, summary.failed) == (40, before, [])
    assert tree(tmp_path / "out") == {NAME, *contents(tmp_path / "out")}


def _runs(process: str) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_two_runs_share_a_folder(tmp_path: Path) -> None:
    source = photos(tmp_path / "in", 30)
    script = tmp_path / "parent.py"
    script.write_text(PARENT, encoding="utf-8")
    command = [sys.executable, str(script), str(source), str(tmp_path / "out"), str(Path(__file__).parent)]
    runs = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate(timeout=120) for process in runs]
    assert [process.returncode for process in runs] == [0, 0], said
    lines = (tmp_path / "out" / NAME).read_text().splitlines()
    assert len(lines) == 30  # one line a file: none was made twice, none failed
    assert len(contents(tmp_path / "out")) == 30
    assert prepared(batch(source, tmp_path / "out")).current == 30


FULL = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from photos import converted
if __name__ == "__main__":
    summary = converted(Path(sys.argv[1]), Path(sys.argv[2]), workers=2)
    print(summary.done, summary.left, len(summary.failed), summary.stopped)
"""


def test_a_disk_that_fills_up(tmp_path: Path) -> None:
    """A file system of 1 MiB, mounted in a namespace of its own."""
    source = tmp_path / "in"
    for number in range(12):
        photo(source / f"{number:02d}.png", number, width=2000)
    (tmp_path / "disk").mkdir()
    (tmp_path / "full.py").write_text(FULL, encoding="utf-8")
    here = str(Path(__file__).parent)
    run_it = f"{sys.executable} {tmp_path}/full.py {source} {tmp_path}/disk/out {here}; ls -A {tmp_path}/disk/out"
    script = f"mount -t tmpfs -o size=1m tmpfs {tmp_path}/disk && {{ {run_it}; }} || exit 77"
    done = subprocess.run(["unshare", "-rm", "sh", "-c", script], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no file systems can be mounted here: {done.stderr.strip()}")
    first, *names = done.stdout.splitlines()
    count, left, failed, fault = first.split(" ", 3)
    assert 1 <= int(count) < 12
    assert int(count) + int(left) + int(failed) == 12
    assert "No space left on device" in fault
    assert len([name for name in names if name.endswith(".exr")]) == int(count)
    assert [name for name in names if not name.endswith(".exr")] == [NAME]


def test_sources_that_vanish(tmp_path: Path) -> None:
    source = photos(tmp_path / "in", 8)

    def remove(outcome: Outcome) -> None:
        if source.exists():
            shutil.rmtree(source)

    summary = converted(source, tmp_path / "out", report=remove)
    assert summary.done >= 1
    assert summary.done + len(summary.failed) == 8
    assert summary.stopped is None
    assert all("no such file" in fault for _, fault in summary.failed)
    assert len(contents(tmp_path / "out")) == summary.done


def test_an_output_folder_that_vanishes_ends_the_run(tmp_path: Path) -> None:
    source, out = photos(tmp_path / "in", 8), tmp_path / "out"

    def remove(outcome: Outcome) -> None:
        if out.exists():
            out.rename(tmp_path / "elsewhere")

    summary = converted(source, out, report=remove)
    assert summary.stopped is not None
    assert "has vanished" in summary.stopped or "its folder does not exist" in summary.stopped  # as it is being written
    assert summary.done >= 1
    assert summary.left >= 1
    assert not out.exists()


def test_an_archive_with_everything_that_can_be_wrong(tmp_path: Path) -> None:
    """Every tenth file is broken, each in another way; all others are done."""
    source = photos(tmp_path / "in", 60)
    whole = (source / "000.png").read_bytes()
    jpeg = photo(tmp_path / "x.jpg").read_bytes()
    ways = [b"", whole[: len(whole) // 2], b"\xff\xd8\xff\xe0", b"To whom it may concern", jpeg[: len(jpeg) // 2]]
    for number, content in enumerate(ways):
        (source / f"{10 * number:03d}.png").write_bytes(content)
    (source / "050.png").unlink()
    (source / "050.png").symlink_to("050.png")
    summary = converted(source, tmp_path / "out", workers=2)
    broken = [f"{10 * number:03d}.png" for number in range(6)]
    assert (summary.done, summary.stopped) == (54, None)
    assert sorted(Path(name).name for name, _ in summary.failed) == broken
    assert all(f"{name}: " in fault and fault.endswith(")") for name, fault in summary.failed)
    assert len(contents(tmp_path / "out")) == 54
    again = converted(source, tmp_path / "out", workers=2)
    assert (again.done, again.current, len(again.failed)) == (0, 54, 6)


def test_output_folders(tmp_path: Path) -> None:
    source = photos(tmp_path / "in", 1)
    with pytest.raises(UnwritableOutput, match="the folder above it does not exist"):
        converted(source, tmp_path / "a" / "b")
    (tmp_path / "file").touch()
    with pytest.raises(UnwritableOutput, match="is no folder"):
        converted(source, tmp_path / "file")
    with pytest.raises(UsageError, match="of the name 'steam'"):
        run(batch(source, tmp_path / "out"), Running(), engine="steam")


def test_numbers_of_processes() -> None:
    for wrong in ({"workers": 0}, {"threads": 0}, {"gpus": -1.0}):
        with pytest.raises(UsageError):
            Running(**wrong)  # type: ignore[arg-type]


# -- memory ------------------------------------------------------------------------------------------------------------------


class FakePipe:
    def __init__(self) -> None:
        self.sent: list[object] = []

    def send(self, message: object) -> None:
        self.sent.append(message)


def members(count: int) -> list[local._Member]:
    return [local._Member(None, FakePipe()) for _ in range(count)]  # type: ignore[arg-type]


def let_in(room: local._Room, all_of_them: list[local._Member]) -> list[int]:
    room.let_in()
    found = [i for i, member in enumerate(all_of_them) if member.pipe.sent]  # type: ignore[attr-defined]
    for member in all_of_them:
        member.pipe.sent.clear()  # type: ignore[attr-defined]
    return found


def test_memory_is_lent_first_come_first_served() -> None:
    room, crew = local._Room(100), members(4)
    for member, size in zip(crew, (60, 30, 20, 5), strict=True):
        room.ask(member, size, alone=False)
    assert let_in(room, crew) == [0, 1]  # 5 would fit, but the one of 20 would wait for ever
    room.leave(crew[1])
    assert let_in(room, crew) == [2, 3]


def test_what_is_larger_than_all_memory_goes_alone() -> None:
    room, crew = local._Room(100), members(3)
    for member, size in zip(crew, (10, 1000, 10), strict=True):
        room.ask(member, size, alone=False)
    assert let_in(room, crew) == [0]
    room.leave(crew[0])
    assert let_in(room, crew) == [1]
    room.leave(crew[1])
    assert let_in(room, crew) == [2]


def test_what_killed_a_process_goes_alone() -> None:
    room, crew = local._Room(100), members(2)
    room.ask(crew[0], 10, alone=False)
    room.ask(crew[1], 10, alone=True)
    assert let_in(room, crew) == [0]
    room.leave(crew[0])
    assert let_in(room, crew) == [1]


def test_the_dead_give_back_and_wait_no_more() -> None:
    room, crew = local._Room(100), members(3)
    for member in crew:
        room.ask(member, 80, alone=False)
    assert let_in(room, crew) == [0]
    room.leave(crew[1])
    room.leave(crew[0])
    assert let_in(room, crew) == [2]


def test_the_dead_are_lent_nothing_for_long() -> None:
    class Broken(FakePipe):
        def send(self, message: object) -> None:
            raise BrokenPipeError

    room, crew = local._Room(100), [local._Member(None, Broken()), *members(1)]  # type: ignore[arg-type]
    for member in crew:
        room.ask(member, 80, alone=False)
    assert let_in(room, crew) == []
    room.leave(crew[0])
    assert let_in(room, crew) == [1]


def test_too_little_memory_is_used_by_one_process_at_a_time(tmp_path: Path) -> None:
    summary = run(batch(photos(tmp_path / "in", 3), tmp_path / "out"), Running(workers=8, memory=1))
    assert (summary.done, summary.failed) == (3, [])
