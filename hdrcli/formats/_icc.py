"""ICC profiles: what a picture's numbers mean under one, and profiles to write. Source: ICC.1:2022 (version 2: ICC.1:2001-04).

A profile that says what a transfer function and primaries can say leaves the codes as they are: clip masks and measured
pixels come from stored codes. Any other is honoured by conversion: curves here, one table a channel; tables of
several dimensions (A2B) by LittleCMS, through imagecodecs.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from hdrcli.errors import UnsupportedInput

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from hdrcli.color import AnyPrimaries, Primaries, Transfer
    from hdrcli.image import Pixels

    Floats = NDArray[np.float64]

# Two units of 16 bit: tables are rounded to one, and vendors rounded at different places.
_CURVE_TOLERANCE = 3e-5
# Published profiles of one space differ by this much. HP's sRGB, which most photos carry, is 2e-4 (14 units of 16 bit) off the
# Bradford-adapted primaries of BT.709, for it took another D65; the others are at most 3 units off theirs, by rounding. They
# are meant for these primaries and read as such: that much XYZ differs from what LittleCMS makes of them.
_COLORANT_TOLERANCE = 3e-4
# Linear light that a colour may lie outside of primaries: interpolation in Lab leaves the gamut that a table was made of, a
# 33-point table of sRGB by 1e-4 below and 1.2e-3 above, where it cuts no more than a highlight's last thousandth
_CUT_BELOW, _CUT_ABOVE = 5e-4, 2e-3
_SAMPLES = 16 * 255 + 1  # all 8-bit codes, and between them
_MAX_CURVE = 1 << 16
_STRIP = 1 << 19  # pixels converted at a time
_PCS_WHITE = (0.9642, 1.0, 0.8249)  # X, Y, Z of the connection space: D50, ICC.1:2022, 7.2.16
_D50 = (63190, 65536, 54061)  # the same in 1/65536
# Closest to 1.8 and to Adobe RGB's 2.19921875 that a curve of one 8.8 number can say: how profiles of these spaces write it
_GAMMAS = {"GAMMA18": 461, "GAMMA22": 563}
_LABELS = {"SRGB": "sRGB", "GAMMA18": "gamma 1.8", "GAMMA22": "gamma 2.2", "PQ": "PQ", "HLG": "HLG"}

# LittleCMS (lcms2.h): the colorimetric intent with black point compensation, as picture editors do; never its
# precalculated tables, which are up to hundreds of 16-bit codes off.
_RELATIVE_COLORIMETRIC = 1
_FLAGS = 0x2000 | 0x0100  # BLACKPOINTCOMPENSATION | NOOPTIMIZE
_CUT = "; values above 1 are cut, where its curve ends"
_REMEDY_CMYK = "convert it to RGB with the profile it was made for"

Curve = Callable[["NDArray[Any]"], "NDArray[Any]"]  # code values to linear light, floats, 0..1 and beyond


@dataclass(frozen=True, eq=False)
class Profile:
    """What a profile says.

    ``space``: RGB, GRAY, CMYK ... ``transfer`` and ``primaries``: what pixels mean whose codes may stay as they are; a None
    among them says that they may not. ``curves``: one for grey, three for RGB; empty where tables go before them.
    """

    name: str
    space: str
    transfer: Transfer | None = None
    primaries: AnyPrimaries | None = None
    curves: tuple[Curve, ...] = ()


@dataclass(frozen=True, eq=False)
class Meaning:
    """What the numbers of a picture mean under its profile.

    ``pixels``: ``(H, W, 3)``; codes are the file's own where a transfer and primaries can say it, else converted to uint16, and
    then ``stored`` holds the file's; floats are linear light. ``notes``: remarks for the user. ``white_luminance``: cd/m2 of
    linear light 1, where the curve said it.
    """

    pixels: Pixels
    transfer: Transfer
    primaries: AnyPrimaries
    stored: Pixels | None = None
    notes: tuple[str, ...] = ()
    white_luminance: float | None = None


def parse(icc: bytes) -> Profile:
    """What a profile says. Raises ValueError for a damaged one."""
    tags = _tags(icc)
    space = icc[16:20].decode("ascii", "replace").strip()
    name = _name(tags.get(b"desc", b"")) or "of no name"
    known = _code_points(tags.get(b"cicp", b""))
    if None not in known:
        return Profile(name, space, *known)
    # LittleCMS takes tables before curves, for the colorimetric intent A2B1 or else A2B0: ICC.1:2022, 8.10.2
    tables = any(tag in tags for tag in (b"A2B0", b"A2B1", b"D2B1"))
    if tables or icc[12:16] not in (b"mntr", b"scnr", b"prtr", b"spac") or icc[20:24] not in (b"XYZ ", b"Lab "):
        return Profile(name, space)
    try:
        curves, primaries = _shaper(tags, space, lab=icc[20:24] == b"Lab ")
    except (KeyError, IndexError, struct.error):  # of another make
        return Profile(name, space)
    return Profile(name, space, _find_transfer(curves) if curves else None, primaries, curves)


def cicp(primaries: int, transfer: int) -> tuple[Transfer | None, AnyPrimaries | None]:
    """Code points of ITU-T H.273, tables 2 and 3, None for those that can't be expressed."""
    from hdrcli.color import Chromaticities, Primaries, Transfer

    transfers = {4: Transfer.GAMMA22, 8: Transfer.LINEAR, 13: Transfer.SRGB, 16: Transfer.PQ, 18: Transfer.HLG}
    d65 = Primaries.BT709.value.white
    television_525 = Chromaticities((0.63, 0.34), (0.31, 0.595), (0.155, 0.07), d65)
    sets: dict[int, AnyPrimaries] = {
        1: Primaries.BT709,
        5: Chromaticities((0.64, 0.33), (0.29, 0.6), (0.15, 0.06), d65),  # television of 625 lines
        6: television_525,
        7: television_525,
        9: Primaries.BT2020,
        12: Primaries.DISPLAY_P3,
    }
    return transfers.get(transfer), sets.get(primaries)


