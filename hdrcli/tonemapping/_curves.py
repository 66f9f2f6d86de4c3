"""Curves as tables over the bits of float32, so that what a curve costs does not depend on its formula.

The upper 16 bits of a float32 >= 0 behind the sign, its exponent and 8 bits of its mantissa, are an integer that grows with it:
256 nodes lie evenly within each octave, and the bits that remain say how far it is to the next one. Between nodes a table is
linear: for curves that are smooth over an octave the error is below 1e-5 of the value.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from hdrcli.color import AnyPrimaries
    from hdrcli.tonemapping import Scene

    Floats = NDArray[np.float32]

_SHIFT = 15
_NODES = 1 << 16
LOWEST, HIGHEST = 2.0**-40, 2.0**42  # beyond: as there


@dataclass(frozen=True, eq=False)
class Table:
    """``values``: at the nodes; ``steps``: from each to the next; both ``(65536,) float32``."""

    values: Floats = field(repr=False)
    steps: Floats = field(repr=False)

    def __call__(self, x: NDArray[Any]) -> Floats:
        """The curve at ``x`` float32 >= 0, not NaN, any shape. The same for a value wherever it stands in the array."""
        import numpy as np

        bits = np.ascontiguousarray(x, dtype=np.float32).view(np.int32)
        node = (bits >> _SHIFT).astype(np.uint16)
        result: Floats = (bits & ((1 << _SHIFT) - 1)).astype(np.float32)
        result *= looked_up(self.steps, node)
        result += looked_up(self.values, node)
        return result


def tabulated(curve: Callable[[NDArray[Any]], NDArray[Any]]) -> Table:
    """A table of a function of light, which is asked for float64 arrays of LOWEST..HIGHEST, ascending."""
    import numpy as np

    nodes = (np.arange(_NODES, dtype=np.int32) << _SHIFT).view(np.float32)
    low, high = np.searchsorted(nodes[: 255 << 8], (LOWEST, HIGHEST))
    values = np.empty(_NODES)
    values[low : high + 1] = curve(nodes[low : high + 1].astype(np.float64))
    values[:low], values[high:] = values[low], values[high]
    steps = np.append(np.diff(values), 0) / (1 << _SHIFT)
    return Table(values.astype(np.float32), steps.astype(np.float32))


def steadied_table(scene: Scene, name: str, table: Table) -> Table:
    """The mean of this curve and those of the frames before, as a sequence smooths it; of a single picture: itself."""
    if scene.steady is None:
        return table
    return Table(scene.steady(name, table.values), scene.steady(f"{name}, steps", table.steps))


def looked_up(table: NDArray[Any], codes: NDArray[np.uint16]) -> NDArray[Any]:
    """``table[codes]``: 65536 entries, any shape; through OpenCV 5, four times faster than NumPy, which older ones can't."""
    import cv2
    import numpy as np

    if codes.size == 0 or int(cv2.__version__.partition(".")[0]) < 5:
        return np.asarray(table[codes])
    return np.asarray(cv2.LUT(codes.reshape(1, -1), table)).reshape(codes.shape)


@dataclass(frozen=True, eq=False)
class LuminanceCurve:
    """State of operators that map luminance alone: ``gain``, display luminance by luminance; ``saturation``, an exponent.

    ``primaries``: of the light; None: Rec.709.
    """

    gain: Table
    saturation: float = 1.0
    primaries: AnyPrimaries | None = None


def luminance_curve(
    curve: Callable[[NDArray[Any]], NDArray[Any]], saturation: float = 1.0, primaries: AnyPrimaries | None = None
) -> LuminanceCurve:
    """From a function of luminance to display luminance, of float64 arrays; what it gives is clipped to [0, 1]."""
    import numpy as np

    return LuminanceCurve(tabulated(lambda y: np.clip(curve(y), 0, 1) / y), saturation, primaries)


def apply_luminance(light: NDArray[Any], state: LuminanceCurve, first: int = 0) -> Floats:
    """``apply`` of such operators: luminance through the curve, colour kept; black stays black."""
    import numpy as np

    from hdrcli.tonemapping._color import into_gamut, luminance, multiplied, recoloured

    y = luminance(light, state.primaries)
    gain = state.gain(y)
    display = np.minimum(y * gain, 1)
    if state.saturation == 1:
        return into_gamut(multiplied(light, gain), display)
    return recoloured(light, y, display, state.saturation, state.primaries)


def srgb_codes(display: NDArray[Any], bits: int = 8) -> NDArray[Any]:
    """Display-linear light to sRGB codes, rounded to nearest: any shape, uint8 or (``bits`` 16) uint16; clipped to [0, 1].

    Codes of 8 bit come from a table over light in steps of 1/65535, half of which sRGB's steepest part makes 0.025 codes.
    """
    import numpy as np

    from hdrcli.color import Transfer, encode

    display = np.clip(display, 0, 1)
    if bits == 16:
        return np.rint(encode(display, Transfer.SRGB) * np.float32(65535)).astype(np.uint16)
    display *= np.float32(65535)
    return looked_up(_codes_of_light(), display.astype(np.uint16))


@lru_cache(maxsize=1)
def _codes_of_light() -> NDArray[np.uint8]:
    """Of light from i / 65535 to the next."""
    import numpy as np

    from hdrcli.color import Transfer, encode

    light = np.minimum((np.arange(65536) + 0.5) / 65535, 1)
    codes: NDArray[np.uint8] = np.rint(encode(light, Transfer.SRGB) * 255).astype(np.uint8)
    return codes
