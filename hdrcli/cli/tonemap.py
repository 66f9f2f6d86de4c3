"""``hdrcli tonemap``: HDR files to LDR."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import fields, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hdrcli.cli import _tonemap_list, runs, targets
from hdrcli.cli._tonemap_list import OPERATORS
from hdrcli.cli.exits import ExitCode, code_of_all
from hdrcli.cli.options import (
    FILES,
    LIGHT,
    MODEL,
    Backend,
    Debug,
    Device,
    Json,
    Overwrite,
    Projection,
    Quiet,
    StripMetadata,
    Threads,
    Verbose,
    parse_device,
    parse_pairs,
)
from hdrcli.cli.presentation import Presenter
from hdrcli.errors import MissingModel, UsageError

if TYPE_CHECKING:
    from hdrcli.conversion import TonemapOptions

EXAMPLES = """
\b
Examples:
  hdrcli tonemap photo.exr                      photo.png appears beside it
  hdrcli tonemap photo.exr -o photo.jpg -t mulaw -p mu=500 --ev -1
  hdrcli tonemap *.exr --out-dir ldr --format webp --resize 1920
  hdrcli tonemap photo.exr --all                photo.sheet.png: all operators
  hdrcli tonemap photo.exr --brackets -4,-2,0,2 photo.ev-4.png ...
  hdrcli tonemap shot.*.exr --out-dir ldr --temporal
  hdrcli tonemap --list                         operators, their parameters
