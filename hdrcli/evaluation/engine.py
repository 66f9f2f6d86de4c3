"""Pairs of files to an Evaluation: what ``hdrcli evaluate`` does."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from itertools import groupby
from pathlib import Path

from hdrcli import formats, registry
from hdrcli.errors import UsageError
from hdrcli.evaluation import processes, tonemapped
from hdrcli.evaluation.assembly import assembled
from hdrcli.evaluation.pairs import Matching, Unit
from hdrcli.evaluation.pictures import PROBABILITY, STOPS, View, map_path
from hdrcli.evaluation.protocols._scores import known_scores
from hdrcli.evaluation.results import Evaluation, Settings
from hdrcli.evaluation.scoring import ALIGN_OPTION, PEAK_OPTION, PROTOCOLS, Plan, protocol

Progress = Callable[[int, int, str], None]  # pairs done, pairs in all, the last one's name

DEFAULT_PROTOCOLS = ("raw", "sihdr")
DEFAULT_METRICS = ("hdrvdp22_q", "log2_rmse", "delta_e_itp", "chroma_uv")
VIEWED = 24  # images whose pictures a report shows
VIEWED_AT_ONCE = 24  # pairs whose pictures are held at the same time, up to 17 MB each
_VIEWED_PROTOCOLS = 2
_ON_A_CARD = 4


@dataclass(frozen=True)
class Request:
    """What to evaluate.

    ``matching``: from :func:`hdrcli.evaluation.pairs.match`. ``processes``: at most so many, each with its share of threads;
    1: here. A script that asks for more needs ``if __name__ == "__main__"`` around it, as processes are spawned. ``maps``: a
    folder for heat maps of ``map_kinds``; with ``overwrite`` those that are there are replaced.
    """

    matching: Matching
    settings: Settings
    processes: int = 1
    maps: Path | None = None
    map_kinds: tuple[str, ...] = (STOPS,)
    overwrite: bool = False


@dataclass(frozen=True)
class Run:
    """An evaluation, and tracebacks of the bugs that it met, by method and image."""

    evaluation: Evaluation
    traces: Mapping[tuple[str, str], str]


def silent(done: int, total: int, text: str) -> None:
    """Tells nobody."""


def evaluate(request: Request, progress: Progress = silent) -> Evaluation:
    """Score all pairs. Those that can't be are told in ``entries``; the same request gives the same values.

    Raises UsageError for settings that make no sense together, OutputErrors for maps that would be in the way.
    """
    return run(request, progress).evaluation


def run(request: Request, progress: Progress = silent) -> Run:
    """As :func:`evaluate`, with what those need who look for a bug."""
    request = prepared(request)
    units = request.matching.units
    plan = Plan(request.settings, 1, request.maps, request.map_kinds, request.overwrite)
    found = processes.run(units, plan, processes=_beside(request), report=lambda n, text: progress(n, len(units), text))
    traces = {(s.entry.method, s.entry.image): s.trace for s in found if s.trace is not None}
    return Run(assembled(request.matching, request.settings, found), traces)


def _beside(request: Request) -> int:
    # on a card a few processes are enough to keep it busy, and each takes memory of its own there
    return request.processes if request.settings.device == "cpu" else min(request.processes, _ON_A_CARD)


def prepared(request: Request) -> Request:
    """The request with its settings complete, after a look for all that can't be right before any work: errors as above."""
    request = replace(request, settings=complete(request.settings))
    if request.settings.task == "tonemap":
        _check_tonemap(request)
    else:
        _check_hdr(request.settings)
    _check_maps(request)
    return request


def complete(settings: Settings) -> Settings:
    """Settings with what was left open filled in: protocols and metrics; "all" becomes the names of all.

    Complete ones stay as they are. Raises UsageError for a task or metric there is not.
    """
    if settings.task == "tonemap":
        own = (tonemapped.CODES, tonemapped.TMQI)
        for flag, value, usual in (("--protocol", settings.protocols, own), ("--metrics", settings.metrics, ())):
            if value and value != usual:
                raise UsageError("is for HDR predictions", where=flag, remedy="leave it out with --task tonemap")
        return replace(settings, protocols=own, metrics=())
    if settings.task != "hdr":
        raise UsageError(f"no task {settings.task!r}", where="--task", remedy="there are: hdr, tonemap")
    names = settings.protocols or (("raw",) if settings.align == "none" else DEFAULT_PROTOCOLS)
    if "all" in names:
        every = registry.names(PROTOCOLS)
        names = (*DEFAULT_PROTOCOLS, *(name for name in every if name not in DEFAULT_PROTOCOLS))
    metrics = DEFAULT_METRICS if settings.metrics is None else settings.metrics
    if "all" in metrics:
        metrics = tuple(known_scores())
    unknown = [name for name in metrics if name not in known_scores()]
    if unknown:
        close = get_close_matches(unknown[0], known_scores(), n=1)
        hint = f"did you mean {close[0]}?" if close else f"there are: all, {', '.join(known_scores())}"
        raise UsageError(f"no metric of the name {unknown[0]!r}", where="--metrics", remedy=hint)
    return replace(settings, protocols=tuple(dict.fromkeys(names)), metrics=tuple(dict.fromkeys(metrics)))


