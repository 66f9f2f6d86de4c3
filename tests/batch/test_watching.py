from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from photos import batch, photo, recipe

from hdrcli.batch import naming, sources
from hdrcli.batch.engines import Running
from hdrcli.batch.naming import Item
from hdrcli.batch.watching import Arrivals, watch
from hdrcli.batch.work import Outcome


def looking(folder: Path, out: Path) -> Callable[[], list[Item]]:
    made = recipe()
    return lambda: naming.items(sources.find([str(folder)], takes=made.takes, empty=True), str(out), made.extension)


def test_files_count_when_they_have_stopped_growing(tmp_path: Path) -> None:
    arrivals, look = Arrivals(), looking(tmp_path, tmp_path / "out")
    assert arrivals.settled(look()) == []
    (tmp_path / "a.png").write_bytes(b"begin")
    (tmp_path / "empty.png").touch()
    assert arrivals.settled(look()) == []
    (tmp_path / "a.png").write_bytes(b"begin and end")
    assert arrivals.settled(look()) == []
    assert [Path(item.source).name for item in arrivals.settled(look())] == ["a.png"]
    assert arrivals.settled(look()) == []
    os.utime(tmp_path / "a.png", (1, 1))
    assert arrivals.settled(look()) == []
    assert len(arrivals.settled(look())) == 1
    (tmp_path / "a.png").unlink()
    assert arrivals.settled(look()) == []
    (tmp_path / "a.png").write_bytes(b"again")
    assert arrivals.settled(look()) == []
    assert len(arrivals.settled(look())) == 1


def test_what_arrives_is_converted(tmp_path: Path) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    photo(folder / "0.png")
    (folder / "bad.png").write_bytes(b"half of a pho")

    def rounds() -> Iterator[None]:
        yield
        yield
        photo(folder / "1.png", 1)
        yield
        photo(folder / "bad.png", 2)
        yield
        yield

    steps = rounds()
    heard: list[tuple[str, str]] = []

    def hear(outcome: Outcome) -> None:
        heard.append((outcome.output, outcome.what))

    job = batch([folder / "0.png"], out)
    summary = watch(job, Running(), looking(folder, out), lambda: next(steps), report=hear)
    assert sorted(heard[:2]) == [("0.exr", "done"), ("bad.exr", "failed")]
    assert sorted(heard[2:]) == [("1.exr", "done"), ("bad.exr", "done")]
    assert (summary.done, summary.failed, summary.stopped) == (3, [], None)
    assert {p.name for p in out.glob("*.exr")} == {"0.exr", "1.exr", "bad.exr"}


def test_what_failed_is_told_at_the_end(tmp_path: Path) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    photo(folder / "0.png")
    (folder / "bad.png").write_bytes(b"no photo")
    steps = iter([None] * 3)
    summary = watch(batch([folder / "0.png"], out), Running(), looking(folder, out), lambda: next(steps))
    assert [Path(name).name for name, _ in summary.failed] == ["bad.png"]
    # a new watch tries it once more, and then leaves it alone
    heard: list[str] = []
    steps = iter([None] * 4)
    again = watch(
        batch([folder / "0.png"], out),
        Running(),
        looking(folder, out),
        lambda: next(steps),
        report=lambda o: heard.append(o.output),
    )
    assert (heard, again.done, again.current) == (["bad.exr"], 0, 1)
