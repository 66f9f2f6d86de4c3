"""What runs the work: one file an engine; its stem is its name on the command line.

An engine module has ``outcomes(tasks, setup, manifest, running) -> Iterator[Outcome]``: does every task, in any order, gives
each one's outcome as it ends, and ends its processes when it is closed. Raises HdrcliError for what concerns the whole run.
"""

from __future__ import annotations

from dataclasses import dataclass

from hdrcli.errors import UsageError

PACKAGE = "hdrcli.batch.engines"


@dataclass(frozen=True)
class Running:
    """How to run.

    ``workers``: processes beside each other; None: as many as there are cores. ``threads``: of each. ``memory``: bytes that all
    may take together, so far as that can be told from the files' sizes. ``address``: of a cluster, for engines that have one;
    None: the engine's own way to find it. ``gpus``: of a GPU, for each worker of such engines.

    Raises UsageError for values out of range.
    """

    workers: int | None = None
    threads: int = 1
    memory: int = 4 << 30
    address: str | None = None
    gpus: float = 0.0

    def __post_init__(self) -> None:
        if self.workers is not None and self.workers < 1:
            raise UsageError(f"{self.workers} is below 1", where="-j", remedy="say 1 or more")
        if self.threads < 1:
            raise UsageError(f"{self.threads} is below 1", where="--threads", remedy="say 1 or more")
        if self.gpus < 0:
            raise UsageError(f"{self.gpus:g} is below 0", where="--gpus", remedy="0.25 lets four workers share a GPU")
