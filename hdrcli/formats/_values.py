"""What a file can't or shall not hold: NaN, infinity, too large values, too many pixels. One policy for all formats."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[Any]

MAX_PIXELS = 400_000_000  # what a header may promise; more is refused before memory is asked for


@dataclass(frozen=True)
class Odd:
    """How many values were NaN, infinite, or finite but outside the range."""

    nan: int = 0
    infinite: int = 0
    above: int = 0
    below: int = 0

    def __add__(self, other: Odd) -> Odd:
        nan, infinite = self.nan + other.nan, self.infinite + other.infinite
        return Odd(nan, infinite, self.above + other.above, self.below + other.below)

    def remarks(self, verb: str, *, largest: float, remedy: str = "") -> tuple[str, ...]:
        """One line a kind, such as ``3 NaN values written as 0``."""
        limit = f"{largest:.6g}"
        lines = (
            (self.nan, f"NaN {_values(self.nan)} {verb} as 0"),
            (self.infinite, f"infinite {_values(self.infinite)} {verb} as the largest of the format ({limit})"),
            (self.above, f"{_values(self.above)} beyond {limit} {verb} as {limit}{remedy}"),
            (self.below, f"negative {_values(self.below)} {verb} as 0"),
        )
        return tuple(f"{count} {text}" for count, text in lines if count)


def _values(count: int) -> str:
    return "value" if count == 1 else "values"


def within(values: Floats, largest: float, smallest: float) -> bool:
    """Are all values finite and in ``smallest .. largest``? Two cheap passes, no temporary array."""
    import numpy as np

    if values.dtype == np.float16 and largest >= 65504 and smallest <= -65504 and values.flags.c_contiguous:
        # Half floats order like their bits: from 0x7C00 on stands inf or NaN; float16 comparisons are 40x slower.
        positive = int(values.view(np.int16).max())
        return positive < 0x7C00 and int(values.view(np.uint16).max()) < 0xFC00
    with np.errstate(invalid="ignore"):
        return bool(values.max() <= largest) and bool(values.min() >= smallest)


def bounded(values: Floats, largest: float, smallest: float) -> tuple[Floats, Odd]:
    """Finite values in ``smallest .. largest``, in the type that came in, and a count of what was changed.

    NaN becomes 0, +inf ``largest``, -inf ``smallest``; finite values are clamped. An array with nothing to change comes
    back as it is.
    """
    import numpy as np

    if within(values, largest, smallest):
        return values, Odd()
    out = values.reshape(-1).copy()
    counts = [0, 0, 0, 0]
    for start in range(0, out.size, 1 << 22):  # strips bound the memory of the masks
        part = out[start : start + (1 << 22)]
        nan, infinite = np.isnan(part), np.isinf(part)
        part[nan] = 0
        above, below = part > largest, part < smallest
        part[above], part[below] = largest, smallest
        for i, mask in enumerate((nan, infinite, above & ~infinite, below & ~infinite)):
            counts[i] += int(np.count_nonzero(mask))
    return out.reshape(values.shape), Odd(*counts)
