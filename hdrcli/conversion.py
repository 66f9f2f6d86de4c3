"""expand() and tonemap() on Images: picks operator or generator, keeps the books on what was done."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any, get_type_hints

import numpy as np
from numpy.typing import NDArray

from hdrcli import __version__, registry, tonemapping
from hdrcli.color import AnyPrimaries, Primaries, Transfer, converted, decode, decoding_table
from hdrcli.errors import MismatchError, MissingModel, UsageError
from hdrcli.image import CLIP_CODE, FLOAT_MAX, HALF_MAX, Image, Metadata, as_unit_float, brightest_channel, look_up
from hdrcli.inference import seam
from hdrcli.inference.generator import Generator
from hdrcli.inference.panorama import Sun, find_sun, raise_sun
from hdrcli.inference.reconstruction import Reconstruction, ask, confidence, mixed, reconstruct
from hdrcli.parallel import each
from hdrcli.tonemapping._color import above_black, into_gamut, luminance, tripled
from hdrcli.tonemapping._curves import srgb_codes
from hdrcli.tonemapping._dither import dithered_codes
from hdrcli.tonemapping._exposure import KEY, Exposure, extent, log_average, luminance_of, steadied
from hdrcli.tonemapping._steady import Steady

_STRIP_ROWS = 64
# light of code value 1 is 1 in decode(); this is its reference white: ITU-R BT.2408-7, table 1
_HDR_WHITE = {Transfer.PQ: 203 / 10000, Transfer.HLG: 0.2650}
_OF_MODELS = (".toml", ".onnx", ".safetensors", ".pt", ".json")  # files by which a folder's model is known
LEARNED = "learned"  # the operator that is no formula: a bundle's G_X
WHITE_NITS = 203.0  # ITU-R BT.2408: HDR reference white
PRIMARIES = {
    "srgb": Primaries.BT709,
    "p3": Primaries.DISPLAY_P3,
    "rec2020": Primaries.BT2020,
    "acescg": Primaries.ACESCG,
}
DISPLAYS = {"srgb": Primaries.BT709, "p3": Primaries.DISPLAY_P3}  # that tonemap() makes pictures for
BRIGHTEST = 2.0**40  # LDR whites that tone-mapping tells apart; files hold infinities as the largest float


@dataclass(frozen=True)
class ExpandOptions:
    """How to expand.

    ``model``: a bundle by name, a path (bundle, run folder, weights), or a classical operator. ``backend``: auto, onnx,
    torch. ``device``: auto, cpu, cuda, cuda:N. ``whole``: the generator's whole output ("all") instead of highlights alone.
    ``ev``: exposure of the result in stops. ``white_nits``: cd/m2 that 1.0 stands for, recorded, not applied.
    ``peak_stops``: upper limit of what is reconstructed, in stops above LDR white. ``strength``: 0..1. ``half``: float16.
    ``primaries``: of the result: "keep" (the photo's) or a key of PRIMARIES. ``projection``: "equirect" (a 360 x 180 degree
    panorama: its left and right border are neighbours), "flat", or "auto": what the file and its looks say.
    ``sun``: give a panorama's sun, where there is one, the energy of a sun (beyond the usual peak), for image-based lighting;
    not with ``peak_stops``, a ``strength`` below 1 or a classical operator.
    Raises UsageError for values out of range.
    """

    model: str = "default"
    backend: str = "auto"
    device: str = "auto"
    whole: bool = False
    ev: float = 0.0
    white_nits: float = WHITE_NITS
    peak_stops: float | None = None
    strength: float = 1.0
    half: bool = False
    primaries: str = "keep"
    projection: str = "auto"
    sun: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.strength <= 1:
            raise UsageError(
                f"{self.strength:g} is not within 0..1", where="--strength", remedy="0 is the linearised input, 1 the default"
            )
        if not -32 <= self.ev <= 32:
            raise UsageError(f"{self.ev:g} is not within -32..32", where="--ev", remedy="give stops, such as -1.5")
        if not 0 < self.white_nits <= 10000:
            raise UsageError(
                f"{self.white_nits:g} is not above 0 and at most 10000 cd/m2", where="--white-nits", remedy="203 is usual"
            )
        if self.primaries != "keep" and self.primaries not in PRIMARIES:
            remedy = f"there are: keep, {', '.join(PRIMARIES)}"
            raise UsageError(f"no primaries {self.primaries!r}", where="--primaries", remedy=remedy)
        seam.check_projection(self.projection)
        if self.peak_stops is not None and not 0 <= self.peak_stops <= 20:
            raise UsageError(
                f"{self.peak_stops:g} is not within 0..20", where="--peak-stops", remedy="give stops above white, such as 6"
            )


@dataclass(frozen=True, eq=False)
class Expansion:
    """An expanded photo.

    ``image``: scene-linear, 1 = LDR white times 2^ev. ``model``, ``ran_on``: what made it. ``clipped``: share of clipped codes
    (>= 0.97) per channel. ``peak_stops``: brightest channel, in stops above LDR white. ``sun``: a panorama's, if one was found.
    """

    image: Image
    model: str
    ran_on: str
    clipped: tuple[float, float, float]
    peak_stops: float
    source: Image = field(repr=False)
    options: ExpandOptions = field(repr=False)
    sun: Sun | None = None

    @property
    def confidence(self) -> NDArray[np.float32]:
        """``(H, W) float32``, 0 measured .. 1 reconstructed; computed when asked for.

        Raises UsageError where that is not what was done: mode "all" and classical operators change measured pixels too.
        """
        check_confidence(self.options)
        return confidence(self.source.codes) * np.float32(self.options.strength > 0)


def expand(image: Image, options: ExpandOptions | None = None) -> Expansion:
    """A photo (uint8 or uint16 codes) to HDR, in the photo's primaries or others.

    Raises MismatchError for an image that is no photo (HDR already, PQ, HLG, float),
    UsageError for options that a classical operator does not take, and what loading the model raises.
    """
    options = options or ExpandOptions()
    check_photo(image)
    dtype = np.dtype(np.float16 if options.half else np.float32)
    remedy = "--projection equirect also gives it a sun, flat says it is none"
    panorama, sure, notes = seam.panorama(image, options.projection, remedy)
    primaries = PRIMARIES.get(options.primaries, image.primaries)
    convert = None if primaries == image.primaries else _converter(image.primaries, primaries)
    if is_operator(options.model):
        pixels, model, ran_on = _expand_classical(image, options, dtype, convert)
        weights = "none"
    else:
        generator = load_generator(options.model, options.backend, options.device)
        settings = Reconstruction(options.whole, options.peak_stops, options.strength, 2.0**options.ev)
        coarse = ask(generator, image.pixels, image.transfer, image.primaries, stored=image.stored, equirect=panorama)
        pixels = reconstruct(image.pixels, image.transfer, coarse, settings, dtype, stored=image.stored, convert=convert)
        model, ran_on = f"{generator.spec.name} {generator.spec.version}", generator.ran_on
        weights = f"sha256:{generator.spec.digest}"
    sun: Sun | None = None
    wants_sun = options.sun and options.peak_stops is None and options.strength == 1 and not is_operator(options.model)
    if sure and wants_sun:
        sun = find_sun(image.codes, pixels, 2.0**options.ev)
        if sun is not None:
            raise_sun(pixels, image.codes, sun)
    kept = image.metadata
    if kept.alpha is not None:
        # colours that a photo hides under alpha 0 nobody was meant to see; in HDR files they would be light added to the rest
        pixels[kept.alpha == 0] = 0
    largest = _largest(pixels)
    clipped = _clipped_shares(image.codes)
    header = {
        "software": f"hdrcli {__version__}",
        "hdrcli:model": model,
        "hdrcli:weights": weights,
        "hdrcli:reconstruct": "all" if options.whole else "highlights",
        "hdrcli:strength": f"{options.strength:g}",
        "hdrcli:exposure": f"{options.ev:+g} EV",
        "hdrcli:scale": f"{2.0**options.ev:g} = LDR white",
        "hdrcli:clipped": " ".join(f"{share:.4f}" for share in clipped),
    }
    if sure:
        header["hdrcli:projection"] = "equirectangular"
        header["hdrcli:sun"] = sun.why if sun is not None else "none found" if wants_sun else "not looked for"
    notes = kept.notes + notes + (_range_notes(largest, image, options) if options.half else ())
    metadata = Metadata(exif=kept.exif, panorama=sure, alpha=kept.alpha, header=MappingProxyType(header), notes=notes)
    result = Image(pixels, Transfer.LINEAR, primaries, options.white_nits, metadata)
    peak = max(largest / 2.0**options.ev, 1e-6)
    return Expansion(result, model, ran_on, clipped, float(np.log2(peak)), image, options, sun)


def _converter(source: AnyPrimaries, target: AnyPrimaries) -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
    """From linear RGB, ``(h, W, 3) float32``, to other primaries. Colours beyond them become negative."""

    def convert(light: NDArray[np.float32]) -> NDArray[np.float32]:
        result = converted(light, source, target)
        # what only rounding made negative would be reported as a colour beyond the primaries
        result[(result < 0) & (result > np.float32(-1e-6) * brightest_channel(light)[..., None])] = 0
        return result

    return convert


def _range_notes(largest: float, image: Image, options: ExpandOptions) -> tuple[str, ...]:
    """What an exposure far from 0 did to half floats: they end at 65504, and below 6e-8 there is nothing."""
    notes = []
    if largest >= HALF_MAX:
        notes.append(f"at {options.ev:+g} EV highlights end at 65504, the largest half float; --depth float keeps them")
    codes = int(np.iinfo(image.pixels.dtype).max) + 1
    if float(decoding_table(image.transfer, codes)[codes // 256]) * 2.0**options.ev < 1e-6:
        notes.append(f"at {options.ev:+g} EV half floats lose the shadows; --depth float keeps them")
    return tuple(notes)


def check_confidence(options: ExpandOptions) -> None:
    """Raises UsageError for options with which a confidence layer would not be true."""
    if options.whole or is_operator(options.model):
        fault = "only a generator with --reconstruct highlights tells measured pixels from reconstructed ones"
        raise UsageError(fault, where="--confidence", remedy="leave it out")


def is_operator(model: str) -> bool:
    """Is this the name of a classical expansion operator?"""
    return model in registry.names("hdrcli.expansion")


def _largest(pixels: NDArray[Any]) -> float:
    """The largest value, if any is above 0: halves sort like the signed integers of their bits, compared much faster."""
    if pixels.dtype == np.float16:
        return float(pixels.view(np.int16).max().view(np.float16))
    return float(pixels.max())


def check_photo(image: Image) -> None:
    """Raises MismatchError for an image that :func:`expand` does not take."""
    if image.is_hdr:
        raise MismatchError("is scene-linear (HDR) already", remedy="use hdrcli tonemap for the way back")
    if image.transfer in (Transfer.PQ, Transfer.HLG):
        fault = f"is HDR already, in {image.transfer.name} encoding"
        raise MismatchError(fault, remedy="expand takes LDR photos; convert it with a video tool")
    if image.pixels.dtype.kind != "u":
        raise MismatchError("has float codes", remedy="expand takes 8- and 16-bit photos")


def _expand_classical(
    image: Image,
    options: ExpandOptions,
    dtype: np.dtype[Any],
    convert: Callable[[NDArray[np.float32]], NDArray[np.float32]] | None,
) -> tuple[NDArray[Any], str, str]:
    if options.whole or (options.backend, options.device) != ("auto", "auto"):
        fault = f"{options.model} is a classical operator: it has neither --reconstruct all nor --backend and --device"
        raise UsageError(fault, where="--model", remedy="leave them out")
    module = registry.load("hdrcli.expansion", options.model)
    parameters = module.Parameters()
    table = decoding_table(image.transfer, int(np.iinfo(image.pixels.dtype).max) + 1)
    brightest = np.float32(math.inf if options.peak_stops is None else 2.0**options.peak_stops)
    limit = np.float32(HALF_MAX if dtype == np.float16 else FLOAT_MAX)
    out = np.empty(image.pixels.shape, dtype)

    def work(rows: slice) -> None:
        linear = look_up(table, image.pixels[rows])
        light = np.minimum(mixed(linear, module.apply(linear, parameters, image.primaries), options.strength), brightest)
        light = np.asarray(light * np.float32(2.0**options.ev), dtype=np.float32)
        out[rows] = np.clip(light if convert is None else convert(light), -limit, limit)

    each(work, (slice(first, first + _STRIP_ROWS) for first in range(0, image.height, _STRIP_ROWS)))
    settings = ", ".join(f"{name}={value:g}" for name, value in vars(parameters).items())
    return out, f"{options.model}({settings})" if settings else options.model, "NumPy"


def _clipped_shares(codes: NDArray[Any]) -> tuple[float, float, float]:
    import cv2

    threshold = CLIP_CODE * float(np.iinfo(codes.dtype).max)
    lower = np.ceil(threshold)
    counts = [cv2.countNonZero((codes[..., c] >= lower).view(np.uint8)) for c in range(3)]
    total = codes.shape[0] * codes.shape[1]
    return (counts[0] / total, counts[1] / total, counts[2] / total)


def load_generator(model: str, backend: str = "auto", device: str = "auto", role: str = "g_y") -> Generator:
    """A generator by bundle name or path, loaded once and again when its files change: G_Y, or with ``role`` "g_x" G_X.

    ``backend`` auto: torch for run folders and weights files, ONNX Runtime for bundles. Raises MissingModel, UsageError for a
    backend or device that there is none of, and what the backend raises.
    """
    from hdrcli.inference import bundles, torch_backend

    if backend not in ("auto", "onnx", "torch"):
        raise UsageError(f"no backend {backend!r}", remedy="there are: auto, onnx, torch")
    try:
        path, bundle = bundles.find(model), True
    except MissingModel:
        path, bundle = Path(model), False
        if not model or not torch_backend.is_weights(path):
            raise
        if backend == "onnx":
            remedy = "make a bundle of a run with hdrcli models export"
            raise MissingModel("is no bundle, which ONNX Runtime needs", where=path, remedy=remedy) from None
    return _loaded(path, _stamps(path), bundle and backend != "torch", device, role)


@lru_cache(maxsize=4)
def _loaded(path: Path, stamps: tuple[Any, ...], onnx: bool, device: str, role: str) -> Generator:
    from hdrcli.inference import bundles, onnx_backend, torch_backend

    return onnx_backend.load(bundles.read(path), device, role) if onnx else torch_backend.load(path, device, role)


def _stamps(path: Path) -> tuple[Any, ...]:
    """What tells a model's files from those that stood under the same name before, or in another working folder."""
    files = sorted(file for file in path.iterdir() if file.suffix in _OF_MODELS) if path.is_dir() else [path]
    return tuple((str(file.absolute()), state.st_mtime_ns, state.st_size) for file in files for state in (file.stat(),))


