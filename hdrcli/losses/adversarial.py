"""Adversarial loss of one mapping and its discriminator: LLM-HDR Eq. 8 and 9, binary cross-entropy on logits.

Both equations are the same function; the objective calls it for G_Y with D_Y and for G_X with D_X.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional


def generator_side(fake: Tensor, *, saturating: bool = False) -> Tensor:
    """What the generator minimises. ``fake``: the discriminator's logits of generated images, any shape.

    -E[log D(G(x))] (Goodfellow et al. 2014, section 3): the same fixed points as Eq. 8, but with a gradient where the
    discriminator is sure. ``saturating``: E[log(1 - D(G(x)))], Eq. 8 to the letter (negative).
    """
    return -functional.softplus(fake).mean() if saturating else functional.softplus(-fake).mean()


def discriminator_side(real: Tensor, fake: Tensor) -> Tensor:
    """What the discriminator minimises: -E[log D(y)] - E[log(1 - D(G(x)))], the negative of Eq. 8.

    ``real``, ``fake``: logits, any shapes; generated images come in detached. 2 log 2 for a discriminator that can't tell.
    """
    return functional.softplus(-real).mean() + functional.softplus(fake).mean()
