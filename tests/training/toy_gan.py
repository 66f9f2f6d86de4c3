"""A system of two networks and two phases on two streams, a few parameters large; and pictures for it."""

import numpy as np
import torch
from fakes import smooth_scene
from torch import nn
from torch.nn import functional

from hdrcli.networks import feedback_unet
from hdrcli.training.cache import Photo, Scene
from hdrcli.training.export import Export

SIDE = 32
NETWORK = feedback_unet.Config(width=4, iterations=1, gates=False, norm="none", stem=1, context=True)


class Critic(nn.Module):
    """Two convs."""

    def __init__(self, norm):
        super().__init__()
        self.first = nn.Conv2d(3, 4, 4, 2, 1)
        self.norm = nn.BatchNorm2d(4) if norm else nn.Identity()
        self.last = nn.Conv2d(4, 1, 4, 2, 1)

    def forward(self, x):
        return self.last(functional.leaky_relu(self.norm(self.first(x)), 0.2))


class ToyGan:
    """G_Y against D_Y, with a history pool and random noise: everything that a resumed run must find again."""

    name = "toy"
    averaged = ("g_y",)
    domains = ("ldr", "hdr")
    phases = ("g", "d")
    view_size = SIDE

    def __init__(self, batch_size=2, *, norm=True, pool=True, noise=0.1, rate=1e-3):
        self.batch_size = self.views_per_batch = batch_size
        self.networks = nn.ModuleDict({"g_y": feedback_unet.build(NETWORK), "d_y": Critic(norm)})
        self.use_pool, self.noise, self.rate = pool, noise, rate
        self.pool = torch.zeros(0, 3, SIDE, SIDE)
        self.made = {}
        self.calls = []
        self.break_at = lambda phase, call: False

    def guides(self):
        return {}

    def see(self, pictures):
        self.seen = pictures

    def samples(self, views, rng):
        t = np.log1p(np.minimum(views["hdr"] / 256, 1) * 5000) / np.log1p(5000)
        return [{"x": views["ldr"] / np.float32(255), "y": t.astype(np.float32)}]

    def optimizers(self):
        return {
            "g": torch.optim.Adam(self.networks["g_y"].parameters(), self.rate, (0.5, 0.999)),
            "d": torch.optim.Adam(self.networks["d_y"].parameters(), self.rate, (0.5, 0.999)),
        }

    def trained(self, phase):
        return {"g": ("g_y",), "d": ("d_y",)}[phase]

    def loss(self, phase, batch, part):
        self.calls.append((phase, part, {n: next(w.parameters()).requires_grad for n, w in self.networks.items()}))
        broken = float("nan") if self.break_at(phase, len(self.calls)) else 1.0
        if phase == "g":
            fake = self.networks["g_y"](batch["x"] + self.noise * torch.rand_like(batch["x"]))
            self.made[part] = fake.detach()
            adversarial = functional.softplus(-self.networks["d_y"](fake)).mean()
            return {"loss": (adversarial + fake.square().mean()) * broken, "adversarial": adversarial}
        fake = self.made.pop(part)
        if self.use_pool:
            self.pool = torch.cat([self.pool, fake])[-6:]
            fake = self.pool[torch.randperm(len(self.pool))[: len(fake)]]
        critic = self.networks["d_y"]
        return {"loss": (functional.softplus(-critic(batch["y"])).mean() + functional.softplus(critic(fake)).mean()) * broken}

    def state(self):
        return {"pool": self.pool}

    def load_state(self, state):
        self.pool = state["pool"]

    def sheet(self, networks, batch):
        shown = torch.cat([batch["x"], networks["g_y"](batch["x"])], 3)[0].permute(1, 2, 0)
        return (shown.clamp(0, 1) * 255).byte().cpu().numpy()

    def export(self, networks):
        network = {"direction": "expand", "width": 4, "iterations": 1, "gates": False, "norm": "none", "context": True}
        return (Export(networks["g_y"], "feedback_unet", network, "g_y.onnx", ("ldr",), SIDE, 8, 256.0),)

    def describe(self):
        return {"architecture": "toy", "recipe": self.name, "options": {"batch_size": self.batch_size, "rate": self.rate}}


def toy(**options):
    """Always with the same first weights."""
    torch.manual_seed(0)
    return ToyGan(**options)


def pictures(photos=5, scenes=3):
    """LDR codes and HDR radiance of different scenes."""
    rng = np.random.default_rng(0)
    ldr = [rng.integers(0, 256, (40, 48, 3), np.uint8) for _ in range(photos)]
    return {
        "ldr": tuple(Photo(f"photo{i}", codes) for i, codes in enumerate(ldr)),
        "hdr": tuple(Scene(f"scene{i}", smooth_scene(40, 80, i), i % 2 == 0) for i in range(scenes)),
    }
