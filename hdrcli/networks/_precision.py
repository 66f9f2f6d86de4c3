"""How torch computes where a number is to be measured."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def measuring() -> Iterator[None]:
    """No gradients, and whole float32 factors in convolutions on cards, which by default round them to ten bits."""
    exact = torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False)
    with torch.inference_mode(), exact:
        yield
