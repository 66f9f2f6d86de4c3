"""``hdrcli data``: training data before training: checked, aligned, made."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hdrcli.cli.exits import ExitCode, code_of_all
from hdrcli.cli.options import Debug, Json, Overwrite
from hdrcli.cli.pairing import Pairs, PairsLayout, find_pairs, pair_sources
from hdrcli.cli.presentation import GENERAL, Command, Presenter, printable, table
from hdrcli.errors import UnwritableOutput, UsageError

if TYPE_CHECKING:
    from hdrcli.training.pairs import PairList
    from hdrcli.training.preparation.alignment import Aligned
    from hdrcli.training.preparation.checking import FileFacts, PairFacts
    from hdrcli.training.preparation.synthesis import Shot
    from hdrcli.training.sources import Domain, SceneFile

app = typer.Typer(rich_markup_mode=None, invoke_without_command=True)

CHECK_EXAMPLES = """
\b
Examples:
  hdrcli data check --pairs photos hdr
  hdrcli data check --hdr scenes --json | jq .brightest
  hdrcli data check --pairs-layout hdr-real SingleHDR_training_data
"""
ALIGN_EXAMPLES = """
\b
Examples:
  hdrcli data align --pairs photos hdr --dry-run
  hdrcli data align --pairs photos hdr --out aligned
  hdrcli train --pairs aligned/ldr aligned/hdr --out run --minutes 60
"""
SYNTH_EXAMPLES = """
\b
Examples:
  hdrcli data synth --hdr scenes --out photos --count 3
  hdrcli data synth --hdr scenes --out photos --eq11
  hdrcli train --pairs photos scenes --out run --minutes 60
