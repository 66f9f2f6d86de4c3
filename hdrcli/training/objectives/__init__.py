"""What is trained and how: one file a system, named as its recipe.

An objective module has ``Config`` (a frozen dataclass, its fields are the recipe's options) and ``build(config) -> Objective``.
The loop knows only :class:`Objective`, so a new system is a new file here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from hdrcli import registry

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor, nn

    from hdrcli.camera import Floats
    from hdrcli.training.export import Export

Batch = Mapping[str, "Tensor"]


class Objective(Protocol):
    """A system in training. It owns networks, losses and optimisers; the loop owns time, data, devices and files."""

    name: str
    networks: nn.ModuleDict
    """All trainable modules by name; what checkpoints keep. Their exponential averages are what is exported."""

    batch_size: int
    views_per_batch: int
    """Scene views that make one batch: tells a resumed run which views come next."""

    def samples(self, view: Floats, rng: np.random.Generator) -> list[dict[str, Any]]:
        """Training samples (arrays) of one scene view: ``(S, S, 3) float32`` radiance."""
        ...

    @property
    def view_size(self) -> int:
        """Side of the square views that :meth:`samples` takes."""
        ...

    def optimizers(self) -> dict[str, Any]:
        """Fresh optimisers by name."""
        ...

    def step(self, batch: Batch, optimizers: Mapping[str, Any], fabric: Any) -> dict[str, Tensor]:
        """One optimisation step; scalars to log."""
        ...

    def export(self, networks: nn.ModuleDict) -> Export:
        """What becomes a bundle, from (averaged) networks."""
        ...

    def describe(self) -> Mapping[str, Any]:
        """Architecture and options, plain values, for checkpoints and model cards."""
        ...


def create(recipe: str, options: Mapping[str, str], seed: int) -> Objective:
    """The objective of a recipe. ``options``: texts by name, as on the command line; ``seed`` decides its first weights.

    Raises UsageError for a recipe or option that there is not.
    """
    import torch

    module = registry.load(__name__, recipe)
    config = registry.build(module.Config, dict(options))
    torch.manual_seed(seed)
    objective: Objective = module.build(config)
    return objective


__all__ = ["Batch", "Objective", "create"]
