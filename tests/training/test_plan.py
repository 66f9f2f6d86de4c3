"""What a step takes, without trying it at its size."""

import gc

import pytest
import tiny_llm_hdr
import torch
from torch import nn

from hdrcli.training import loop, objectives, plan
from hdrcli.training.placement import make_fabric, placed

CONFIG = loop.LoopConfig(max_steps=1, device="cpu", precision="32-true")


def test_storages_alive_at_a_time_are_counted():
    with plan.Storages() as counted:
        first = torch.zeros(1000)
        view = first[:10].view(2, 5)
        second = first + 1
        assert (counted.now, counted.peak) == (8000, 8000)
        del first
        gc.collect()
        assert counted.now == 8000  # the view still holds it
        del view
        gc.collect()
        assert (counted.now, counted.peak) == (4000, 8000)
        second.add_(1)
        assert counted.now == 4000


def test_what_was_there_before_is_not():
    before = torch.zeros(1000)
    with plan.Storages() as counted:
        after = before[5:] * 2
        before.mul_(2).view(10, 100)
    assert counted.peak == after.numel() * 4


def test_a_known_step():
    """One linear layer and a sum: its output, then the weight's gradient while it is added up."""

    class Known:
        batch_size = views_per_batch = 4
        averaged, domains, phases = ("g_y",), ("hdr",), ("g",)
        view_size = 32

        def __init__(self):
            self.networks = nn.ModuleDict({"g_y": nn.Linear(32, 8, bias=False)})

        def samples(self, views, rng):
            return [{"t": views["hdr"]}]

        def trained(self, phase):
            return ("g_y",)

        def state(self):
            return {}

        def load_state(self, state):
            assert state == {}

        def loss(self, phase, batch, part):
            return {"loss": self.networks["g_y"](batch["t"]).sum()}

        def export(self, networks):
            return ()

        def describe(self):
            return {"options": {}}

    found = plan.estimate(Known(), CONFIG)
    assert found.fixed == 4 * 256 * 5  # weights, average, gradient, two states of Adam
    made = 4 * 3 * 32 * 8 * 4  # the output of four images
    assert made <= found.activations <= made + 4 * 256 * 4


@pytest.mark.parametrize("saves", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_it_agrees_with_a_step_at_full_size(saves):
    """Extrapolated from 48 and 96 pixels to 144; the step at 144 itself is counted."""
    made = tiny_llm_hdr.objective(working_size=144, saves_memory=saves)
    expected = plan.estimate(made, CONFIG)
    batch = plan._cut(plan._samples(made, 2), 144, 144)
    fabric = make_fabric("cpu", 1, 1, "32-true")
    with placed(made.networks, fabric):
        counted = plan._peak(made, batch, fabric)
    assert expected.activations == pytest.approx(counted, rel=0.15)
    assert 1e7 < counted < 1e9


def test_the_objective_is_as_before():
    """A pool of small images would not go with larger ones."""
    made = tiny_llm_hdr.objective(working_size=144)
    plan.estimate(made, CONFIG)
    assert [len(pool["images"]) for pool in made.state()["pools"].values()] == [0, 0]
    assert all(p.grad is None and p.requires_grad for p in made.networks.parameters())
    tiny_llm_hdr.step(made, plan._cut(plan._samples(made, 2), 144, 144))


@pytest.mark.slow
def test_more_images_take_more():
    one, four = (plan.estimate(tiny_llm_hdr.objective(batch_size=n), CONFIG) for n in (1, 4))
    assert one.fixed == four.fixed
    assert 3 < four.activations / one.activations < 5


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("paired", {"working_size": "64", "view_size": "96", "network.width": "4"}),
        pytest.param(
            *("hdr_cgan", {"working_size": "128", "view_size": "128", "network.width": "4", "discriminator.width": "4"}),
            marks=pytest.mark.slow,
        ),
        ("toning", {"working_size": "384", "network.width": "4"}),
        ("segmentation", {"working_size": "64", "view_size": "96"}),
        ("hybrid", {"working_size": "64", "view_size": "64", "lpips_weight": "0", "network.width": "8"}),
    ],
)
def test_other_systems_are_estimated_too(name, options):
    made = objectives.create(name, {"batch_size": "2", **options}, 1)
    found = plan.estimate(made, CONFIG)
    assert found.fixed > 4 * sum(plan.parameters(made).values())
    assert found.activations > 10**5


def test_what_to_lower_names_options_that_there_are():
    made = tiny_llm_hdr.objective()
    assert plan.what_to_lower(made) == "lower -p batch_size=2 or -p working_size=32 or use --checkpoint-activations"
    assert plan.what_to_lower(tiny_llm_hdr.objective(saves_memory=True)) == "lower -p batch_size=2 or -p working_size=32"
