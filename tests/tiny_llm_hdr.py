"""LLM-HDR small enough for a test: the whole system at 32 x 32."""

from dataclasses import replace

import numpy as np
import torch
from fakes import smooth_scene

from hdrcli.camera import Camera, srgb_response
from hdrcli.networks import feedback_unet, patchgan
from hdrcli.perception import own, superpixels
from hdrcli.training.objectives import llm_hdr

SIZE = 32


class MeanColour:
    """Mean colour and its square as an embedding: stands for CLIP."""

    dimensions = 512

    def embed(self, codes):
        means = codes.mean((2, 3))
        made = torch.cat([means, means.square(), codes.new_ones(len(codes), 506)], 1)
        return torch.nn.functional.normalize(made, dim=1)


CONFIG = llm_hdr.Config(
    network=feedback_unet.Config(width=4, iterations=2, norm="none"),
    discriminator=patchgan.Config(width=4),
    working_size=SIZE,
    batch_size=2,
    learning_rate=2e-3,
    pool=4,
    guides=llm_hdr.Guides(
        own=own.Config(patches=32, dimensions=16), superpixels=superpixels.Config(seeds=3, side=32, rounds=2)
    ),
)


def objective(*, asleep=False, **changes):
    """The system with fresh weights, always the same. ``asleep``: generators add nothing to what they are given."""
    torch.manual_seed(0)
    made = llm_hdr.build(replace(CONFIG, **changes))
    for name in made.averaged if asleep else ():
        for parameter in made.networks[name].tail.parameters():
            torch.nn.init.zeros_(parameter)
    return made


def views(seed, size=SIZE):
    """A photo of one scene, and another scene."""
    photo = Camera(srgb_response(), 1.5).shoot(smooth_scene(size, size, 2 * seed), np.random.default_rng(seed))
    return {"ldr": photo, "hdr": smooth_scene(size, size, 2 * seed + 1)}


def batch(made, seed=0):
    """A batch of the objective's samples."""
    samples = []
    for i in range(made.views_per_batch):
        number = seed * made.views_per_batch + i
        samples += made.samples(views(number), np.random.default_rng(number))
    return {name: torch.from_numpy(np.stack([s[name] for s in samples])).permute(0, 3, 1, 2) for name in samples[0]}


def step(made, given, optimizers=None, part=0):
    """What the loop does in one step; the terms of all phases. Without optimisers gradients are left as they are."""
    found = {}
    for phase in made.phases:
        trained = made.trained(phase)
        for name, network in made.networks.items():
            network.requires_grad_(name in trained)
        if optimizers:
            optimizers[phase].zero_grad(set_to_none=True)
        terms = made.loss(phase, given, part)
        terms["loss"].backward()
        if optimizers:
            optimizers[phase].step()
        found |= {f"loss_{phase}" if name == "loss" else name: float(value.detach()) for name, value in terms.items()}
    return found
