"""OpenEXR: scene-linear half or float, through the OpenEXR package.

Source of the attribute names: openexr.com, "Standard Attributes"; chromaticities default to BT.709 there. A picture is the
display window: what the data window leaves out of it is black, what it has beyond is cut ("Technical Introduction").
"""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hdrcli.errors import HdrcliError, MismatchError, UnreadableInput, UnsupportedInput, UsageError
from hdrcli.formats._display import COPY_AGAIN, check_size
from hdrcli.formats._native import check_memory, quiet
from hdrcli.formats._values import MAX_PIXELS, Odd, bounded

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from hdrcli.color import AnyPrimaries
    from hdrcli.formats import WriteOptions
    from hdrcli.formats._exr_color import Colour
    from hdrcli.formats._exr_header import Channel, Header, Part, Window
    from hdrcli.image import Image, Pixels

EXTENSIONS = (".exr",)
HOLDS = ("hdr",)

LARGEST = {"half": 65504.0, "float": 3.4028234663852886e38}
COMPRESSIONS = ("none", "zip", "piz", "dwaa", "dwab")
_USUAL = "zip"
# What a constant picture of half channels comes to is half of this at most; it counts each channel's pixels.
_MAX_PIXELS_PER_BYTE = {"dwaa": 15_000, "dwab": 15_000, "lj2k": 60_000, "htj2k32": 60_000, "htj2k256": 60_000, "zstd": 15_000}
_MAX_PIXELS_PER_BYTE_OF_OTHERS = 1000
_MAX_BYTES = MAX_PIXELS * 16  # of all channels, decoded: the package decodes them all
_BYTES = {"half": 2, "float": 4, "uint": 4}
_STRIP_PIXELS = 1 << 18  # of whole arrays in memory; files are read and written in larger strips
_TILE_PIXELS = 1 << 22
# A crop of a render keeps the frame as display window, up to panoramas of 16k x 8k; beyond that it is damage, or meant ill.
_MAX_DISPLAY_RATIO, _FREE_DISPLAY_PIXELS = 64, 150_000_000
_PIXELS_FOR_THREADS = 1 << 17
_NAMES_SHOWN = 12
_LATLONG, _CUBE = 0, 1  # values of envmap

_ROLES = {"red": "R", "green": "G", "blue": "B", "alpha": "A"} | {
    role.lower(): role for role in ("R", "G", "B", "A", "Y", "RY", "BY")
}
_GREY_NAMES = frozenset(("l", "i", "luminance", "luma", "lum", "grey", "gray", "intensity"))
# Where colour stands in layers only: what renderers call the finished picture, the best first.
_FINISHED = ("combined", "composite", "beauty", "rgba", "rgb", "color", "colour", "diffuse")

# Attributes with a meaning and type of their own: text entries may not take their names.
_RESERVED_NAMES = """
channels compression dataWindow displayWindow lineOrder pixelAspectRatio screenWindowCenter screenWindowWidth type tiles name
view version chunkCount maxSamplesPerPixel chromaticities colorInteropID whiteLuminance adoptedNeutral preview envmap multiView
timeCode keyCode framesPerSecond xDensity longitude latitude altitude utcOffset expTime aperture isoSpeed focus
nominalFocalLength originalDataWindow sensorAcquisitionRectangle sensorCenterOffset sensorOverallDimensions cameraColorBalance
"""
_RESERVED = frozenset(_RESERVED_NAMES.split())


def _library() -> Any:
    """The OpenEXR package, with a thread pool: it starts with none and compresses on one core."""
    import OpenEXR

    from hdrcli.parallel import threads

    if OpenEXR.global_thread_count() != threads():
        OpenEXR.set_global_thread_count(threads())
    return OpenEXR


def _threads_for(compression: str, pixels: int) -> int:
    """0 (this one alone) where waiting for each other costs more than the work: measured 3 times slower uncompressed."""
    from hdrcli.parallel import threads

    return 0 if compression == "none" or pixels < _PIXELS_FOR_THREADS else threads()