def _code_points(tag: bytes | memoryview) -> tuple[Transfer | None, AnyPrimaries | None]:
    return cicp(tag[8], tag[9]) if bytes(tag[:4]) == b"cicp" and len(tag) >= 12 else (None, None)


def _tags(icc: bytes) -> dict[bytes, memoryview]:
    """Where each tag's value stands: two hundred may name the same megabytes, so none is copied."""
    if len(icc) < 132 or icc[36:40] != b"acsp":
        raise ValueError("no ICC profile")
    (count,) = struct.unpack_from(">I", icc, 128)
    if count > 200 or 132 + 12 * count > len(icc):
        raise ValueError("ICC profile cut short")
    tags, view = {}, memoryview(icc)
    for entry in range(132, 132 + 12 * count, 12):
        signature, start, size = struct.unpack_from(">4sII", icc, entry)
        if start + size > len(icc):
            raise ValueError("ICC profile cut short")
        tags[signature] = view[start : start + size]
    return tags


def _name(value: bytes | memoryview) -> str:
    tag, text = bytes(value[:4096]), ""
    if tag[:4] == b"desc" and len(tag) >= 12:
        text = tag[12 : 12 + min(int.from_bytes(tag[8:12], "big"), 400)].decode("latin-1")
    elif tag[:4] == b"mluc" and len(tag) >= 28:
        size, start = struct.unpack_from(">II", tag, 20)
        text = tag[start : start + min(size, 400)].decode("utf-16-be", "replace")
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:80]


def _shaper(tags: dict[bytes, memoryview], space: str, *, lab: bool) -> tuple[tuple[Curve, ...], AnyPrimaries | None]:
    """Curves and primaries: ICC.1:2022, F.2 (grey) and F.3 (RGB). None where colorants make no sense; no curves for others."""
    from hdrcli.color import Primaries

    if space == "GRAY":
        curve = _curve(tags[b"kTRC"])
        return ((lambda x: _luminance_of_lightness(curve(x))) if lab else curve,), Primaries.BT709
    if space != "RGB":
        return (), None
    curve_tags = [tags[channel + b"TRC"] for channel in (b"r", b"g", b"b")]
    read = {tag: _curve(tag) for tag in set(curve_tags)}  # most often the three are one
    curves = tuple(read[tag] for tag in curve_tags)
    colorants = [_fixed(tags[channel + b"XYZ"], b"XYZ ", 3) for channel in (b"r", b"g", b"b")]
    return curves, _primaries(colorants, _fixed(tags[b"chad"], b"sf32", 9) if b"chad" in tags else None)


