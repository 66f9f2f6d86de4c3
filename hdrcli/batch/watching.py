"""A folder in which files arrive: each is converted when it has stopped growing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from hdrcli.batch.engines import Running
from hdrcli.batch.manifest import FAILED, Stamp, stamp
from hdrcli.batch.naming import Item
from hdrcli.batch.planning import Work
from hdrcli.batch.running import Batch, Summary, run
from hdrcli.batch.work import Outcome


class Arrivals:
    """Which files have come, and are whole: their size and date were the same at two looks."""

    def __init__(self) -> None:
        self._last: dict[str, Stamp] = {}
        self._handed: dict[str, Stamp] = {}

    def settled(self, items: Sequence[Item]) -> list[Item]:
        """Those that have stopped growing since the last call, each once for every time that it changes."""
        now = {item.source: found for item in items if (found := stamp(item.source)) is not None}
        ready = [
            item
            for item in items
            if (found := now.get(item.source)) is not None
            and found[0] > 0
            and found == self._last.get(item.source)
            and found != self._handed.get(item.source)
        ]
        self._last = now
        self._handed = {source: seen for source, seen in self._handed.items() if source in now}
        self._handed.update({item.source: now[item.source] for item in ready})
        return ready


def watch(
    batch: Batch,
    running: Running,
    look: Callable[[], Sequence[Item]],
    wait: Callable[[], None],
    *,
    engine: str = "local",
    planned: Callable[[Work], None] = lambda work: None,
    report: Callable[[Outcome], None] = lambda outcome: None,
) -> Summary:
    """Do what ``look`` finds, ``wait``, and look again, until the disk is full, or ``look`` or ``wait`` raises StopIteration.

    The first round tries again what failed before; later ones only when the file has changed. Otherwise as
    :func:`hdrcli.batch.running.run`. Returns the sum over all rounds; its faults are those of files not done since.
    """
    arrivals, total = Arrivals(), Summary()
    faults: dict[str, str] = {}

    def heard(outcome: Outcome) -> None:
        if outcome.what == FAILED:
            faults[outcome.source] = outcome.record["error"]
        else:
            faults.pop(outcome.source, None)
        report(outcome)

    try:
        while total.stopped is None:
            items = arrivals.settled(look())
            if items:
                found = run(replace(batch, items=items), running, engine=engine, planned=planned, report=heard)
                total.done += found.done
                total.current += found.current
                total.elsewhere += found.elsewhere
                total.others += found.others
                total.stopped = found.stopped
                total.seconds += found.seconds
                batch = replace(batch, rules=replace(batch.rules, redo_failed=False, retry_failed=False))
            if total.stopped is None:
                wait()
    except StopIteration:
        pass
    total.failed = list(faults.items())
    return total
