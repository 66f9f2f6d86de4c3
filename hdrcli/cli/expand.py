"""``hdrcli expand``: photos to HDR."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hdrcli.cli import runs, targets
from hdrcli.cli.exits import ExitCode, code_of_all
from hdrcli.cli.options import (
    FILES,
    LIGHT,
    MODEL,
    Backend,
    Compression,
    Debug,
    Depth,
    Device,
    HdrFormat,
    Inputs,
    Json,
    OutputPrimaries,
    Overwrite,
    Projection,
    Quiet,
    Reconstruct,
    Strip,
    StripMetadata,
    Threads,
    Verbose,
    parse_device,
)
from hdrcli.cli.presentation import Presenter
from hdrcli.cli.targets import Job
from hdrcli.errors import HdrcliError, UsageError

if TYPE_CHECKING:
    from hdrcli.conversion import ExpandOptions, Expansion

EXAMPLES = """
\b
Examples:
  hdrcli expand photo.jpg                       photo.exr appears beside it
  hdrcli expand photo.jpg -o x.hdr --preview    and x.preview.png, to see it
  hdrcli expand *.jpg --out-dir hdr --compression piz
  cat photo.jpg | hdrcli expand - -o - --format exr > photo.exr
"""


def expand(
    ctx: typer.Context,
    inputs: Inputs,
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
        HdrFormat | None,
        typer.Option(
            "--format",
            metavar="TYPE",
            help="exr, hdr, tif or pfm, where OUT does not say it [default: exr].",
            rich_help_panel=FILES,
        ),
    ] = None,
    depth: Annotated[
        Depth | None,
        typer.Option("--depth", metavar="TYPE", help="half or float [default: EXR half, TIFF float].", rich_help_panel=FILES),
    ] = None,
    compression: Annotated[
        Compression | None,
        typer.Option(
            "--compression",
            metavar="NAME",
            help="EXR, TIFF: none, zip [default: zip]; EXR: piz; lossy: dwaa, dwab.",
            rich_help_panel=FILES,
        ),
    ] = None,
    confidence: Annotated[
        bool,
        typer.Option("--confidence", help="EXR: a layer from 0 measured to 1 reconstructed.", rich_help_panel=FILES),
    ] = False,
    preview: Annotated[
        bool, typer.Option("--preview", help="A PNG beside it: photo and result, darkened.", rich_help_panel=FILES)
    ] = False,
    strip: StripMetadata = None,
    overwrite: Overwrite = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check everything, write nothing.", rich_help_panel=FILES)] = False,
    model: Annotated[
        str,
        typer.Option(
            "--model", "-m", metavar="NAME|PATH", help="Bundle, run folder, weights file or operator.", rich_help_panel=MODEL
        ),
    ] = "default",
    backend: Annotated[
        Backend, typer.Option("--backend", metavar="NAME", help="auto, onnx or torch.", rich_help_panel=MODEL)
    ] = Backend.AUTO,
    device: Device = "auto",
    reconstruct: Annotated[
        Reconstruct,
        typer.Option(
            "--reconstruct", metavar="WHAT", help="highlights (what clipped), or all the model says.", rich_help_panel=LIGHT
        ),
    ] = Reconstruct.HIGHLIGHTS,
    strength: Annotated[float, typer.Option("--strength", metavar="0..1", help="How much of it.", rich_help_panel=LIGHT)] = 1.0,
    peak_stops: Annotated[
        float | None,
        typer.Option("--peak-stops", metavar="STOPS", help="Nothing brighter than this above white.", rich_help_panel=LIGHT),
    ] = None,
    projection: Annotated[
        Projection,
        typer.Option(
            "--projection", metavar="WHAT", help="equirect (360 x 180 panorama), flat, or auto.", rich_help_panel=LIGHT
        ),
    ] = Projection.AUTO,
    sun: Annotated[
        bool, typer.Option("--sun/--no-sun", help="Give a panorama's sun a sun's energy.", rich_help_panel=LIGHT)
    ] = True,
    ev: Annotated[float, typer.Option("--ev", metavar="STOPS", help="Exposure of the result.", rich_help_panel=LIGHT)] = 0.0,
    white_nits: Annotated[
        float,
        typer.Option("--white-nits", metavar="NITS", help="cd/m2 of white, for the header.", rich_help_panel=LIGHT),
    ] = 203.0,
    primaries: Annotated[
        OutputPrimaries,
        typer.Option(
            "--primaries", metavar="NAME", help="Of the result: keep, srgb, p3, rec2020, acescg.", rich_help_panel=LIGHT
        ),
    ] = OutputPrimaries.KEEP,
    threads: Threads = None,
    as_json: Json = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> int:
    """Photos to HDR: what clipped is reconstructed, what was measured stays as it is.

    IN are JPEG, PNG, WebP, TIFF, BMP or GIF files, whatever their names say. Output is OpenEXR, Radiance, float TIFF or PFM,
    scene-linear, 1.0 = white of the photo.
    """
    from hdrcli.conversion import ExpandOptions, check_confidence, is_operator, load_generator

    say = Presenter(verbose=verbose, quiet=quiet, as_json=as_json, debug=ctx.obj.debug)
    extension = targets.extension_of(output, format, kind="hdr", usual=HdrFormat.EXR, types=tuple(HdrFormat))
    if confidence and extension != ".exr":
        raise UsageError(f"{extension} has no layers", where="--confidence", remedy="write an .exr")
    if as_json and output == targets.DASH:
        raise UsageError("both would go to standard output", where="--json -o -", remedy="name a file with -o")
    options = ExpandOptions(
        model=model,
        backend=backend,
        device=parse_device(device),
        whole=reconstruct is Reconstruct.ALL,
        ev=ev,
        white_nits=white_nits,
        peak_stops=peak_stops,
        strength=strength,
        half=_is_half(extension, depth),
        primaries=primaries,
        projection=projection,
        sun=sun,
    )
    if confidence:
        check_confidence(options)
    jobs = targets.plan(inputs, output, out_dir, extension, preview=preview)
    run = _Run(say, options, extension, depth, compression, confidence, strip, overwrite, dry_run)
    faults: list[ExitCode] = []
    sound = runs.each(say, jobs, lambda job: job.check(overwrite=overwrite), faults)
    if sound and not is_operator(model):
        load_generator(model, options.backend, options.device)  # its faults concern the whole run, not one photo
    with say.progress(len(sound), unit="photos", wanted=len(sound) > 1) as advance:
        runs.each(say, sound, run.expand, faults, advance)
    return code_of_all(faults, len(jobs))


def _is_half(extension: str, depth: Depth | None) -> bool:
    """Are the floats in this file halves? OpenEXR's usual, TIFF's if asked for."""
    return depth is not Depth.FLOAT if extension == ".exr" else depth is Depth.HALF and extension in (".tif", ".tiff")


@dataclass
class _Run:
    """What holds for all photos of a call."""

    say: Presenter
    options: ExpandOptions
    extension: str
    depth: Depth | None
    compression: Compression | None
    confidence: bool
    strip: Strip | None
    overwrite: bool
    dry_run: bool

    def expand(self, job: Job) -> None:
        """One photo: read, expand, write, tell."""
        from hdrcli import conversion, formats

        started = time.perf_counter()
        with targets.readable(job) as source:
            image = formats.read(source)
        if self.strip is not None:
            image = formats.strip(image, self.strip)
        try:
            conversion.check_photo(image)
            size = f"{image.width}x{image.height}"
            if self.dry_run:
                self._remark(job, image.metadata.notes)
                self.say.result(f"{job}  {size} (dry run, nothing written)")
                sizes = {"width": image.width, "height": image.height}
                self.say.record({**runs.named(job), **sizes, "notes": image.metadata.notes, "dry_run": True})
                return
            read = time.perf_counter()
            expansion = conversion.expand(image, self.options)
        except HdrcliError as error:
            if error.where is None:
                error.where = job.source_name
            raise
        expanded = time.perf_counter()
        remarks = self._write(job, expansion)
        ended = time.perf_counter()
        notes = (*expansion.image.metadata.notes, *remarks)
        self._remark(job, notes)
        clipped = f"{100 * max(expansion.clipped):.1f} % clipped"
        found = f"{clipped}, up to {expansion.peak_stops:+.1f} stops" if any(expansion.clipped) else "nothing clipped"
        if expansion.image.metadata.panorama:
            sun = expansion.image.metadata.header["hdrcli:sun"]
            found = f"360 x 180 degree panorama, sun {'found' if expansion.sun else sun}, {found}"
            self.say.detail(f"sun: {sun}")
        self.say.result(f"{job}  {size}, {found} ({expansion.model}, {expansion.ran_on})")
        shares = " ".join(f"{100 * share:.2f}" for share in expansion.clipped)
        self.say.detail(f"clipped R G B {shares} %, peak {expansion.peak_stops:+.2f} stops above white")
        self.say.detail(
            f"scale: white of the photo = {2.0**self.options.ev:g}; 1.0 stands for {self.options.white_nits:g} cd/m2"
        )
        times = (read - started, expanded - read, ended - expanded)
        self.say.detail("read {:.2f} s, expand {:.2f} s, write {:.2f} s".format(*times))
        self.say.record({**runs.named(job), **_facts(expansion), "notes": notes, "seconds": round(ended - started, 3)})

    def _write(self, job: Job, expansion: Expansion) -> tuple[str, ...]:
        from hdrcli import formats

        options = formats.WriteOptions(
            depth=self.depth,
            compression=None if self.compression is None else self.compression.value,
            layers={"confidence": expansion.confidence} if self.confidence else {},
        )
        with targets.writable(job, self.extension) as target:
            remarks = formats.write(expansion.image, target, options, overwrite=self.overwrite)
        if job.preview is not None:
            from hdrcli.preview import compare

            picture = compare(expansion.source, expansion.image, ev=self.options.ev)
            formats.write(picture, job.preview, overwrite=self.overwrite)
        return remarks

    def _remark(self, job: Job, notes: Sequence[str]) -> None:
        for note in notes:
            self.say.warning(job.source_name, note)


def _facts(expansion: Expansion) -> dict[str, Any]:
    return {
        "width": expansion.image.width,
        "height": expansion.image.height,
        "model": expansion.model,
        "ran_on": expansion.ran_on,
        "clipped": expansion.clipped,
        "peak_stops": expansion.peak_stops,
        "primaries": expansion.image.primaries.label,
        "panorama": expansion.image.metadata.panorama,
        "header": dict(expansion.image.metadata.header),
    }
