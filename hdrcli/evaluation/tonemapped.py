"""How LDR pictures are scored: against LDR references by their codes, against HDR ones by TMQI."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdrcli.color import Primaries, Transfer, converted, decode, encode
from hdrcli.errors import MismatchError, Unavailable
from hdrcli.evaluation.protocols import Outcome, Value
from hdrcli.evaluation.protocols._lines import line
from hdrcli.evaluation.protocols._scores import missing, value
from hdrcli.image import Image, as_unit_float
from hdrcli.metrics import Score, Viewing
from hdrcli.metrics.psnr import psnr
from hdrcli.metrics.ssim import ssim
from hdrcli.metrics.tmqi import TONEMAP_SCORES, tmqi

CODES, TMQI = "codes", "tmqi"
PEAK = 255.0


def _psnr(test: NDArray[Any], reference: NDArray[Any], viewing: Viewing) -> float:
    return psnr(test, reference, PEAK)


def _ssim(test: NDArray[Any], reference: NDArray[Any], viewing: Viewing) -> float:
    return ssim(test, reference, peak=PEAK, variant="wang")


SCORES = {
    CODES: (
        Score("psnr_codes", "PSNR of sRGB codes, peak 255", "dB", "higher", "10 log10(255^2 / MSE)", _psnr),
        Score(
            "ssim_codes_wang", "SSIM (wang, L = 255) of sRGB codes, mean of R, G and B", "", "higher", "Wang et al. 2004", _ssim
        ),
    ),
    TMQI: TONEMAP_SCORES,
}
SUMMARIES = {CODES: "PSNR and SSIM of sRGB codes, against LDR references", TMQI: "TMQI, against HDR references"}


def codes_of(image: Image) -> NDArray[np.float32]:
    """sRGB codes of BT.709 primaries in 0..255: ``(H, W, 3) float32``; 16-bit codes keep their fractions.

    Raises MismatchError for HDR.
    """
    if image.is_hdr or image.pixels.dtype.kind != "u" or image.transfer in (Transfer.PQ, Transfer.HLG):
        raise MismatchError("is HDR, LDR is expected here", remedy="leave out --task tonemap, or tone-map it first")
    units = as_unit_float(image.pixels)
    if image.transfer is not Transfer.SRGB or image.primaries is not Primaries.BT709:
        light = converted(decode(units, image.transfer), image.primaries, Primaries.BT709)
        units = np.clip(encode(np.maximum(light, 0), Transfer.SRGB), 0, 1)
    return units * np.float32(PEAK)


def against_codes(test: NDArray[Any], reference: NDArray[Any], viewing: Viewing) -> Outcome:
    """Two pictures of codes 0..255, ``(H, W, 3)``; the outcome's pictures are codes as well."""
    scores: dict[str, Value] = {s.name: value(partial(s.compute, test, reference, viewing)) for s in SCORES[CODES]}
    cited = line("tonemap codes", "sRGB codes 0..255 of BT.709", "PSNR peak 255, pooled RGB", "SSIM wang L 255, mean of RGB")
    return Outcome(scores, {}, cited, test, reference)


def against_light(test: NDArray[Any], reference: NDArray[Any]) -> Outcome:
    """Codes 0..255 against linear light of any scale, both ``(H, W, 3)``."""
    cited = line("tonemap tmqi", "TMQI release 1.0, centred deviations", "sRGB codes 0..255 of BT.709 against linear light")
    try:
        found = tmqi(reference, test)
    except Unavailable as error:
        return Outcome(missing([s.name for s in SCORES[TMQI]], error), {}, cited, test, reference)
    facts = {"tmqi_s_local": list(found.s_local), "contrast_inverted": found.inverted}
    return Outcome({"tmqi": found.q, "tmqi_s": found.s, "tmqi_n": found.n}, facts, cited, test, reference)


def light_of(codes: NDArray[Any]) -> NDArray[np.float32]:
    """Codes 0..255 as linear light, 1 = white."""
    return np.asarray(decode(np.asarray(codes / np.float32(PEAK), np.float32), Transfer.SRGB), np.float32)


def as_integers(codes: NDArray[Any]) -> NDArray[np.uint16]:
    """Codes 0..255 as 16-bit codes."""
    return np.asarray(np.rint(codes * np.float32(65535 / PEAK)), np.uint16)
