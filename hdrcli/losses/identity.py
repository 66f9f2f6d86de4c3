"""Identity loss: LLM-HDR Eq. 11: a generator that gets an image of its target domain shall give it back.

Taken to the letter (``"paper"``), G_Y must map T(y) to T(y) while its work maps sRGB codes to T: LDR white is 1 in the one and
T(1 / peak) in the other. So ``"encoded"`` (D in the project's specification, the default) feeds the image in the encoding that
the generator reads, and expects it in the one that it writes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from torch import Tensor

from hdrcli.losses import mean_l1
from hdrcli.networks.feedback_unet import from_t, linear_to_srgb, srgb_to_linear, to_t

WEIGHT = 0.5  # of lambda, Eq. 12
Encoding = Literal["encoded", "paper"]


class Identity(NamedTuple):
    """What a generator is fed, what it shall give, and what counts; all ``(N, 3, H, W)``."""

    given: Tensor
    expected: Tensor
    weight: Tensor | None


def for_g_y(t: Tensor, peak: float, encoding: Encoding = "encoded") -> Identity:
    """G_Y's identity of HDR images in the T domain.

    Encoded: fed as sRGB codes, clipped at LDR white as a photo is. Where a channel y is above 1 the codes don't tell it, so
    only y <= 1 counts: an identity, not a supervised reconstruction.
    """
    if encoding == "paper":
        return Identity(t, t, None)
    y = from_t(t, peak)
    return Identity(linear_to_srgb(y.clamp(0, 1)), t, (y <= 1).to(t.dtype))


def for_g_x(codes: Tensor, peak: float, encoding: Encoding = "encoded") -> Identity:
    """G_X's identity of LDR images, display-encoded. Encoded: fed as T of the linearised codes."""
    return Identity(codes if encoding == "paper" else to_t(srgb_to_linear(codes), peak), codes, None)


def identity_loss(images: Tensor | Sequence[Tensor], identity: Identity) -> Tensor:
    """Mean absolute difference between what the generator gives for ``identity.given`` and ``identity.expected``.

    ``images``: ``(N, 3, H, W)``, or a list of them, one of each feedback iteration, whose losses are averaged.
    """
    return mean_l1(images, identity.expected, identity.weight)