"""

DATA = "Data"
Split = Annotated[
    str,
    typer.Option("--split", metavar="NAME", help="Of folders with manifest.csv; all: everything.", rich_help_panel=DATA),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done; write nothing.", rich_help_panel=GENERAL)]


@app.callback()
def data(ctx: typer.Context) -> int:
    """Training data: check it, align pairs, make photos of HDR scenes; the public sets that are known."""
    if ctx.invoked_subcommand is None:
        print(ctx.get_help(), file=sys.stderr)
        return ExitCode.USAGE
    return ExitCode.OK


@app.command("layouts", cls=Command, short_help="Public sets that --pairs-layout knows.")
def layouts(ctx: typer.Context, as_json: Json = False, debug: Debug = False) -> int:
    """List the public sets of pairs that --pairs-layout knows, and where their layouts are documented."""
    from hdrcli.training.layouts import LAYOUTS

    say = Presenter(as_json=as_json, debug=ctx.obj.debug)
    for name, layout in LAYOUTS.items():
        say.record({"name": name, "title": layout.title, "status": layout.status, "documented": layout.documented})
    if not as_json:
        table(("NAME", "SET", "STATUS"), [(name, layout.title, layout.status) for name, layout in LAYOUTS.items()])
    return ExitCode.OK


@app.command("check", cls=Command, short_help="What is in training files, and what is wrong.", epilog=CHECK_EXAMPLES)
def check(
    ctx: typer.Context,
    pairs: Pairs = None,
    pairs_layout: PairsLayout = None,
    hdr: Annotated[
        list[Path] | None,
        typer.Option("--hdr", metavar="DIR", readable=False, help="HDR files alone; repeatable.", rich_help_panel=DATA),
    ] = None,
    ldr: Annotated[
        list[Path] | None,
        typer.Option("--ldr", metavar="DIR", readable=False, help="LDR photos alone; repeatable.", rich_help_panel=DATA),
    ] = None,
    split: Split = "all",
    dry_run: DryRun = False,
    as_json: Json = False,
    debug: Debug = False,
) -> int:
    """Count, measure and compare training files: sizes, bit depths, scale, duplicates, values that training can't use, pairs
    that don't match.

    Ends with 0 if nothing is wrong, 3 if some files are, 1 if all are.
    """
    from hdrcli.training.sources import find_files

    say = Presenter(as_json=as_json, debug=ctx.obj.debug)
    if not (pair_sources(pairs, pairs_layout) or hdr or ldr):
        raise UsageError("there is nothing to check", remedy="give --pairs, --pairs-layout, --hdr or --ldr")
    matched = find_pairs(pairs, pairs_layout, split, say, "data")
    alone: list[tuple[Domain, SceneFile]] = []
    given: tuple[tuple[Domain, list[Path] | None], ...] = (("ldr", ldr), ("hdr", hdr))
    for domain, folders in given:
        if folders:
            found = find_files(folders, domain, split)
            say.note(f"{domain.upper()}: {printable(found.note)}")
            alone += [(domain, file) for file in found.files]
    if dry_run:
        say.note(f"would read {len(matched.files) if matched else 0} pairs and {len(alone)} files")
        return ExitCode.OK
    return _checked(say, matched, alone)


def _checked(say: Presenter, matched: PairList | None, alone: Sequence[tuple[Domain, SceneFile]]) -> int:
    from hdrcli.training.preparation import checking

    files: list[FileFacts] = []
    pairs: list[PairFacts] = []
    todo = list(matched.files) if matched else []
    with say.progress(len(todo) + len(alone), unit="checked") as advance:
        for number, pair in enumerate(todo):
            fact = checking.check_pair(pair)
            pairs.append(fact)
            say.record(_pair_record(fact))
            advance(number + 1, pair.ldr.path.name)
        for number, (domain, file) in enumerate(alone):
            one = checking.check_file(file, domain)
            files.append(one)
            say.record(_file_record(one))
            advance(len(todo) + number + 1, file.path.name)
    every = [*(f for pair in pairs for f in (pair.ldr, pair.hdr)), *files]
    every = list({(f.domain, f.path): f for f in every}.values())  # several photos may share one HDR file
    twins = checking.duplicates(every)
    lines = [f"{f.path}: {fault}" for f in every for fault in f.faults]
    lines += [f"{p.ldr.path} and {p.hdr.path}: {fault}" for p in pairs for fault in p.faults]
    lines += [f"{paths[0]}: is the same file as {', '.join(map(str, paths[1:]))}" for paths in twins]
    left_out = matched.left_out if matched else ()
    say.record({"files": len(every), "pairs": len(pairs), "without_partner": len(left_out), "faults": [*lines, *left_out]})
    if not say.as_json:
        _print_summary(every, pairs)
        for line in (*lines, *left_out):
            print(printable(line))
    bad = sum(1 for p in pairs if p.faults or p.ldr.faults or p.hdr.faults) + sum(1 for f in files if f.faults)
    bad = min(len(pairs) + len(files), bad + len(twins))
    say.result(f"{len(lines) + len(left_out)} things to look at" if lines or left_out else "nothing wrong")
    code = code_of_all([ExitCode.FAILURE] * bad, len(pairs) + len(files))
    return ExitCode.PARTLY if code == ExitCode.OK and left_out else code


def _print_summary(files: Sequence[FileFacts], pairs: Sequence[PairFacts]) -> None:
    from hdrcli.training.preparation.checking import counted, spread

    rows: list[tuple[str, str, str]] = []
    for domain in ("ldr", "hdr"):
        some = [f for f in files if f.domain == domain]
        if not some:
            continue
        name = domain.upper()
        rows.append((name, "files", str(len(some))))
        rows.append((name, "sizes", counted(f"{f.width} x {f.height}" if f.width else None for f in some)))
        rows.append((name, "bit depth", counted(f.depth for f in some)))
        columns = (
            (("median code of 1", "median"), ("clipped share", "clipped"))
            if domain == "ldr"
            else (("median luminance", "median"), ("brightest value", "brightest"), ("range in stops", "stops"))
        )
        rows += [(name, label, _spread(spread([getattr(f, key) for f in some]))) for label, key in columns]
    if pairs:
        rows.append(("pairs", "number", str(len(pairs))))
        rows.append(("pairs", "likeness (SSIM)", _spread(spread([p.likeness for p in pairs]))))
        rows.append(("pairs", "HDR above photo, stops", _spread(spread([p.stops_above for p in pairs]))))
    table(("", "WHAT", "VALUE (least / median / most)"), rows)


def _spread(values: tuple[float, float, float] | None) -> str:
    return "-" if values is None else " / ".join(f"{value:.3g}" for value in values)


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    return {key: str(value) if isinstance(value, Path) else value for key, value in values.items()}


def _file_record(fact: FileFacts) -> dict[str, Any]:
    return _plain(asdict(fact))


def _pair_record(fact: PairFacts) -> dict[str, Any]:
    ldr, hdr = _file_record(fact.ldr), _file_record(fact.hdr)
    return {"ldr": ldr, "hdr": hdr, "likeness": fact.likeness, "stops_above": fact.stops_above, "faults": fact.faults}


@app.command("align", cls=Command, short_help="Copies of pairs that lie on each other.", epilog=ALIGN_EXAMPLES)
def align(
    ctx: typer.Context,
    pairs: Pairs = None,
    pairs_layout: PairsLayout = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="DIR", show_default=False, help="Gets ldr/ and hdr/.", rich_help_panel=DATA),
    ] = None,
    split: Split = "all",
    overwrite: Overwrite = False,
    dry_run: DryRun = False,
    as_json: Json = False,
    debug: Debug = False,
) -> int:
    """Write copies of pairs in which the HDR lies as its photo does: turned or mirrored (of the eight ways, the likest),
    brought to one size, moved by parts of pixels.

    Pairs that fit are copied as they are; those that show different things are not written. Originals stay.
    """
    from hdrcli.training.preparation import alignment

    say = Presenter(as_json=as_json, debug=ctx.obj.debug)
    if not pair_sources(pairs, pairs_layout):
        raise UsageError("there is nothing to align", remedy="give --pairs or --pairs-layout")
    if out is None and not dry_run:
        raise UsageError("copies need a folder", where="--out", remedy="give --out DIR, or --dry-run")
    matched = find_pairs(pairs, pairs_layout, split, say, "data")
    assert matched is not None
    roots = [*(pairs or ()), *((pairs_layout[1],) if pairs_layout else ())]
    _refuse_inside(out, roots)
    names = alignment.names(matched.files, roots[0])
    found: list[Aligned] = []
    with say.progress(len(names), unit="aligned") as advance:
        for number, (pair, name) in enumerate(zip(matched.files, names, strict=True)):
            one = alignment.align(pair, name, None if dry_run else out, overwrite=overwrite)
            found.append(one)
            say.record(_aligned_record(one))
            advance(number + 1, name)
    if not as_json:
        rows = [(printable(a.name), "-" if a.likeness is None else f"{a.likeness:.3f}", printable(a.done)) for a in found]
        table(("PAIR", "LIKENESS", "WHAT"), rows)
    faults = [ExitCode.FAILURE for a in found if a.fault is not None]
    changed = sum(1 for a in found if a.fault is None and a.changed)
    verb = "would be" if dry_run else "were"
    where = "" if dry_run else f" -> {printable(out)}; train on them: --pairs {printable(out)}/ldr {printable(out)}/hdr"
    say.result(f"of {len(found)} pairs {changed} {verb} changed, {len(faults)} {verb} left out{where}")
    return code_of_all(faults, len(found))


def _refuse_inside(out: Path | None, roots: Sequence[Path]) -> None:
    """Copies among the originals would be found as pairs the next time."""
    for root in roots:
        if out is not None and out.resolve().is_relative_to(root.resolve()):
            raise UsageError(f"lies in {root}, among the originals", where=out, remedy="name a folder elsewhere with --out")


def _aligned_record(found: Aligned) -> dict[str, Any]:
    return {
        "name": found.name,
        "ldr": str(found.pair.ldr.path),
        "hdr": str(found.pair.hdr.path),
        "orientation": found.orientation.name,
        "resized": found.resized,
        "down": found.down,
        "right": found.right,
        "likeness": found.likeness,
        "size": found.size,
        "changed": found.changed,
        "fault": found.fault,
    }


@app.command("synth", cls=Command, short_help="LDR photos of HDR scenes.", epilog=SYNTH_EXAMPLES)
def synth(
    ctx: typer.Context,
    hdr: Annotated[
        Path,
        typer.Option(
            "--hdr", metavar="DIR", show_default=False, readable=False, help="Folder of HDR scenes.", rich_help_panel=DATA
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out", "-o", metavar="DIR", show_default=False, help="Gets the photos and manifest.csv.", rich_help_panel=DATA
        ),
    ],
    count: Annotated[int, typer.Option("--count", metavar="N", help="Photos of each scene.", rich_help_panel=DATA)] = 1,
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Of cameras and noise.", rich_help_panel=DATA)] = 1,
    eq11: Annotated[
        bool,
        typer.Option(
            "--eq11",
            help="Instead of cameras: clip((H t)^(1/2.2)) with t of 2^0.5, 2, 4, 16 (HDR-cGAN).",
            rich_help_panel=DATA,
        ),
    ] = False,
    parameter: Annotated[
        list[str] | None,
        typer.Option("--set", "-p", metavar="KEY=VALUE", help="An option of the cameras; repeatable.", rich_help_panel=DATA),
    ] = None,
    split: Split = "all",
    overwrite: Overwrite = False,
    dry_run: DryRun = False,
    as_json: Json = False,
    debug: Debug = False,
) -> int:
    """Photograph HDR scenes with random virtual cameras: exposure, response curve, noise, JPEG; the same seed, the same photos.

    manifest.csv says which scene each photo shows and how it was taken, so that --pairs takes both folders. Panoramas are
    photographed whole.
    """
    from hdrcli import registry
    from hdrcli.camera import CameraDistribution
    from hdrcli.cli.options import parse_pairs
    from hdrcli.training.preparation import synthesis
    from hdrcli.training.sources import find_files

    say = Presenter(as_json=as_json, debug=ctx.obj.debug)
    if seed < 0:
        raise UsageError(f"{seed} is below 0", where="--seed", remedy="give 0 or more")
    settings = parse_pairs(parameter, "--set")
    if eq11 and (count != 1 or settings):
        raise UsageError("Eq. 11 has four exposures and no camera", where="--eq11", remedy="leave --count and --set out")
    plan = synthesis.Plan(count, seed, eq11, registry.build(CameraDistribution, settings))
    found = find_files([hdr], "hdr", split)
    say.note(f"scenes: {printable(found.note)}")
    root = hdr if hdr.is_dir() else hdr.parent
    names = synthesis.names(found.files, root, plan)
    if dry_run:
        if not as_json:
            table(("SCENE", "PHOTOS"), [(str(f.path), ", ".join(n)) for f, n in zip(found.files, names, strict=True)])
        say.result(f"would make {sum(map(len, names))} photos of {len(found.files)} scenes in {printable(out)}")
        return ExitCode.OK
    return _synthesised(say, synthesis, plan, found.files, names, root, out, overwrite=overwrite)


def _synthesised(
    say: Presenter,
    synthesis: Any,
    plan: Any,
    files: Sequence[SceneFile],
    names: Sequence[Sequence[str]],
    root: Path,
    out: Path,
    *,
    overwrite: bool,
) -> int:
    from hdrcli.formats import check_target

    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UnwritableOutput(f"can't be made: {error.strerror or error}", where=out, remedy="name another --out") from None
    check_target(out / "manifest.csv", overwrite=overwrite)

    def report(line: str) -> None:
        say.warning("data", line)

    shots: list[Shot] = []
    failed: list[ExitCode] = []
    with say.progress(len(files), unit="scenes") as advance:
        for number, (file, photos) in enumerate(zip(files, names, strict=True)):
            made = list(synthesis.photograph(file, photos, root, out, plan, report, overwrite=overwrite))
            shots += made
            failed += [] if made else [ExitCode.FAILURE]
            for shot in made:
                say.record(_plain(asdict(shot)))
            advance(number + 1, file.path.name)
    if shots:
        synthesis.manifest(shots, out, overwrite=overwrite)
    if not say.as_json:
        rows = [
            (printable(s.path), s.response, f"{s.exposure:.3g}", f"{100 * s.clipped:.1f} %", str(s.jpeg or "-")) for s in shots
        ]
        table(("PHOTO", "RESPONSE", "EXPOSURE", "CLIPPED", "JPEG"), rows)
    use = f"; train on them: --pairs {printable(out)} {printable(root)}" if shots else ""
    say.result(f"{len(shots)} photos of {len(files) - len(failed)} scenes -> {printable(out)}{use}")
    return code_of_all(failed, len(files))
