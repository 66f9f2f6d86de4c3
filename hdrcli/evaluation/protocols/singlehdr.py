"""SingleHDR (Liu et al. 2020): both pictures normalised by their own order statistics, then HDR-VDP-2.2's Q.

The few lines of MATLAB are in issue 4 of the authors' repository. The paper's PSNR, SSIM and LPIPS follow a commercial tone
mapper and can't be computed again, so there is one score. HDR-cGAN's SingleHDR rows agree with this protocol.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdrcli.errors import Unavailable
from hdrcli.evaluation.alignment import in_type
from hdrcli.evaluation.protocols import Outcome, Pair
from hdrcli.evaluation.protocols._lines import line, number
from hdrcli.evaluation.protocols._scores import Precision, check, hdrvdp22_q, unaligned, value

SUMMARY = "HDR-VDP-2.2 after normalising each picture by its 0.1 % order statistics (SingleHDR)"
SOURCE = "Liu et al. 2020, arXiv 2004.01179; issues 4 and 23 of alex04072000/SingleHDR"

_Q = "hdrvdp22_Q"


@dataclass(frozen=True)
class Options:
    """``precision``: of HDR-VDP-2.2."""

    precision: Precision = "float32"


def run(pair: Pair, options: Options) -> Outcome:
    """``hdrvdp22_Q``, missing for constant images.

    Facts: ``k``; ``a_test``, ``b_test``, ``a_ref``, ``b_ref``: the k-th smallest and largest samples; ``note`` where the
    picture is too small for the original. Raises MismatchError for pictures of different sizes, Unavailable for samples that
    are not finite.
    """
    check(pair)
    cited = line(
        "singlehdr",
        "each picture's k-th smallest and largest sample (pooled RGB, k = round(samples / 1000)) mapped to 1/999",
        "below 0 to 0",
        f"HDR-VDP-2.2 rgb-bt.709 {number(pair.viewing.ppd)} ppd {options.precision}",
    )
    k = pair.test.size // 1000 + (pair.test.size % 1000 >= 500)  # halves away from zero, as MATLAB rounds
    facts: dict[str, Any] = {"k": max(k, 1), "ppd": pair.viewing.ppd, "white_nits": pair.white_nits}
    if k == 0:
        facts["note"] = "fewer than 500 samples: k = 1, where the original fails"
    try:
        test, facts["a_test"], facts["b_test"] = normalised(pair.test, max(k, 1), "test")
        reference, facts["a_ref"], facts["b_ref"] = normalised(pair.reference, max(k, 1), "reference")
    except Unavailable as error:
        return unaligned(pair, (_Q,), error, cited, facts)
    for name, picture in (("test", test), ("ref", reference)):
        facts[f"{name}_norm_mean"] = float(picture.mean(dtype=np.float64))
        facts[f"{name}_norm_max"] = float(picture.max())
    scores = {_Q: value(lambda: hdrvdp22_q(test, reference, pair.viewing, options.precision))}
    return Outcome(scores, facts, cited, test, reference)


def normalised(picture: NDArray[Any], k: int, name: str) -> tuple[NDArray[Any], float, float]:
    """max(998 (x - a) / (b - a + 1e-8) + 1, 0), a and b the k-th smallest and largest samples; and a and b.

    Any shape, the same type. Raises Unavailable, with the picture's ``name``, if a = b.
    """
    ordered = np.partition(picture.ravel(), (k - 1, picture.size - k))
    a, b = float(ordered[k - 1]), float(ordered[picture.size - k])
    if not b > a:
        raise Unavailable(f"the {name} is a constant image but for 0.1 % of its samples at either end")
    moved = np.maximum(998 * (np.asarray(picture, np.float64) - a) / (b - a + 1e-8) + 1, 0)
    return in_type(moved, picture.dtype), a, b