def matches(head: bytes) -> bool:
    """Does the file start with OpenEXR's magic number 20000630?"""
    return head[:4] == b"\x76\x2f\x31\x01"


def read(path: str | Path) -> Image:
    """An OpenEXR file as a linear Image of its display window.

    The first part with colour is read, of tiled ones the full size: R, G and B, else those of a layer (``beauty.R``), else Y
    with or without RY and BY. What a colorInteropID calls encoded is decoded, and CIE XYZ converted to Rec.709, both with a
    note. Pixels are float16 where R, G and B are half, linear and opaque, else float32. RGB is divided by A, which goes to
    ``metadata.alpha`` unless all is opaque; where A is 0 it stays as it is. NaN becomes 0, infinity the largest number of the
    type, both with a note. Raises UnreadableInput for a damaged file, UnsupportedInput for deep data, channels without colour,
    and what is too large.
    """
    from hdrcli.formats import _exr_color, _exr_header

    try:
        with Path(path).open("rb") as stream:
            header = _exr_header.read_header(stream)
            index, layer = _choose(header)
            part = header.parts[index]
            _check_room(part, layer, stream.seek(0, 2))
            notes = _picture_notes(header, index, layer)
            colour = _exr_color.colour_of(part)
            decoded = _decoded(_exr_header.only_part(stream, header, index), part, layer, colour.primaries)
    except OSError as error:
        raise UnreadableInput(f"can't be read: {error.strerror or error}", where=path, remedy="check its permissions") from None
    except HdrcliError as error:
        error.where = str(path)
        raise
    return _assembled(part, decoded, colour, notes)


# --- choosing --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Layer:
    """Channels that make a picture: by role (R, G, B; or Y; or Y, RY, BY; perhaps A) their names."""

    prefix: str
    names: Mapping[str, str]

    @property
    def colours(self) -> tuple[str, ...]:
        """Names of all but alpha."""
        return tuple(name for role, name in self.names.items() if role != "A")


def _choose(header: Header) -> tuple[int, _Layer]:
    """Index of the part to read and the layer in it: plain colour in any part goes before layers."""
    found: list[str] = []
    deep = False
    for plain in (True, False):
        for index, part in enumerate(header.parts):
            layer = _layer(part.channels, plain=plain)
            if plain and layer is None and _holds_xyz(part):
                layer = _Layer("", dict(zip("RGB", "XYZ", strict=True)) | ({"A": "A"} if "A" in part.channels else {}))
            found += [name for name in part.channels if name not in found]
            if layer is None:
                continue
            if part.kind.startswith("deep"):
                deep = True
            elif all(_sampling_fits(role, part.channels[name]) for role, name in layer.names.items()):
                return index, layer
            else:
                raise UnsupportedInput("has subsampled channels", remedy="write it again as plain RGB")
    if deep:
        raise UnsupportedInput("holds deep data", remedy="flatten it first")
    remedy = "write it again with channels R, G, B or Y"
    if {"X", "Y", "Z"} <= set(found):
        raise UnsupportedInput("has channels X, Y, Z and does not say that they are CIE XYZ", remedy=remedy)
    raise UnsupportedInput(f"has no R, G, B or sole Y, but the channels {_listed(found)}", remedy=remedy)


def _holds_xyz(part: Part) -> bool:
    """Has it plain channels X, Y and Z, and says that they are CIE XYZ? They could be places or directions."""
    from hdrcli.formats import _exr_color

    return {"X", "Y", "Z"} <= set(part.channels) and _exr_color.colour_of(part).xyz


