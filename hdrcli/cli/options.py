"""Option types that commands share."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from hdrcli.cli.presentation import GENERAL
from hdrcli.errors import UsageError

FILES, MODEL, LIGHT = "Files", "Model", "Light"


@dataclass
class Invocation:
    """What one call of the program knows beside its arguments: ``ctx.obj``."""

    debug: bool = False


class HdrFormat(StrEnum):
    """Formats that ``expand`` writes, by extension."""

    EXR = "exr"
    HDR = "hdr"
    TIFF = "tif"
    PFM = "pfm"


class Depth(StrEnum):
    """Bits of a stored float."""

    HALF = "half"
    FLOAT = "float"


class Compression(StrEnum):
    """Compressions of OpenEXR; TIFF has none and zip."""

    NONE = "none"
    ZIP = "zip"
    PIZ = "piz"
    DWAA = "dwaa"
    DWAB = "dwab"


class Reconstruct(StrEnum):
    """What of the generator's output is used."""

    HIGHLIGHTS = "highlights"
    ALL = "all"


class OutputPrimaries(StrEnum):
    """Primaries of the result."""

    KEEP = "keep"
    SRGB = "srgb"
    P3 = "p3"
    REC2020 = "rec2020"
    ACESCG = "acescg"


class Projection(StrEnum):
    """How a photo shows its scene."""

    AUTO = "auto"
    FLAT = "flat"
    EQUIRECT = "equirect"


class Strip(StrEnum):
    """Which metadata are left out."""

    GPS = "gps"
    ALL = "all"


class Backend(StrEnum):
    """What runs a generator."""

    AUTO = "auto"
    ONNX = "onnx"
    TORCH = "torch"


class Resume(StrEnum):
    """Whether a run in the folder is continued."""

    AUTO = "auto"
    NEVER = "never"


def _remember_debug(ctx: typer.Context, value: bool) -> bool:
    if value:
        ctx.ensure_object(Invocation).debug = True
    return value


def _limit_threads(count: int | None) -> int | None:
    """Set it before anything is imported that asks for the number."""
    if count is not None:
        from hdrcli.parallel import limit_threads

        limit_threads(count)
    return count


def parse_device(text: str) -> str:
    """Check ``auto``, ``cpu``, ``cuda`` or ``cuda:N``. Raises UsageError for another."""
    kind, colon, index = text.partition(":")
    if text in ("auto", "cpu", "cuda") or (kind == "cuda" and colon and index.isascii() and index.isdigit()):
        return text
    raise UsageError(f"no device {text!r}", where="--device", remedy="there are: auto, cpu, cuda, cuda:N")


def parse_pairs(pairs: list[str] | None, option: str) -> dict[str, str]:
    """``key=value`` texts to a mapping. Raises UsageError for a text without ``=`` or a key given twice."""
    values: dict[str, str] = {}
    for pair in pairs or []:
        key, equals, text = pair.partition("=")
        key = key.strip().replace("-", "_")
        if not equals or not key:
            raise UsageError(f"{pair!r} is not key=value", where=option, remedy=f"write for example {option} batch_size=8")
        if key in values:
            raise UsageError(f"{key} is given twice", where=option, remedy="give it once")
        values[key] = text.strip()
    return values


# readable=False: what can't be read is the library's to name, with its own remedy and exit code
Inputs = Annotated[
    list[Path], typer.Argument(metavar="IN...", show_default=False, readable=False, help="Photos; - reads standard input.")
]
Input = Annotated[
    Path, typer.Argument(metavar="IN", show_default=False, readable=False, help="A picture; - reads standard input.")
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace files that are there already.", rich_help_panel=FILES)]
Device = Annotated[
    str, typer.Option("--device", metavar="DEVICE", help="auto, cpu, cuda or cuda:N.", rich_help_panel=MODEL, show_default=True)
]
StripMetadata = Annotated[
    Strip | None,
    typer.Option("--strip", metavar="WHAT", help="Leave out the place (gps), or all metadata (all).", rich_help_panel=FILES),
]
Threads = Annotated[
    int | None,
    typer.Option(
        "--threads", metavar="N", help="Cores to use [default: all].", rich_help_panel=GENERAL, callback=_limit_threads
    ),
]
Json = Annotated[bool, typer.Option("--json", help="One JSON object a file on stdout.", rich_help_panel=GENERAL)]
Verbose = Annotated[
    bool, typer.Option("--verbose", "-v", help="Say more: what ran, how long it took.", rich_help_panel=GENERAL)
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but errors.", rich_help_panel=GENERAL)]
Debug = Annotated[
    bool,
    typer.Option(
        "--debug", help="Show the traceback of errors.", rich_help_panel=GENERAL, callback=_remember_debug, is_eager=True
    ),
]
