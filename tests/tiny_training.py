"""A training run small enough for a test."""

from dataclasses import replace

import torch

from hdrcli.networks import feedback_unet
from hdrcli.training.loop import LoopConfig
from hdrcli.training.objectives import paired

NETWORK = feedback_unet.Config(width=4, iterations=1, gates=False, norm="none", stem=4, clip_map=True, context=True)
CONFIG = paired.Config(network=NETWORK, working_size=64, view_size=64, batch_size=4, learning_rate=3e-3)


def objective(**changes):
    """The recipe "paired" with a tiny network, always with the same first weights."""
    torch.manual_seed(0)
    return paired.build(replace(CONFIG, **changes))


def short_loop(steps, **changes):
    """Steps on the CPU in full precision; samples are made in this process."""
    base = LoopConfig(max_steps=steps, device="cpu", precision="32-true", workers=0, warmup_steps=2, log_steps=1, ema=0.9)
    return replace(base, **changes)
