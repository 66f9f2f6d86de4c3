"""Numbered frames: which files belong to one sequence, and in which order."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from hdrcli.cli.presentation import printable
from hdrcli.cli.targets import Job
from hdrcli.errors import UsageError

_NUMBERED = re.compile(r"(.*?)(\d+)(\D*)", re.DOTALL)  # the last number


@dataclass(frozen=True)
class Frame:
    """A job's place: ``shot``, what its sequence is known by, and its ``number``."""

    shot: tuple[str, ...]
    number: int


def frame_of(path: Path) -> Frame:
    """By the last number in a file's name: "shot.0012.exr" is frame 12 of "shot.*.exr". Raises UsageError for no number."""
    found = _NUMBERED.fullmatch(path.stem)
    if found is None:
        remedy = "name frames such as shot.0001.exr, or leave out --temporal"
        raise UsageError("has no frame number", where=path, remedy=remedy)
    before, digits, after = found.groups()
    return Frame((str(path.parent), before, after, path.suffix.lower()), int(digits))


def in_order(jobs: Sequence[Job]) -> list[tuple[Job, Frame]]:
    """Jobs by sequence, as these are first named, and number. Raises UsageError for a number that comes twice."""
    framed = [(job, frame_of(job.source)) for job in jobs]
    shots = {frame.shot: index for index, (_, frame) in reversed(list(enumerate(framed)))}
    framed.sort(key=lambda pair: (shots[pair[1].shot], pair[1].number))
    for (one, frame), (other, following) in pairwise(framed):
        if frame == following:
            fault = f"is frame {frame.number}, as is {printable(one.source)}"
            raise UsageError(fault, where=other.source, remedy="leave one of them out")
    return framed