def _fixed(tag: memoryview, kind: bytes, count: int) -> tuple[float, ...]:
    """Numbers of the type s15Fixed16."""
    if bytes(tag[:4]) != kind:
        raise KeyError(kind)
    return tuple(v / 65536 for v in struct.unpack_from(f">{count}i", tag, 8))


def _luminance_of_lightness(lightness: NDArray[Any]) -> NDArray[Any]:
    """L*/100 to Y: CIE 15:2018, eq. 8.8."""
    import numpy as np

    f = (100 * lightness + 16) / 116
    return np.asarray(np.where(f > 6 / 29, f**3, (f - 4 / 29) * 3 * (6 / 29) ** 2))


def _curve(tag: memoryview) -> Curve:
    """A tone curve, device to linear. ICC.1:2022, 10.6 and 10.18. Raises KeyError, IndexError or struct.error."""
    import numpy as np

    from hdrcli.color import Transfer, decode

    if bytes(tag[:4]) == b"para":
        return _parametric(tag)
    if bytes(tag[:4]) != b"curv":
        raise KeyError("curve")
    (count,) = struct.unpack_from(">I", tag, 8)
    if len(tag) < 12 + 2 * count or count > _MAX_CURVE:
        raise IndexError("curve cut short, or of more entries than there are codes")
    if count == 0:
        return lambda x: x
    table = np.frombuffer(tag, ">u2", count, 12).astype(np.float64)
    if count == 1:
        named = next((Transfer[name] for name, number in _GAMMAS.items() if number == table[0]), None)
        gamma = table[0] / 256
        return (lambda x: decode(x, named)) if named is not None else _power(gamma)
    places = np.linspace(0, 1, count)
    table /= 65535
    return lambda x: np.interp(x, places, table)


def _power(exponent: float) -> Curve:
    """``x ** exponent``; odd below 0, as the curves of hdrcli.color are."""
    import numpy as np

    return lambda x: np.copysign(np.abs(x) ** exponent, x)


def _parametric(tag: memoryview) -> Curve:
    import numpy as np

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

    def curve(x: NDArray[Any]) -> NDArray[Any]:
        return np.asarray(np.where(x >= d, np.maximum(a * x + b, 0) ** g + e, c * x + f))

    return curve


def _find_transfer(curves: tuple[Curve, ...]) -> Transfer | None:
    import numpy as np

    from hdrcli.color import Transfer, decode

    x = np.linspace(0, 1, _SAMPLES)
    with np.errstate(all="ignore"):
        sampled = [curve(x) for curve in set(curves)]
    errors = {t: max(float(np.abs(values - decode(x, t)).max()) for values in sampled) for t in Transfer}
    best = min(errors, key=errors.__getitem__)
    return best if errors[best] <= _CURVE_TOLERANCE else None


def _colorants(primaries: AnyPrimaries) -> Floats:
    """``(3, 3)``: XYZ of red, green and blue as rows, adapted to D50."""
    from hdrcli.color import Primaries, conversion_matrix, rgb_to_xyz

    return (rgb_to_xyz(Primaries.PROPHOTO) @ conversion_matrix(primaries, Primaries.PROPHOTO)).T  # ProPhoto's white is D50


