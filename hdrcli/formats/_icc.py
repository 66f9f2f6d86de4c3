"""ICC profiles: enough to recognise the usual ones, and to write them. Source: ICC.1:2022 (and ICC.1:2001-04 for version 2)."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hdrcli.errors import UnsupportedInput

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from hdrcli.color import Primaries, Transfer
    from hdrcli.image import Pixels

    Floats = NDArray[np.float64]

_COLORANT_TOLERANCE = 0.003
_CURVE_TOLERANCE = 0.0025
_SAMPLES = 65


@dataclass(frozen=True)
class Profile:
    """``space``: RGB, GRAY, CMYK ...; ``transfer`` and ``primaries``: None for a profile that is none of the known ones."""

    name: str
    space: str
    transfer: Transfer | None
    primaries: Primaries | None


def parse(icc: bytes) -> Profile:
    """What a profile says. Raises ValueError for a damaged one."""
    from hdrcli.color import Primaries

    tags = _tags(icc)
    space = icc[16:20].decode("ascii", "replace").strip()
    name = _name(tags.get(b"desc", b"")) or "of no name"
    transfer: Transfer | None = None
    primaries: Primaries | None = None
    try:
        if b"cicp" in tags:
            transfer, primaries = cicp(tags[b"cicp"][8], tags[b"cicp"][9])
        elif space == "GRAY":
            transfer, primaries = _find_transfer([_curve(tags[b"kTRC"])]), Primaries.BT709
        elif space == "RGB" and not any(tag.startswith(b"A2B") for tag in tags):  # tables go before matrices
            transfer = _find_transfer([_curve(tags[c + b"TRC"]) for c in (b"r", b"g", b"b")])
            primaries = _find_primaries([_xyz(tags[c + b"XYZ"]) for c in (b"r", b"g", b"b")])
    except (KeyError, IndexError, struct.error):  # of another make: not one of the known ones
        pass
    known = transfer is not None and primaries is not None
    return Profile(name, space, transfer if known else None, primaries if known else None)


def cicp(primaries: int, transfer: int) -> tuple[Transfer | None, Primaries | None]:
    """Code points of ITU-T H.273, tables 2 and 3, None for those that can't be expressed."""
    from hdrcli.color import Primaries, Transfer

    transfers = {4: Transfer.GAMMA22, 8: Transfer.LINEAR, 13: Transfer.SRGB, 16: Transfer.PQ, 18: Transfer.HLG}
    sets = {1: Primaries.BT709, 9: Primaries.BT2020, 12: Primaries.DISPLAY_P3}
    return transfers.get(transfer), sets.get(primaries)


def _tags(icc: bytes) -> dict[bytes, bytes]:
    if len(icc) < 132 or icc[36:40] != b"acsp":
        raise ValueError("no ICC profile")
    (count,) = struct.unpack_from(">I", icc, 128)
    if count > 200 or 132 + 12 * count > len(icc):
        raise ValueError("ICC profile cut short")
    tags = {}
    for entry in range(132, 132 + 12 * count, 12):
        signature, start, size = struct.unpack_from(">4sII", icc, entry)
        if start + size > len(icc):
            raise ValueError("ICC profile cut short")
        tags[signature] = icc[start : start + size]
    return tags


def _name(tag: bytes) -> str:
    text = ""
    if tag[:4] == b"desc" and len(tag) >= 12:
        text = tag[12 : 12 + int.from_bytes(tag[8:12], "big")].decode("latin-1")
    elif tag[:4] == b"mluc" and len(tag) >= 28:
        size, start = struct.unpack_from(">II", tag, 20)
        text = tag[start : start + size].decode("utf-16-be", "replace")
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:80]


def _xyz(tag: bytes) -> tuple[float, ...]:
    return tuple(v / 65536 for v in struct.unpack_from(">3i", tag, 8))


def _grid() -> Floats:
    import numpy as np

    return np.linspace(0, 1, _SAMPLES)