def _check_tonemap(request: Request) -> None:
    settings = request.settings
    given: dict[str, object] = {"-p": settings.options, "--align": settings.align, "--peak": settings.peak}
    given["--ldr"] = any(source.baseline for source in request.matching.methods)
    given["--probability-maps"] = request.maps is not None and PROBABILITY in request.map_kinds
    usual = Settings()
    given["--white-nits"] = settings.white_nits != usual.white_nits
    given["--ppd"] = settings.ppd != usual.ppd
    given["--weights"] = settings.weights
    for flag, value in given.items():
        if value:
            raise UsageError("is for HDR predictions", where=flag, remedy="leave it out with --task tonemap")


def _check_hdr(settings: Settings) -> None:
    modules = {name: protocol(name, settings)[0] for name in settings.protocols}
    for flag, value, option in (("--align", settings.align, ALIGN_OPTION), ("--peak", settings.peak, PEAK_OPTION)):
        takers = [name for name, module in modules.items() if option in module.Options.__dataclass_fields__]
        if value not in (None, "none") and not takers:
            fault = f"none of these protocols takes it: {', '.join(modules)}"
            raise UsageError(fault, where=flag, remedy="leave it out, or choose another --protocol")
    for name in settings.options:
        if name not in modules:
            raise UsageError(f"{name} is not among the protocols", where="-p", remedy=f"they are: {', '.join(modules)}")


def _check_maps(request: Request) -> None:
    if request.maps is None:
        return
    for unit in request.matching.units:
        for name in request.settings.protocols:
            for kind in request.map_kinds:
                path = map_path(request.maps, unit.image, unit.method, name, kind)
                if path.parent.exists():
                    formats.check_target(path, overwrite=request.overwrite)


def pictures(request: Request, evaluation: Evaluation, progress: Progress = silent) -> Iterator[list[View]]:
    """The pictures for a report, image by image: of the worst ones where there are more than a report shows.

    They are read and aligned anew, without the scores that can be left out; a few images at once, whatever their number.
    """
    settings = evaluation.settings
    if settings.task == "hdr":
        settings = replace(settings, protocols=_viewed_protocols(evaluation))
    images = _viewed_images(evaluation)
    units = [unit for unit in request.matching.units if unit.image in images]
    plan = Plan(settings, views=True)
    done = 0
    for batch in _batches(units):
        before = done

        def report(n: int, text: str, before: int = before) -> None:
            progress(before + n, len(units), text)

        found = processes.run(batch, plan, processes=_beside(request), report=report)
        views = [view for scored in found for view in scored.views]
        for _, group in groupby(views, key=lambda view: view.image):
            yield list(group)
        done += len(batch)


def _batches(units: Sequence[Unit]) -> Iterator[list[Unit]]:
    """All pairs of an image in one: as many images as VIEWED_AT_ONCE pairs make, at least one."""
    batch: list[Unit] = []
    for _, group in groupby(units, key=lambda unit: unit.image):
        mine = list(group)
        if batch and len(batch) + len(mine) > VIEWED_AT_ONCE:
            yield batch
            batch = []
        batch += mine
    if batch:
        yield batch


def _viewed_images(evaluation: Evaluation) -> frozenset[str]:
    """The worst by the first protocol's first score, each by its worst method; those without a number come last."""
    names = [image.name for image in evaluation.images]
    info = next((p.scores[0] for p in evaluation.protocols if p.scores), None)
    if len(names) <= VIEWED or info is None:
        return frozenset(names[:VIEWED])
    sign = 1 if info.better == "lower" else -1
    badness: dict[str, float] = {}
    for row in evaluation.scores:
        value = row.scores.get(info.name)
        if row.protocol == evaluation.protocols[0].name and isinstance(value, float):
            badness[row.image] = max(badness.get(row.image, sign * value), sign * value)
    return frozenset(sorted(names, key=lambda name: -badness.get(name, float("-inf")))[:VIEWED])


def _viewed_protocols(evaluation: Evaluation) -> tuple[str, ...]:
    """Those whose pictures are in cd/m2, so that one exposure suits all; else the first."""
    in_nits = {row.protocol for row in evaluation.regions}
    names = [p.name for p in evaluation.protocols if p.name in in_nits] or [p.name for p in evaluation.protocols[:1]]
    return tuple(names[:_VIEWED_PROTOCOLS])
