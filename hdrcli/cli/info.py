"""``hdrcli info``: what is in picture files, and what an expansion can bring back."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hdrcli.cli import targets
from hdrcli.cli.exits import ExitCode, code_of_all
from hdrcli.cli.options import Debug, Json
from hdrcli.cli.presentation import GENERAL, Presenter, explain, printable, style
from hdrcli.cli.targets import Job

if TYPE_CHECKING:
    from hdrcli.formats._exif import Shot
    from hdrcli.image import Image
    from hdrcli.inspection import CodeStatistics, LightStatistics

    Statistics = CodeStatistics | LightStatistics

EXAMPLES = """
\b
Examples:
  hdrcli info photo.jpg                         size, colour, what clipped
  hdrcli info *.exr --json | jq .light.largest
  curl -s https://example.org/x.jpg | hdrcli info -
"""

_DEPTHS = {"uint8": "8 bit", "uint16": "16 bit", "float16": "half float", "float32": "float"}
_TRANSFERS = {"srgb": "sRGB", "gamma22": "gamma 2.2", "gamma18": "gamma 1.8", "pq": "PQ", "hlg": "HLG"}
_PLACE = ("latitude", "longitude", "altitude")
_LABEL_WIDTH = 10


def info(
    ctx: typer.Context,
    inputs: Annotated[
        list[Path],
        typer.Argument(metavar="FILE...", show_default=False, readable=False, help="Pictures; - reads standard input."),
    ],
    as_json: Json = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Say more: the place, how long it took.", rich_help_panel=GENERAL)
    ] = False,
    debug: Debug = False,
) -> int:
    """What is in picture files: type, size, colour, clipping or range, camera, and what expand can bring back.

    FILEs are of any type that hdrcli reads, whatever their names say. Where a photo was taken is told with -v only.
    """
    say = Presenter(verbose=verbose, as_json=as_json, debug=ctx.obj.debug)
    faults: list[ExitCode] = []
    printed = False
    for source in inputs:
        job = Job(source, targets.DASH)
        try:
            facts, lines = _inspected(job, say, place=verbose)
        except BrokenPipeError:  # nobody reads our stdout any more: no file's fault
            raise
        except Exception as error:
            faults.append(say.fault(error, job.source_name))
            say.record({"input": str(source), "error": explain(error, job.source_name), "exit_code": faults[-1]})
            continue
        if as_json:
            say.record(facts)
            continue
        if printed:
            print()
        _show(job.source_name, lines)
        printed = True
    return code_of_all(faults, len(inputs))


def _show(name: str, lines: list[tuple[str, str]]) -> None:
    print(style(printable(name), "1", sys.stdout))
    for label, text in lines:
        print(f"  {label:<{_LABEL_WIDTH}} {printable(text)}".rstrip(), flush=True)


def _inspected(job: Job, say: Presenter, *, place: bool) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """One file, as a record and as labelled lines."""
    from hdrcli import formats, inspection
    from hdrcli.formats import _exif
    from hdrcli.image import CLIP_CODE

    started = time.perf_counter()
    with targets.readable(job) as path:
        kind = formats.module_for_content(path).__name__.rpartition(".")[2]
        size = path.stat().st_size
        image = formats.read(path)
    read = time.perf_counter()
    statistics: Statistics
    if inspection.holds_light(image):
        statistics = inspection.light_statistics(image)
    else:
        statistics = inspection.code_statistics(image.codes, CLIP_CODE)
    ended = time.perf_counter()
    say.detail(f"read {read - started:.2f} s, counted {ended - read:.2f} s")
    shot = _exif.Shot() if image.metadata.exif is None else _exif.shot(image.metadata.exif)
    header, without_place = image.metadata.header, formats.strip(image, "gps").metadata.header
    has_place = len(without_place) < len(header) or any(getattr(shot, name) is not None for name in _PLACE)
    if not place:
        header = without_place
    profile, remarks = _profile(image.metadata.icc)
    notes = (*image.metadata.notes, *remarks)
    prospect = _prospect(image, statistics)
    common = {"input": str(job.source), "type": kind, "bytes": size}
    facts = {
        **common,
        **_facts(image, profile),
        "shot": {k: v for k, v in asdict(shot).items() if v is not None and (place or k not in _PLACE)},
        "has_place": has_place,
        "header": dict(header),
        **_numbers(statistics),
        "recoverable": prospect,
        "notes": notes,
    }
    lines = [
        ("file", f"{kind}, {_amount(size)}"),
        *_picture_lines(image, profile),
        *_shot_lines(shot),
        *_place_lines(shot, has_place, place=place),
        *(("header", f"{name}: {text}") for name, text in header.items()),
        *_statistics_lines(statistics, image.white_luminance),
        ("expand", prospect),
        *(("note", note) for note in notes),
    ]
    return facts, lines


def _profile(icc: bytes | None) -> tuple[str | None, tuple[str, ...]]:
    """The name of an ICC profile, and a remark on one that has none because it is damaged."""
    from hdrcli.formats import _icc

    if icc is None:
        return None, ()
    try:
        return _icc.parse(icc).name, ()
    except ValueError as error:
        return None, (f"its ICC profile has no readable name: {error}",)


def _facts(image: Image, profile: str | None) -> dict[str, Any]:
    from hdrcli.color import chromaticities_of

    return {
        "width": image.width,
        "height": image.height,
        "megapixels": image.width * image.height / 1e6,
        "depth": _DEPTHS[image.codes.dtype.name],
        "hdr": image.is_hdr,
        "transfer": image.transfer.value,
        "primaries": image.primaries.label,
        "chromaticities": chromaticities_of(image.primaries).numbers,
        "white_luminance": image.white_luminance,
        "icc_profile": profile,
        "converted": image.stored is not None,
        "alpha": image.metadata.alpha is not None,
        "orientation": image.metadata.turned,
        "panorama": image.metadata.panorama,
        "looks_like_panorama": _looks_like_panorama(image),
    }


def _looks_like_panorama(image: Image) -> bool:
    """Would expand or tonemap take it for one?"""
    from hdrcli.inference.seam import looks_like_panorama

    return not image.metadata.panorama and looks_like_panorama(image)


def _numbers(statistics: Statistics) -> dict[str, Any]:
    from hdrcli.inspection import CodeStatistics

    percentiles = {f"{q:g}": value for q, value in statistics.percentiles.items()}
    name = "codes" if isinstance(statistics, CodeStatistics) else "light"
    return {name: {**asdict(statistics), "percentiles": percentiles}}


def _picture_lines(image: Image, profile: str | None) -> Iterator[tuple[str, str]]:
    from hdrcli.inspection import holds_light

    megapixels = image.width * image.height / 1e6
    amount = f"{megapixels:.1f}" if megapixels >= 1 else f"{megapixels:.2g}"
    turned = "" if image.metadata.turned == 1 else f", turned upright (orientation {image.metadata.turned})"
    yield "size", f"{image.width} x {image.height} ({amount} megapixels){turned}"
    yield "numbers", f"{_DEPTHS[image.codes.dtype.name]} a channel, {'scene-linear' if image.is_hdr else 'display-encoded'}"
    transfer = "linear" if image.is_hdr else f"{_TRANSFERS.get(image.transfer.value, image.transfer.value)} curve"
    yield "colour", f"{image.primaries.label}, {transfer}" + (" (converted by its profile)" if image.stored is not None else "")
    if profile is not None:
        yield "profile", f"ICC, {profile}"
    if image.white_luminance is not None:
        yield "white", f"1.0 stands for {image.white_luminance:g} cd/m2"
    if image.metadata.alpha is not None:
        yield "alpha", "yes"
    if image.metadata.panorama:
        yield "panorama", "equirectangular, 360 x 180 degrees"
    elif _looks_like_panorama(image):
        command = "tonemap" if holds_light(image) else "expand"
        yield "panorama", f"looks like one, 360 x 180 degrees; {command} takes it for one"


def _shot_lines(shot: Shot) -> Iterator[tuple[str, str]]:
    camera, lens = _maker(shot.make, shot.model), _maker(shot.lens_make, shot.lens_model)
    exposure = ", ".join(_exposure(shot))
    offset = "" if shot.utc_offset is None else _offset(shot.utc_offset)
    values = (
        ("camera", camera),
        ("lens", lens),
        ("exposure", exposure),
        ("taken", shot.captured and f"{shot.captured}{offset}"),
        ("by", shot.artist),
        ("rights", shot.copyright),
        ("software", shot.software),
        ("about", shot.description),
    )
    yield from ((label, text) for label, text in values if text)


def _place_lines(shot: Shot, has_place: bool, *, place: bool) -> Iterator[tuple[str, str]]:
    if has_place and not place:
        yield "place", "is recorded (-v shows it; expand --strip gps leaves it out)"
        return
    known = [_coordinate(name, value) for name in _PLACE if (value := getattr(shot, name)) is not None]
    if known:
        yield "place", ", ".join(known)


def _maker(make: str | None, model: str | None) -> str:
    """Maker and model, without the maker twice."""
    words = (make or "").lower().split()
    if words and model and model.lower().startswith(words[0]):
        return model
    return " ".join(part for part in (make, model) if part)


def _exposure(shot: Shot) -> Iterator[str]:
    if shot.exposure_time:
        short = 0 < shot.exposure_time < 0.3
        yield f"1/{1 / shot.exposure_time:.0f} s" if short else f"{shot.exposure_time:g} s"
    if shot.aperture:
        yield f"f/{shot.aperture:g}"
    if shot.iso:
        yield f"ISO {shot.iso:g}"
    if shot.focal_length:
        yield f"{shot.focal_length:g} mm"


def _offset(seconds: int) -> str:
    hours, minutes = divmod(abs(seconds) // 60, 60)
    return f" UTC{'-' if seconds < 0 else '+'}{hours:02}:{minutes:02}"


def _coordinate(name: str, value: float) -> str:
    if name == "altitude":
        return f"{value:.0f} m"
    return f"{abs(value):.5f} {'NE'[name == 'longitude'] if value >= 0 else 'SW'[name == 'longitude']}"


def _statistics_lines(found: Statistics, white_nits: float | None) -> Iterator[tuple[str, str]]:
    from hdrcli.inspection import CodeStatistics

    if isinstance(found, CodeStatistics):
        yield (
            "codes",
            "  ".join(f"{q:g} %: {_codes(found.percentiles[q])}" for q in (1.0, 50.0, 99.0)) + "  (R/G/B percentiles)",
        )
        yield "clipped", "  ".join(f"{name} {_percent(share)}" for name, share in zip("RGB", found.clipped, strict=True))
        yield "black", _percent(found.black)
        return
    yield (
        "values",
        f"{found.smallest:.4g} to {found.largest:.4g}"
        + (f", {_percent(found.negative)} of pixels have a negative one" if found.negative else ""),
    )
    if found.least is not None and found.most is not None and found.usual is not None and found.log_mean is not None:
        low, high = found.usual
        whole = math.log2(found.most / found.least)
        yield "range", f"{math.log2(high / low):.1f} stops between 0.1 % and 99.9 % of pixels, {whole:.1f} in all"
        nits = "" if white_nits is None else f", {found.log_mean * white_nits:.3g} cd/m2"
        yield "average", f"{math.log2(found.log_mean):+.2f} stops{nits} (mean of log luminance)"
    levels = ((q, value) for q, value in found.percentiles.items() if q >= 1)
    yield "luminance", "  ".join(f"{q:g} %: {_stops(value)}" for q, value in levels) + "  (stops above 1.0)"
    yield "above 1.0", f"{_percent(found.above_white)} of pixels"
    yield "black", _percent(found.black)


def _codes(values: tuple[int, int, int]) -> str:
    return "/".join(map(str, values))


def _stops(value: float) -> str:
    return f"{math.log2(value):+.1f}" if value > 0 else "black"


def _percent(share: float) -> str:
    """A share for people: "0 %" only for nothing at all, "100 %" only for everything."""
    percent = 100 * share
    if percent in (0, 100):
        return f"{percent:.0f} %"
    if percent < 0.01:
        return "< 0.01 %"
    if percent >= 99.95:
        return "> 99.9 %"
    return f"{percent:.2f} %" if percent < 1 else f"{percent:.1f} %"


def _amount(size: int) -> str:
    return f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{size / 1e3:.1f} kB"


def _prospect(image: Image, found: Statistics) -> str:
    """What expand can bring back, in words."""
    from hdrcli.inspection import CodeStatistics

    if isinstance(found, CodeStatistics):
        return _lost(found.lost)
    if image.is_hdr:
        return "nothing to expand, it is HDR; hdrcli tonemap makes a picture of it"
    if image.transfer.value in ("pq", "hlg"):
        return f"nothing to expand, it is HDR in {image.transfer.name} encoding"
    return "expand takes 8- and 16-bit photos, these are float codes"


def _lost(shares: tuple[float, float, float]) -> str:
    if not any(shares):
        return "nothing clipped: all its light is there"
    ways = (
        "one (colour and texture come from the two that survived)",
        "two (texture comes from the one that survived)",
        "all (a smooth guess)",
    )
    parts = ", ".join(f"{_percent(share)} lost {way}" for share, way in zip(shares, ways, strict=True) if share)
    return f"{_percent(sum(shares))} of pixels lost a channel: {parts}"
