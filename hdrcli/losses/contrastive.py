"""Contrastive loss: LLM-HDR Eq. 3 and 4, on embeddings of (histogram-equalised) input and tone-mapped output."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from hdrcli.errors import UsageError

ALPHA = 2.0  # weight of Eq. 12
TAU = 0.08


def similarity(x: Tensor, y: Tensor) -> Tensor:
    """Cosines of every row of ``x`` with every row of ``y``, Eq. 3: ``(N, D)``, ``(M, D)`` -> ``(N, M)`` in [-1, 1]."""
    return functional.normalize(x, dim=1) @ functional.normalize(y, dim=1).T


def contrastive_loss(inputs: Tensor, outputs: Tensor, tau: float = TAU) -> Tensor:
    """Eq. 4: each input against its output, and against all other inputs and outputs of the batch; ``(N, D)`` both.

    The sum runs over j != i, so the positive pair is not in the denominator, and the loss may be negative. Calculated in both
    cycles: :func:`both_ways`. Raises UsageError for a batch of 1, which has no negative pair.
    """
    count = inputs.shape[0]
    if count < 2:
        remedy = "use a batch_size of 2 or more, or leave the contrastive loss out"
        raise UsageError("the contrastive loss has nothing to compare with in a batch of 1", where="batch_size", remedy=remedy)
    others = ~torch.eye(count, dtype=torch.bool, device=inputs.device)
    across = similarity(inputs, outputs) / tau
    within = similarity(inputs, inputs) / tau
    negatives = torch.cat([within[others].view(count, -1), across[others].view(count, -1)], 1)
    return (torch.logsumexp(negatives, 1) - across.diagonal()).mean()


def both_ways(x: Tensor, y_hat: Tensor, y: Tensor, x_hat: Tensor, tau: float = TAU) -> Tensor:
    """The forward cycle's loss, of x and G_Y(x), and the backward cycle's, of y and G_X(y), added."""
    return contrastive_loss(x, y_hat, tau) + contrastive_loss(y, x_hat, tau)
