"""HDR pictures in one self-contained HTML page: exposure, error in stops, false colour and a pixel inspector, no network.

The page holds log2-coded pixels and a script that exposes them anew on a plain canvas; nothing in it asks for a file, a
server or a library. Whoever writes a page puts together::

    page(title, [controls(), *viewer(...)])

How a picture is stored (``coded`` -> ``packed`` -> zlib -> base64): STEPS codes a stop, so that a step (0.72 %) is less than
one of the 8-bit sRGB codes at their finest (0.89 %, at white): however it is exposed, no code is skipped and no band shows.
Numbers that the inspector reads off are within 0.4 %.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import math
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hdrcli.color import STOPS_FLOOR, Transfer, decode, decoding_table, luminance
from hdrcli.errors import MismatchError
from hdrcli.image import FLOAT_MAX, as_unit_float

Floats = NDArray[np.float32]
Codes = NDArray[np.uint16]

SIDE = 512  # largest height and width of a picture in a page
STEPS = 96  # codes a stop
DARKEST, BRIGHTEST = -24, 40  # stops about 1 that codes span: 6e-8 to 1e12 cd/m2
NOT_FINITE = (BRIGHTEST - DARKEST) * STEPS + 2  # the code of NaN and infinity; 0 is that of black and below
CLASSES = 32  # classes of pixels by how busy their neighbourhood is
_ESCAPE = 255
_MIDDLE_GREY = 0.18
_NO_MASKS: Mapping[str, NDArray[np.bool_]] = MappingProxyType({})


@dataclass(frozen=True, eq=False)
class Panel:
    """One of the pictures that stand side by side.

    ``light``: ``(h, w, 3) float32``, linear, BT.709, in ``unit``. ``role``: "reference" (of errors), "test", or
    "input" (shown for comparison; no error map). ``white``: what 0 EV shows as display white; ``auto``: the same when
    exposures are chosen automatically. Errors are shown between panels of one ``unit``. ``note``: a line below the title.
    ``light`` None: there is no picture, ``note`` says why. ``nits``: cd/m2 that 1 of ``unit`` stands for, where it is known
    and worth saying. ``bars``: a histogram, see :class:`Bars`. ``operators``: what ``hdrcli/viewing/operators.js`` needs, as
    JSON.
    """

    title: str
    light: Floats | None
    role: Literal["reference", "test", "input"]
    white: float
    auto: float
    unit: str
    note: str = ""
    nits: float | None = None
    bars: Bars | None = None
    operators: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Bars:
    """A histogram of luminance: ``counts[i]`` pixels from ``first + i / per_stop`` stops about 1 to the next bar."""

    first: int
    per_stop: int
    counts: tuple[int, ...]


def reduced(pixels: NDArray[Any], side: int = SIDE, *, size: tuple[int, int] | None = None) -> Floats:
    """A picture small enough for a page, averaged in light.

    ``(H, W, 3)`` -> ``(h, w, 3) float32``. Floats are linear and stay in their unit; unsigned integers are sRGB codes, decoded
    to 0..1. At most ``side`` pixels wide and high, or exactly ``size`` (h, w). NaN and infinity spread to the pixels they fall
    in, on purpose. Raises MismatchError for another shape or type.
    """
    import cv2

    check(pixels)
    if pixels.dtype == np.uint8:
        light = decoding_table(Transfer.SRGB, 256)[pixels]
    elif pixels.dtype.kind == "u":
        light = decode(as_unit_float(pixels), Transfer.SRGB)
    else:
        with np.errstate(over="ignore"):  # float64 beyond float32 becomes infinite and is shown as such
            light = np.ascontiguousarray(pixels, np.float32)
    height, width = size if size is not None else reduced_size(light.shape[0], light.shape[1], side)
    if light.shape[:2] == (height, width):
        return np.asarray(light, np.float32)
    small = cv2.resize(light, (width, height), interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.float32).reshape(height, width, 3)


def check(pixels: NDArray[Any]) -> None:
    """Raises MismatchError for what :func:`reduced` can't take."""
    if pixels.ndim != 3 or pixels.shape[2] != 3 or 0 in pixels.shape or pixels.dtype.kind not in "fu":
        what = f"{pixels.dtype} {pixels.shape}"
        raise MismatchError(f"a picture is an (H, W, 3) array of floats or unsigned integers, not {what}")