def _primaries(colorants: list[tuple[float, ...]], adaptation: tuple[float, ...] | None) -> AnyPrimaries | None:
    """What colorants, adapted to D50, stand for: a known set, or chromaticities; None if they make no sense.

    ``adaptation`` (the chad tag) tells the white they were measured under; without it that is D50. Bradford takes them there,
    whatever made the tag: conversion_matrix takes them back by Bradford, so that colours come out as by LittleCMS.
    """
    import numpy as np

    from hdrcli.color import Chromaticities, Primaries, conversion_matrix, rgb_to_xyz

    errors = {p: float(np.abs(_colorants(p) - colorants).max()) for p in Primaries}
    best = min(errors, key=errors.__getitem__)
    if errors[best] <= _COLORANT_TOLERANCE:
        return best
    rows = np.asarray(colorants)
    if adaptation is not None and abs(np.linalg.det(np.reshape(adaptation, (3, 3)))) > 1e-3:
        own = np.linalg.solve(np.reshape(adaptation, (3, 3)), np.asarray(_PCS_WHITE))
        if own.min() > 0.1 and own.max() < 3:
            # any primaries will do to bring XYZ from D50 to this white
            d50 = Primaries.PROPHOTO
            here = Chromaticities(d50.value.red, d50.value.green, d50.value.blue, _xy(own))
            rows = rows @ np.linalg.inv(rgb_to_xyz(d50)).T @ conversion_matrix(d50, here).T @ rgb_to_xyz(here).T
    if np.abs(rows.sum(axis=1)).min() < 1e-6 or abs(rows.sum()) < 1e-6:
        return None
    red, green, blue, white = (_xy(row) for row in (*rows, rows.sum(axis=0)))
    found = Chromaticities(red, green, blue, white)
    return found if found.makes_sense else None


def _xy(xyz: Floats) -> tuple[float, float]:
    total = float(xyz.sum())
    return float(xyz[0]) / total, float(xyz[1]) / total


