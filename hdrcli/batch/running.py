"""A whole run: what is to be done, by which engine, and what came of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from hdrcli import registry
from hdrcli.batch.engines import PACKAGE, Running
from hdrcli.batch.manifest import DONE, FAILED, NAME, Manifest
from hdrcli.batch.naming import Item
from hdrcli.batch.planning import Rules, Shard, Work, plan
from hdrcli.batch.recipe import Recipe
from hdrcli.batch.staging import staging
from hdrcli.batch.work import CURRENT, ELSEWHERE, Outcome, Setup
from hdrcli.errors import UnwritableOutput


@dataclass(frozen=True)
class Batch:
    """What to do with which files.

    ``items``: from :func:`hdrcli.batch.naming.items`. ``folder``: of the outputs; it is made if the one above it is there.
    ``manifest``: None: NAME in that folder.
    """

    items: Sequence[Item]
    folder: Path
    recipe: Recipe
    rules: Rules = field(default_factory=Rules)
    shard: Shard | None = None
    manifest: Path | None = None


@dataclass
class Summary:
    """What came of a run: numbers of files, and those that failed with their faults.

    ``current``: needed nothing; ``elsewhere``: another run was at them; ``others``: belong to other shards; ``left``: not
    tried, because of ``stopped``, the fault that would have befallen them all.
    """

    done: int = 0
    current: int = 0
    elsewhere: int = 0
    others: int = 0
    left: int = 0
    failed: list[tuple[str, str]] = field(default_factory=list)
    stopped: str | None = None
    seconds: float = 0.0


def prepared(batch: Batch) -> Work:
    """What would be done, without doing it. Raises UnreadableInput for a manifest that is none."""
    path = batch.manifest or batch.folder / NAME
    entries = {}
    if path.exists():
        manifest = Manifest(path)
        with closing(manifest):
            entries = manifest.entries()
    return plan(batch.items, entries, str(batch.folder), batch.recipe.digest, batch.rules, batch.shard)


def run(
    batch: Batch,
    running: Running,
    *,
    engine: str = "local",
    planned: Callable[[Work], None] = lambda work: None,
    report: Callable[[Outcome], None] = lambda outcome: None,
) -> Summary:
    """Do what is to be done. ``planned`` hears once what that is, ``report`` of each file as it ends.

    A second run does only what is missing, has changed or failed. Raises UsageError for an engine there is not, OutputErrors
    for a folder or manifest that can't be written, what loading a model raises, and what the engine raises.
    """
    module = registry.load(PACKAGE, engine)
    digest = batch.recipe.digest  # a model that is not there is told before anything is made
    make_output_folder(batch.folder)
    started = time.perf_counter()
    manifest = Manifest(batch.manifest or batch.folder / NAME)
    with closing(manifest):
        work = plan(batch.items, manifest.entries(), str(batch.folder), digest, batch.rules, batch.shard)
        planned(work)
        summary = Summary(current=work.current, others=work.others, left=len(work.tasks))
        if work.tasks:
            with staging(batch.folder, manifest) as stage:
                setup = Setup(str(batch.folder), str(stage), str(manifest.path), batch.recipe, batch.rules.overwrite)
                with closing(module.outcomes(work.tasks, setup, manifest, running)) as outcomes:
                    for outcome in outcomes:
                        _count(summary, outcome)
                        report(outcome)
                        if outcome.stop:
                            summary.stopped = outcome.record["error"]
                            break
    summary.seconds = time.perf_counter() - started
    return summary


def _count(summary: Summary, outcome: Outcome) -> None:
    summary.left -= 1
    if outcome.what == FAILED:
        summary.failed.append((outcome.source, outcome.record["error"]))
    else:
        summary.done += outcome.what == DONE
        summary.current += outcome.what == CURRENT
        summary.elsewhere += outcome.what == ELSEWHERE


def make_output_folder(folder: Path) -> None:
    """The folder of the outputs, not those above it: where they are missing, a disk is. Raises UnwritableOutput."""
    try:
        folder.mkdir(exist_ok=True)
    except FileNotFoundError:
        raise UnwritableOutput("the folder above it does not exist", where=folder, remedy="make it first") from None
    except FileExistsError:
        raise UnwritableOutput("is no folder", where=folder, remedy="name another with --out-dir") from None
    except OSError as error:
        raise UnwritableOutput(
            f"can't be made: {error.strerror}", where=folder, remedy="check rights and free space"
        ) from error