def reduced_size(height: int, width: int, side: int = SIDE) -> tuple[int, int]:
    """The size, at most ``side`` either way and never larger, in which a picture of that size is shown."""
    scale = min(1.0, side / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def coded(light: Floats) -> Codes:
    """Light in log2 steps: ``(..., 3) float32`` -> uint16, 0 for black and below, ``NOT_FINITE`` for NaN and infinity.

    code = 1 + round(STEPS (log2(light) - DARKEST)), limited to 1 .. NOT_FINITE - 1.
    """
    finite = np.isfinite(light)
    with np.errstate(divide="ignore", invalid="ignore"):
        steps = np.rint(STEPS * (np.log2(light, dtype=np.float64) - DARKEST)) + 1
    codes = np.clip(np.where(finite & (light > 0), steps, 1), 1, NOT_FINITE - 1)
    return np.where(finite, np.where(light > 0, codes, 0), NOT_FINITE).astype(np.uint16)


def packed(codes: Codes) -> bytes:
    """Codes as bytes that zlib makes small: ``(h, w, 3) uint16`` -> bytes; ``webview.js`` is the way back.

    Three planes in turn: green, red - green, blue - green. Each value is predicted from its neighbours to the left, above and
    above left (the median of left, above, left + above - above left: ITU-T T.87, A.3), the difference folded to 0, 1, 2 ...
    for 0, -1, 1 .... These numbers are sorted by how busy the neighbourhood is, which a reader knows before it needs the
    number: CLASSES class sizes a plane (uint32), then the numbers of all planes, class after class, as bytes, 255 standing for
    255 and above; then the excess over 255 (uint16) of those, in the order of the pixels. Little-endian.
    """
    planes = codes.astype(np.int32)
    green = planes[..., 1]
    busy_before: NDArray[Any] | int = 0
    sizes: list[bytes] = []
    numbers: list[bytes] = []
    excess: list[bytes] = []
    for plane in (green, planes[..., 0] - green, planes[..., 2] - green):
        left, above, corner, _ = _neighbours(plane)
        low, high = np.minimum(left, above), np.maximum(left, above)
        difference = plane - np.where(corner >= high, low, np.where(corner <= low, high, left + above - corner))
        folded = np.where(difference >= 0, 2 * difference, -2 * difference - 1)
        left, above, corner, right = _neighbours(folded)
        kinds = _classes(2 * left + 2 * above + corner + right + 3 * busy_before).ravel()
        busy_before = folded
        order = np.argsort(kinds, kind="stable")
        sizes.append(np.bincount(kinds, minlength=CLASSES).astype("<u4").tobytes())
        numbers.append(np.minimum(folded, _ESCAPE).astype(np.uint8).ravel()[order].tobytes())
        excess.append((folded[folded >= _ESCAPE] - _ESCAPE).astype("<u2").tobytes())
    return b"".join(sizes + numbers + excess)


def _neighbours(plane: NDArray[Any]) -> tuple[NDArray[Any], ...]:
    """Left, above, above left and above right of each value; where there is none, the nearest known one, 0 for the first."""
    left, above, corner, right = (np.zeros_like(plane) for _ in range(4))
    left[:, 1:] = plane[:, :-1]
    left[1:, 0] = plane[:-1, 0]
    above[1:] = plane[:-1]
    above[0] = left[0]
    corner[1:, 1:] = plane[:-1, :-1]
    corner[1:, 0] = plane[:-1, 0]
    corner[0] = left[0]
    right[1:, :-1] = plane[:-1, 1:]
    right[1:, -1] = plane[:-1, -1]
    right[0] = left[0]
    return left, above, corner, right


def _classes(busy: NDArray[Any]) -> NDArray[np.uint8]:
    """Two classes an octave of ``busy + 1``, in integers, so that Python and JavaScript can't disagree."""
    mantissa, exponent = np.frexp(busy.astype(np.float64) + 1)
    return np.asarray(np.minimum(2 * (exponent - 1) + (mantissa >= 0.75), CLASSES - 1), np.uint8)


def _text_of(data: bytes, strategy: int = zlib.Z_DEFAULT_STRATEGY) -> str:
    squeeze = zlib.compressobj(9, zlib.DEFLATED, zlib.MAX_WBITS, 9, strategy)
    return base64.b64encode(squeeze.compress(data) + squeeze.flush()).decode("ascii")


def encoded(light: Floats) -> str:
    """A picture as the text that a page holds."""
    # Z_RLE: sorted numbers repeat in runs and in frequency, hardly in sequences; it saves 6 %, and most of the time
    return _text_of(packed(coded(light)), zlib.Z_RLE)


def encoded_masks(masks: Sequence[NDArray[np.bool_]], size: tuple[int, int]) -> str:
    """Disjoint masks ``(H, W) bool`` as the text of one map of ``size`` (h, w): 0, or its place from 1."""
    import cv2

    height, width = size
    shares = []
    for mask in masks:
        if mask.ndim != 2 or 0 in mask.shape:
            raise MismatchError(f"a mask has shape (H, W), not {mask.shape}")
        shares.append(cv2.resize(mask.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA).reshape(height, width))
    outside = 1 - np.sum(shares, axis=0)
    return _text_of(np.argmax(np.stack([outside, *shares]), axis=0).astype(np.uint8).tobytes())


def automatic_white(reference: Floats, photo: Floats | None = None) -> float | None:
    """What display white should stand for at 0 EV, so that ``reference`` shows well; None if it has no light at all.

    ``(h, w, 3) float32``, linear. With the ``photo`` of it (0..1): white such that the medians of their luminances are shown
    alike. Else the mean of the logarithm becomes middle grey (18 %), as in Reinhard et al. 2002.
    """
    light = luminance(reference)
    if photo is not None:
        medians = np.nanmedian(light) if np.isfinite(light).any() else math.nan, np.median(luminance(photo))
        if all(math.isfinite(m) and m > 0 for m in medians):
            return float(medians[0] / medians[1])
    shown = light[np.isfinite(light) & (light > 0)]
    if shown.size == 0:
        return None
    return min(float(np.exp(np.mean(np.log(shown, dtype=np.float64))) / _MIDDLE_GREY), FLOAT_MAX)


def escaped(text: object) -> str:
    """Anything as HTML text, also within quotes; line breaks, control and direction characters become visible."""
    # A file name may hold half a character (a lone surrogate), which UTF-8 can't, or one that turns the line around.
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode("ascii") for c in str(text))
    return html.escape(shown)


