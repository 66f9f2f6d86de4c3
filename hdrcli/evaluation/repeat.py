"""Doing an evaluation again from its JSON alone, and telling whether the numbers agree."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from hdrcli.errors import UnreadableInput
from hdrcli.evaluation.engine import Request
from hdrcli.evaluation.pairs import Matching, Source, Unit, Unmatched
from hdrcli.evaluation.protocols import Missing, Value
from hdrcli.evaluation.results import Evaluation, File

TOLERANCE = 1e-6  # of the larger number, or of 1: other versions and other numbers of threads round differently

Place = tuple[str, ...]


@dataclass(frozen=True)
class Comparison:
    """Two evaluations of the same pairs.

    ``numbers``: how many were compared; ``identical``: equal to the last bit; ``largest``: the largest difference, of the
    larger number or of 1. ``differences``: what does not agree, one line each. ``remarks``: other versions, with which numbers
    may differ.
    """

    numbers: int
    identical: int
    largest: float
    differences: tuple[str, ...]
    remarks: tuple[str, ...]

    @property
    def agree(self) -> bool:
        """Does everything agree, within TOLERANCE?"""
        return not self.differences


def request_again(before: Evaluation, folder: Path, *, processes: int = 1) -> Request:
    """The request that an evaluation came from: its settings, and exactly its files.

    Files that are not where the record says, seen from the working folder, are looked for beside the record, in ``folder``.
    Raises UnreadableInput for a record that names no pair.
    """
    images = {image.name: image for image in before.images}
    baselines = {m.name for m in before.methods if m.kind == "baseline"}
    units: list[Unit] = []
    unmatched: list[Unmatched] = []
    for entry in before.entries:
        image = images.get(entry.image)
        photo = None if image is None or image.ldr is None else _found(image.ldr, folder)
        if image is not None and (entry.prediction is not None or (entry.method in baselines and photo is not None)):
            prediction = None if entry.prediction is None else _found(entry.prediction, folder)
            units.append(Unit(entry.method, entry.image, _found(image.reference, folder), prediction, photo))
        else:
            unmatched.append(Unmatched(entry.method, entry.image, entry.error or "not scored"))
    if not units:
        raise UnreadableInput("names no pair that could be scored", remedy="evaluate the files themselves")
    methods = tuple(Source(m.name, Path(m.source), m.kind == "baseline") for m in before.methods)
    return Request(Matching(methods, tuple(units), tuple(unmatched)), before.settings, processes)


def _found(file: File, folder: Path) -> Path:
    path = Path(file.path)
    return path if path.exists() or not (folder / path).exists() else folder / path


def compare(before: Evaluation, after: Evaluation) -> Comparison:
    """Files by their SHA-256, then every number and every missing one of all pairs, and the means."""
    differences = [*_changed_files(before, after), *_other_errors(before, after)]
    first, second = _values(before), _values(after)
    numbers = identical = 0
    largest = 0.0
    for place in dict.fromkeys((*first, *second)):
        a, b = first.get(place), second.get(place)
        where = " ".join(place)
        if isinstance(a, float) and isinstance(b, float):
            numbers += 1
            identical += a == b
            distance = _distance(a, b)
            largest = max(largest, distance)
            if distance > TOLERANCE:
                differences.append(f"{where}: was {a!r}, is {b!r}")
        elif isinstance(a, Missing) != isinstance(b, Missing) or (a is None) != (b is None):
            differences.append(f"{where}: was {_told(a)}, is {_told(b)}")
    return Comparison(numbers, identical, largest, tuple(differences), tuple(_other_versions(before, after)))


def _distance(a: float, b: float) -> float:
    if a == b:
        return 0.0
    if not (math.isfinite(a) and math.isfinite(b)):
        return math.inf
    return abs(a - b) / max(abs(a), abs(b), 1.0)


def _told(value: Value | None) -> str:
    if value is None:
        return "not there"
    return f"missing ({value.why})" if isinstance(value, Missing) else repr(value)


def _values(evaluation: Evaluation) -> Mapping[Place, Value]:
    found: dict[Place, Value] = {}
    for row in evaluation.scores:
        found |= {(row.protocol, row.method, row.image, name): value for name, value in row.scores.items()}
    for part in evaluation.regions:
        found |= {(part.protocol, part.method, part.image, part.region, n): v for n, v in part.scores.items()}
    for a in evaluation.aggregates:
        for name, mean in (("mean", a.mean), ("low", a.low), ("high", a.high)):
            if mean is not None:
                found[a.protocol, a.method, a.score, a.region or "whole", name] = mean
    return found


def _changed_files(before: Evaluation, after: Evaluation) -> Iterator[str]:
    first, second = _files(before), _files(after)
    for place, file in first.items():
        now = second.get(place)
        if now is None:
            yield f"{file.path}: can't be read any more"
        elif now.sha256 != file.sha256:
            yield f"{file.path}: has changed since (SHA-256 {now.sha256[:12]}..., was {file.sha256[:12]}...)"


def _files(evaluation: Evaluation) -> Mapping[Place, File]:
    found: dict[Place, File] = {}
    for image in evaluation.images:
        found["reference", image.name] = image.reference
        if image.ldr is not None:
            found["ldr", image.name] = image.ldr
    for entry in evaluation.entries:
        if entry.prediction is not None:
            found[entry.method, entry.image] = entry.prediction
    return found


def _other_errors(before: Evaluation, after: Evaluation) -> Iterator[str]:
    now = {(e.method, e.image): e.error for e in after.entries}
    for entry in before.entries:
        error = now.get((entry.method, entry.image))
        if (entry.error is None) != (error is None):
            yield f"{entry.method} {entry.image}: {f'not scored now: {error}' if error else 'was not scored, now it is'}"


def _other_versions(before: Evaluation, after: Evaluation) -> Iterator[str]:
    for name in dict.fromkeys((*before.versions, *after.versions)):
        was, now = before.versions.get(name, "not there"), after.versions.get(name, "not there")
        if was != now:
            yield f"{name}: was {was}, is {now}"
