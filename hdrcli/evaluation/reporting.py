"""Evaluations into files: JSON, CSV, and the HTML report with its pictures."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

from hdrcli.evaluation import storage
from hdrcli.evaluation.engine import Progress, Request, pictures, silent
from hdrcli.evaluation.html import Pictures, write_report
from hdrcli.evaluation.pictures import View
from hdrcli.evaluation.results import Evaluation
from hdrcli.formats import whole_file


def write_json(path: Path, evaluation: Evaluation, *, overwrite: bool = False) -> None:
    """All of it; ``storage.read`` reads it. Raises OutputErrors, as all here do."""
    _write(path, storage.to_json(evaluation), overwrite=overwrite)


def write_csv(path: Path, evaluation: Evaluation, *, overwrite: bool = False) -> None:
    """The values of each pair, a line a pair."""
    _write(path, storage.to_csv(evaluation), overwrite=overwrite)


def write_html(
    path: Path, request: Request, evaluation: Evaluation, progress: Progress = silent, *, overwrite: bool = False
) -> None:
    """The report; its pictures are read and aligned anew."""
    shown = (each for views in pictures(request, evaluation, progress) for each in _by_protocol(views, evaluation))
    write_report(path, evaluation, shown, overwrite=overwrite)


def _by_protocol(views: list[View], evaluation: Evaluation) -> Iterator[Pictures]:
    """One image's views: side by side are those that a protocol aligned."""
    order = [p.name for p in evaluation.protocols]
    unit = "cd/m²" if evaluation.settings.task == "hdr" else "relative"
    views = sorted(views, key=lambda view: order.index(view.protocol))
    for name, group in groupby(views, key=lambda view: view.protocol):
        mine = list(group)
        first = mine[0]
        # of two methods' references only rounding differs; the photo may be of use to one alone
        photo = next((view for view in mine if view.ldr is not None), first)
        tests = {view.method: view.test for view in mine}
        yield Pictures(first.image, first.reference, tests, photo.ldr, photo.regions, first.white, unit, name)


def _write(path: Path, text: str, *, overwrite: bool) -> None:
    with whole_file(path, overwrite=overwrite) as temporary:
        # a file name may hold bytes that are no UTF-8
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace", newline="\n")
