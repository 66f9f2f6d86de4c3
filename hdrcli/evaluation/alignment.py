"""Ways to bring a reconstruction to a reference's scale before they are compared: what ``--align`` names.

Every function takes ``(test, reference)``, both ``(H, W, 3)`` float, linear RGB with BT.709 primaries, finite, of one shape,
and gives ``(aligned test, aligned reference, facts)``: new arrays, float32 if both came so and else float64, or the ones it
was given where nothing changes; ``facts`` holds the numbers that a report must tell. The arithmetic is in float64. Each raises
:class:`Unavailable`, with the reason, where it is not defined, as for constant images.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdrcli.errors import Unavailable
from hdrcli.metrics._encodings import Floats, luminance709, percentile, pq_short_decode, pq_short_encode
from hdrcli.metrics._pairs import strips
from hdrcli.parallel import in_turn

Pixels = NDArray[Any]
Alignment = Callable[[Pixels, Pixels], tuple[Pixels, Pixels, dict[str, Any]]]

FLOOR = 0.005  # cd/m2, the lower end of PU21; the toolbox's correction also applies it to chromaticities

# The toolbox pu21, crf_correction: linear BT.709 to XYZ, with its digits
_XYZ = np.array([[0.412424, 0.357579, 0.180464], [0.212656, 0.715158, 0.072186], [0.019332, 0.119193, 0.950444]])
_RGB = np.linalg.inv(_XYZ)
_XYZ_MIN, _XYZ_MAX = 1e-4, 1e8  # what X, Y and Z are clamped to
_CHROMATICITY_GAIN = 410 / 255  # as CIE 1976 u'v' are coded in 8 bits
_RIDGE = 0.01
_POLE = 1.99  # short PQ codes from here on stand for no real light: they become _XYZ_MAX
_STANDARD_MEDIAN = 500.0  # of all samples, in the toolbox's option "normalised"
_RANK_TOLERANCE = 1e-13  # of singular values, to the largest: below is rounding


def none(test: Pixels, reference: Pixels) -> tuple[Pixels, Pixels, dict[str, Any]]:
    """Nothing: the pictures as they are."""
    return test, reference, {}


def maximum(test: Pixels, reference: Pixels) -> tuple[Pixels, Pixels, dict[str, Any]]:
    """One gain that makes the test's largest sample the reference's. Facts: ``gain``.

    Raises Unavailable if either has no positive sample.
    """
    peaks = float(np.max(test)), float(np.max(reference))
    for name, peak in zip(("test", "reference"), peaks, strict=True):
        if not peak > 0:
            raise Unavailable(f"the {name} has no positive sample: there is no maximum to scale by")
    gain = peaks[1] / peaks[0]
    return _scaled(test, reference, gain), reference, {"gain": gain}


def percentiles(test: Pixels, reference: Pixels) -> tuple[Pixels, Pixels, dict[str, Any]]:
    """The affine map that brings the test's 0.1 and 99.9 percentiles to the reference's; then negative values become 0.

    ExpandNet's alignment, scene-referred (Marnerides et al. 2018, issues 9 and 10 of their repository); percentiles of all RGB
    samples pooled, NumPy's rule. Nothing is clipped above. Facts: ``test_percentiles``, ``reference_percentiles``: two each.
    Raises Unavailable for a picture whose two percentiles are equal.
    """
    targets = percentile(reference, 0.1), percentile(reference, 99.9)
    low, high = percentile(test, 0.1), percentile(test, 99.9)
    facts = {"test_percentiles": [low, high], "reference_percentiles": list(targets)}
    return affine(test, (low, high), targets, _type(test, reference)), reference, facts


def affine(x: Pixels, levels: tuple[float, float], targets: tuple[float, float], dtype: Any = None) -> Pixels:
    """The affine map that brings two levels of ``x`` to two targets; negative values become 0, nothing is clipped above.

    Any shape; ``dtype``: of the result, that of ``x`` if None. Raises Unavailable for equal levels, and for equal targets, to
    which any picture would be brought.
    """
    for low, high in (levels, targets):
        if not high > low:
            raise Unavailable(f"a constant image: its lower and its upper level are both {low:g}")
    gain = (targets[1] - targets[0]) / (levels[1] - levels[0])
    moved = np.maximum((np.asarray(x, np.float64) - levels[0]) * gain + targets[0], 0)
    return in_type(moved, x.dtype if dtype is None else dtype)


def in_type(values: Floats, dtype: Any) -> Pixels:
    """Values of any shape in this floating-point type. Raises Unavailable if it can't hold them."""
    with np.errstate(over="ignore"):
        converted = values.astype(dtype, copy=False)
    if not np.isfinite(converted).all():
        raise Unavailable(f"aligned values leave the range of {np.dtype(dtype)}: the test is too dark to be scaled")
    return np.asarray(converted)


