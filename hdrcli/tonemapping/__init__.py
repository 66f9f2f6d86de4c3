"""Classical tone-mapping operators (HDR -> LDR), one file each.

An operator module has

* ``SUMMARY``: one line, with the paper; ``LOCAL``: True where what a pixel becomes depends on its surroundings;
* ``WHITE``, where it can be told what is shown as white (``Scene.white``): the parameter that this stands in for, or "";
* a frozen dataclass ``Parameters``: its options on the command line, checked when made;
* ``prepare(scene, parameters) -> state``: whatever needs the whole picture, a :class:`Scene`;
* ``apply(light, state, first) -> display``: rows of the picture from ``first`` on, ``(n, W, 3) float32`` scene-linear, >= 0,
  1 = LDR white, to display-linear in [0, 1]; both Rec.709, or of ``scene.primaries``, which the state then knows.

``apply`` is called for strips of rows in all threads at once, and strips equal the whole: global operators to the last bit.
``light`` is the scene's times ``scene.exposure``, so that statistics are those of the scene as it is: automatic exposure would
undo an exposure that the user asked for. Scalar statistics go through ``scene.steady``, which smooths them from frame to frame
of a sequence. No statistic depends on one pixel by default; where a paper divides by the largest or smallest luminance,
``normalise=max`` does so.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from hdrcli.color import AnyPrimaries

T = TypeVar("T")

SAMPLE_PIXELS = 1 << 18  # at least, where the picture has as many
STRIP_PIXELS = 1 << 16  # of a strip: its temporaries stay in the cache, and the C library keeps their memory between strips


@dataclass(frozen=True, eq=False)
class Scene:
    """The picture that an operator prepares for: scene-linear, >= 0, finite, 1 = LDR white.

    ``sample``: ``(h, w, 3) float32``, every n-th pixel of every n-th row: some 512 rows of it. ``height``, ``width``: of the
    whole. ``read``: some rows of the whole, ``(n, W, 3) float32``. ``exposure``: factor from all these to what ``apply`` gets.
    ``primaries``: of the light; None: Rec.709. ``white``: luminance, of what ``apply`` gets, that operators with WHITE show as
    white; None: as they find it. ``steady``: of a sequence's frame: a statistic's name and logarithm to the one to use.
    """

    sample: NDArray[np.float32] = field(repr=False)
    height: int
    width: int
    read: Callable[[slice], NDArray[np.float32]] = field(repr=False)
    exposure: float = 1.0
    primaries: AnyPrimaries | None = None
    white: float | None = None
    steady: Callable[[str, Any], Any] | None = None

    @classmethod
    def of(
        cls,
        read: Callable[[slice], NDArray[np.float32]],
        height: int,
        width: int,
        exposure: float = 1.0,
        primaries: AnyPrimaries | None = None,
    ) -> Scene:
        """With the sample taken from ``read``, which is also asked for slices with a step."""
        import math

        step = max(1, math.isqrt(height * width // SAMPLE_PIXELS))
        top, left = min(step, height) // 2, min(step, width) // 2
        return cls(read(slice(top, None, step))[:, left::step].copy(), height, width, read, exposure, primaries)

    @classmethod
    def whole(cls, light: NDArray[Any], exposure: float = 1.0) -> Scene:
        """A picture that lies in memory, ``(H, W, 3) float32``."""
        return cls.of(lambda rows: light[rows], light.shape[0], light.shape[1], exposure)

    def rows(self, part: slice) -> NDArray[np.float32]:
        """Some rows at full resolution, ``(n, W, 3) float32``."""
        return self.read(part)

    def strips(self, rows: int | None = None) -> list[slice]:
        """Slices that cover all rows, each of ``rows`` or of about STRIP_PIXELS."""
        count = max(1, STRIP_PIXELS // self.width) if rows is None else rows
        return [slice(first, min(first + count, self.height)) for first in range(0, self.height, count)]

    def over(self, look: Callable[[NDArray[np.float32]], T]) -> list[T]:
        """What ``look`` says of each strip of the whole, in order; by all threads."""
        from hdrcli.parallel import in_turn

        return list(in_turn(lambda part: look(self.read(part)), self.strips()))

    def luminance(self, dtype: Any = None) -> NDArray[Any]:
        """``(H, W)``, float32 unless said otherwise; made in strips by all threads, not kept."""
        import numpy as np

        from hdrcli.parallel import each
        from hdrcli.tonemapping._color import luminance

        out = np.empty((self.height, self.width), np.float32 if dtype is None else dtype)

        def work(part: slice) -> None:
            out[part] = luminance(self.read(part), self.primaries)

        each(work, self.strips())
        return out