def viewer(
    label: str,
    panels: Sequence[Panel],
    masks: Mapping[str, NDArray[np.bool_]] = _NO_MASKS,
    *,
    held: set[str] | None = None,
    whole: tuple[int, int] | None = None,
    stops: tuple[int, int] | None = None,
) -> Iterator[str]:
    """Pictures side by side, as pieces of HTML; ``controls()`` and ``page()`` belong to it.

    All ``light`` has one size; there is at least one. ``label`` says what they show, to those who can't see them. ``masks``:
    names and disjoint ``(H, W) bool`` arrays of any size. ``held``: what the page holds already; a picture that is among it is
    not written again. ``whole``: the size (h, w) of what the pictures are smaller ones of, for the inspector. ``stops``: the
    stops about 1 that false colour and histograms span; usually, what the pictures hold, and false colour is in their unit.
    Raises MismatchError.
    """
    held = set() if held is None else held
    sizes = {p.light.shape for p in panels if p.light is not None}
    if len(sizes) != 1:
        raise MismatchError(f"panels of one viewer need one size, not {sorted(sizes)}")
    height, width, _ = sizes.pop()
    facts = {
        "width": width,
        "height": height,
        "steps": STEPS,
        "darkest": DARKEST,
        "notFinite": NOT_FINITE,
        "classes": CLASSES,
        "floor": STOPS_FLOOR,
        "masks": list(masks),
        "whole": None if whole is None else [whole[1], whole[0]],
        "stops": stops,
        "panels": [_facts(panel) for panel in panels],
    }
    yield f'<figure class="hv" data-facts="{escaped(json.dumps(facts))}">\n<div class="hv-panels" tabindex="0" role="group" '
    yield f'aria-label="{escaped(label)}: arrow keys move the pixel inspector">\n'
    reference = next((p for p in panels if p.role == "reference" and p.light is not None), None)
    for panel in panels:
        note = f'<span class="hv-note">{escaped(panel.note)}</span>' if panel.note else ""
        yield f'<div class="hv-panel hv-{panel.role}"><p class="hv-title"><b>{escaped(panel.title)}</b> {note}</p>\n'
        if panel.light is None:
            yield '<div class="hv-stage hv-none"></div></div>\n'
            continue
        what = escaped(f"{label}: {panel.title}")
        yield f'<div class="hv-stage"><canvas class="hv-picture" role="img" aria-label="{what}"></canvas></div>\n'
        if panel.role == "test" and reference is not None and reference.unit == panel.unit:
            yield f'<div class="hv-stage hv-below"><canvas class="hv-map" role="img" aria-label="error map of {what}">'
            yield "</canvas></div>\n"
        elif panel.role == "reference" and masks:
            yield f'<div class="hv-stage hv-below"><canvas class="hv-map" role="img" aria-label="regions of {what}">'
            yield "</canvas></div>\n"
        if panel.bars is not None:
            yield f'<div class="hv-histogram"><div class="hv-plot"><canvas role="img" aria-label="histogram of {what}">'
            yield '</canvas><span class="hv-white" hidden></span><span class="hv-mark" hidden></span></div></div>\n'
        yield '<p class="hv-values"></p>\n'
        yield from _data("hv-data", encoded(panel.light), held)
        if panel.operators is not None:
            text = json.dumps(panel.operators, separators=(",", ":"), allow_nan=False)
            yield from _data("hv-operators", _text_of(text.encode("ascii")), held)
        yield "</div>\n"
    yield "</div>\n"
    if masks:
        yield from _data("hv-masks", encoded_masks(list(masks.values()), (height, width)), held)
    yield '<figcaption class="hv-legend"></figcaption></figure>\n'