def exposure(test: Pixels, reference: Pixels) -> tuple[Pixels, Pixels, dict[str, Any]]:
    """One gain, from well-exposed pixels: the exponential of the median log ratio of luminance, reference to test.

    Well exposed are pixels positive in both whose luminance in the *reference* lies between its 10th and 90th percentile, so
    the choice does not depend on the test's scale. As :func:`hdrcli.camera.exposure_alignment` does it, but for the choice,
    which there comes from the LDR photo's codes. Facts: ``gain``, ``pixels`` (how many it was taken from). Raises Unavailable
    if they are less than 1 % of all.
    """
    y, y_reference = luminance709(test), luminance709(reference)
    low, high = percentile(y_reference, 10), percentile(y_reference, 90)
    usable = (y_reference >= low) & (y_reference <= high) & (y_reference > 0) & (y > 0)
    count = int(np.count_nonzero(usable))
    if count < max(1, usable.size / 100):
        raise Unavailable(f"{count} of {usable.size} pixels are well exposed in the reference and positive in both: too few")
    gain = float(np.exp(np.median(np.log(y_reference[usable]) - np.log(y[usable]))))
    return _scaled(test, reference, gain), reference, {"gain": gain, "pixels": count}


def crf(test: Pixels, reference: Pixels, *, normalised: bool = False) -> tuple[Pixels, Pixels, dict[str, Any]]:
    """The test corrected for its camera's response: luminance by a cubic in PQ, chromaticity by eight terms with cross-talk.

    Hanji et al. 2022, "Comparison of single image HDR reconstruction methods", as their toolbox pu21 (crf_correction) does it:
    absolute cd/m2; the least squares of luminance are plain, those of chromaticity (u', v' of CIE 1976) have a ridge towards
    the identity. The reference is not changed. ``normalised``: both are brought to a median of 500 first, and the result back
    to the reference's own.

    Facts: ``crf_coef_l`` (4: cubic to constant), ``crf_coef_uv`` (8 x 2: rows u^3, v^3, u^2, v^2, uv, u, v, 1),
    ``crf_mean_rgb`` (of the corrected test). Raises Unavailable for a test whose luminance does not determine a cubic
    (constant, all black, fewer than four values), for a reference of one luminance, which any test would fit, and with
    ``normalised`` for a median that is not positive.
    """
    scale, scale_reference = _median_scales(test, reference) if normalised else (1.0, 1.0)

    def terms(rows: slice) -> tuple[Floats, ...]:
        return (
            *luminance_chromaticity(np.asarray(test[rows], np.float64) * scale),
            *luminance_chromaticity(np.asarray(reference[rows], np.float64) * scale_reference),
        )

    def summed(rows: slice) -> tuple[Floats, Floats, Floats, float, float]:
        y, uv, y_reference, uv_reference = terms(rows)
        equations = np.column_stack([_cubic_terms(pq_short_encode(y)), pq_short_encode(y_reference)])
        b = _chromaticity_terms(uv)
        return _triangle(equations), b.T @ b, b.T @ uv_reference, y_reference.min(), y_reference.max()

    parts = strips(test.shape)
    triangles, grams, sides, least, most = zip(*in_turn(summed, parts), strict=True)
    w_luminance = _least_squares(np.concatenate(triangles))
    if min(least) == max(most):
        raise Unavailable("the reference has one luminance, as a constant image: any picture could be corrected to it")
    w_chromaticity = _ridge(sum(grams), sum(sides), test.shape[0] * test.shape[1])
    corrected = np.empty(test.shape, _type(test, reference))
    black = float(pq_short_encode(np.array(FLOOR)))

    def correct(rows: slice) -> None:
        y, uv = luminance_chromaticity(np.asarray(test[rows], np.float64) * scale)
        code = np.maximum(_cubic_terms(pq_short_encode(y)) @ w_luminance, black)
        light = np.where(code < _POLE, pq_short_decode(np.minimum(code, _POLE)), _XYZ_MAX)
        uv = np.maximum(_chromaticity_terms(uv) @ w_chromaticity, FLOOR)
        corrected[rows] = (_to_rgb(light, uv) / scale_reference).reshape(corrected[rows].shape)

    for _ in in_turn(correct, parts):
        pass
    facts = {
        "crf_coef_l": w_luminance.tolist(),
        "crf_coef_uv": w_chromaticity.tolist(),
        "crf_mean_rgb": corrected.mean(axis=(0, 1), dtype=np.float64).tolist(),
    }
    return corrected, reference, facts


