"""What is to be done: files whose outputs are missing, whose source or options have changed, or that failed."""

# Paths are text here: a third of the memory, and no errors for names that no file can have.
# ruff: noqa: PTH100, PTH118
from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from hdrcli.batch.manifest import DONE, FAILED, Entry, Stamp, stamp
from hdrcli.batch.naming import Item
from hdrcli.errors import UsageError


@dataclass(frozen=True, slots=True)
class Task:
    """A file to be done.

    ``outputs``: names below the output folder, the picture first; ``seen``: their stamps when this was planned; ``replace``:
    whether what is there may be replaced: because the user says so, or because the manifest knows it as its own, untouched.
    ``known``: the source's SHA-256 of last time; if it still is that, nothing has changed but the file's date or place.
    ``why``: "new", "missing", "changed", "failed" or "check".
    """

    source: str
    outputs: tuple[str, ...]
    seen: tuple[Stamp | None, ...]
    replace: tuple[bool, ...]
    known: str | None = None
    why: str = "new"


@dataclass(frozen=True)
class Work:
    """``tasks`` to do; ``current``: number of files that need nothing; ``others``: of those that other shards do."""

    tasks: tuple[Task, ...]
    current: int = 0
    others: int = 0


@dataclass(frozen=True)
class Rules:
    """What to do again.

    ``overwrite``: replace outputs that are not in the manifest, or not as it knows them. ``checksum``: compare sources by
    content, where size and date agree as well. ``retry_failed``: only what failed. ``redo_failed``: what failed and has not
    changed since is tried again.
    """

    overwrite: bool = False
    checksum: bool = False
    retry_failed: bool = False
    redo_failed: bool = True


@dataclass(frozen=True)
class Shard:
    """Part ``index`` of ``count``, counted from 0. A file's part depends on its output's name alone, not on other files."""

    index: int = 0
    count: int = 1

    @classmethod
    def of(cls, text: str, environment: Mapping[str, str]) -> Shard:
        """``2/8``: the second of eight; ``auto``: what SLURM says of this task of a job array. Raises UsageError."""
        if text == "auto":
            return cls._of_slurm(environment)
        index, slash, count = text.partition("/")
        if not (slash and index.isascii() and index.isdigit() and count.isascii() and count.isdigit()):
            raise UsageError(f"{text!r} is not i/n", where="--shard", remedy="2/8 is the second of eight, auto asks SLURM")
        if not 1 <= int(index) <= int(count):
            raise UsageError(f"{text} is not one of 1/{count} .. {count}/{count}", where="--shard")
        return cls(int(index) - 1, int(count))

    @classmethod
    def _of_slurm(cls, environment: Mapping[str, str]) -> Shard:
        names = ("SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_COUNT", "SLURM_ARRAY_TASK_MIN")
        try:
            number, count, first = (int(environment[name]) for name in names)
            step = int(environment.get("SLURM_ARRAY_TASK_STEP", "1"))
            index, rest = divmod(number - first, step)
        except (KeyError, ValueError, ZeroDivisionError):
            fault = f"{', '.join(names)} are not set"
            raise UsageError(fault, where="--shard auto", remedy="submit with sbatch --array, or say i/n") from None
        if rest or not 0 <= index < count:
            fault = f"task {number} of an array of {count} from {first} in steps of {step}: its tasks are not evenly spaced"
            raise UsageError(fault, where="--shard auto", remedy="use an array such as 0-7, or say i/n")
        return cls(index, count)

    def has(self, output: str) -> bool:
        """Is this file's output one of this part's?"""
        if self.count == 1:
            return True
        digest = hashlib.blake2b(os.fsencode(output), digest_size=8).digest()
        return int.from_bytes(digest) % self.count == self.index


@dataclass
class _Counts:
    current: int = 0
    others: int = 0
    tasks: list[Task] = field(default_factory=list)


def plan(
    items: Iterable[Item], entries: Mapping[str, Entry], folder: str, recipe: str, rules: Rules, shard: Shard | None = None
) -> Work:
    """What of ``items`` is to be done. ``folder``: of the outputs; ``recipe``: the digest of what is to be done to them."""
    counts = _Counts()
    for item in items:
        if shard is not None and not shard.has(item.outputs[0]):
            counts.others += 1
            continue
        task = _task(item, entries.get(item.outputs[0]), folder, recipe, rules)
        if task is None:
            counts.current += 1
        else:
            counts.tasks.append(task)
    return Work(tuple(counts.tasks), counts.current, counts.others)


def _task(item: Item, entry: Entry | None, folder: str, recipe: str, rules: Rules) -> Task | None:
    """None: nothing is to be done."""
    if rules.retry_failed and (entry is None or entry.outcome != FAILED):
        return None
    made: Mapping[str, tuple[Stamp, ...]] = {} if entry is None else entry.files
    seen = tuple(stamp(os.path.join(folder, output)) for output in item.outputs)
    replace = tuple(
        rules.overwrite or (there is not None and _is_ours(there, made.get(output, ())))
        for output, there in zip(item.outputs, seen, strict=True)
    )
    if entry is None:
        return Task(item.source, item.outputs, seen, replace)
    source = stamp(item.source)
    same_source = source is not None and source == entry.stamp and os.path.abspath(item.source) == entry.input
    if entry.outcome != DONE:
        if not rules.redo_failed and same_source and entry.recipe == recipe:
            return None
        return Task(item.source, item.outputs, seen, replace, why="failed")
    whole = all(_is_latest(there, made.get(output, ())) for output, there in zip(item.outputs, seen, strict=True))
    if entry.recipe != recipe:
        return Task(item.source, item.outputs, seen, replace, why="changed")
    if not whole:
        return Task(item.source, item.outputs, seen, replace, why="missing")
    if same_source and not rules.checksum:
        return None
    return Task(item.source, item.outputs, seen, replace, known=entry.sha256, why="check")


def _is_ours(there: Stamp, made: tuple[Stamp, ...]) -> bool:
    """Is this file as we made it? An empty one is nobody's work: what a system leaves that lost its power."""
    return there in made or (there[0] == 0 and bool(made))


def _is_latest(there: Stamp | None, made: tuple[Stamp, ...]) -> bool:
    """Is this what was made last? A copy has another date; only what was made before, of the same size, is not it."""
    return there is not None and bool(made) and there[0] == made[0][0] > 0 and there not in made[1:]
