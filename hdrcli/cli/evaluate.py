"""``hdrcli evaluate``: predictions against references, under the protocols of the field."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hdrcli.cli.exits import ExitCode, code_of_all
from hdrcli.cli.options import FILES, LIGHT, Debug, Json, Overwrite, Quiet, Threads, Verbose, parse_device
from hdrcli.cli.presentation import GENERAL, Presenter, printable, table
from hdrcli.errors import HdrcliError, UnwritableOutput, UsageError

if TYPE_CHECKING:
    from hdrcli.evaluation.engine import Request, Run
    from hdrcli.evaluation.pairs import Source
    from hdrcli.evaluation.results import Entry, Evaluation, Settings

SCORING = "Scoring"
EXAMPLES = """
\b
Examples:
  hdrcli evaluate result.exr truth.exr
  hdrcli evaluate results/ truth/ --ldr photos/     against plain linearisation too
  hdrcli evaluate truth/ --pred ours=a/ --pred theirs=b/ --protocol all
  hdrcli evaluate results/ truth/ --out-json scores.json --html report.html
  hdrcli evaluate --from-json scores.json           do the numbers agree?
  hdrcli evaluate results/ truth/ --fail-under pu21_psnr_rgb=30
"""
_NAMED = 5  # images that a remark names


class Task(StrEnum):
    """What the predictions are."""

    HDR = "hdr"
    TONEMAP = "tonemap"


def _list(value: bool) -> None:
    """Print protocols and metrics, tried on this computer, and end.

    Eager, so that it runs before --threads loads NumPy, which reads this variable only then: see evaluation.processes.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    if not value:
        return
    from hdrcli.evaluation import availability
    from hdrcli.metrics import Viewing

    rows = []
    for p in availability.protocols(Viewing()):
        options = " ".join(f"{key}={option}" for key, option in p.options.items())
        rows.append((p.name, p.title, options or "-", _here(p.lacking)))
    table(("PROTOCOL", "WHAT IT DOES", "OPTIONS", "HERE"), rows)
    print()
    offered = availability.metrics(Viewing())
    shown = [(m.name, m.title, m.unit or "-", m.better, m.lacking.get(m.name, "runs")) for m in offered]
    table(("METRIC", "WHAT IT IS", "UNIT", "BETTER", "HERE"), shown)
    raise typer.Exit


def _here(lacking: dict[str, str]) -> str:
    return "; ".join(f"without {name}: {why}" for name, why in lacking.items()) or "runs"