ALIGNMENTS: Mapping[str, Alignment] = MappingProxyType(
    {
        "none": none,
        "max": maximum,
        "percentile": percentiles,
        "exposure": exposure,
        "crf": crf,
    }
)

CITED: Mapping[str, str] = MappingProxyType(
    {
        "none": "not aligned",
        "max": "test scaled to the reference's maximum",
        "percentile": "test's P0.1 and P99.9 (pooled RGB, linear interpolation) mapped to the reference's, below 0 to 0",
        "exposure": "test scaled by the median luminance ratio between the reference's 10th and 90th percentile",
        "crf": "CRF-corrected (cubic luminance in PQ, 8-term chromaticity, ridge 0.01)",
    }
)
"""What a report line says about each of :data:`ALIGNMENTS`."""


def luminance_chromaticity(rgb: Pixels) -> tuple[Floats, Floats]:
    """The correction's coordinates: ``(..., 3)`` RGB in cd/m2 to Y ``(n,)`` and (u, v) ``(n, 2)``, u' and v' times 410/255.

    RGB is clamped to 0.005 below, XYZ to 1e-4..1e8.
    """
    xyz = np.clip(np.maximum(np.asarray(rgb, np.float64), FLOOR).reshape(-1, 3) @ _XYZ.T, _XYZ_MIN, _XYZ_MAX)
    x, y = xyz[:, 0], xyz[:, 1]
    # 4x / (-2x + 12y + 3) and 9y / (...) with x = X / (X + Y + Z): the sum cancels
    q = x + 15 * y + 3 * xyz[:, 2]
    return y, np.column_stack([4 * x / q, 9 * y / q]) * _CHROMATICITY_GAIN


def _to_rgb(y: Floats, uv: Floats) -> Floats:
    u, v = (uv / _CHROMATICITY_GAIN).T
    # x / y = 9u / 4v and (1 - x - y) / y = (12 - 3u - 20v) / 4v: nothing to divide by but v, which has a floor
    xyz = np.column_stack([y * 9 * u / (4 * v), y, y * (12 - 3 * u - 20 * v) / (4 * v)])
    return np.asarray(np.maximum(np.clip(xyz, _XYZ_MIN, _XYZ_MAX) @ _RGB.T, 0))


def _cubic_terms(t: Floats) -> Floats:
    return np.column_stack([t**3, t**2, t, np.ones_like(t)])


def _chromaticity_terms(uv: Floats) -> Floats:
    u, v = uv.T
    return np.column_stack([u**3, v**3, u**2, v**2, u * v, u, v, np.ones_like(u)])


def _least_squares(triangles: Floats) -> Floats:
    # QR instead of the toolbox's normal equations: the same solution, without squaring the condition of dark images
    r = _triangle(triangles)
    if r.shape[0] < 5:
        raise Unavailable("too few pixels for the CRF correction's cubic")
    w, _, rank, _ = np.linalg.lstsq(r[:4, :4], r[:4, 4], rcond=_RANK_TOLERANCE)
    if rank < 4:
        raise Unavailable("the test's luminance has fewer than four distinct values, as a constant image: no CRF correction")
    return np.asarray(w, np.float64)


def _triangle(equations: Floats) -> Floats:
    return np.asarray(np.linalg.qr(equations, mode="r"))


def _ridge(gram: Floats, side: Floats, pixels: int) -> Floats:
    towards = np.zeros((8, 2))
    towards[5, 0] = towards[6, 1] = 1.0
    s = _RIDGE * pixels / 8
    return np.asarray(np.linalg.solve(gram + s * np.eye(8), side + s * towards))


def _median_scales(test: Pixels, reference: Pixels) -> tuple[float, float]:
    scales = []
    for name, picture in (("test", test), ("reference", reference)):
        median = percentile(picture, 50)
        if not median > 0:
            raise Unavailable(f"the {name}'s median is not positive: it can't be normalised")
        scales.append(_STANDARD_MEDIAN / median)
    return scales[0], scales[1]


def _scaled(test: Pixels, reference: Pixels, gain: float) -> Pixels:
    return in_type(np.asarray(test, np.float64) * gain, _type(test, reference))


def _type(test: Pixels, reference: Pixels) -> np.dtype[Any]:
    return np.result_type(test, reference, np.float32)
