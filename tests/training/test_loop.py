"""The training loop: it learns, it repeats itself, it can be interrupted, and it refuses to mix runs."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from fakes import smooth_scene
from tiny_training import objective, short_loop

from hdrcli.errors import MissingRequirement, TrainingError, UsageError
from hdrcli.training import checkpoint, loop
from hdrcli.training.datasets import SampleStream, Scene, collate

SCENES = (Scene("a", smooth_scene(64, 128), True, "CC0-1.0"), Scene("b", smooth_scene(80, 96, 1), False, "CC-BY"))


def weights(state, key="networks"):
    return torch.cat([v.flatten() for v in state[key].values()])


def fixed_batch(tiny):
    """A batch that no training step has seen."""
    stream = iter(SampleStream(SCENES, tiny.view_size, tiny.samples, seed=99))
    return collate([next(stream) for _ in range(8)])


def loss_on(tiny, batch):
    with torch.no_grad():
        terms = tiny.losses(tiny.networks["g_y"].iterate(batch["ldr"], batch["clip"]), batch)
    return float(terms["highlight"] + terms["measured"])


class StopAt:
    """An observer that is interrupted by the user at a step."""

    def __init__(self, step):
        self.step = step

    def __call__(self, progress):
        if progress.step == self.step:
            raise KeyboardInterrupt


def test_thirty_steps_lower_the_loss_on_views_it_has_not_seen(tmp_path):
    tiny = objective()
    batch = fixed_batch(tiny)
    before = loss_on(tiny, batch)
    loop.train(tiny, SCENES, short_loop(30), tmp_path)
    assert loss_on(tiny, batch) < 0.9 * before


def test_same_seed_same_weights(tmp_path):
    def trained(name, seed):
        return weights(loop.train(objective(), SCENES, short_loop(4, seed=seed), tmp_path / name))

    first = trained("a", 1)
    assert torch.equal(trained("b", 1), first)
    assert not torch.equal(trained("c", 2), first)


def test_an_interrupted_run_resumed_equals_one_that_was_not(tmp_path):
    whole = loop.train(objective(), SCENES, short_loop(6), tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        loop.train(objective(), SCENES, short_loop(6), tmp_path / "parts", observe=StopAt(3))
    assert checkpoint.load(tmp_path / "parts" / checkpoint.CHECKPOINT)["step"] == 3
    seen = []
    resumed = loop.train(objective(), SCENES, short_loop(6), tmp_path / "parts", resume=True, observe=seen.append)
    assert [p.step for p in seen] == [4, 5, 6]
    assert torch.equal(weights(resumed), weights(whole))
    assert torch.equal(weights(resumed, "ema"), weights(whole, "ema"))
    assert resumed["elapsed"] > seen[0].elapsed > 0


def test_a_finished_run_resumed_stays_as_it_is(tmp_path):
    done = loop.train(objective(), SCENES, short_loop(2), tmp_path)
    again = loop.train(objective(), SCENES, short_loop(2), tmp_path, resume=True)
    assert again["step"] == 2
    assert torch.equal(weights(again), weights(done))


def test_another_run_is_not_overwritten(tmp_path):
    loop.train(objective(), SCENES, short_loop(1), tmp_path)
    before = (tmp_path / checkpoint.CHECKPOINT).read_bytes()
    with pytest.raises(TrainingError, match="holds a run already"):
        loop.train(objective(), SCENES, short_loop(1), tmp_path)
    with pytest.raises(TrainingError, match="other options"):
        loop.train(objective(learning_rate=1e-4), SCENES, short_loop(2), tmp_path, resume=True)
    assert (tmp_path / checkpoint.CHECKPOINT).read_bytes() == before


@pytest.mark.parametrize(
    ("scenes", "seed", "words"),
    [
        (SCENES, 2, "seed 1, not 2"),
        (SCENES[:1], 1, "scenes gone: b"),
        ((*SCENES, replace(SCENES[0], name="c")), 1, "scenes added: c"),
        ((SCENES[0], replace(SCENES[1], licence="CC0-1.0")), 1, r"other licences: b \(CC-BY, not CC0-1\.0\)"),
        (SCENES[::-1], 1, "another order"),
    ],
)
def test_a_run_is_not_resumed_on_other_data(tmp_path, scenes, seed, words):
    loop.train(objective(), SCENES, short_loop(1), tmp_path)
    before = (tmp_path / checkpoint.CHECKPOINT).read_bytes()
    with pytest.raises(TrainingError, match=words):
        loop.train(objective(), scenes, short_loop(2, seed=seed), tmp_path, resume=True)
    assert (tmp_path / checkpoint.CHECKPOINT).read_bytes() == before


def test_a_run_that_starts_from_another_remembers_it(tmp_path):
    loop.train(objective(), SCENES[:1], short_loop(1), tmp_path / "first")
    state = loop.train(objective(), SCENES[1:], short_loop(1, seed=2), tmp_path / "second", initial=tmp_path / "first")
    (earlier,) = state["history"]
    assert (earlier["steps"], earlier["seed"], earlier["scenes"]) == (1, 1, [["a", "CC0-1.0"]])
    assert (state["seed"], state["scenes"]) == (2, [["b", "CC-BY"]])


@pytest.mark.parametrize("fault", [None, KeyboardInterrupt, RuntimeError])
def test_the_training_curves_are_closed(tmp_path, monkeypatch, fault):
    from torch.utils.tensorboard import SummaryWriter

    closed = []
    monkeypatch.setattr(SummaryWriter, "close", lambda writer: closed.append(writer))

    def observe(progress):
        if fault:
            raise fault

    if fault:
        with pytest.raises(fault):
            loop.train(objective(), SCENES, short_loop(1), tmp_path, observe=observe)
    else:
        loop.train(objective(), SCENES, short_loop(1), tmp_path)
    assert len(closed) == 1


@pytest.mark.parametrize("log_steps", [1, 100])
@pytest.mark.parametrize("checkpoint_seconds", [0.0, 1e9])
def test_a_loss_that_is_not_finite_ends_the_run_and_is_never_saved(tmp_path, log_steps, checkpoint_seconds):
    loop.train(objective(), SCENES, short_loop(2), tmp_path)
    before = (tmp_path / checkpoint.CHECKPOINT).read_bytes()
    tiny = objective()
    step = tiny.step

    def broken(*arguments):
        return {name: value * float("nan") for name, value in step(*arguments).items()}

    tiny.step = broken
    config = short_loop(4, log_steps=log_steps, checkpoint_seconds=checkpoint_seconds)
    with pytest.raises(TrainingError, match="no longer finite"):
        loop.train(tiny, SCENES, config, tmp_path, resume=True)
    assert (tmp_path / checkpoint.CHECKPOINT).read_bytes() == before


def test_the_checkpoint_says_what_was_trained_on_what(trained_run):
    state = checkpoint.load(trained_run / checkpoint.CHECKPOINT)
    assert state["step"] == 10
    assert state["scenes"] == [["pano", "CC0-1.0"], ["photo", "CC0-1.0"]]
    assert state["device"] == "cpu"
    assert state["seed"] == 1
    record = json.loads((trained_run / loop.RUN_FILE).read_text(encoding="utf-8"))
    assert record["objective"]["recipe"] == "paired"
    assert record["loop"]["max_steps"] == 10
    assert list(trained_run.glob("events.out.tfevents.*"))


def test_minutes_end_a_run(tmp_path):
    state = loop.train(objective(), SCENES, short_loop(None, minutes=0.5 / 60), tmp_path)
    assert state["step"] > 0
    assert 0.5 <= state["elapsed"] < 10


def test_a_run_needs_an_end(tmp_path):
    with pytest.raises(UsageError, match="end"):
        loop.train(objective(), SCENES, short_loop(None), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("cards", "device", "error"),
    [(0, "cuda", MissingRequirement), (0, "cuda:1", MissingRequirement), (2, "cuda:2", UsageError), (2, "tpu", UsageError)],
)
def test_devices_that_are_not_there_are_refused(tmp_path, monkeypatch, cards, device, error):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: cards)
    with pytest.raises(error, match="--device"):
        loop.train(objective(), SCENES, short_loop(1, device=device), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("cards", "device", "placement"),
    [
        (0, "auto", ("cpu", 1)),
        (2, "auto", ("cuda", [0])),
        (2, "cpu", ("cpu", 1)),
        (2, "cuda", ("cuda", [0])),
        (2, "cuda:1", ("cuda", [1])),
    ],
)
def test_the_card_that_was_named_is_used(tmp_path, monkeypatch, cards, device, placement):
    import lightning.fabric

    class Asked(Exception):
        pass

    def fabric(*, accelerator, devices, precision):
        raise Asked(accelerator, devices)

    monkeypatch.setattr(torch.cuda, "device_count", lambda: cards)
    monkeypatch.setattr(lightning.fabric, "Fabric", fabric)
    with pytest.raises(Asked) as asked:
        loop.train(objective(), SCENES, short_loop(1, device=device), tmp_path)
    assert asked.value.args == placement


def test_mixed_precision_runs_and_keeps_full_precision_weights(tmp_path):
    state = loop.train(objective(), SCENES, short_loop(2, precision="bf16-mixed"), tmp_path)
    assert all(v.dtype == torch.float32 for v in state["networks"].values())
    assert torch.isfinite(weights(state)).all()


def test_averages_follow_the_weights(tmp_path):
    tiny = objective()
    first = weights({"networks": tiny.networks.state_dict()}).clone()
    state = loop.train(tiny, SCENES, short_loop(1, ema=0.75), tmp_path)
    # in the first steps the average is shorter than told: (1 + step) / (10 + step)
    expected = first + (1 - 2 / 11) * (weights(state) - first)
    torch.testing.assert_close(weights(state, "ema"), expected)


def test_the_learning_rate_warms_up_and_falls_along_a_half_cosine():
    assert loop.learning_rate_factor(0, 0.0, 10) == pytest.approx(0.1)
    assert loop.learning_rate_factor(9, 0.0, 10) == pytest.approx(1)
    assert loop.learning_rate_factor(500, 0.5, 10) == pytest.approx(0.01 + 0.99 / 2)
    assert loop.learning_rate_factor(900, 1.0, 10) == pytest.approx(0.01)
    rates = [loop.learning_rate_factor(1000, f, 10) for f in np.linspace(0, 1, 50)]
    assert (np.diff(rates) < 0).all()