def build(transfer: Transfer, primaries: AnyPrimaries) -> bytes:
    """A version 4 matrix profile for RGB; sRGB's curve is its formula. Raises ValueError for PQ and HLG."""
    from hdrcli.color import Primaries, Transfer

    if transfer in (Transfer.PQ, Transfer.HLG):
        raise ValueError("an ICC matrix profile can't hold an HDR transfer function")
    # what people know these two spaces by
    known = {(Transfer.SRGB, Primaries.BT709): "sRGB", (Transfer.SRGB, Primaries.DISPLAY_P3): "Display P3"}
    text = next((name for pair, name in known.items() if pair == (transfer, primaries)), None)
    text = text or f"hdrcli {primaries.label} {transfer.value}"
    curve = _curve_tag(transfer)
    tags = {
        b"desc": _text_tag(text),
        b"cprt": _text_tag("CC0"),
        b"wtpt": _xyz_tag(_D50),  # of the connection space, for a display: ICC.1:2022, 9.2.36
        b"chad": b"sf32" + bytes(4) + struct.pack(">9i", *(round(v * 65536) for v in _adaptation(primaries).ravel())),
        **{c + b"XYZ": _xyz_tag(row) for c, row in zip((b"r", b"g", b"b"), _rounded_colorants(primaries), strict=True)},
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
    head = struct.pack(">I4sI4s4s4s", start + len(body), bytes(4), 0x04400000, b"mntr", b"RGB ", b"XYZ ")
    head += struct.pack(">6H4s", 2026, 1, 1, 0, 0, 0, b"acsp") + bytes(28) + struct.pack(">3i", *_D50)
    return head + bytes(128 - len(head)) + table + body


def _text_tag(text: str) -> bytes:
    """One text in American English: ICC.1:2022, 10.15."""
    coded = text.encode("utf-16-be")
    return b"mluc" + bytes(4) + struct.pack(">II4sII", 1, 12, b"enUS", len(coded), 28) + coded


def _adaptation(primaries: AnyPrimaries) -> Floats:
    """``(3, 3)``: XYZ under the primaries' white to that under D50, by Bradford: ICC.1:2022, annex E."""
    import numpy as np

    from hdrcli.color import rgb_to_xyz

    return _colorants(primaries).T @ np.linalg.inv(rgb_to_xyz(primaries))


def _rounded_colorants(primaries: AnyPrimaries) -> list[tuple[int, ...]]:
    """In 1/65536, such that they sum to D50 exactly: else white and grey would get a tint."""
    rows = [[round(float(v) * 65536) for v in row] for row in _colorants(primaries)]
    for axis, white in enumerate(_D50):
        largest = max(rows, key=lambda row: row[axis])
        largest[axis] += white - sum(row[axis] for row in rows)
    return [tuple(row) for row in rows]


def _xyz_tag(xyz: tuple[int, ...]) -> bytes:
    return b"XYZ " + bytes(4) + struct.pack(">3i", *xyz)


def _curve_tag(transfer: Transfer) -> bytes:
    from hdrcli.color import Transfer

    if transfer is Transfer.SRGB:  # IEC 61966-2-1 as a formula of kind 3: ICC.1:2022, 10.18
        numbers = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
        return b"para" + bytes(4) + struct.pack(">HH5i", 3, 0, *(round(v * 65536) for v in numbers))
    values = [] if transfer is Transfer.LINEAR else [_GAMMAS[transfer.name]]
    return b"curv" + bytes(4) + struct.pack(f">I{len(values)}H", len(values), *values)


def interpret(icc: bytes, pixels: Pixels, *, grey: bool) -> Meaning:
    """What the numbers of an RGB or grey picture mean under its profile.

    ``pixels``: ``(H, W, 3)``, three equal channels for ``grey``. Codes come back untouched under a profile that a transfer
    function and primaries can express, else as uint16 with the sRGB curve. Floats become linear light, float32 where a curve
    changes them, in place where they are that already; values beyond 0..1 survive curves of a formula, not those of tables.
    Primaries are the profile's own or, for tables, the narrowest known ones that hold all its colours: relative colorimetric,
    with black point compensation for tables, which know no light above white. A profile that is damaged, or for other pixels,
    is noted, and what goes without one assumed: sRGB, linear Rec.709 for floats.
    """
    try:
        profile = parse(icc)
    except ValueError:
        return _as_without(pixels, "its ICC profile is damaged")
    if profile.space != "RGB" and not (grey and profile.space == "GRAY"):
        return _as_without(pixels, f"its ICC profile {profile.name!r} is for {profile.space}, not for these pixels")
    if profile.transfer is not None and profile.primaries is not None:
        return as_stated(pixels, profile.transfer, profile.primaries)
    if profile.curves and profile.primaries is not None:
        return _by_curves(pixels, profile.curves, profile.primaries, _converted_note(profile.name))
    by_tables = None
    if not profile.curves:
        by_tables = _by_grey_tables(pixels, icc, profile.name) if profile.space == "GRAY" else _by_tables(pixels, icc, profile)
    return by_tables or _as_without(pixels, f"its ICC profile {profile.name!r} can't be used")


def _as_without(pixels: Pixels, why: str) -> Meaning:
    from hdrcli.color import Primaries, Transfer

    floats = pixels.dtype.kind == "f"
    taken = f"{why}; taken as {'linear Rec.709' if floats else 'sRGB'}"
    return Meaning(pixels, Transfer.LINEAR if floats else Transfer.SRGB, Primaries.BT709, notes=(taken,))


def as_stated(pixels: Pixels, curve: Transfer | float, primaries: AnyPrimaries) -> Meaning:
    """What ``(H, W, 3)`` mean whose curve (a known one, or the power of codes that light is) and primaries the file names.

    Codes stay as they are under a known curve, under a power they become uint16 with the sRGB curve. Floats become linear light
    as by :func:`interpret`; PQ ends at its largest code, 10000 cd/m2.
    """
    from hdrcli.color import Transfer, decode

    if not isinstance(curve, Transfer):
        return _by_curves(pixels, (_power(curve),), primaries, f"converted from its gamma of {curve:.4g}")
    if pixels.dtype.kind != "f" or curve is Transfer.LINEAR:
        return Meaning(pixels, curve, primaries)
    pq = curve is Transfer.PQ
    light = _by_curves(
        pixels,
        # beyond 1 PQ's formula soon has no value
        (lambda x: decode(x.clip(0, 1) if pq else x, curve),),
        primaries,
        f"decoded from {_LABELS[curve.name]} to linear light",
    )
    return replace(light, white_luminance=10000.0 if pq else None)


def from_cmyk(pixels: Pixels, icc: bytes) -> Meaning:
    """What ``(H, W, 4)`` uint8 or uint16 amounts of ink (0: none, largest code: full) look like under their profile.

    uint16 codes with the sRGB curve in the narrowest known primaries that hold all its colours; relative colorimetric with
    black point compensation, so that paper white is the largest code. Raises UnsupportedInput for a profile that is not for
    CMYK or can't be used.
    """
    try:
        profile = parse(icc)
    except ValueError:
        raise UnsupportedInput("is in CMYK, and its ICC profile is damaged", remedy=_REMEDY_CMYK) from None
    if profile.space != "CMYK":
        raise UnsupportedInput(f"is in CMYK, but its ICC profile {profile.name!r} is for {profile.space}", remedy=_REMEDY_CMYK)
    meaning = _by_tables(pixels, icc, profile)
    if meaning is None:
        raise UnsupportedInput(f"is in CMYK, and its ICC profile {profile.name!r} can't be used", remedy=_REMEDY_CMYK)
    return replace(meaning, stored=None)  # amounts of ink are no codes of light


def _by_curves(pixels: Pixels, curves: tuple[Curve, ...], primaries: AnyPrimaries, note: str) -> Meaning:
    """Through one curve, or one a channel."""
    import numpy as np

    from hdrcli.color import Transfer
    from hdrcli.image import look_up

    channels = curves * (3 // len(curves))
    if pixels.dtype.kind == "f":
        ends = any(curve(np.array([1.5])) == curve(np.array([1.0])) for curve in set(curves))
        note += _CUT if ends and pixels.max() > 1 else ""

        def linear(strip: Pixels) -> Pixels:
            light = np.empty(strip.shape, np.float32)
            for i, curve in enumerate(channels):
                light[..., i] = curve(strip[..., i].astype(np.float64))
            return light

        return Meaning(_in_strips(linear, pixels, np.float32), Transfer.LINEAR, primaries, notes=(note,))
    read = {curve: _code_table(curve, np.iinfo(pixels.dtype).max + 1) for curve in set(curves)}
    tables = [read[curve] for curve in channels]

    def codes(strip: Pixels) -> Pixels:
        if len(read) == 1:
            return look_up(tables[0], strip)
        return np.stack([look_up(table, strip[..., i]) for i, table in enumerate(tables)], axis=-1)

    return Meaning(_in_strips(codes, pixels, np.uint16), Transfer.SRGB, primaries, pixels, (note,))


def _code_table(curve: Curve, codes: int) -> NDArray[np.uint16]:
    """For each code through the curve: the 16-bit sRGB code of the same light."""
    import numpy as np

    with np.errstate(all="ignore"):
        linear = np.nan_to_num(curve(np.arange(codes) / (codes - 1))).clip(0, 1)
    if linear[-1] >= 1 - _CURVE_TOLERANCE:  # a parametric curve whose rounded numbers miss white by a hair
        linear /= linear[-1]
    return _srgb_codes(linear)


def _by_grey_tables(pixels: Pixels, icc: bytes, name: str) -> Meaning | None:
    """Grey through tables: one curve, the luminance of what LittleCMS makes of all codes."""
    import numpy as np

    from hdrcli.color import Primaries

    ramp = _to_xyz(np.arange(1 << 16, dtype=np.uint16)[None], icc, "gray", np.float64)
    if ramp is None or not np.isfinite(ramp).all():
        return None
    places, light = np.linspace(0, 1, 1 << 16), ramp[0, :, 1]
    return _by_curves(pixels, (lambda x: np.interp(x, places, light),), Primaries.BT709, _converted_note(name))


def _by_tables(pixels: Pixels, icc: bytes, profile: Profile) -> Meaning | None:
    """RGB or CMYK through LittleCMS; None if it refuses the profile."""
    import numpy as np

    from hdrcli.color import Transfer

    space = profile.space.lower()
    steps = np.linspace(0, 65535, 17 if space == "rgb" else 9).astype(np.uint16)
    device = np.stack(np.meshgrid(*[steps] * len(space), indexing="ij"), axis=-1).reshape(1, -1, len(space))
    gamut = _to_xyz(device, icc, space, np.float64)
    if gamut is None or not np.isfinite(gamut).all():
        return None
    primaries, cut = _narrowest(gamut[0])
    matrix = _from_xyz(primaries).astype(np.float32)
    floats = pixels.dtype.kind == "f"

    def convert(strip: Pixels) -> Pixels:
        xyz = _to_xyz(strip.astype(np.float32) if floats else strip, icc, space, np.float32)
        if xyz is None:  # it took the profile a moment ago
            raise UnsupportedInput(f"can't be converted by its ICC profile {profile.name!r}")
        light = xyz @ matrix
        _make_grey_exact(light)
        return light if floats else _srgb_codes(light)

    note = f"converted from CMYK by its ICC profile {profile.name!r}" if space == "cmyk" else _converted_note(profile.name)
    if cut:
        note += f"; colours beyond {primaries.label} are cut"
    if floats:
        note += _CUT if pixels.max() > 1 else ""
        return Meaning(_in_strips(convert, pixels, np.float32), Transfer.LINEAR, primaries, notes=(note,))
    return Meaning(_in_strips(convert, pixels, np.uint16), Transfer.SRGB, primaries, pixels, (note,))


def _converted_note(name: str) -> str:
    return f"converted from its ICC profile {name!r}"


def _make_grey_exact(light: NDArray[np.float32]) -> None:
    """Three channels that single precision set apart become one again."""
    import numpy as np

    red, green, blue = (light[..., i] for i in range(3))
    limit = 3e-6 * np.abs(green) + 3e-8
    grey = (np.abs(red - green) <= limit) & (np.abs(blue - green) <= limit)
    np.copyto(red, green, where=grey)
    np.copyto(blue, green, where=grey)


def _srgb_codes(light: NDArray[Any]) -> NDArray[np.uint16]:
    """Linear light to 16-bit codes, rounded; beyond 0..1 is cut."""
    import numpy as np

    from hdrcli.color import Transfer, encode

    return np.asarray(np.rint(encode(np.clip(light, 0, 1), Transfer.SRGB) * 65535), np.uint16)


def _narrowest(xyz: Floats) -> tuple[Primaries, bool]:
    """The first of known primaries, narrow to wide, that hold all colours (``(N, 3)`` XYZ relative to D50); are any cut?"""
    from hdrcli.color import Primaries

    narrow_to_wide = ("BT709", "DISPLAY_P3", "ADOBE_RGB", "BT2020", "PROPHOTO", "ACES2065")
    for primaries in (Primaries[name] for name in narrow_to_wide):
        light = xyz @ _from_xyz(primaries)
        if light.min() >= -_CUT_BELOW and light.max() <= 1 + _CUT_ABOVE:
            return primaries, False
    return Primaries.ACES2065, True


def _from_xyz(primaries: Primaries) -> Floats:
    """``(3, 3)``: XYZ relative to D50, as a row, times this gives linear light; D50 itself gives 1, 1, 1."""
    import numpy as np

    colorants = _colorants(primaries)
    return np.linalg.inv(colorants / colorants.sum(axis=0) * _PCS_WHITE)


def _to_xyz(pixels: Pixels, icc: bytes, space: str, dtype: Any) -> Pixels | None:
    """``(H, W, 3) dtype``: the XYZ relative to D50 that LittleCMS makes of ``(H, W[, C])``; None if it refuses the profile.

    Floats, and no profile's rounded primaries behind them: those would move dark channels by several 16-bit codes.
    """
    import imagecodecs
    import numpy as np

    try:
        out = imagecodecs.cms_transform(
            np.ascontiguousarray(pixels),
            icc,
            imagecodecs.cms_profile("xyz"),
            colorspace=space,
            planar=False,
            outcolorspace="xyz",
            outdtype=np.dtype(dtype).name,
            intent=_RELATIVE_COLORIMETRIC,
            flags=_FLAGS,
        )
    except imagecodecs.CmsError:
        return None
    return np.asarray(out)


def _in_strips(convert: Callable[[Pixels], Pixels], pixels: Pixels, dtype: Any) -> Pixels:
    """``(H, W, 3) dtype`` of ``(H, W, C)``: row strips in threads, for bounded memory. Arrays' own code holds no lock.

    Float32 in place, where it may be. Floats stay finite: what has no value is 0, what is beyond the type its largest number.
    """
    import numpy as np

    from hdrcli.parallel import each

    height, width = pixels.shape[:2]
    floats = dtype == np.float32
    out = pixels if floats and pixels.dtype == dtype and pixels.flags.writeable else np.empty((height, width, 3), dtype)
    rows = max(1, _STRIP // width)

    def work(start: int) -> None:
        with np.errstate(all="ignore"):
            part = convert(pixels[start : start + rows])
        out[start : start + rows] = np.nan_to_num(part, copy=False) if floats else part

    each(work, range(0, height, rows))
    return out