@dataclass(frozen=True)
class TonemapOptions:
    """How to tone-map: ``operator`` by name, its ``parameters`` as texts, ``ev``: stops of exposure, ``bits``: 8 or 16.

    ``operator`` LEARNED: the generator G_X of ``model`` (a bundle, a run folder), run by ``backend`` on ``device``.
    ``auto_exposure``: None: each operator's own way; True: the scene is exposed as a photo (log-average of luminance, borders
    and the sun left out, to 0.18), which operators with an ``exposure`` then take as it is; False: they take 1.0 as it is.
    ``white``: luminance shown as white, in stops above 1.0 of exposed light; "auto": the scene's 99.9th percentile before
    ``ev``; None: the operator's. ``saturation``: of the displayed colours, 1 as the operator gives them, 0 grey. ``dither``:
    of 8 bits. ``primaries``: of the result, a key of DISPLAYS. ``projection``: of the scene, as in :class:`ExpandOptions`.
    Raises UsageError for values out of range.
    """

    operator: str = LEARNED
    parameters: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    ev: float = 0.0
    bits: int = 8
    model: str = "default"
    backend: str = "auto"
    device: str = "auto"
    auto_exposure: bool | None = None
    white: float | str | None = None
    saturation: float = 1.0
    dither: bool = True
    primaries: str = "srgb"
    projection: str = "auto"

    def __post_init__(self) -> None:
        seam.check_projection(self.projection)
        if not -32 <= self.ev <= 32:
            raise UsageError(f"{self.ev:g} is not within -32..32", where="--ev", remedy="give stops, such as -1.5")
        if self.bits not in (8, 16):
            raise UsageError(f"{self.bits} is neither 8 nor 16", where="--bits", remedy="say 8 or 16")
        if isinstance(self.white, str):
            if self.white != "auto":
                remedy = "give stops above 1.0, such as 3, or auto"
                raise UsageError(f"{self.white!r} is neither a number nor auto", where="--white", remedy=remedy)
        elif self.white is not None and not -32 <= self.white <= 32:
            raise UsageError(f"{self.white:g} is not within -32..32", where="--white", remedy="give stops above 1.0, such as 3")
        if not 0 <= self.saturation <= 4:
            remedy = "1 leaves colours as the operator gives them"
            raise UsageError(f"{self.saturation:g} is not within 0..4", where="--saturation", remedy=remedy)
        if self.primaries not in DISPLAYS:
            raise UsageError(
                f"no primaries {self.primaries!r}", where="--primaries", remedy=f"there are: {', '.join(DISPLAYS)}"
            )


