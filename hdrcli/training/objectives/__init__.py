"""What is trained and how: one file a system.

An objective module has ``Config`` (a frozen dataclass, its fields are the objective's options) and
``build(config) -> Objective``. The loop knows only :class:`Objective`, so a new system is a new file here. Recipes
(:mod:`hdrcli.training.recipes`) are objectives with values of their options.

One training step of the loop, for ``accumulate`` micro-batches and each of the objective's ``phases`` in turn::

    requires_grad of the networks in trained(phase) on, of all others off; zero_grad
    for part, batch in enumerate(micro-batches):
        terms = objective.loss(phase, batch, part)
        backward of terms["loss"] / accumulate
    clip the gradients of the phase's optimiser, step it

A phase whose loss (or gradient) is not finite is not stepped, and the rest of that training step is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from hdrcli import registry

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor, nn
    from torch.optim import Optimizer

    from hdrcli.training.datasets import Pictures
    from hdrcli.training.export import Export
    from hdrcli.training.sources import Domain

Batch = Mapping[str, "Tensor"]


class Objective(Protocol):
    """A system in training. It owns networks, losses and optimisers; the loop owns time, data, devices, gradients and files."""

    name: str

    networks: nn.ModuleDict
    """All trainable modules by name; what checkpoints keep. While the loop runs, the entries are wrapped for devices and mixed
    precision: take them from here each time, and call them or their methods. They take care of autocast (inputs stay float32,
    outputs are float32); what is computed outside of them is in float32. Attributes that are no methods are the network's."""

    averaged: tuple[str, ...]
    """Networks whose exponential averages are kept and exported (generators)."""

    domains: tuple[Domain, ...]
    """Streams of views that samples are made of: ("hdr",), or ("ldr", "hdr"), drawn independently of each other (unpaired)."""

    batch_size: int
    views_per_batch: int
    """Draws from the streams that make one batch; :meth:`samples` is called once for each, and all its samples are used."""

    # an objective may also say ``may_change: Sequence[str]``: options, such as "guides.llm.retries", that need not be those of
    # the run that is resumed

    phases: tuple[str, ...]
    """Optimiser steps of one training step, in order: ("g",) or ("g", "d")."""

    @property
    def view_size(self) -> int:
        """Side S of the square views that :meth:`samples` takes."""
        ...

    def guides(self) -> Mapping[str, str]:
        """What looks at images in this run, by kind, a line each, to be told at the start; empty if nothing does."""
        ...

    def samples(self, views: Mapping[str, NDArray[Any]], rng: np.random.Generator) -> list[dict[str, NDArray[Any]]]:
        """Training samples, arrays ``(h, w, c)``, of one draw.

        ``views["hdr"]``: ``(S, S, 3) float32`` scene radiance, scene's median luminance 0.18; ``views["ldr"]``: ``(S, S, 3)
        uint8`` sRGB codes; ``views["hdr_frame"]``, ``views["ldr_frame"]``: what part of which picture they show, packed as
        :class:`hdrcli.training.datasets.Frame` does. Of a system of the one domain "hdr", ``views["ldr"]`` may be there too:
        the photo of a pair, the same part of it; ``views["hdr"]`` is then at the photo's exposure. A system that does not
        learn from pairs says ``takes_pairs = False``, and never gets one. Runs in worker processes:
        torch on the CPU only, no state.
        """
        ...

    def see(self, pictures: Pictures) -> None:
        """Called before training with the pictures that views will be drawn from."""
        ...

    def optimizers(self) -> dict[str, Optimizer]:
        """Fresh optimisers, one for each phase, by its name."""
        ...

    def trained(self, phase: str) -> Sequence[str]:
        """Networks whose parameters this phase steps."""
        ...

    def loss(self, phase: str, batch: Batch, part: int) -> dict[str, Tensor]:
        """``"loss"``: the scalar to differentiate; the others are scalars to log, named differently in each phase.

        ``batch``: of :meth:`samples`, ``(n, c, h, w)`` float32 on the device. ``part``: number of the micro-batch; a phase may
        use what an earlier one made of the same part (kept detached inside).
        """
        ...

    def state(self) -> dict[str, Any]:
        """What must be kept beside networks and optimisers to go on exactly (history pools): tensors and plain values only."""
        ...

    def load_state(self, state: Mapping[str, Any]) -> None:
        """The reverse of :meth:`state`."""
        ...

    def sheet(self, networks: nn.ModuleDict, batch: Batch) -> NDArray[Any] | None:
        """A contact sheet ``(H, W, 3) uint8`` of what these (averaged) networks make of a batch, or None. No gradient."""
        ...

    def export(self, networks: nn.ModuleDict) -> tuple[Export, ...]:
        """What goes into a bundle, from (averaged) networks: G_Y, and G_X where there is one. Copies nothing it need not."""
        ...

    def describe(self) -> Mapping[str, Any]:
        """Architecture and options, plain values, for checkpoints and model cards."""
        ...


@dataclass(frozen=True)
class Surroundings:
    """What a run tells an objective that asks others.

    ``say``: gets lines for the user and the log. ``process`` of ``processes``: this one. ``parts``: micro-batches of a step.
    """

    say: Callable[[str], None]
    process: int = 0
    processes: int = 1
    parts: int = 1


@runtime_checkable
class AsksOthers(Protocol):
    """What an :class:`Objective` may have besides, all three: its guides ask computers that are slow, cost money or fail."""

    def listen(self, run: Surroundings) -> None:
        """Called once before the first step, after :meth:`Objective.see` and :meth:`Objective.load_state`.

        Raises UsageError if a guide turns out to be refused: training has not begun then.
        """
        ...

    def summary(self) -> str | None:
        """What the guides have been through in the whole run, a line; None if there is nothing to tell.

        Told with sheets and at the end, of each process, if it has changed.
        """
        ...

    def hurry(self) -> None:
        """End all waiting soon and wait no more until :meth:`listen`; the step in progress ends with what there is.

        Called by a signal handler: it may set flags, and take no lock.
        """
        ...


def create(name: str, options: Mapping[str, str], seed: int) -> Objective:
    """The objective of that name. ``options``: texts by name, as on the command line; ``seed`` decides its first weights.

    Raises UsageError for an objective or option that there is not.
    """
    import torch

    module = registry.load(__name__, name)
    config = registry.build(module.Config, dict(options))
    torch.manual_seed(seed)
    objective: Objective = module.build(config)
    return objective


__all__ = ["AsksOthers", "Batch", "Objective", "Surroundings", "create"]