def evaluate(
    ctx: typer.Context,
    inputs: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[PRED] REF",
            show_default=False,
            readable=False,
            help="Two files, or two folders with files of the same names; REF alone with --pred.",
        ),
    ] = None,
    pred: Annotated[
        list[str] | None,
        typer.Option("--pred", metavar="NAME=DIR", help="Predictions of a method; repeatable.", rich_help_panel=FILES),
    ] = None,
    ldr: Annotated[
        Path | None,
        typer.Option(
            "--ldr",
            metavar="DIR",
            readable=False,
            help="The LDR photos: adds the row linear, regions come from their codes.",
            rich_help_panel=FILES,
        ),
    ] = None,
    from_json: Annotated[
        Path | None,
        typer.Option(
            "--from-json",
            metavar="FILE",
            readable=False,
            help="Do again what this record tells, and say whether the numbers agree.",
            rich_help_panel=FILES,
        ),
    ] = None,
    out_json: Annotated[
        Path | None,
        typer.Option(
            "--out-json", metavar="FILE", help="Everything, so that it can be done again from it.", rich_help_panel=FILES
        ),
    ] = None,
    csv: Annotated[
        Path | None, typer.Option("--csv", metavar="FILE", help="The values, a line a pair.", rich_help_panel=FILES)
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option("--html", metavar="FILE", help="A report with pictures and error maps.", rich_help_panel=FILES),
    ] = None,
    maps: Annotated[
        Path | None,
        typer.Option("--maps", metavar="DIR", help="A PNG of the error in stops of each pair.", rich_help_panel=FILES),
    ] = None,
    probability: Annotated[
        bool,
        typer.Option("--probability-maps", help="With --maps: HDR-VDP-2's as well.", rich_help_panel=FILES),
    ] = False,
    overwrite: Overwrite = False,
    task: Annotated[
        Task,
        typer.Option("--task", metavar="NAME", help="hdr, or tonemap: LDR against LDR or HDR.", rich_help_panel=SCORING),
    ] = Task.HDR,
    protocol: Annotated[
        list[str] | None,
        typer.Option(
            "--protocol",
            metavar="NAME",
            help="raw, sihdr ... or all; repeatable [default: raw and sihdr].",
            rich_help_panel=SCORING,
        ),
    ] = None,
    parameter: Annotated[
        list[str] | None,
        typer.Option(
            "--parameter", "-p", metavar="KEY=VALUE", help="An option of a protocol; repeatable.", rich_help_panel=SCORING
        ),
    ] = None,
    metrics: Annotated[
        str | None,
        typer.Option(
            "--metrics",
            metavar="A,B",
            help="For raw and sihdr, besides PU21's; all, none [default: hdrvdp22_q,log2_rmse,delta_e_itp,chroma_uv].",
            rich_help_panel=SCORING,
        ),
    ] = None,
    align: Annotated[
        str | None,
        typer.Option(
            "--align",
            metavar="NAME",
            help="Of sihdr: none, max, percentile, exposure or crf [default: crf].",
            rich_help_panel=SCORING,
        ),
    ] = None,
    fail_under: Annotated[
        list[str] | None,
        typer.Option(
            "--fail-under",
            metavar="NAME=VALUE",
            help="Exit code 1 if the mean of a score is worse; repeatable.",
            rich_help_panel=SCORING,
        ),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Of the bootstrap.", rich_help_panel=SCORING)] = 0,
    list_all: Annotated[
        bool,
        typer.Option(
            "--list",
            help="List protocols and metrics, and whether they run here.",
            callback=_list,
            is_eager=True,
            rich_help_panel=SCORING,
        ),
    ] = False,
    white_nits: Annotated[
        str,
        typer.Option(
            "--white-nits", metavar="NITS", help="cd/m2 of 1.0 in the files; header: what each says.", rich_help_panel=LIGHT
        ),
    ] = "100",
    peak: Annotated[
        float | None,
        typer.Option(
            "--peak", metavar="NITS", help="Bring the reference's maximum here, both by one factor.", rich_help_panel=LIGHT
        ),
    ] = None,
    ppd: Annotated[float, typer.Option("--ppd", metavar="N", help="Pixels per visual degree.", rich_help_panel=LIGHT)] = 30.0,
    resize: Annotated[
        bool, typer.Option("--resize", help="Bring predictions to the reference's size.", rich_help_panel=LIGHT)
    ] = False,
    device: Annotated[
        str, typer.Option("--device", metavar="DEVICE", help="Where torch runs: cpu, cuda, cuda:N.", rich_help_panel=GENERAL)
    ] = "cpu",
    weights: Annotated[
        Path | None,
        typer.Option(
            "--weights", metavar="DIR", readable=False, help="Files of weights for LPIPS and others.", rich_help_panel=GENERAL
        ),
    ] = None,
    threads: Threads = None,
    as_json: Json = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> int:
    """Predictions against references: every metric and protocol of the field, with intervals and significance.

    PRED and REF are HDR files, or folders whose files have the same names. Without more, scores are taken of the files as they
    are (raw), and after a correction of the response curve (sihdr).
    """
    say = Presenter(verbose=verbose, quiet=quiet, as_json=as_json, debug=ctx.obj.debug)
    outputs = {"--out-json": out_json, "--csv": csv, "--html": html}
    limits = [_limit(text) for text in fail_under or []]
    settings = _settings(
        task=task.value,
        protocols=tuple(protocol or ()),
        align=align,
        peak=peak,
        white_nits=_white(white_nits),
        ppd=ppd,
        metrics=_names(metrics),
        resize=resize,
        seed=seed,
        device=_device(device),
        weights=None if weights is None else str(weights),
    )
    before = None
    if from_json is not None:
        before, request = _request_again(ctx, from_json)
    else:
        request = _request(inputs or [], pred or [], ldr, _with_options(settings, parameter or []))
    request = _with_outputs(request, maps, probability, overwrite)
    _check_outputs(outputs, request, overwrite)
    made = _evaluated(say, request)
    evaluation = made.evaluation
    _tell(say, evaluation)
    failed = {(entry.method, entry.image) for entry in evaluation.entries if entry.error is not None} | set(made.traces)
    code = code_of_all([ExitCode.FAILURE] * len(failed), len(evaluation.entries))
    if not _written(say, outputs, request, evaluation, overwrite):
        code = code or ExitCode.PARTLY
    for name, bound in limits:
        if not _kept(say, evaluation, name, bound):
            code = ExitCode.FAILURE
    if before is not None and not _agrees(say, before, evaluation):
        code = ExitCode.FAILURE
    return code


# -- what is asked for -------------------------------------------------------------------------------------------------------


def _settings(**values: Any) -> Settings:
    from hdrcli.evaluation.results import Settings

    settings = Settings(**values)
    if settings.peak is not None and not 0 < settings.peak <= 1e6:
        raise UsageError(f"{settings.peak:g} is not above 0 and at most 1e6 cd/m2", where="--peak", remedy="4000, for example")
    if not 1 <= settings.ppd <= 1000:
        raise UsageError(f"{settings.ppd:g} is not within 1..1000", where="--ppd", remedy="30 or 60, for example")
    if settings.seed < 0:
        raise UsageError(f"{settings.seed} is below 0", where="--seed", remedy="say 0 or more")
    return settings


def _white(text: str) -> float | str:
    if text == "header":
        return text
    try:
        white = float(text)
    except ValueError:
        raise UsageError(f"{text!r} is no number", where="--white-nits", remedy="give cd/m2, or header") from None
    if not 0 < white <= 1e6:
        raise UsageError(f"{text} is not above 0 and at most 1e6 cd/m2", where="--white-nits", remedy="100 is usual")
    return white


def _device(text: str) -> str:
    if text == "auto":
        raise UsageError("scores must not depend on what is there", where="--device", remedy="say cpu, cuda or cuda:N")
    return parse_device(text)


def _names(text: str | None) -> tuple[str, ...] | None:
    if text is None:
        return None
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    return () if names == ("none",) else names


def _limit(text: str) -> tuple[str, float]:
    name, equals, number = text.partition("=")
    try:
        bound = float(number)
    except ValueError:
        bound = math.nan
    if not equals or not name.strip() or not math.isfinite(bound):
        raise UsageError(f"{text!r} is not name=value", where="--fail-under", remedy="write for example pu21_psnr_rgb=30")
    return name.strip(), bound


def _with_options(settings: Settings, pairs: list[str]) -> Settings:
    """``-p key=value`` for all protocols that have such an option, ``-p protocol.key=value`` for one.

    Metrics that no protocol takes are refused here, not in the engine: a record has the usual ones whatever its protocols.
    """
    from hdrcli import registry
    from hdrcli.cli.options import parse_pairs
    from hdrcli.evaluation.engine import complete
    from hdrcli.evaluation.scoring import PROTOCOLS

    if settings.task == "hdr" and settings.metrics:
        asked = complete(settings).protocols
        if not any(getattr(registry.load(PROTOCOLS, name), "TAKES_METRICS", False) for name in asked):
            fault = f"none of these protocols takes them, they have their own: {', '.join(asked)}"
            raise UsageError(fault, where="--metrics", remedy="leave it out, or add --protocol raw")
    texts = parse_pairs(pairs, "-p")
    if not texts or settings.task != "hdr":
        return replace(settings, options={"all": texts} if texts else {})
    names = complete(settings).protocols
    known = {name: registry.load(PROTOCOLS, name).Options.__dataclass_fields__ for name in names}
    options: dict[str, dict[str, str]] = {}
    for key, text in texts.items():
        first, dot, rest = key.partition(".")
        takers = {first: rest} if dot and first in known else {name: key for name in names if key in known[name]}
        if not takers:
            there = ", ".join(f"{name}.{option}" for name in names for option in known[name]) or "none"
            raise UsageError(f"no option of the name {key!r}", where="-p", remedy=f"there are: {there}")
        for name, option in takers.items():
            options.setdefault(name, {})[option] = text
    return replace(settings, options=options)


def _request(inputs: list[Path], pred: list[str], ldr: Path | None, settings: Settings) -> Request:
    from hdrcli.evaluation.engine import Request
    from hdrcli.evaluation.pairs import Source, match
    from hdrcli.parallel import threads

    if not inputs or len(inputs) > 2:
        fault = "there is no reference" if not inputs else f"these are {len(inputs)} arguments"
        raise UsageError(fault, where="[PRED] REF", remedy="give PRED and REF, or REF alone with --pred NAME=DIR")
    if len(inputs) == 1 and not pred and ldr is None:
        raise UsageError("there is nothing to compare it with", where=inputs[0], remedy="give PRED REF, or --pred NAME=DIR")
    sources = [Source(_name_of(path), path) for path in inputs[:-1]] + [_source(text) for text in pred]
    kind = "ldr" if settings.task == "tonemap" else "hdr"
    return Request(match(sources, inputs[-1], ldr, kind=kind), settings, threads())


def _name_of(path: Path) -> str:
    """A method's name where none was given: that of its folder or file."""
    name = path.resolve().name if path.is_dir() else path.stem
    return name or "prediction"


def _source(text: str) -> Source:
    from hdrcli.evaluation.pairs import Source

    name, equals, path = text.partition("=")
    if not equals or not name or not path:
        raise UsageError(f"{text!r} is not NAME=DIR", where="--pred", remedy="write for example --pred ours=results/")
    return Source(name, Path(path))


_OF_OUTPUTS = {"from_json", "out_json", "csv", "html", "maps", "probability", "overwrite", "fail_under", "list_all"}
_OF_RUNNING = {"threads", "as_json", "verbose", "quiet", "debug"}


def _request_again(ctx: typer.Context, path: Path) -> tuple[Evaluation, Request]:
    from hdrcli.evaluation import storage
    from hdrcli.evaluation.repeat import request_again
    from hdrcli.parallel import threads

    for parameter in ctx.command.params:
        name = parameter.name or ""
        source = ctx.get_parameter_source(name)
        if name not in _OF_OUTPUTS | _OF_RUNNING and source is not None and source.name == "COMMANDLINE":
            raise UsageError(f"the record says it already: {parameter.opts[0]}", where="--from-json", remedy="leave it out")
    before = storage.read(path)
    return before, request_again(before, path.parent, processes=threads())


def _with_outputs(request: Request, maps: Path | None, probability: bool, overwrite: bool) -> Request:
    from hdrcli.evaluation.pictures import KINDS, STOPS

    if maps is None:
        if probability:
            raise UsageError("there is no folder for them", where="--probability-maps", remedy="name one with --maps")
        return request
    if not maps.is_dir():
        fault = "is no folder" if maps.exists() else "no such folder"
        raise UnwritableOutput(fault, where=maps, remedy="make it first, or name another with --maps")
    return replace(request, maps=maps, map_kinds=KINDS if probability else (STOPS,), overwrite=overwrite)


def _check_outputs(outputs: dict[str, Path | None], request: Request, overwrite: bool) -> None:
    """Before hours of work: can what comes of it be written, and is none of it an input?"""
    from hdrcli import formats

    inputs = {path.resolve() for u in request.matching.units for path in (u.reference, u.prediction, u.ldr) if path}
    seen: dict[Path, str] = {}
    for flag, path in outputs.items():
        if path is None:
            continue
        formats.check_target(path, overwrite=overwrite)
        if path.resolve() in inputs:
            raise UsageError("is one of the inputs, it would be lost", where=path, remedy=f"name another file with {flag}")
        if path.resolve() in seen:
            raise UsageError(f"is the output of {seen[path.resolve()]} too", where=path, remedy=f"name another with {flag}")
        seen[path.resolve()] = flag


# -- doing it ----------------------------------------------------------------------------------------------------------------


def _evaluated(say: Presenter, request: Request) -> Run:
    from hdrcli.evaluation import engine

    started = time.perf_counter()
    total = len(request.matching.units)
    with say.progress(total, unit="pairs", wanted=total > 1) as advance:
        made = engine.run(request, lambda done, _, text: advance(done, text))
    for (method, image), trace in made.traces.items():
        bug = HdrcliError("met an internal error", remedy="run again with --debug for the traceback, and report it")
        say.fault(bug, f"{method}, {image}")
        if say.debug:
            say.note(trace)
    seconds = time.perf_counter() - started
    say.detail(f"{total} pairs in {seconds:.1f} s, {min(request.processes, total)} processes")
    return made


def _tell(say: Presenter, evaluation: Evaluation) -> None:
    from hdrcli.cli import score_tables
    from hdrcli.evaluation.storage import plain

    for entry in evaluation.entries:
        if entry.error is not None:
            say.fault(HdrcliError(entry.error), f"{entry.method}, {entry.image}")
    for remark, names in _grouped(evaluation.entries).items():
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        say.warning(f"{', '.join(names[:_NAMED])}{more}", remark)
    if say.as_json:
        for record in score_tables.records(evaluation):
            say.record(plain(record))
        return
    if say.verbosity >= 0:
        score_tables.show(evaluation, thorough=say.verbosity > 0)


def _grouped(entries: tuple[Entry, ...]) -> dict[str, list[str]]:
    """Remarks with the pairs they are about; one that all methods of an image have names the image alone."""
    methods = {entry.method for entry in entries}
    by_remark: dict[str, dict[str, list[str]]] = {}
    for entry in entries:
        for remark in entry.remarks:
            by_remark.setdefault(remark, {}).setdefault(entry.image, []).append(entry.method)
    return {
        remark: [image if len(having) == len(methods) else f"{image} ({', '.join(having)})" for image, having in images.items()]
        for remark, images in by_remark.items()
    }


def _written(
    say: Presenter, outputs: dict[str, Path | None], request: Request, evaluation: Evaluation, overwrite: bool
) -> bool:
    """Write what was asked for; a file that can't be is told, the others are written all the same."""
    from hdrcli.evaluation import reporting

    def html(path: Path) -> None:
        total = len(request.matching.units)
        with say.progress(total, unit="pairs", wanted=total > 1) as advance:
            reporting.write_html(path, request, evaluation, lambda done, _, text: advance(done, text), overwrite=overwrite)

    ways: dict[str, Callable[[Path], None]] = {
        "--out-json": lambda path: reporting.write_json(path, evaluation, overwrite=overwrite),
        "--csv": lambda path: reporting.write_csv(path, evaluation, overwrite=overwrite),
        "--html": html,
    }
    whole = True
    for flag, path in outputs.items():
        if path is None:
            continue
        try:
            ways[flag](path)
            say.result(f"-> {printable(path)}")
        except UsageError:
            raise
        except (HdrcliError, OSError) as error:
            say.fault(error, path)
            whole = False
    return whole


def _kept(say: Presenter, evaluation: Evaluation, name: str, bound: float) -> bool:
    """Is the mean of a score, of every prediction under every protocol that has it, as good as that?

    Where there is no prediction the row of the LDR inputs is asked: nothing to look at would be as good as any bound.
    """
    first, dot, rest = name.partition(".")
    protocols = {p.name for p in evaluation.protocols}
    only, score = (first, rest) if dot and first in protocols else (None, name)
    infos = {s.name: s for p in evaluation.protocols for s in p.scores if only in (None, p.name)}
    predictions = {m.name for m in evaluation.methods if m.kind == "prediction"} or {m.name for m in evaluation.methods}
    if score not in infos:
        remedy = f"there are: {', '.join(infos) or 'none'}"
        say.fault(HdrcliError(f"no score of the name {score!r}", where="--fail-under", remedy=remedy))
        return False
    better = infos[score].better
    kept = True
    for a in evaluation.aggregates:
        if a.score != score or a.region is not None or only not in (None, a.protocol) or a.method not in predictions:
            continue
        place = f"{a.method}, {a.protocol}.{score}"
        if a.mean is None and a.infinite and not a.missing and better == "higher":
            continue  # identical pictures: better than any bound
        if a.mean is None:
            say.fault(HdrcliError("has no mean", where=place, remedy="see why its values are missing"))
            kept = False
        elif a.mean > bound if better == "lower" else a.mean < bound:
            word = "above" if better == "lower" else "below"
            say.fault(HdrcliError(f"mean {a.mean:.6g} is {word} {bound:g}", where=place, remedy="--fail-under asks for it"))
            kept = False
    return kept


def _agrees(say: Presenter, before: Evaluation, after: Evaluation) -> bool:
    from hdrcli.evaluation.repeat import TOLERANCE, compare

    found = compare(before, after)
    for remark in found.remarks:
        say.warning("versions", remark)
    for difference in found.differences:
        say.fault(HdrcliError(difference, remedy="the record does not hold here"))
    summary = f"{found.identical} of {found.numbers} numbers identical, largest difference {found.largest:.2g}"
    verdict = f"agree within {TOLERANCE:g}" if found.agree else f"do not agree: {len(found.differences)} differences"
    say.result(f"{summary}: they {verdict}")
    facts = {"numbers": found.numbers, "identical": found.identical, "differences": found.differences}
    say.record({"agree": found.agree, "largest": str(found.largest), **facts})
    return found.agree
