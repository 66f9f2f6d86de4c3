"""``hdrcli tonemap``: HDR files to LDR."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from hdrcli.cli import targets
from hdrcli.cli.exits import ExitCode
from hdrcli.cli.options import (
    FILES,
    LIGHT,
    MODEL,
    Backend,
    Debug,
    Device,
    Input,
    Json,
    Overwrite,
    Quiet,
    StripMetadata,
    Threads,
    Verbose,
    parse_device,
    parse_pairs,
)
from hdrcli.cli.presentation import Presenter, table
from hdrcli.errors import HdrcliError, UsageError

OPERATORS = "hdrcli.tonemapping"
EXAMPLES = """
\b
Examples:
  hdrcli tonemap photo.exr                      photo.png appears beside it
  hdrcli tonemap photo.exr -o photo.jpg -t mulaw -p mu=500 --ev -1
  hdrcli tonemap --list                         operators, their parameters
"""


def _list_operators(value: bool) -> None:
    """Print the operators with their parameters and end."""
    if not value:
        return
    from dataclasses import fields

    from hdrcli import registry

    rows = []
    for name in registry.names(OPERATORS):
        module = registry.load(OPERATORS, name)
        parameters = " ".join(f"{f.name}={f.default}" for f in fields(module.Parameters))
        rows.append((name, module.SUMMARY, parameters or "-"))
    rows.append(("learned", "the generator G_X of --model", "-"))
    table(("OPERATOR", "WHAT IT DOES", "PARAMETERS"), rows)
    raise typer.Exit


def tonemap(
    ctx: typer.Context,
    source: Input,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="OUT", help="The output, .png, .jpg or .tif [default: IN.png].", rich_help_panel=FILES
        ),
    ] = None,
    bits: Annotated[int, typer.Option("--bits", metavar="8|16", help="PNG, TIFF: bits a channel.", rich_help_panel=FILES)] = 8,
    quality: Annotated[int, typer.Option("--quality", metavar="1..100", help="JPEG: quality.", rich_help_panel=FILES)] = 95,
    strip: StripMetadata = None,
    overwrite: Overwrite = False,
    operator: Annotated[
        str, typer.Option("--operator", "-t", metavar="NAME", help="Tone-mapping operator.", rich_help_panel=LIGHT)
    ] = "reinhard",
    parameter: Annotated[
        list[str] | None,
        typer.Option("--parameter", "-p", metavar="KEY=VALUE", help="A parameter of it; repeatable.", rich_help_panel=LIGHT),
    ] = None,
    ev: Annotated[float, typer.Option("--ev", metavar="STOPS", help="Exposure before it.", rich_help_panel=LIGHT)] = 0.0,
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
    """HDR to LDR: a picture that any screen shows."""
    from hdrcli import formats
    from hdrcli.conversion import TonemapOptions
    from hdrcli.conversion import tonemap as convert

    say = Presenter(verbose=verbose, quiet=quiet, as_json=as_json, debug=ctx.obj.debug)
    if bits not in (8, 16):
        raise UsageError(f"{bits} is neither 8 nor 16", where="--bits", remedy="say 8 or 16")
    if not 1 <= quality <= 100:
        raise UsageError(f"{quality} is not within 1..100", where="--quality", remedy="say a number in that range")
    if not -32 <= ev <= 32:
        raise UsageError(f"{ev} is not within -32..32", where="--ev", remedy="say a number in that range")
    if output == targets.DASH:
        raise UsageError("tonemap writes LDR files", where=output, remedy="name it .png, .jpg or .tif")
    if output is not None:
        formats.module_for_output(output, kind="ldr")
    options = TonemapOptions(operator, parse_pairs(parameter, "-p"), ev, bits, model, backend, parse_device(device))
    (job,) = targets.plan([source], output, None, ".png")
    job.check(overwrite=overwrite)
    started = time.perf_counter()
    try:
        with targets.readable(job) as path:
            image = formats.read(path)
        if strip is not None:
            image = formats.strip(image, strip)
        result = convert(image, options)
    except HdrcliError as error:
        if error.where is None and not isinstance(error, UsageError):
            error.where = job.source_name
        raise
    depth = "16" if bits == 16 else None
    remarks = formats.write(result, job.output, formats.WriteOptions(depth=depth, quality=quality), overwrite=overwrite)
    seconds = time.perf_counter() - started
    notes = (*result.metadata.notes, *remarks)
    for note in notes:
        say.warning(job.source_name, note)
    say.result(f"{job}  {image.width}x{image.height} ({operator}, {ev:+g} EV)")
    say.detail(f"{seconds:.2f} s")
    named = {"input": str(job.source), "output": str(job.output), "width": image.width, "height": image.height}
    say.record({**named, "operator": operator, "notes": notes, "seconds": round(seconds, 3)})
    return ExitCode.OK