def _listed(names: list[str]) -> str:
    more = len(names) - _NAMES_SHOWN
    return ", ".join(names[:_NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _sampling_fits(role: str, channel: Channel) -> bool:
    return channel.sampling == (1, 1) or (role in ("RY", "BY") and channel.sampling == (2, 2))


def _layer(channels: Mapping[str, Channel], *, plain: bool) -> _Layer | None:
    """The picture among these channels: that without a layer's name, or else the best of the layers."""
    groups: dict[str, dict[str, str]] = {}
    for name in channels:
        prefix, _, last = name.rpartition(".")
        role = _ROLES.get(last.lower())
        if role is not None and (last == role or role not in groups.get(prefix, {})):
            groups.setdefault(prefix, {})[role] = name
    lowered = {name.lower() for name in channels}
    for prefix, roles in groups.items():
        # places and directions have a Y too; a plain Z alone, though, is the depth that goes with a plain Y
        if lowered & {f"{prefix}.x".lower(), f"{prefix}.z".lower()} if prefix else "x" in lowered:
            roles.pop("Y", None)
    layers = {prefix: layer for prefix, roles in groups.items() if (layer := _picture(prefix, roles, channels))}
    if plain:
        if len(channels) == 1 and not layers:
            (name,) = channels
            return _Layer("", {"Y": name}) if name.lower() in _GREY_NAMES else None
        return layers.get("")
    in_colour = [prefix for prefix, layer in layers.items() if prefix and "R" in layer.names]
    best = min(in_colour or [p for p in layers if p], key=_rank, default=None)
    return None if best is None else layers[best]


def _rank(prefix: str) -> int:
    name = prefix.lower()
    return next((i for i, word in enumerate(_FINISHED) if word in name), len(_FINISHED))


def _picture(prefix: str, roles: Mapping[str, str], channels: Mapping[str, Channel]) -> _Layer | None:
    if {"R", "G", "B"} <= set(roles):
        wanted = {"R", "G", "B", "A"}
    elif not {"RY", "BY"} & set(roles):
        wanted = {"Y", "A"}
    else:
        wanted = {"Y", "RY", "BY", "A"}
        if len({channels[roles[role]].sampling for role in ("RY", "BY") if role in roles}) != 1:
            return None
    if not wanted - {"A"} <= set(roles):
        return None
    return _Layer(prefix, {role: name for role, name in roles.items() if role in wanted})


def _check_room(part: Part, layer: _Layer, file_size: int) -> None:
    """Before memory is asked for. Raises what :func:`hdrcli.formats._display.check_size` does, MemoryError if there is none."""
    from hdrcli.formats import _exr_strips

    data, display = part.data_window, part.display_window
    check_size(data.width, data.height)
    check_size(display.width, display.height)
    pixels, shown = data.width * data.height, display.width * display.height
    if shown > max(_FREE_DISPLAY_PIXELS, _MAX_DISPLAY_RATIO * pixels):
        what = f"has {data.width} x {data.height} pixels in a display window of {display.width} x {display.height}"
        raise UnsupportedInput(what, remedy="write it again with a smaller display window")
    decoded = pixels * sum(_BYTES[channel.type] for channel in part.channels.values())
    if decoded > _MAX_BYTES:
        what = f"is too large: {data.width} x {data.height} pixels in {len(part.channels)} channels"
        raise UnsupportedInput(what, remedy=f"the limit is {_MAX_BYTES // 10**6} MB decoded")
    # A tile may be larger than a small picture; the package takes memory for whole ones, one a thread.
    if part.tile is not None and part.tile[0] * part.tile[1] > max(_TILE_PIXELS, 4 * pixels):
        raise UnreadableInput(f"is damaged: tiles of {part.tile[0]} x {part.tile[1]} pixels", remedy=COPY_AGAIN)
    per_byte = _MAX_PIXELS_PER_BYTE.get(part.compression, _MAX_PIXELS_PER_BYTE_OF_OTHERS)
    if pixels * len(part.channels) > per_byte * file_size:
        raise UnreadableInput(f"is damaged: {pixels} pixels can't stand in so short a file", remedy=COPY_AGAIN)
    kept = 3 * (2 if all(part.channels[name].type == "half" for name in layer.colours) else 4) + 4 * ("A" in layer.names)
    at_once = decoded // data.height * min(_exr_strips.rows_at_once(part), data.height)
    check_memory(at_once + shown * kept)  # the package drops a part that it has no memory for, like a damaged one


# --- decoding --------------------------------------------------------------------------------------------------------------


@dataclass
class _Decoded:
    """The picture of the display window as it stands in the file, finite; ``odd``: what was not. The arrays are ours alone."""

    pixels: Pixels  # (H, W, 3) float16 or float32
    alpha: NDArray[np.float32] | None
    odd: Odd


def _decoded(source: object, part: Part, layer: _Layer, primaries: AnyPrimaries) -> _Decoded:
    """Strip by strip, so that no more than a strip stands in memory twice."""
    import numpy as np

    from hdrcli.formats import _exr_strips

    kinds = {part.channels[name].type for name in layer.colours}
    dtype = np.dtype(np.float16 if kinds == {"half"} and "RY" not in layer.names else np.float32)
    largest = _largest(dtype)
    display = part.display_window
    found: _Decoded | None = None
    for piece, window in _exr_strips.read_strips(source, part):
        planes = _planes(piece, part, window, layer)
        cover = planes.pop("A", None)
        if window == display and "RGB" in planes and planes["RGB"].dtype == dtype:
            return _Decoded(planes["RGB"], None, _tame(planes["RGB"], largest, -largest))
        if found is None:
            alpha = None if cover is None else np.zeros((display.height, display.width), np.float32)
            found = _Decoded(np.zeros((display.height, display.width, 3), dtype), alpha, Odd())
        target = _place_rgb(planes, found.pixels, window, display, primaries)
        found.odd += _tame(target, largest, -largest)
        if cover is not None and found.alpha is not None:
            _tame(_place(cover, found.alpha, window, display), 1.0, 0.0)
    assert found is not None  # a data window has rows
    return found


def _largest(dtype: np.dtype[Any]) -> float:
    return LARGEST["half" if dtype.itemsize == 2 else "float"]


def _tame(values: Pixels, largest: float, smallest: float) -> Odd:
    """Make numbers finite and within a range, in place; returns what was not."""
    odd = Odd()
    for rows in _row_strips(values):
        strip, found = bounded(values[rows], largest, smallest)
        if found != Odd():
            values[rows] = strip
            odd += found
    return odd


def _row_strips(values: Pixels) -> Iterator[slice]:
    if values.size:
        step = max(1, _STRIP_PIXELS // values.shape[1])
        yield from (slice(start, start + step) for start in range(0, len(values), step))


def _planes(source: object, part: Part, window: Window, layer: _Layer) -> dict[str, Pixels]:
    """The layer's channels by role, ``(H, W)`` or half of both; or sole "RGB", ``(H, W, 3)``, where that needs no copy."""
    OpenEXR = _library()

    together = _can_come_together(part, layer)
    workers = _threads_for(part.compression, window.width * window.height)
    try:
        with quiet(), _without_warning_prints():
            file = OpenEXR.File(source, separate_channels=not together, num_threads=workers)
    except MemoryError:
        raise
    except Exception as error:  # damaged bytes surface as whatever the C++ side throws
        raise UnreadableInput(f"is damaged: {_reason(error)}", remedy=COPY_AGAIN) from None
    if len(file.parts) != 1:  # the package drops parts whose pixels it can't read
        raise UnreadableInput("is damaged: the file ends early or its pixels can't be decoded", remedy=COPY_AGAIN)
    channels = file.channels()
    if together:
        return {"RGB": channels[layer.prefix or "RGB"].pixels}
    return {role: _stored(channels[name].pixels, window, part.channels[name]) for role, name in layer.names.items()}


def _can_come_together(part: Part, layer: _Layer) -> bool:
    """May the package put R, G and B into one array? It does so for all layers, and takes them to be of one type."""
    if set(layer.names) != {"R", "G", "B"} or any(name.rpartition(".")[2] != role for role, name in layer.names.items()):
        return False
    return len({(c.type, c.sampling) for name, c in part.channels.items() if name[-1] in "RGBA"}) == 1


def _stored(plane: Pixels, window: Window, channel: Channel) -> Pixels:
    """What the file holds of a channel: older packages give subsampled ones in the head of an array of full size."""
    height, width = window.height // channel.sampling[1], window.width // channel.sampling[0]
    return plane.reshape(-1)[: height * width].reshape(height, width)


@contextmanager
def _without_warning_prints() -> Iterator[None]:
    """OpenEXR prints what it could not read to sys.stdout, where results may be going; all else is passed on."""
    printed = io.StringIO()
    try:
        with redirect_stdout(printed):
            yield
    finally:
        others = [line for line in printed.getvalue().splitlines(keepends=True) if not line.startswith("Warning: Exception")]
        if others:
            sys.stdout.write("".join(others))


def _reason(error: Exception) -> str:
    text = str(error).strip().splitlines()
    if not text:
        return type(error).__name__
    return "its header can't be read" if text[0].startswith("Unable to open") else text[0][:200]


# --- meaning ---------------------------------------------------------------------------------------------------------------


def _assembled(part: Part, decoded: _Decoded, colour: Colour, notes: list[str]) -> Image:
    from hdrcli.color import Transfer
    from hdrcli.formats import _exif, _exr_attributes
    from hdrcli.image import Image, Metadata

    pixels, alpha = decoded.pixels, decoded.alpha
    notes += decoded.odd.remarks("read", largest=_largest(pixels.dtype))
    if alpha is not None and alpha.min() == 1:
        alpha = None
    if alpha is not None:
        notes.append("has transparency; its colours were divided by alpha")
    pixels = _linear(pixels, alpha, colour)

    white = part.number("whiteLuminance")
    exif = _exif.from_shot(_exr_attributes.shot_of(part))
    texts = _exr_attributes.other_texts(part.texts(), _exif.shot(exif))
    return Image(
        pixels,
        Transfer.LINEAR,
        colour.primaries,
        white if white is not None and white > 0 else colour.white_luminance,
        Metadata(
            exif=exif or None,
            panorama=part.byte("envmap", "envmap") == _LATLONG,
            alpha=alpha,
            header={name: text for name, text in texts.items() if name not in _RESERVED},
            notes=(*notes, *colour.notes),
        ),
    )


def _linear(pixels: Pixels, alpha: NDArray[np.float32] | None, colour: Colour) -> Pixels:
    """Straight linear RGB, in place where the type allows: first divided by alpha, then decoded, as OpenImageIO's tools do."""
    import numpy as np

    if alpha is None and colour.is_linear_rgb:
        return pixels
    out = pixels if pixels.dtype == np.float32 else np.empty(pixels.shape, np.float32)
    for rows in _row_strips(pixels):
        strip = pixels[rows].astype(np.float32, copy=False)
        if alpha is not None:
            with np.errstate(over="ignore"):
                strip = strip / _divisor(alpha[rows])
        if not colour.is_linear_rgb:
            strip = colour.to_linear(bounded(strip, LARGEST["float"], -LARGEST["float"])[0])
        out[rows] = bounded(strip, LARGEST["float"], -LARGEST["float"])[0]
    return out


def _divisor(alpha: NDArray[np.float32]) -> NDArray[np.float32]:
    """What RGB is divided by and multiplied with: where nothing covers the pixel it is light added on top, and stays."""
    import numpy as np

    return np.where(alpha > 0, alpha, np.float32(1))[..., None]


def _place_rgb(planes: dict[str, Pixels], out: Pixels, window: Window, display: Window, primaries: AnyPrimaries) -> Pixels:
    """What planes of a window show, put where it stands in the display window; returns that place."""
    import numpy as np

    from hdrcli.color import rgb_to_xyz
    from hdrcli.formats import _exr_chroma

    if "RY" in planes:
        weights = rgb_to_xyz(primaries)[1].astype(np.float32)
        planes["RGB"] = _exr_chroma.rgb(planes.pop("Y"), planes.pop("RY"), planes.pop("BY"), weights)
    if "RGB" in planes:
        return _place(planes["RGB"], out, window, display)
    for channel, role in enumerate(("Y", "Y", "Y") if "Y" in planes else ("R", "G", "B")):
        _place(planes[role], out[..., channel], window, display)
    return _overlap(out, window, display)


def _place(values: Pixels, out: Pixels, window: Window, display: Window) -> Pixels:
    """Values of a window put where they stand in ``out``, the display window; returns that place."""
    target = _overlap(out, window, display)
    target[...] = _overlap(values, display, window)
    return target


def _overlap(values: Pixels, window: Window, own: Window) -> Pixels:
    """What of ``values``, which fill the window ``own``, lies in ``window``; no rows or columns where they do not meet."""
    left, right = max(window.left, own.left), max(min(window.right, own.right) + 1, own.left)
    top, bottom = max(window.top, own.top), max(min(window.bottom, own.bottom) + 1, own.top)
    return values[top - own.top : max(top, bottom) - own.top, left - own.left : max(left, right) - own.left]


def _picture_notes(header: Header, index: int, layer: _Layer) -> list[str]:
    """What the header says of the picture that the user should know. Raises UnsupportedInput where there is none to be seen."""
    part = header.parts[index]
    notes = []
    if len(header.parts) > 1:
        notes.append(f"has {len(header.parts)} parts; part {index + 1} is read")
    if layer.prefix:
        notes.append(f"layer {layer.prefix} is read")
    if layer.colours and layer.names.get("Y", "Y").rpartition(".")[2].lower() != "y":
        notes.append(f"channel {layer.names['Y']} is read as grey")
    if part.byte("envmap", "envmap") == _CUBE:
        notes.append("is a cube map, six faces one below the other; read as it stands")
    notes += _window_notes(part.data_window, part.display_window)
    aspect = part.number("pixelAspectRatio")
    if aspect is None or not abs(aspect - 1) <= 1e-3:
        notes.append(f"pixel aspect ratio {aspect} is ignored")
    if any(part.channels[name].type == "uint" for name in layer.colours):
        notes.append("holds whole numbers (uint); taken as linear light")
    left_out = sorted(set(part.channels) - set(layer.names.values()))
    if left_out:
        notes.append(f"channels left out: {_listed(left_out)}")
    return notes


def _window_notes(data: Window, display: Window) -> list[str]:
    """What becomes of pixels that are missing or too many. Raises UnsupportedInput where none are left."""
    if data == display:
        return []
    if data.left > display.right or data.right < display.left or data.top > display.bottom or data.bottom < display.top:
        raise UnsupportedInput("has no pixels in its display window", remedy="write it again without the offset")
    missing = data.left > display.left or data.top > display.top or data.right < display.right or data.bottom < display.bottom
    beyond = data.left < display.left or data.top < display.top or data.right > display.right or data.bottom > display.bottom
    fate = [text for given, text in ((missing, "the rest is black"), (beyond, "what lies beyond is cut")) if given]
    sizes = f"({data.width} x {data.height}) is not the display window ({display.width} x {display.height})"
    return [f"data window {sizes}; {', '.join(fate)}"]


def write(image: Image, path: str | Path, options: WriteOptions) -> tuple[str, ...]:
    """A linear Image as an OpenEXR file; returns remarks.

    Depth "half" (usual) or "float"; compression none, zip (usual), piz, dwaa or dwab. Alpha goes out as A with RGB
    multiplied by it (but where A is 0: that is light on top, as on reading, unless :func:`hdrcli.expand` made the picture from
    codes), ``options.layers`` as further channels. Odd values: NaN becomes 0, +inf and -inf the largest and the
    lowest number of the depth, finite values beyond half's 65504 become 65504, each with a remark; negative values (colours
    outside the primaries' gamut) are kept. Raises MismatchError for display-encoded pixels, UsageError for an unknown
    compression.
    """
    from hdrcli.color import Transfer, chromaticities_of
    from hdrcli.formats import _exif, _exr_attributes, _exr_strips

    OpenEXR = _library()
    if image.transfer is not Transfer.LINEAR:
        raise MismatchError(
            "OpenEXR holds linear light, these pixels are display-encoded", where=path, remedy="expand them first"
        )
    depth, remarks = _depth(options.depth)
    for name, layer in options.layers.items():
        if name in ("R", "G", "B", "A", "RGB", "RGBA") or layer.shape != image.pixels.shape[:2]:
            raise MismatchError(f"layer {name!r} of shape {layer.shape} does not fit the image", where=path)
    texts, left_out = _text_attributes({**image.metadata.header, **options.header})
    remarks += left_out
    shot = _exif.shot(image.metadata.exif or b"")
    header: dict[str, Any] = {
        **_exr_attributes.attributes_of(shot),
        **texts,
        "compression": _compression(options.compression),
        "type": OpenEXR.scanlineimage,
        "chromaticities": chromaticities_of(image.primaries).numbers,
    }
    if image.white_luminance is not None:
        header["whiteLuminance"] = float(image.white_luminance)
    if image.metadata.panorama:
        header["envmap"] = OpenEXR.ENVMAP_LATLONG
    odd: dict[str, Odd] = {}
    workers = _threads_for(options.compression or _USUAL, image.width * image.height)
    # a file of Python's: its OSErrors say what is wrong, and names need not be UTF-8
    with Path(path).open("wb") as stream:
        compression = options.compression or _USUAL
        strips = _to_write(image, options.layers, depth, _exr_strips.strip_rows(image.width, compression), odd)
        size = (image.width, image.height)
        _exr_strips.write_strips(stream, header, size, compression, strips, workers)
    remedy = "; --depth float keeps them" if depth == "half" else ""
    return (
        *remarks,
        *(line for found in odd.values() for line in found.remarks("written", largest=LARGEST[depth], remedy=remedy)),
    )


def _to_write(
    image: Image, layers: Mapping[str, NDArray[np.float32]], depth: str, step: int, odd: dict[str, Odd]
) -> Iterator[dict[str, Pixels]]:
    """Channels of the file, ``step`` rows at a time; ``odd`` counts by channel what had to be changed."""
    import numpy as np

    for start in range(0, image.height, step):
        rows = slice(start, start + step)
        channels: dict[str, Pixels] = {}
        cover = None
        if image.metadata.alpha is not None:
            cover = np.clip(np.nan_to_num(image.metadata.alpha[rows]), 0, 1).astype(np.float32, copy=False)
        for name, values in {"RGB": image.pixels, **layers}.items():
            factor = None if cover is None or name != "RGB" else _divisor(cover)
            channels[name], found = _strip_to_write(values[rows], depth, factor)
            odd[name] = odd.get(name, Odd()) + found
        if cover is not None:
            channels["A"] = cover.astype(channels["RGB"].dtype)
        yield channels


def _strip_to_write(values: Pixels, depth: str, factor: NDArray[np.float32] | None) -> tuple[Pixels, Odd]:
    """The numbers that the file gets, ``values`` themselves where they can stay, and what was odd about them."""
    import numpy as np

    from hdrcli.image import as_unit_float

    dtype, largest = np.dtype(np.float16 if depth == "half" else np.float32), LARGEST[depth]
    if values.dtype != dtype or factor is not None:
        values = as_unit_float(values)
        if factor is not None:
            with np.errstate(invalid="ignore"):
                values *= factor
    tame, odd = bounded(np.ascontiguousarray(values), largest, -largest)
    return tame.astype(dtype, copy=False), odd


def _depth(asked: str | None) -> tuple[str, list[str]]:
    if asked in (None, "half", "float"):
        return asked or "half", []
    return "half", [f"OpenEXR has no depth {asked}; half is written"]


def _compression(name: str | None) -> Any:
    OpenEXR = _library()

    name = name or _USUAL
    if name not in COMPRESSIONS:
        raise UsageError(f"OpenEXR files have no compression {name!r}", remedy=f"there are: {', '.join(COMPRESSIONS)}")
    return getattr(OpenEXR, f"{'NO' if name == 'none' else name.upper()}_COMPRESSION")


def _text_attributes(entries: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """Entries that can stand in the header, and remarks on those that can't."""
    texts, remarks = {}, []
    for name, text in entries.items():
        if not name or name in _RESERVED or len(name.encode("utf-8", "replace")) > 255 or "\0" in name:
            remarks.append(f"header entry {name[:40]!r} left out: OpenEXR has no room for a text of that name")
        else:
            texts[name] = text.encode("utf-8", "replace").decode()
    return texts, remarks