def _curve(tag: bytes) -> Floats:
    """A tone curve, device to linear, sampled on the grid. ICC.1:2022, 10.6 and 10.18."""
    import numpy as np

    x = _grid()
    if tag[:4] == b"curv":
        (count,) = struct.unpack_from(">I", tag, 8)
        if count == 0:
            return x
        table = np.asarray(struct.unpack_from(f">{count}H", tag, 12), np.float64)
        if count == 1:
            return np.asarray(x ** (table[0] / 256))
        return np.interp(x, np.linspace(0, 1, count), table / 65535)
    if tag[:4] != b"para":
        raise KeyError("curve")
    (kind,) = struct.unpack_from(">H", tag, 8)
    g, *rest = (v / 65536 for v in struct.unpack_from(f">{(1, 3, 4, 5, 7)[kind]}i", tag, 12))
    # all kinds are Y = (a X + b) ^ g + e from d on, c X + f below
    a, b, c, d, e, f = 1.0, 0.0, 0.0, 0.0, 0.0, 0.0
    if kind in (1, 2):
        a, b = rest[:2]
        e = f = rest[2] if kind == 2 else 0.0
        d = -b / a if a else 0.0
    elif kind in (3, 4):
        a, b, c, d = rest[:4]
        e, f = rest[4:] if kind == 4 else (0.0, 0.0)
    return np.asarray(np.where(x >= d, np.maximum(a * x + b, 0) ** g + e, c * x + f))


def _find_transfer(curves: list[Floats]) -> Transfer | None:
    import numpy as np

    from hdrcli.color import Transfer, decode

    x = _grid()
    errors = {t: max(float(np.abs(curve - decode(x, t)).max()) for curve in curves) for t in Transfer}
    best = min(errors, key=errors.__getitem__)
    return best if errors[best] <= _CURVE_TOLERANCE else None


def _colorants(primaries: Primaries) -> Floats:
    """``(3, 3)``: XYZ of red, green and blue as rows, adapted to D50."""
    from hdrcli.color import Primaries, conversion_matrix, rgb_to_xyz

    return (rgb_to_xyz(Primaries.PROPHOTO) @ conversion_matrix(primaries, Primaries.PROPHOTO)).T  # ProPhoto's white is D50


def _find_primaries(colorants: list[tuple[float, ...]]) -> Primaries | None:
    import numpy as np

    from hdrcli.color import Primaries

    errors = {p: float(np.abs(_colorants(p) - colorants).max()) for p in Primaries}
    best = min(errors, key=errors.__getitem__)
    return best if errors[best] <= _COLORANT_TOLERANCE else None


def build(transfer: Transfer, primaries: Primaries) -> bytes:
    """A version 2 matrix profile for RGB with a plain or tabulated curve. Raises ValueError for PQ and HLG."""
    from hdrcli.color import Transfer

    if transfer in (Transfer.PQ, Transfer.HLG):
        raise ValueError("an ICC matrix profile can't hold an HDR transfer function")
    text = f"hdrcli {primaries.label} {transfer.value}".encode()
    white = _xyz_tag((0.9642, 1.0, 0.8249))
    curve = _curve_tag(transfer)
    rows = [_xyz_tag(tuple(float(v) for v in row)) for row in _colorants(primaries)]
    tags = {
        b"desc": b"desc" + bytes(4) + struct.pack(">I", len(text) + 1) + text + b"\0" + bytes(8 + 2 + 1 + 67),
        b"cprt": b"text" + bytes(4) + b"CC0\0",
        b"wtpt": white,
        **{c + b"XYZ": row for c, row in zip((b"r", b"g", b"b"), rows, strict=True)},
        **{c + b"TRC": curve for c in (b"r", b"g", b"b")},
    }
    table, body = struct.pack(">I", len(tags)), b""
    start = 128 + 4 + 12 * len(tags)
    places: dict[bytes, int] = {}
    for signature, tag in tags.items():
        if tag not in places:  # the three curves are one
            places[tag] = start + len(body)
            body += tag + bytes(-len(tag) % 4)
        table += struct.pack(">4sII", signature, places[tag], len(tag))
    head = struct.pack(">I4sI4s4s4s", start + len(body), bytes(4), 0x02400000, b"mntr", b"RGB ", b"XYZ ")
    head += struct.pack(">6H4s", 2026, 1, 1, 0, 0, 0, b"acsp") + bytes(28) + white[8:]
    return head + bytes(128 - len(head)) + table + body


