"""LPIPS 0.1, the learned distance of pictures, with the backbones AlexNet and VGG16.

Zhang et al. 2018, "The unreasonable effectiveness of deep features as a perceptual metric". The heads come from the wheel
``lpips``, the backbones' weights from a file, a folder or torch's cache: see hdrcli.networks.lpips. Not verified on published
weights: the arithmetic was checked with seeded random ones.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from hdrcli.errors import MismatchError, MissingRequirement, ModelError, Unavailable
from hdrcli.metrics import Compute, Score, Viewing
from hdrcli.metrics._encodings import refmax_mu_law
from hdrcli.metrics._packages import rgb_pair, unavailable, version_of, without

if TYPE_CHECKING:
    from hdrcli.networks.lpips import LPIPS


def lpips(
    test: NDArray[Any],
    reference: NDArray[Any],
    net: str = "alex",
    *,
    weights: Path | None = None,
    heads: Path | None = None,
    device: str = "cpu",
) -> float:
    """LPIPS 0.1 of two pictures: ``(H, W, 3)`` display-encoded codes in 0..1; 0 for equal ones, larger for others. In float32.

    ``net``: "alex" or "vgg". ``weights``: the backbone's, a file, a folder or None for torch's cache. ``heads``: a file of
    heads instead of that in the installed wheel ``lpips``. ``device``: where torch runs. The least height and width are 31
    pixels for alex, 16 for vgg. A megapixel takes 1.3 GB on vgg, a tenth of that on alex. This is what the authors call
    ``normalize=True``: a picture in -1..1 goes in as (x + 1) / 2.

    Raises Unavailable without torch, the wheel or weights, for such that are damaged, and for smaller pictures; MismatchError
    for other shapes and values outside 0..1; UsageError for another ``net``. Not verified on published weights.
    """
    pair = rgb_pair("LPIPS", test, reference)
    if any(picture.min() < 0 or picture.max() > 1 for picture in pair):
        raise MismatchError("LPIPS takes codes in 0..1", remedy="encode the picture for display and clip it")
    try:
        import torch

        from hdrcli.networks._precision import measuring
    except (ImportError, OSError) as error:  # not there, or half installed
        raise without("torch", "LPIPS") from error
    try:
        network = _loaded(net, weights, heads, device)
    except (MissingRequirement, ModelError) as error:
        raise unavailable(error) from error
    least = network.backbone.smallest
    if min(test.shape[:2]) < least:
        raise Unavailable(f"LPIPS on {net} needs pictures of {least} x {least} pixels or more")
    with measuring():
        return float(network(*(torch.from_numpy(picture).permute(2, 0, 1)[None].to(device) for picture in pair)))


@lru_cache(maxsize=2)
def _loaded(net: str, weights: Path | None, heads: Path | None, device: str) -> LPIPS:
    """Read once for many pictures."""
    from hdrcli.networks.lpips import load

    return load(net, weights, heads).to(device)


def version() -> str | None:
    """The package that the heads come from, "lpips 0.1.4"; None if it is not installed."""
    return version_of("lpips")


def _on(net: str) -> Compute:
    def compute(test: NDArray[Any], reference: NDArray[Any], viewing: Viewing) -> float:
        encode = refmax_mu_law(reference)
        return lpips(encode(test), encode(reference), net, weights=viewing.weights, device=viewing.device)

    return compute


_TITLE = "LPIPS 0.1 ({}) of the mu-law (5000) of light / the reference's maximum, clamped; not verified on published weights"
_SOURCE = "Zhang et al. 2018, eq. 1"

SCORES = (
    Score("lpips_alex", _TITLE.format("AlexNet"), "", "lower", _SOURCE, _on("alex"), slow=True),
    Score("lpips_vgg", _TITLE.format("VGG16"), "", "lower", _SOURCE, _on("vgg"), slow=True),
)
