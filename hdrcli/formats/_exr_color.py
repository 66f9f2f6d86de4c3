"""What OpenEXR pictures say of their colours, and linear RGB out of those that are encoded or CIE XYZ.

Source: openexr.com, "Standard Attributes" (chromaticities, colorInteropID); ASWF Color Interop Forum, "Color Space Encodings
for Texture Assets and CG Rendering" and "Color Spaces for Display": an identifier is curve_space_scene or curve_space_display.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hdrcli.color import AnyPrimaries, Chromaticities, Primaries, Transfer, named_primaries

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from hdrcli.formats._exr_header import Part
    from hdrcli.image import Pixels

# a number: light is the code to this power
_CURVES: dict[str, Transfer | float] = {
    "lin": Transfer.LINEAR,
    "srgb": Transfer.SRGB,
    "srgbx": Transfer.SRGB,  # goes on beyond 0 and 1
    "g18": 1.8,
    "g22": 2.2,
    "g24": 2.4,
    "g26": 2.6,
    "pq": Transfer.PQ,
    "hlg": Transfer.HLG,
}
_SPACES: dict[str, Primaries | None] = {
    "rec709": Primaries.BT709,
    "p3d65": Primaries.DISPLAY_P3,
    "rec2020": Primaries.BT2020,
    "adobergb": Primaries.ADOBE_RGB,
    "ap0": Primaries.ACES2065,
    "ap1": Primaries.ACESCG,
    "ciexyzd65": None,
    "xyzd65": None,
}
_ADOBE_RGB_EXPONENT = 563 / 256  # Adobe RGB (1998), 4.3.4.2
_PQ_PEAK = 10000.0  # SMPTE ST 2084: code 1
_XYZ = (1.0, 0.0, 0.0, 1.0, 0.0, 0.0)  # chromaticities of red, green and blue where they are X, Y and Z
_SAYS_NOTHING = (None, "", "unknown", "data")


@dataclass(frozen=True)
class Colour:
    """What the numbers of a picture mean.

    ``curve``: how they encode light, a number for the power that decodes. ``xyz``: they are CIE XYZ; ``primaries`` are then
    those that :meth:`to_linear` gives. ``white_luminance``: cd/m2 of 1.0 in linear light, where the encoding says it.
    """

    primaries: AnyPrimaries
    curve: Transfer | float = Transfer.LINEAR
    xyz: bool = False
    notes: tuple[str, ...] = ()

    @property
    def is_linear_rgb(self) -> bool:
        """Is there nothing to do for :meth:`to_linear`?"""
        return self.curve is Transfer.LINEAR and not self.xyz

    @property
    def white_luminance(self) -> float | None:
        """cd/m2 that 1.0 stands for once decoded; None: unknown."""
        return _PQ_PEAK if self.curve is Transfer.PQ else None

    def to_linear(self, codes: Pixels) -> NDArray[np.float32]:
        """Linear RGB, ``(H, W, 3) float32``, from the file's finite numbers of that shape; out of range may become infinite."""
        import numpy as np

        from hdrcli.color import decode, rgb_to_xyz

        light = codes.astype(np.float32)
        with np.errstate(over="ignore", invalid="ignore"):
            if isinstance(self.curve, float):
                light = np.copysign(np.abs(light) ** np.float32(self.curve), light)
            elif self.curve is Transfer.PQ:  # has no meaning beyond 1
                light = decode(np.clip(light, 0, 1), self.curve)
            elif self.curve is not Transfer.LINEAR:
                light = decode(light, self.curve)
            if self.xyz:
                matrix = np.linalg.inv(rgb_to_xyz(self.primaries)).astype(np.float32)
                light = np.stack(
                    [light[..., 0] * row[0] + light[..., 1] * row[1] + light[..., 2] * row[2] for row in matrix], -1
                )
        return light


def colour_of(part: Part) -> Colour:
    """What a part says of its colours; linear Rec.709 where it says nothing or nonsense, the latter with a note."""
    interop = part.texts().get("colorInteropID")
    # "for most purposes, this attribute [chromaticities] has now been superseded by the colorInteropID"
    named = None if interop is None else _named(interop)
    if named is not None:
        return named
    numbers = part.numbers("chromaticities", "chromaticities", 8)
    if numbers is None:
        notes = () if interop in _SAYS_NOTHING else (f"color space {interop!r} is not known; taken as linear Rec.709",)
        return Colour(Primaries.BT709, notes=notes)
    if not numbers:
        return Colour(Primaries.BT709, notes=("chromaticities of an unknown kind; taken as Rec.709",))
    if numbers[:6] == _XYZ:
        return Colour(Primaries.BT709, xyz=True, notes=("holds CIE XYZ; converted to Rec.709",))
    rx, ry, gx, gy, bx, by, wx, wy = (float(v) for v in numbers)
    found = named_primaries(Chromaticities((rx, ry), (gx, gy), (bx, by), (wx, wy)))
    if found is not None:
        return Colour(found)
    listed = " ".join(f"{float(v):.4g}" for v in numbers)
    return Colour(Primaries.BT709, notes=(f"chromaticities that make no sense ({listed}); taken as Rec.709",))


def _named(interop: str) -> Colour | None:
    """The colour of an identifier; None for one that is none."""
    curve_name, _, rest = interop.partition("_")
    space, _, referred = rest.partition("_")
    if curve_name not in _CURVES or space not in _SPACES or referred not in ("scene", "display"):
        return None
    curve, primaries = _CURVES[curve_name], _SPACES[space]
    if curve == 2.2 and primaries is Primaries.ADOBE_RGB:
        curve = _ADOBE_RGB_EXPONENT
    notes: tuple[str, ...] = ()
    if curve is not Transfer.LINEAR:
        notes += (f"is encoded ({interop}); decoded to linear light",)
    if primaries is None:
        notes += ("holds CIE XYZ; converted to Rec.709",)
    return Colour(primaries or Primaries.BT709, curve, primaries is None, notes)
