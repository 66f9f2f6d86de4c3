"""HDR-VDP-2.2: how visible differences are, and a quality score, from absolute light (release 2.2.1; 2.2.2 gives the same).

Mantiuk, Kim, Rempel, Heidrich 2011, "HDR-VDP-2", ACM TOG 30(4), doi:10.1145/2010324.1964935: the model. Narwaria,
Mantiuk, Perreira Da Silva, Le Callet 2015, "HDR-VDP-2.2", J. Electronic Imaging 24(1) 010501: the weights of Q. Where the
release differs from the papers, it is followed. Reimplemented from a specification, and checked against the release under GNU
Octave. To be cited as "HDR-VDP-2.2.1 (reimplementation)", always with the absolute scale and pixels per degree: Q depends on
both.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from hdrcli.errors import MismatchError, Unavailable, UsageError
from hdrcli.metrics import Compute, Score, Viewing
from hdrcli.metrics._hdrvdp2_constants import LEAST_SIDE, Encoding, constants, encodings
from hdrcli.metrics._packages import without
from hdrcli.metrics._pairs import same_shape

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from hdrcli.metrics._hdrvdp2_bands import Band
    from hdrcli.metrics._hdrvdp2_parts import Parts


@dataclass(frozen=True, eq=False)
class HdrVdp2:
    """What HDR-VDP-2.2 says of a pair. All but ``q`` are None when maps were not asked for.

    ``q``: quality, 100 for equal pictures, without a lower end. ``p_map``: probability per pixel that a difference is seen,
    0..1, ``(H, W)``. ``c_map``: contrast of the difference over its threshold, ``(H, W)``. ``p_det``, ``c_max``: the maxima of
    both; ``p_det`` is 1 for most distortions that can be seen at all.
    """

    q: float
    p_map: NDArray[Any] | None = None
    p_det: float | None = None
    c_max: float | None = None
    c_map: NDArray[Any] | None = None


def hdrvdp2(
    test: NDArray[Any],
    reference: NDArray[Any],
    encoding: str = "rgb-bt.709",
    ppd: float = 30.0,
    precision: Literal["float32", "float64"] = "float32",
    device: str = "cpu",
    maps: bool = True,
) -> HdrVdp2:
    """HDR-VDP-2.2 of two pictures of one shape, sides of 17 or more.

    ``encoding``, in any case: "luminance" ``(H, W)``, "rgb-bt.709" and "XYZ" ``(H, W, 3)``, linear in cd/m2; "luma-display"
    ``(H, W)`` and "sRGB-display" ``(H, W, 3)``, codes 0..1 of a display of 1 to 100 cd/m2. Values out of range are not clipped;
    NaN stands for black. ``ppd``: pixels per visual degree. ``precision``: of all but the Fourier transforms, which are done in
    float64; the maps' type too. ``device``: "cpu" or "cuda[:N]". ``maps=False``: Q alone, faster. Uses as many threads as torch
    would, or fewer if hdrcli.parallel says so; the numbers don't depend on it.

    Raises MismatchError for shapes that differ or don't fit the encoding, for smaller pictures, infinite values and negative
    luma, UsageError for other arguments that make no sense, Unavailable without torch.
    """
    return _measure(test, reference, encoding, ppd, precision, device, maps, None)


def _measure(
    test: NDArray[Any],
    reference: NDArray[Any],
    encoding: str,
    ppd: float,
    precision: str,
    device: str,
    maps: bool,
    threads: int | None,
) -> HdrVdp2:
    """:func:`hdrvdp2`; ``threads``: at most so many."""
    known = encodings().get(encoding.lower())
    if known is None:
        names = ", ".join(e.name for e in encodings().values())
        raise UsageError(f"no encoding of the name {encoding!r}", where="encoding", remedy=f"there are: {names}")
    if precision not in ("float32", "float64"):
        raise UsageError(f"no precision {precision!r}", where="precision", remedy="say float32 or float64")
    if not 0 < ppd < math.inf:
        raise UsageError(f"{ppd:g} pixels per degree make no sense", where="ppd", remedy="say more than 0")
    test, reference = np.asarray(test), np.asarray(reference)
    same_shape(test, reference)
    pair = [_channels_last(picture, known) for picture in (test, reference)]
    try:
        import torch
    except (ImportError, OSError) as error:  # not there, or half installed
        raise without("torch", "HDR-VDP-2.2") from error
    from hdrcli.metrics._hdrvdp2_parts import parts

    place = _device(device)
    with torch.inference_mode(), _exact(), parts(place, threads) as work:
        return _evaluate(pair, known, ppd, getattr(torch, precision), place, maps, work)


def _channels_last(picture: NDArray[Any], encoding: Encoding) -> NDArray[Any]:
    """The picture as ``(H, W, C)``. Raises MismatchError for another number of channels, another type, and smaller pictures."""
    if picture.ndim == 2:
        picture = picture[..., None]
    if picture.ndim != 3 or picture.shape[2] != encoding.channels:
        fits = "(H, W)" if encoding.channels == 1 else f"(H, W, {encoding.channels})"
        shape = " x ".join(map(str, picture.shape))
        raise MismatchError(f"{encoding.name} takes {fits} arrays, not {shape}", where="encoding", remedy="name another")
    if picture.dtype.kind not in "iuf":
        raise MismatchError(f"HDR-VDP-2.2 takes no pixels of type {picture.dtype}", remedy="give real numbers")
    height, width, _ = picture.shape
    if min(height, width) < LEAST_SIDE:
        needs = f"HDR-VDP-2.2 needs {LEAST_SIDE} x {LEAST_SIDE} or more"
        raise MismatchError(f"the pictures have {width} x {height} pixels", remedy=needs)
    return picture


def _device(name: str) -> torch.device:
    """Torch's device of that name. Raises UsageError where it can't be had."""
    import torch

    kind, _, number = name.partition(":")
    if kind not in ("cpu", "cuda") or (number and not number.isdecimal()):
        raise UsageError(f"no device {name!r}", where="device", remedy="say cpu, cuda or cuda:N")
    if kind == "cuda" and int(number or 0) >= torch.cuda.device_count():
        raise UsageError(f"there is no CUDA device {number or 0}", where="device", remedy="use cpu")
    return torch.device(name)


@contextmanager
def _exact() -> Iterator[None]:
    """Cards round the factors of convolutions to ten bits by default, and those of products if they were told so: not here."""
    import torch

    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
            yield
    finally:
        torch.set_float32_matmul_precision(before)


def _evaluate(
    pair: Sequence[NDArray[Any]],
    encoding: Encoding,
    ppd: float,
    dtype: torch.dtype,
    device: torch.device,
    maps: bool,
    parts: Parts,
) -> HdrVdp2:
    import torch

    from hdrcli.metrics import _hdrvdp2_bands as stages
    from hdrcli.metrics._hdrvdp2_eye import see
    from hdrcli.metrics._hdrvdp2_light import Light
    from hdrcli.metrics._hdrvdp2_pyramid import resized, synthesise

    light = Light(pair, encoding, device)
    differs = light.differs(dtype, parts)
    response, adapting = see(light, encoding.to_receptors, ppd, dtype, device, parts)
    test_mean, reference_mean = adapting.mean((1, 2), dtype=torch.float64).tolist()
    adaptation = stages.log_adaptation(adapting)
    del adapting

    _, _, height, width = light.shape
    weights = stages.weights(height, width, ppd)
    counts = [maps or weight > 0 for weight in weights]
    errors: list[tuple[float, float]] = []
    seen: list[Tensor] = []

    def pool(band: Band, finer: Band | None, coarser: Band | None, visible: Tensor | None) -> Callable[[slice], Tensor]:
        def sums(rows: slice) -> Tensor:
            """Of (D W)^2 over these rows, one for each orientation."""
            sensitive = None if band.is_base else stages.sensitivity(adaptation, band.frequency, band.size, rows)
            mask = resized(differs, *band.size, rows)[0]
            found = []
            for number, size in enumerate(stages.masked(band, finer, coarser, sensitive, rows)):
                if visible is not None:
                    visible[number, rows] = stages.visible(size, band.difference[number, rows], band.amplitude)
                found.append(size.mul_(mask).double().square_().sum())
            return torch.stack(found)

        return sums

    for finer, band, coarser in _neighbours(stages.decompose(response, ppd, (test_mean, reference_mean), parts), counts):
        weight = weights[band.number - 1]
        if not counts[band.number - 1]:
            continue
        visible = torch.empty_like(band.difference) if maps else None
        sums = torch.stack(parts.each(pool(band, finer, coarser, visible), parts.rows(*band.size))).sum(0)
        # the root of the sum over the number of samples, which is not the root of the mean: as released
        errors += [(weight, band.amplitude * math.sqrt(total) / math.prod(band.size)) for total in sums.tolist()]
        if visible is not None:
            seen.append(visible)
    q = stages.quality(errors)
    if not maps:
        return HdrVdp2(q)
    contrast = _contrast_map(synthesise(seen[0][0], seen[1:-1], seen[-1][0], parts))
    probability = torch.expm1(contrast * math.log(0.5)).neg_()
    c_max = float(contrast.max())
    return HdrVdp2(q, probability.cpu().numpy(), -math.expm1(c_max * math.log(0.5)), c_max, contrast.cpu().numpy())


def _neighbours(bands: Iterator[Band], counts: Sequence[bool]) -> Iterator[tuple[Band | None, Band, Band | None]]:
    """Each band between those that mask it, as far as coarser bands count at all; the base masks no other band."""
    finer, band = None, None
    for coarser in bands:
        if band is not None:
            yield finer, band, None if coarser.is_base else coarser
        finer, band = band, coarser
        if not any(counts[coarser.number - 1 :]):
            return
    if band is not None:
        yield finer, band, None


def _contrast_map(difference: Tensor) -> Tensor:
    """Contrast over threshold, from the picture that the visible differences of all bands make, as released."""
    import torch

    size = difference.abs()
    factor = size.sum(dtype=torch.float64) / (size.max().double() + constants()["map_epsilon"])
    return size.mul_(factor.to(size.dtype))


def _scored(number: str, *, maps: bool) -> Compute:
    def compute(test: NDArray[Any], reference: NDArray[Any], viewing: Viewing) -> float:
        try:
            found = _measure(test, reference, "rgb-bt.709", viewing.ppd, "float32", viewing.device, maps, viewing.threads)
        except MismatchError as error:
            raise Unavailable(error.what, where=error.where, remedy=error.remedy) from error
        return float(getattr(found, number))

    return compute


_SOURCE = "Mantiuk et al. 2011; Narwaria et al. 2015; release 2.2.1, reimplemented"

SCORES = (
    Score("hdrvdp22_q", "HDR-VDP-2.2 quality Q of absolute light", "", "higher", _SOURCE, _scored("q", maps=False)),
    Score(
        "hdrvdp22_p_det",
        "HDR-VDP-2.2 probability that a difference is seen anywhere; 1 for most that can be seen at all",
        "",
        "lower",
        _SOURCE,
        _scored("p_det", maps=True),
        slow=True,
    ),
    Score(
        "hdrvdp22_c_max",
        "HDR-VDP-2.2 largest contrast of the difference over its threshold",
        "",
        "lower",
        _SOURCE,
        _scored("c_max", maps=True),
        slow=True,
    ),
)
