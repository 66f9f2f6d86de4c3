from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from hdrcli.batch.manifest import DONE, FAILED, Entry, Stamp, stamp
from hdrcli.batch.naming import Item
from hdrcli.batch.planning import Rules, Shard, Task, Work, plan
from hdrcli.errors import UsageError


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "a.jpg").write_bytes(b"photo")
    (tmp_path / "out").mkdir()
    return tmp_path / "a.jpg"


@pytest.fixture
def output(source: Path) -> Path:
    path = source.parent / "out" / "a.exr"
    path.write_bytes(b"light")
    return path


def entry(source: Path, output: Path, outcome: str = DONE, **changed: object) -> Entry:
    made = stamp(str(output))
    files = {} if made is None else {"a.exr": (made,)}
    return replace(Entry(outcome, str(source), stamp(str(source)), "ab", "r", files), **changed)  # type: ignore[arg-type]


def planned(source: Path, before: Entry | None, recipe: str = "r", **rules: bool) -> Task | None:
    items = [Item(str(source), ("a.exr",))]
    folder = str(source.parent / "out")
    work = plan(items, {} if before is None else {"a.exr": before}, folder, recipe, Rules(**rules))
    assert len(work.tasks) + work.current == 1
    return work.tasks[0] if work.tasks else None


def why(task: Task | None) -> tuple[str, bool] | None:
    return None if task is None else (task.why, *task.replace)  # type: ignore[return-value]


def test_new_files(source: Path, tmp_path: Path) -> None:
    assert why(planned(source, None)) == ("new", False)


def test_somebody_elses_output_is_not_replaced(source: Path, output: Path) -> None:
    assert why(planned(source, None)) == ("new", False)
    assert why(planned(source, None, overwrite=True)) == ("new", True)


def test_nothing_has_changed(source: Path, output: Path) -> None:
    assert planned(source, entry(source, output)) is None
    task = planned(source, entry(source, output), checksum=True)
    assert task is not None
    assert (task.why, task.known) == ("check", "ab")


def test_the_output_is_missing(source: Path, output: Path) -> None:
    before = entry(source, output)
    output.unlink()
    assert why(planned(source, before)) == ("missing", False)


def test_an_output_that_a_power_cut_left_empty(source: Path, output: Path) -> None:
    before = entry(source, output)
    output.write_bytes(b"")
    assert why(planned(source, before)) == ("missing", True)


def test_a_copied_output_still_counts(source: Path, output: Path) -> None:
    before = entry(source, output)
    os.utime(output, (1, 1))
    assert planned(source, before) is None
    # but is not replaced: it may have been painted on
    assert why(planned(source, before, "other")) == ("changed", False)


def test_an_output_that_was_edited(source: Path, output: Path) -> None:
    before = entry(source, output)
    output.write_bytes(b"longer than before")
    assert why(planned(source, before)) == ("missing", False)


def test_another_recipe(source: Path, output: Path) -> None:
    assert why(planned(source, entry(source, output), "other")) == ("changed", True)


def test_another_source(source: Path, output: Path) -> None:
    before = entry(source, output)
    os.utime(source, (1, 1))
    task = planned(source, before)
    assert task is not None
    assert (task.why, task.known, task.replace) == ("check", "ab", (True,))
    task = planned(source, replace(entry(source, output), input="/elsewhere/a.jpg"))
    assert task is not None
    assert task.known == "ab"


def test_killed_between_the_line_and_the_rename(source: Path, output: Path) -> None:
    """What is there is what was made before; it is ours, but it is not what the last line tells of, even of the same size."""
    old: Stamp = stamp(str(output))  # type: ignore[assignment]
    before = replace(entry(source, output), files={"a.exr": ((old[0], old[1] + 1), old)})
    assert why(planned(source, before)) == ("missing", True)


def test_failures(source: Path, output: Path) -> None:
    before = entry(source, output, FAILED)
    assert why(planned(source, before)) == ("failed", True)
    assert planned(source, before, redo_failed=False) is None
    assert why(planned(source, before, "other", redo_failed=False)) == ("failed", True)
    os.utime(source, (1, 1))
    assert why(planned(source, before, redo_failed=False)) == ("failed", True)


def test_only_failures(source: Path, output: Path) -> None:
    assert planned(source, None, retry_failed=True) is None
    output.unlink()
    assert planned(source, entry(source, output), retry_failed=True) is None
    assert why(planned(source, entry(source, output, FAILED), retry_failed=True)) == ("failed", False)


def test_a_source_that_is_not_there_is_tried(source: Path, output: Path) -> None:
    before = entry(source, output)
    source.unlink()
    assert why(planned(source, before)) == ("check", True)


def test_shards_share_out_all_files(tmp_path: Path) -> None:
    items = [Item(f"{n}.jpg", (f"{n}.exr",)) for n in range(1000)]
    parts: list[Work] = [plan(items, {}, str(tmp_path), "r", Rules(), Shard(i, 8)) for i in range(8)]
    found = [task.outputs[0] for work in parts for task in work.tasks]
    assert sorted(found) == sorted(item.outputs[0] for item in items)
    assert all(80 <= len(work.tasks) <= 170 and work.others == 1000 - len(work.tasks) for work in parts)
    # another list, the same part
    half = plan(items[::2], {}, str(tmp_path), "r", Rules(), Shard(3, 8))
    assert {t.source for t in half.tasks} == {t.source for t in parts[3].tasks} & {i.source for i in items[::2]}


def slurm(number: int, count: int = 4, first: int = 0, step: int | None = None) -> dict[str, str]:
    values = {"ID": number, "COUNT": count, "MIN": first, **({} if step is None else {"STEP": step})}
    return {f"SLURM_ARRAY_TASK_{name}": str(value) for name, value in values.items()}


def test_shards_by_name() -> None:
    assert Shard.of("2/8", {}) == Shard(1, 8)
    assert Shard.of("1/1", {}).has("anything")
    assert [Shard.of("auto", slurm(n, 3, 5)) for n in (5, 6, 7)] == [Shard(0, 3), Shard(1, 3), Shard(2, 3)]
    assert [Shard.of("auto", slurm(n, 3, 1, 4)) for n in (1, 5, 9)] == [Shard(0, 3), Shard(1, 3), Shard(2, 3)]


@pytest.mark.parametrize("text", ["0/4", "5/4", "2", "a/b", "-1/4", "1/0", "", "1/4/2", "²/4"])
def test_shards_that_are_none(text: str) -> None:
    with pytest.raises(UsageError, match="--shard"):
        Shard.of(text, {})


@pytest.mark.parametrize("environment", [{}, slurm(9, 4), slurm(3, 4, 0, 2), {**slurm(1), "SLURM_ARRAY_TASK_ID": "x"}])
def test_arrays_that_are_none(environment: dict[str, str]) -> None:
    with pytest.raises(UsageError, match="--shard auto"):
        Shard.of("auto", environment)