def _facts(panel: Panel) -> dict[str, Any]:
    bars = panel.bars
    if bars is not None:  # without the empty ends
        used = [i for i, count in enumerate(bars.counts) if count]
        start, end = (used[0], used[-1] + 1) if used else (0, 0)
        histogram = {"first": bars.first + start / bars.per_stop, "perStop": bars.per_stop, "counts": bars.counts[start:end]}
    else:
        histogram = None
    known = {"role": panel.role, "white": panel.white, "auto": panel.auto, "unit": panel.unit, "nits": panel.nits}
    return {**known, "histogram": histogram}


def _data(kind: str, text: str, held: set[str]) -> Iterator[str]:
    """An element that holds a text, or names the one that does."""
    name = "hv-" + hashlib.sha256(text.encode("ascii")).hexdigest()[:32]
    if name in held:
        yield f'<script type="text/plain" class="{kind}" data-same="{name}"></script>\n'
        return
    held.add(name)
    yield f'<script type="text/plain" class="{kind}" id="{name}">'
    yield text
    yield "</script>\n"


def controls() -> str:
    """The bar with the exposure slider and the choices that all viewers of a page follow."""
    scales = "".join(f'<option value="{s:g}"{" selected" * (s == 2)}>{s:g} stops</option>' for s in (0.25, 0.5, 1, 2, 4, 8))
    return f"""<form class="hv-controls" aria-label="how the pictures are shown">
<label class="hv-exposure">Exposure <input type="range" name="ev" min="-8" max="8" step="0.1" value="0"></label>
<output name="shown">0.0 EV</output>
<button type="button" name="zero" title="back to 0 EV">0</button>
<label><input type="checkbox" name="auto" checked> automatic start</label>
<label><input type="checkbox" name="false"> false colour</label>
<label>Maps <select name="map"><option value="signed">error, signed</option><option value="absolute">error, absolute</option>
<option value="none">none</option></select></label>
<label>up to <select name="scale">{scales}</select></label>
<span class="hv-scale" aria-hidden="true"></span>
<button type="button" name="flip" title="hold it, or the key R, to see the reference in every place">show reference</button>
<button type="button" name="print" title="prepares all pictures of the page, then prints">print</button>
</form>
<noscript><p>The pictures need JavaScript. Nothing is loaded from anywhere.</p></noscript>
"""


def resource(package: str, name: str) -> str:
    """A text file that lies beside the modules of a package."""
    return files(package).joinpath(name).read_text(encoding="utf-8")


def page(title: str, body: Iterable[str], *, styles: Sequence[str] = (), scripts: Sequence[str] = ()) -> Iterator[str]:
    """A whole HTML page around ``body``, piece by piece. ``styles``, ``scripts``: texts besides the viewer's own.

    The page forbids itself everything but its own styles and scripts (Content-Security-Policy with their hashes): no
    network, and nothing that a file name smuggled in would run.
    """
    style = "\n".join([resource("hdrcli", "webview.css"), *styles])
    script = "\n".join([resource("hdrcli", "webview.js"), *scripts])
    policy = f"default-src 'none'; style-src '{_digest(style)}'; script-src '{_digest(script)}'"
    yield f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{escaped(title)}</title>
<style>{style}</style>
<script>{script}</script>
</head><body>
"""
    yield from body
    yield "</body></html>\n"


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")