def _xyz_tag(xyz: tuple[float, ...]) -> bytes:
    return b"XYZ " + bytes(4) + struct.pack(">3i", *(round(v * 65536) for v in xyz))


def _curve_tag(transfer: Transfer) -> bytes:
    import numpy as np

    from hdrcli.color import Transfer, decode

    gamma = {Transfer.GAMMA22: 563, Transfer.GAMMA18: 461}.get(transfer)
    if transfer is Transfer.LINEAR:
        values: list[int] = []
    elif gamma is not None:
        values = [gamma]
    else:
        values = np.rint(decode(np.linspace(0, 1, 1024), transfer) * 65535).astype(int).tolist()
    return b"curv" + bytes(4) + struct.pack(f">I{len(values)}H", len(values), *values)


def interpret(icc: bytes, pixels: Pixels, *, grey: bool) -> tuple[Pixels, Transfer, Primaries, tuple[str, ...]]:
    """What the numbers of an RGB or grey picture mean under its profile: pixels, transfer, primaries, notes.

    ``pixels``: ``(H, W, 3)``, three equal channels for grey. They come back untouched under a known profile; 8-bit pixels
    under another are converted to sRGB. Raises UnsupportedInput for 16-bit ones.
    """
    import numpy as np

    from hdrcli.color import Primaries, Transfer

    try:
        profile = parse(icc)
    except ValueError:
        return pixels, Transfer.SRGB, Primaries.BT709, ("its ICC profile is damaged; taken as sRGB",)
    fits = profile.space == "RGB" or (grey and profile.space == "GRAY")
    if fits and profile.transfer is not None and profile.primaries is not None:
        return pixels, profile.transfer, profile.primaries, ()
    if not fits:
        note = f"its ICC profile {profile.name!r} is for {profile.space}, not for these pixels; taken as sRGB"
        return pixels, Transfer.SRGB, Primaries.BT709, (note,)
    if pixels.dtype != np.uint8:
        fault = f"has 16-bit pixels in the colour space of the ICC profile {profile.name!r}, which hdrcli does not know"
        raise UnsupportedInput(fault, remedy="convert it to sRGB, Display P3, Adobe RGB or ProPhoto RGB first")
    converted = to_srgb(pixels[..., 0] if profile.space == "GRAY" else pixels, icc, "L" if profile.space == "GRAY" else "RGB")
    if converted is None:
        note = f"its ICC profile {profile.name!r} can't be used; taken as sRGB"
        return pixels, Transfer.SRGB, Primaries.BT709, (note,)
    note = f"converted from its ICC profile {profile.name!r} to sRGB; colours beyond sRGB are cut and may pass for lost light"
    return converted, Transfer.SRGB, Primaries.BT709, (note,)


def to_srgb(pixels: Pixels | Any, icc: bytes, mode: str) -> Pixels | None:
    """8-bit pixels of a Pillow mode (an array, or a Pillow image of that mode) through a profile: ``(H, W, 3) uint8`` sRGB.

    Relative colorimetric with black point compensation. None if the profile does not do that.
    """
    import io

    import numpy as np
    import PIL.Image
    from PIL import ImageCms

    picture = PIL.Image.fromarray(np.ascontiguousarray(pixels)) if isinstance(pixels, np.ndarray) else pixels
    try:
        transform = ImageCms.buildTransform(
            ImageCms.ImageCmsProfile(io.BytesIO(icc)),
            ImageCms.createProfile("sRGB"),
            mode,
            "RGB",
            ImageCms.Intent.RELATIVE_COLORIMETRIC,
            ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
        converted = ImageCms.applyTransform(picture, transform)
    except (ImageCms.PyCMSError, OSError, ValueError):
        return None
    return None if converted is None else np.array(converted)