def tonemap(image: Image, options: TonemapOptions | None = None, *, steady: Steady | None = None, number: int = 0) -> Image:
    """An HDR image to LDR: sRGB or Display P3 codes, uint8 or uint16.

    Pictures in PQ and HLG are HDR too: white is what ITU-R BT.2408 calls reference white, 203 cd/m2, or 75 % of HLG. An image
    that is LDR is taken as light up to 1, and the result says so in its notes. ``steady``: the memory of the sequence whose
    frame ``number`` this is; frames come in their order. Raises what :func:`check_tonemap` and the operator raise.
    """
    options = options or TonemapOptions()
    out = np.empty(image.pixels.shape, np.uint8 if options.bits == 8 else np.uint16)
    primaries = DISPLAYS[options.primaries]
    panorama = seam.Panorama(False, False)
    if _is_local(options):
        panorama = seam.panorama(image, options.projection, "--projection flat says it is none")
    prepared = _learned if options.operator == LEARNED else _classical
    shown = prepared(image, options, steady, number, panorama=panorama.is_one)

    def work(rows: slice) -> None:
        display = shown(rows)
        if options.saturation != 1:
            display = _saturated(display, options.saturation, primaries)
        if options.dither and options.bits == 8:
            out[rows] = dithered_codes(display, rows.start)
        else:
            out[rows] = srgb_codes(display, options.bits)

    count = max(1, tonemapping.STRIP_PIXELS // image.width)
    each(work, (slice(first, min(first + count, image.height)) for first in range(0, image.height, count)))
    kept = image.metadata
    notes = kept.notes + panorama.notes + _tonemap_notes(image, options)
    if steady is not None and steady.idle:
        notes += (f"{options.operator} has nothing to smooth from frame to frame",)
    metadata = Metadata(exif=kept.exif, alpha=kept.alpha, notes=notes)
    return Image(out, Transfer.SRGB, primaries, metadata=metadata)


def _tonemap_notes(image: Image, options: TonemapOptions) -> tuple[str, ...]:
    notes: list[str] = []
    name, learned = options.operator, options.operator == LEARNED
    if not (image.is_hdr or image.transfer in _HDR_WHITE):
        notes.append("is LDR already; tone-mapped as if there were nothing above its white")
    primaries = DISPLAYS[options.primaries]
    if image.primaries not in (Primaries.BT709, primaries):
        shown = "sRGB" if primaries is Primaries.BT709 else primaries.label
        notes.append(f"{image.primaries.label} shown in {shown}; colours beyond that are drawn in")
    module = None if learned else registry.load("hdrcli.tonemapping", name)
    if options.white is not None and not hasattr(module, "WHITE"):
        notes.append(f"{name} finds its own white; --white changes nothing")
    if options.auto_exposure is False and module is not None and not takes_exposure(name):
        notes.append(f"{name} finds its own exposure; --no-auto-exposure changes nothing")
    return tuple(notes)


def takes_exposure(operator: str) -> bool:
    """Does this operator of the registry show scene light of a given exposure, which it finds itself unless told to keep it?"""
    module = registry.load("hdrcli.tonemapping", operator)
    return bool(get_type_hints(module.Parameters).get("exposure") == Exposure)


def _is_local(options: TonemapOptions) -> bool:
    """Does what a pixel becomes depend on its surroundings?"""
    if options.operator == LEARNED:
        return True
    module, parameters = _operator(options)
    return module.LOCAL or getattr(parameters, "local", False)


def check_tonemap(options: TonemapOptions) -> None:
    """Raises UsageError for an unknown operator, for its parameters, and for options that contradict them."""
    if options.operator != LEARNED:
        _operator(options)
    elif options.parameters:
        raise UsageError(f"{LEARNED} has no parameters", where="-p", remedy="name an operator with -t, or leave it out")


def _operator(options: TonemapOptions) -> tuple[ModuleType, Any]:
    """The operator's module and its parameters."""
    module = registry.load("hdrcli.tonemapping", options.operator, (LEARNED,))
    given = dict(options.parameters)
    if options.auto_exposure is not None and takes_exposure(options.operator):
        if "exposure" in given:
            remedy = "say one of them"
            raise UsageError("-p exposure and --auto-exposure say the same", where="--auto-exposure", remedy=remedy)
        given["exposure"] = "keep"
    said = getattr(module, "WHITE", None)
    if options.white is not None and said in options.parameters:
        raise UsageError(f"-p {said} says what is white, too", where="--white", remedy="say one of them")
    return module, registry.build(module.Parameters, given)


def _classical(
    image: Image, options: TonemapOptions, steady: Steady | None, number: int, *, panorama: bool
) -> Callable[[slice], NDArray[np.float32]]:
    """Display-linear light of some rows, by an operator of the registry."""
    module, parameters = _operator(options)
    primaries = DISPLAYS[options.primaries]
    margin = seam.margin_of(image.width) if panorama else 0

    def light(rows: slice, ev: float) -> NDArray[np.float32]:
        return seam.continued(_linear_rows(image, ev, rows, primaries), margin)

    scene = _scene(image, primaries)
    if margin:  # what is there twice is in no statistic
        scene = replace(scene, width=image.width + 2 * margin, read=partial(light, ev=0.0))
    y = luminance_of(scene)
    if steady is not None:
        steady.begin(number, log_average(y))
        scene = replace(scene, steady=steady)
    ev = 0.0
    if options.auto_exposure:
        average = steadied(scene, "scene", log_average(y))
        ev = math.log2(KEY / average) if average > 0 else 0.0
        factor = np.float32(2.0**ev)
        y = y * factor
        scene = replace(scene, sample=scene.sample * factor, read=partial(light, ev=ev))
    white: float | None = None
    if options.white == "auto":
        white = steadied(scene, "white", extent(y)[1]) or None
    elif options.white is not None:
        white = 2.0 ** float(options.white)
    state = module.prepare(replace(scene, exposure=2.0**options.ev, white=white), parameters)
    ev += options.ev
    return lambda rows: seam.closed(module.apply(light(rows, ev), state, rows.start), margin)


def _scene(image: Image, primaries: Primaries) -> tonemapping.Scene:
    read = partial(_linear_rows, image, 0.0, target=primaries)
    return tonemapping.Scene.of(read, image.height, image.width, primaries=primaries)


def _learned(
    image: Image, options: TonemapOptions, steady: Steady | None, number: int, *, panorama: bool
) -> Callable[[slice], NDArray[np.float32]]:
    """Display-linear light of some rows, as G_X says; raises what loading it raises."""
    from hdrcli.inference import learned

    check_tonemap(options)
    generator = load_generator(options.model, options.backend, options.device, "g_x")

    def light(rows: slice) -> NDArray[np.float32]:
        return _linear_rows(image, 0.0, rows)

    exposure = 1.0 if options.auto_exposure is False else None
    if steady is not None:
        scene = _scene(image, Primaries.BT709)
        steady.begin(number, log_average(luminance_of(scene)))
        if exposure is None:
            exposure = steadied(replace(scene, steady=steady), "scene", learned.automatic_exposure(scene.sample))
    toning = learned.prepare(generator, light, image.height, image.width, exposure, options.ev, around=panorama)
    if steady is not None:  # the network answers to what moves; a line, gain over luminance, hardly minds where that is
        toning = replace(toning, lines=steady(f"lines {toning.lines.shape}", toning.lines))
    primaries = DISPLAYS[options.primaries]
    if primaries is Primaries.BT709:
        return lambda rows: toning.apply(light(rows), rows.start)
    return lambda rows: toning.apply(light(rows), rows.start, _linear_rows(image, 0.0, rows, primaries))


def _saturated(display: NDArray[np.float32], saturation: float, primaries: Primaries) -> NDArray[np.float32]:
    """Display-linear light, ``(n, W, 3)``, its colours as far from grey of equal luminance as said, within the gamut."""
    y = np.minimum(luminance(display, primaries), 1)
    grey = tripled(y)
    more = (display - grey) * np.float32(saturation)
    more += grey
    return into_gamut(more, y)


def _decoded(image: Image, pixels: NDArray[Any]) -> NDArray[np.float32]:
    """Linear light as float32, 1 = LDR white; the same memory where it is that already."""
    if image.transfer is Transfer.LINEAR:
        return pixels if pixels.dtype == np.float32 else as_unit_float(pixels)
    white = np.float32(_HDR_WHITE.get(image.transfer, 1.0))
    if pixels.dtype.kind == "u":
        return look_up(decoding_table(image.transfer, int(np.iinfo(pixels.dtype).max) + 1) / white, pixels)
    light = decode(pixels.astype(np.float32), image.transfer)
    return np.asarray(np.divide(light, white, out=light))


def _linear_rows(image: Image, ev: float, rows: slice, target: AnyPrimaries = Primaries.BT709) -> NDArray[np.float32]:
    """Scene-linear light of some rows times 2^ev in the ``target`` primaries, maybe the image's own memory.

    What is negative or NaN becomes 0, and nothing is above BRIGHTEST. Colours beyond ``target`` are drawn towards grey.
    """
    pixels, brightest = _decoded(image, image.pixels[rows]), np.float32(BRIGHTEST * 2.0**-ev)
    # two looks at all values are faster than the two changes that are hardly ever needed; NaN fails every comparison
    light = pixels
    if not (pixels.min() >= 0 and pixels.max() <= brightest):
        # fmax and fmin also take NaN away; squares of what is left still fit into float32
        light = np.fmax(pixels, 0)
        np.fmin(light, brightest, out=light)
    if ev != 0:
        light = light * np.float32(2.0**ev)
    if image.primaries != target:
        light = above_black(np.ascontiguousarray(converted(light, image.primaries, target), dtype=np.float32), target)
    return light
