"""What commands over several files share: one that fails is told of, and the others are done."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from hdrcli.cli.exits import ExitCode
from hdrcli.cli.presentation import Presenter, explain
from hdrcli.cli.targets import Job


def named(job: Job) -> dict[str, Any]:
    """What a job is called in JSON."""
    names: dict[str, Any] = {"input": str(job.source), "output": str(job.output)}
    if job.more:
        names["outputs"] = [str(job.output), *map(str, job.more)]
    return names if job.preview is None else {**names, "preview": str(job.preview)}


def each(
    say: Presenter,
    jobs: Sequence[Job],
    work: Callable[[Job], None],
    faults: list[ExitCode],
    advance: Callable[[float, str], None] = lambda done, text: None,
) -> list[Job]:
    """Work on every job; one that fails is reported and does not keep the others from being done. Returns those done."""
    done = []
    for number, job in enumerate(jobs):
        advance(number, job.source_name)
        try:
            work(job)
            done.append(job)
        except BrokenPipeError:  # nobody reads our stdout any more: no picture's fault
            raise
        except Exception as error:
            faults.append(say.fault(error, job.source_name))
            say.record({**named(job), "error": explain(error, job.source_name), "exit_code": faults[-1]})
    return done