"""
_DEPTHS_16 = (".png", ".tif", ".tiff")
_WITH_QUALITY = (".jpg", ".jpeg", ".webp")
_QUALITY = 95
_MOST_BRACKETS = 32


class LdrFormat(StrEnum):
    """Formats that ``tonemap`` writes, by extension."""

    PNG = "png"
    JPEG = "jpg"
    TIFF = "tiff"
    WEBP = "webp"


class DisplayPrimaries(StrEnum):
    """Primaries of the screens that pictures are made for."""

    SRGB = "srgb"
    P3 = "p3"


def _list_operators(value: bool) -> None:
    """Print the operators with their parameters and end."""
    if value:
        _tonemap_list.show()
        raise typer.Exit


def tonemap(
    ctx: typer.Context,
    inputs: Annotated[
        list[Path],
        typer.Argument(metavar="IN...", show_default=False, readable=False, help="HDR pictures; - reads standard input."),
    ],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="OUT", help="The output; - writes to standard output.", rich_help_panel=FILES),
    ] = None,
    out_dir: Annotated[
        Path | None,
        typer.Option(
            "--out-dir", metavar="DIR", help="Folder for the outputs [default: beside each input].", rich_help_panel=FILES
        ),
    ] = None,
    format: Annotated[
        LdrFormat | None,
        typer.Option(
            "--format",
            metavar="TYPE",
            help="png, jpg, tiff or webp, where OUT does not say it [default: png].",
            rich_help_panel=FILES,
        ),
    ] = None,
    bits: Annotated[int, typer.Option("--bits", metavar="8|16", help="PNG, TIFF: bits a channel.", rich_help_panel=FILES)] = 8,
    quality: Annotated[
        int | None,
        typer.Option(
            "--quality",
            metavar="1..100",
            help="JPEG, WebP: quality; WebP of 100 is lossless [default: 95].",
            rich_help_panel=FILES,
        ),
    ] = None,
    dither: Annotated[
        bool, typer.Option("--dither/--no-dither", help="8 bits: no bands in skies.", rich_help_panel=FILES)
    ] = True,
    resize: Annotated[
        str | None,
        typer.Option(
            "--resize",
            metavar="SIZE",
            help="1920 (longer side), 1920x1080 (fits in) or 50%; only percent enlarge.",
            rich_help_panel=FILES,
        ),
    ] = None,
    strip: StripMetadata = None,
    overwrite: Overwrite = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check everything, write nothing.", rich_help_panel=FILES)] = False,
    operator: Annotated[
        list[str] | None,
        typer.Option(
            "--tmo",
            "-t",
            "--operator",
            metavar="NAME",
            help="Operator; several make a contact sheet [default: learned; for brackets clip].",
            rich_help_panel=LIGHT,
        ),
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help="A contact sheet of all operators: IN.sheet.png.", rich_help_panel=LIGHT)
    ] = False,
    parameter: Annotated[
        list[str] | None,
        typer.Option("--parameter", "-p", metavar="KEY=VALUE", help="A parameter of it; repeatable.", rich_help_panel=LIGHT),
    ] = None,
    ev: Annotated[float, typer.Option("--ev", metavar="STOPS", help="Exposure before it.", rich_help_panel=LIGHT)] = 0.0,
    auto_exposure: Annotated[
        bool | None,
        typer.Option(
            "--auto-exposure/--no-auto-exposure",
            help="Expose the scene as a photo, for operators that --list marks so; or take 1.0 as it is [default: theirs].",
            rich_help_panel=LIGHT,
        ),
    ] = None,
    white: Annotated[
        str | None,
        typer.Option(
            "--white",
            metavar="STOPS|auto",
            help="Luminance shown as white, above 1.0 after --ev; auto: the scene's 99.9th percentile [default: theirs].",
            rich_help_panel=LIGHT,
        ),
    ] = None,
    saturation: Annotated[
        float,
        typer.Option("--saturation", metavar="0..4", help="Of the result; 0 is grey.", rich_help_panel=LIGHT),
    ] = 1.0,
    primaries: Annotated[
        DisplayPrimaries,
        typer.Option("--primaries", metavar="NAME", help="Of the result: srgb or p3.", rich_help_panel=LIGHT),
    ] = DisplayPrimaries.SRGB,
    projection: Annotated[
        Projection,
        typer.Option(
            "--projection", metavar="WHAT", help="equirect (360 x 180 panorama), flat, or auto.", rich_help_panel=LIGHT
        ),
    ] = Projection.AUTO,
    brackets: Annotated[
        str | None,
        typer.Option(
            "--brackets",
            metavar="STOPS,STOPS",
            help="An exposure stack such as -4,-2,0,2: IN.ev-4.png ...",
            rich_help_panel=LIGHT,
        ),
    ] = None,
    temporal: Annotated[
        bool,
        typer.Option("--temporal", help="Inputs are numbered frames: exposure follows smoothly.", rich_help_panel=LIGHT),
    ] = False,
    list_operators: Annotated[
        bool,
        typer.Option(
            "--list",
            help="List the operators with their parameters.",
            callback=_list_operators,
            is_eager=True,
            rich_help_panel=LIGHT,
        ),
    ] = False,
    model: Annotated[
        str,
        typer.Option("--model", "-m", metavar="NAME|PATH", help="For -t learned: bundle or run folder.", rich_help_panel=MODEL),
    ] = "default",
    backend: Annotated[
        Backend, typer.Option("--backend", metavar="NAME", help="auto, onnx or torch.", rich_help_panel=MODEL)
    ] = Backend.AUTO,
    device: Device = "auto",
    threads: Threads = None,
    as_json: Json = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> int:
    """HDR to LDR: pictures that any screen shows.

    IN are OpenEXR, Radiance, PFM or float TIFF files, or pictures in PQ or HLG. Operators find their exposure in the scene
    unless told otherwise. With --temporal, frames such as shot.0001.exr are taken in the order of their numbers, and what
    operators find changes over some 12 frames; a jump of more than a stop is a cut, after which nothing of before counts.
    """
    from hdrcli.cli._tonemap_run import Run, variants_of
    from hdrcli.cli._tonemap_sequence import in_order
    from hdrcli.conversion import LEARNED, TonemapOptions, check_tonemap, load_generator

    say = Presenter(verbose=verbose, quiet=quiet, as_json=as_json, debug=ctx.obj.debug)
    stops = () if brackets is None else parse_brackets(brackets, ev)
    names = _operators(operator, every=every, bracketed=bool(stops))
    sheet = every or len(names) > 1
    extension = targets.extension_of(output, format, kind="ldr", usual=LdrFormat.PNG, types=tuple(LdrFormat))
    _check_file_options(extension, bits, quality)
    if as_json and output == targets.DASH:
        raise UsageError("both would go to standard output", where="--json -o -", remedy="name a file with -o")
    if sheet:
        _check_sheet(bracketed=bool(stops), resized=resize is not None, bits=bits, primaries=primaries)
    if resize is not None:
        from hdrcli.resizing import parse_size

        parse_size(resize, 1, 1)
    pairs = parse_pairs(parameter, "-p")
    base = TonemapOptions(
        ev=ev,
        bits=bits,
        model=model,
        backend=backend,
        device=parse_device(device),
        auto_exposure=auto_exposure,
        white=_white(white),
        saturation=saturation,
        dither=dither,
        primaries=primaries,
        projection=projection,
    )
    each_of = _with_parameters(base, names, pairs)
    for options in each_of:
        check_tonemap(options)
    parts = [f"ev{value:+g}" for value in stops] or (["sheet"] if sheet else [])
    jobs: Sequence[targets.Job] = targets.plan(inputs, output, out_dir, extension, parts=parts)
    frames = in_order(jobs) if temporal else []
    jobs = [job for job, _ in frames] or jobs
    if every:
        # a bundle need not have a G_X; asked for by name, its lack is a fault
        try:
            load_generator(model, base.backend, base.device, "g_x")
            if not pairs:
                each_of.append(replace(base, operator=LEARNED))
        except MissingModel as error:
            say.note(f"without {LEARNED}: {error}")
    elif names == [LEARNED]:
        load_generator(model, base.backend, base.device, "g_x")  # its faults concern the whole run, not one picture
    variants = each_of if sheet else variants_of(each_of[0], stops)
    run = Run(say, variants, extension, quality or _QUALITY, strip, overwrite, dry_run, resize, sheet, dict(frames))
    faults: list[ExitCode] = []
    sound = runs.each(say, jobs, lambda job: job.check(overwrite=overwrite), faults)
    with say.progress(len(sound), unit="pictures", wanted=len(sound) > 1) as advance:
        runs.each(say, sound, run.tonemap, faults, advance)
    code = code_of_all(faults, len(jobs))
    return ExitCode.PARTLY if code is ExitCode.OK and run.faults else code


def _operators(given: list[str] | None, *, every: bool, bracketed: bool) -> list[str]:
    """The operators asked for, in that order. Raises UsageError for one given twice, and for --all beside -t."""
    from hdrcli import registry
    from hdrcli.conversion import TonemapOptions

    if every:
        if given:
            raise UsageError("-t and --all exclude each other", remedy="give one of them")
        return list(registry.names(OPERATORS))
    names = given or ["clip" if bracketed else TonemapOptions().operator]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UsageError(f"{twice} is given twice", where="-t", remedy="give it once")
    return names


def parse_brackets(text: str, ev: float = 0.0) -> tuple[float, ...]:
    """Stops from "-4,-2,0,2", ascending. Raises UsageError for what is no number, is there twice, or beyond 32 with ``ev``."""
    remedy = "give stops such as -4,-2,0,2"
    values = []
    for part in text.split(","):
        try:
            value = float(part) + 0.0  # no -0
        except ValueError:
            raise UsageError(f"{part.strip()!r} is no number of stops", where="--brackets", remedy=remedy) from None
        if not (math.isfinite(value) and -32 <= value + ev <= 32):
            raise UsageError(f"{value:g} is not within -32..32 with --ev", where="--brackets", remedy=remedy)
        values.append(value)
    names = [f"{value:g}" for value in values]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UsageError(f"{twice} is there twice", where="--brackets", remedy="give each exposure once")
    if len(values) > _MOST_BRACKETS:
        raise UsageError(f"{len(values)} exposures are too many", where="--brackets", remedy=f"give at most {_MOST_BRACKETS}")
    return tuple(sorted(values))


def _white(text: str | None) -> float | str | None:
    if text is None or text == "auto":
        return text
    try:
        return float(text)
    except ValueError:
        remedy = "give stops above 1.0, such as 3, or auto"
        raise UsageError(f"{text!r} is neither a number nor auto", where="--white", remedy=remedy) from None


def _check_file_options(extension: str, bits: int, quality: int | None) -> None:
    """Raises UsageError for what this type of file does not have."""
    if quality is not None:
        if not 1 <= quality <= 100:
            raise UsageError(f"{quality} is not within 1..100", where="--quality", remedy="say a number in that range")
        if extension not in _WITH_QUALITY:
            raise UsageError(f"{extension} keeps every code", where="--quality", remedy="leave it out, or write .jpg or .webp")
    if bits == 16 and extension not in _DEPTHS_16:
        raise UsageError(f"{extension} has 8 bits a channel", where="--bits", remedy="write .png or .tif")


def _check_sheet(*, bracketed: bool, resized: bool, bits: int, primaries: str) -> None:
    """Raises UsageError for what a contact sheet does not have."""
    remedy = "give one operator with -t for that"
    for wrong, option in (
        (bracketed, "--brackets"),
        (resized, "--resize"),
        (bits != 8, "--bits"),
        (primaries != "srgb", "--primaries"),
    ):
        if wrong:
            raise UsageError("not with a contact sheet, which several operators make", where=option, remedy=remedy)


def _with_parameters(base: TonemapOptions, names: Sequence[str], pairs: dict[str, str]) -> list[TonemapOptions]:
    """Options for each operator; of several, each gets the parameters that it has. Raises UsageError for one that none has."""
    from hdrcli import registry
    from hdrcli.conversion import LEARNED

    if len(names) == 1:
        return [replace(base, operator=names[0], parameters=pairs)]
    # of an operator that is given nothing it does not have, unknown names come out as such
    known = {
        name: set() if name == LEARNED else {f.name for f in fields(registry.load(OPERATORS, name).Parameters)}
        for name in names
    }
    lost = next((key for key in pairs if not any(key in keys for keys in known.values())), None)
    if lost is not None:
        raise UsageError(f"none of these operators has a parameter {lost!r}", where="-p", remedy="see hdrcli tonemap --list")
    return [
        replace(base, operator=name, parameters={key: text for key, text in pairs.items() if key in keys})
        for name, keys in known.items()
    ]
