"""The training loop: it learns, it repeats itself, it can be interrupted, and it refuses to mix runs."""

import errno
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from fakes import smooth_scene
from tiny_training import objective, short_loop
from toy_gan import pictures, toy

from hdrcli.errors import DataError, MissingRequirement, TrainingError, UsageError
from hdrcli.training import checkpoint, logs, loop, placement
from hdrcli.training.cache import Stored
from hdrcli.training.datasets import BatchStream, Scene
from hdrcli.training.logs import LOG_FILE, RUN_FILE

TESTS = Path(__file__).parent.parent
SCENES = (Scene("a", smooth_scene(64, 128), True, "CC0-1.0"), Scene("b", smooth_scene(80, 96, 1), False, "CC-BY", "ab"))


def weights(state, key="networks"):
    return torch.cat([v.flatten().float() for v in state[key].values()])


def fixed_batch(tiny):
    """A batch that no training step has seen."""
    return BatchStream({"hdr": SCENES}, tiny.view_size, tiny.samples, seed=99, views_per_batch=4).batch(0)


def loss_on(tiny, batch):
    with torch.no_grad():
        terms = tiny.losses(tiny.networks["g_y"].iterate(batch["ldr"], batch["clip"]), batch)
    return float(terms["highlight"] + terms["measured"])


def events(folder, what=None):
    lines = [json.loads(line) for line in (folder / LOG_FILE).read_text(encoding="utf-8").splitlines()]
    return [e for e in lines if what in (None, e["event"])]


class StopAt:
    """An observer that does something at a step."""

    def __init__(self, step, act):
        self.step, self.act = step, act

    def __call__(self, progress):
        if progress.step == self.step:
            self.act()


def ctrl_c():
    raise KeyboardInterrupt


def gone(pids):
    """Has none of these processes been left, not even as a zombie?"""
    assert pids
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    return True


def bad_after(objective, views, error):
    """The objective whose samples can't be made after so many views."""
    made, count = objective.samples, [0]

    def samples(chosen, rng):
        count[0] += 1
        if count[0] > views:
            raise error
        return made(chosen, rng)

    objective.samples = samples
    return objective


def same(a, b, path="state"):
    """Bit for bit, through the whole state."""
    if isinstance(a, dict):
        assert set(a) == set(b), path
        for key in a:
            same(a[key], b[key], f"{path}.{key}")
    elif isinstance(a, list | tuple):
        assert len(a) == len(b), path
        for i, (x, y) in enumerate(zip(a, b)):
            same(x, y, f"{path}[{i}]")
    elif isinstance(a, torch.Tensor):
        assert torch.equal(a, b), path
    else:
        assert a == b, path


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


class TestResuming:
    @pytest.mark.parametrize("shard_mib", [None, 0.02])
    @pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
    def test_twenty_steps_equal_ten_and_ten_more(self, tmp_path, precision, shard_mib):
        """Two optimisers, batch norm, a history pool, random noise, a falling rate: all of it bit for bit."""
        config = short_loop(20, precision=precision, schedule="constant-linear", shard_mib=shard_mib)
        whole = loop.train(toy(), pictures(), config, tmp_path / "whole")
        with pytest.raises(KeyboardInterrupt):
            loop.train(toy(), pictures(), config, tmp_path / "parts", observe=StopAt(10, ctrl_c))
        assert checkpoint.load_run(tmp_path / "parts")["step"] == 10
        torch.rand(100)  # another process would be elsewhere in its random numbers
        seen = []
        lines = []
        resumed = loop.train(
            toy(), pictures(), config, tmp_path / "parts", resume=True, observe=seen.append, report=lines.append
        )
        assert lines == [f"resumes at step 10 of {tmp_path / 'parts'}"]
        assert [p.step for p in seen] == list(range(11, 21))
        assert resumed["elapsed"] > seen[0].elapsed > 0
        same({**whole, "elapsed": 0}, {**resumed, "elapsed": 0})
        same(checkpoint.load_run(tmp_path / "whole") | {"elapsed": 0}, checkpoint.load_run(tmp_path / "parts") | {"elapsed": 0})

    def test_workers_change_nothing(self, tmp_path):
        none = loop.train(toy(), pictures(), short_loop(6), tmp_path / "none")
        with pytest.raises(KeyboardInterrupt):
            loop.train(toy(), pictures(), short_loop(6, workers=2), tmp_path / "two", observe=StopAt(3, ctrl_c))
        two = loop.train(toy(), pictures(), short_loop(6, workers=2), tmp_path / "two", resume=True)
        assert torch.equal(weights(two), weights(none))

    def test_looking_at_the_run_changes_nothing(self, tmp_path, monkeypatch):
        looked = []
        show = loop._Run._show
        monkeypatch.setattr(loop._Run, "_show", lambda run: looked.append(run.step) or show(run))
        plain = loop.train(toy(), pictures(), short_loop(6), tmp_path / "a")
        config = short_loop(6, checkpoint_minutes=0.0, report_minutes=0.0)
        watched = loop.train(toy(), pictures(), config, tmp_path / "b")
        assert torch.equal(weights(watched), weights(plain))
        assert looked == [1, 6, 1, 2, 3, 4, 5, 6]  # the last step once
        assert len(list((tmp_path / "b" / "sheets").glob("*.png"))) == 6
        assert len(events(tmp_path / "b", "checkpoint")) == 7

    def test_limits_may_change(self, tmp_path):
        loop.train(objective(), SCENES, short_loop(3), tmp_path)
        assert loop.train(objective(), SCENES, short_loop(5), tmp_path, resume=True)["step"] == 5

    def test_where_there_is_nothing_yet_that_is_said(self, tmp_path):
        lines = []
        loop.train(objective(), SCENES, short_loop(1), tmp_path, resume=True, report=lines.append)
        assert lines == [f"nothing to resume in {tmp_path}: starts at step 0"]
        loop.train(objective(), SCENES, short_loop(1), tmp_path / "new", report=lines.append)
        assert len(lines) == 1

    def test_the_record_keeps_how_it_began_and_how_it_went_on(self, tmp_path):
        def train(steps, **changes):
            more = {"split": "train", "sources": {"hdr": [f"folder{steps}"]}}
            loop.train(objective(), SCENES, short_loop(steps, **changes), tmp_path, resume=True, record=more)
            return json.loads((tmp_path / RUN_FILE).read_text(encoding="utf-8"))

        first = train(2)
        assert "resumed" not in first
        train(3, checkpoint_minutes=7.0)
        last = train(5)
        assert {key: value for key, value in last.items() if key != "resumed"} == first
        assert [again["step"] for again in last["resumed"]] == [2, 3]
        assert [again["loop"]["max_steps"] for again in last["resumed"]] == [3, 5]
        assert last["resumed"][0]["loop"]["checkpoint_minutes"] == 7.0
        assert last["resumed"][1]["sources"] == {"hdr": ["folder5"]}
        assert last["resumed"][1]["versions"] == first["versions"]
        assert "objective" not in last["resumed"][0]  # it is the same, or else the run is refused

    def test_a_record_that_a_full_disk_has_emptied_is_made_anew(self, tmp_path):
        loop.train(objective(), SCENES, short_loop(1), tmp_path)
        (tmp_path / RUN_FILE).write_bytes(b"")
        loop.train(objective(), SCENES, short_loop(2), tmp_path, resume=True)
        record = json.loads((tmp_path / RUN_FILE).read_text(encoding="utf-8"))
        assert record["loop"]["max_steps"] == 2
        assert [again["step"] for again in record["resumed"]] == [1]

    def test_a_finished_run_stays_as_it_is(self, tmp_path):
        done = loop.train(objective(), SCENES, short_loop(2), tmp_path)
        again = loop.train(objective(), SCENES, short_loop(2), tmp_path, resume=True)
        assert again["step"] == 2
        assert torch.equal(weights(again), weights(done))

    def test_checkpoints_of_before_there_were_phases_are_taken(self, tmp_path):
        loop.train(objective(), SCENES, short_loop(2), tmp_path)
        state = checkpoint.load_run(tmp_path)
        old = {k: v for k, v in state.items() if k not in ("processes", "batches", "skipped", "scaler", "photos", "generators")}
        checkpoint.save(old | {"optimizers": {"g_y": state["optimizers"]["g"]}}, tmp_path)
        resumed = loop.train(objective(), SCENES, short_loop(4), tmp_path, resume=True)
        whole = loop.train(objective(), SCENES, replace(short_loop(4)), tmp_path / "whole")
        assert resumed["step"] == whole["step"] == 4
        assert float(next(iter(resumed["optimizers"]["g"]["state"].values()))["step"]) == 4

    def test_a_run_is_not_mixed_with_another(self, tmp_path):
        loop.train(objective(), SCENES, short_loop(1), tmp_path)
        before = (tmp_path / checkpoint.CHECKPOINT).read_bytes()
        with pytest.raises(TrainingError, match="holds a run already"):
            loop.train(objective(), SCENES, short_loop(1), tmp_path)
        with pytest.raises(TrainingError, match=r"other options: learning_rate 0\.003, not 0\.0001"):
            loop.train(objective(learning_rate=1e-4), SCENES, short_loop(2), tmp_path, resume=True)
        assert (tmp_path / checkpoint.CHECKPOINT).read_bytes() == before

    def test_a_truncated_checkpoint_is_named(self, tmp_path):
        loop.train(objective(), SCENES, short_loop(1), tmp_path)
        path = tmp_path / checkpoint.CHECKPOINT
        path.write_bytes(path.read_bytes()[:-1000])
        with pytest.raises(Exception, match=r"checkpoint\.pt.*no readable checkpoint"):
            loop.train(objective(), SCENES, short_loop(2), tmp_path, resume=True)

    @pytest.mark.parametrize(
        ("scenes", "seed", "words"),
        [
            (SCENES, 2, "seed 1, not 2"),
            (SCENES[:1], 1, "scenes gone: b"),
            ((*SCENES, replace(SCENES[0], name="c")), 1, "scenes added: c"),
            ((SCENES[0], replace(SCENES[1], licence="CC0-1.0")), 1, r"other licences: b \(CC-BY, not CC0-1\.0\)"),
            (SCENES[::-1], 1, "another order"),
            ((SCENES[0], replace(SCENES[1], digest="cd")), 1, "other files of these scenes: b"),
        ],
    )
    def test_not_on_other_data(self, tmp_path, scenes, seed, words):
        loop.train(objective(), SCENES, short_loop(1), tmp_path)
        before = (tmp_path / checkpoint.CHECKPOINT).read_bytes()
        with pytest.raises(TrainingError, match=words):
            loop.train(objective(), scenes, short_loop(2, seed=seed), tmp_path, resume=True)
        assert (tmp_path / checkpoint.CHECKPOINT).read_bytes() == before

    def test_photos_count_too(self, tmp_path):
        loop.train(toy(), pictures(), short_loop(1), tmp_path)
        with pytest.raises(TrainingError, match="photos gone: photo4"):
            loop.train(toy(), pictures(photos=4), short_loop(2), tmp_path, resume=True)


def test_workers_are_forked_from_a_process_that_has_thread_pools(tmp_path, hdr_folder):
    """OpenCV and OpenEXR wait for ever in a forked process for threads that only the parent has."""
    script = f"""
import sys, warnings
sys.path[:0] = {[str(p) for p in (TESTS, TESTS / "training")]!r}
warnings.simplefilter("ignore")
import cv2, numpy as np
from pathlib import Path
from tiny_training import objective, short_loop
from hdrcli.parallel import limit_threads
from hdrcli.training import loop
from hdrcli.training.cache import Budget, Limits, load
from hdrcli.training.sources import find_files
limit_threads(4)
cv2.resize(np.ones((2000, 2000, 3), np.float32), (500, 500), interpolation=cv2.INTER_AREA)
pictures = load(find_files([Path({str(hdr_folder)!r})], "hdr").files, "hdr", Limits(48, 96), Budget(memory=0))
loop.train(objective(), pictures, short_loop(1, workers=1), Path({str(tmp_path)!r}))
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=120)
    assert checkpoint.load_run(tmp_path)["step"] == 1


class TestStarting:
    def test_a_run_that_starts_from_another_remembers_it(self, tmp_path):
        loop.train(objective(), SCENES[:1], short_loop(1), tmp_path / "first")
        state = loop.train(objective(), SCENES[1:], short_loop(1, seed=2), tmp_path / "second", initial=tmp_path / "first")
        (earlier,) = state["history"]
        assert (earlier["steps"], earlier["seed"], earlier["scenes"]) == (1, 1, [["a", "CC0-1.0"]])
        assert (state["seed"], state["scenes"]) == (2, [["b", "CC-BY"]])

    def test_it_takes_averaged_generators_and_the_other_networks(self, tmp_path):
        first = loop.train(toy(), pictures(), short_loop(3), tmp_path / "first")
        started = toy()
        loop.train(started, pictures(), short_loop(1), tmp_path / "second", initial=tmp_path / "first", observe=lambda p: None)
        second = toy()
        from hdrcli.training.runs import initialise

        initialise(second, tmp_path / "first")
        now = second.networks.state_dict()
        for name, value in now.items():
            assert torch.equal(value, first["ema" if name.startswith("g_y") else "networks"][name]), name

    def test_weights_of_another_network_are_refused(self, tmp_path):
        loop.train(objective(), SCENES, short_loop(1), tmp_path / "first")
        with pytest.raises(TrainingError, match="don't fit"):
            loop.train(toy(), pictures(), short_loop(1), tmp_path / "second", initial=tmp_path / "first")

    def test_domains_must_be_the_objectives(self, tmp_path):
        with pytest.raises(UsageError, match="ldr and hdr"):
            loop.train(toy(), {"hdr": SCENES}, short_loop(1), tmp_path / "run")
        assert not (tmp_path / "run").exists()

    def test_a_run_needs_an_end(self, tmp_path):
        with pytest.raises(UsageError, match="end"):
            loop.train(objective(), SCENES, short_loop(None), tmp_path / "run")
        assert not (tmp_path / "run").exists()

    def test_minutes_end_a_run(self, tmp_path):
        state = loop.train(objective(), SCENES, short_loop(None, minutes=0.5 / 60), tmp_path)
        assert state["step"] > 0
        assert 0.5 <= state["elapsed"] < 10

    @pytest.mark.parametrize(
        ("cards", "changes", "error", "words"),
        [
            (0, {"device": "cuda"}, MissingRequirement, "--device"),
            (0, {"device": "cuda:1"}, MissingRequirement, "--device"),
            (2, {"device": "cuda:2"}, UsageError, "--device"),
            (2, {"device": "tpu"}, UsageError, "--device"),
            (2, {"device": "cuda", "devices": 3}, UsageError, "--devices"),
            (0, {"precision": "16-mixed"}, UsageError, "16-mixed needs a CUDA device"),
            (0, {"precision": "8-bit"}, UsageError, "--precision"),
        ],
    )
    def test_devices_that_are_not_there_are_refused(self, tmp_path, monkeypatch, cards, changes, error, words):
        monkeypatch.setattr(torch.cuda, "device_count", lambda: cards)
        with pytest.raises(error, match=words):
            loop.train(objective(), SCENES, short_loop(1, **changes), tmp_path / "run")
        assert not (tmp_path / "run").exists()

    @pytest.mark.parametrize(
        ("cards", "device", "devices", "placement"),
        [
            (0, "auto", 1, ("cpu", 1)),
            (0, "auto", 0, ("cpu", 1)),
            (2, "auto", 1, ("cuda", [0])),
            (2, "auto", 0, ("cuda", [0, 1])),
            (2, "cpu", 1, ("cpu", 1)),
            (2, "cuda", 1, ("cuda", [0])),
            (2, "cuda:1", 1, ("cuda", [1])),
        ],
    )
    def test_the_cards_that_were_named_are_used(self, monkeypatch, cards, device, devices, placement):
        from hdrcli.training.placement import placement as placed_at

        monkeypatch.setattr(torch.cuda, "device_count", lambda: cards)
        assert placed_at(device, devices) == placement


class TestSteps:
    def test_phases_come_in_turn_and_train_their_own_networks_only(self, tmp_path):
        gan = toy()
        loop.train(gan, pictures(), short_loop(2, accumulate=2), tmp_path)
        g, d = {"g_y": True, "d_y": False}, {"g_y": False, "d_y": True}
        assert gan.calls == [("g", 0, g), ("g", 1, g), ("d", 0, d), ("d", 1, d)] * 2
        assert all(p.requires_grad for p in gan.networks.parameters())

    def test_both_phases_are_logged(self, tmp_path):
        seen = []
        loop.train(toy(), pictures(), short_loop(1), tmp_path, observe=seen.append)
        assert set(seen[0].losses) == {"loss_g", "loss_d", "adversarial"}
        assert seen[0].epoch == pytest.approx(1 / 3)  # 2 of 5 photos, in whole batches
        assert seen[0].images_per_second > 0

    def test_mixed_precision_keeps_full_precision_weights_and_inputs(self, tmp_path):
        tiny = objective()
        state = loop.train(tiny, SCENES, short_loop(2, precision="bf16-mixed"), tmp_path)
        assert all(v.dtype == torch.float32 for v in state["networks"].values())
        assert torch.isfinite(weights(state)).all()

    def test_averages_follow_the_weights(self, tmp_path):
        tiny = objective()
        first = weights({"networks": tiny.networks.state_dict()}).clone()
        state = loop.train(tiny, SCENES, short_loop(1, ema=0.75), tmp_path)
        # in the first steps the average is shorter than told: (1 + step) / (10 + step)
        expected = first + (1 - 2 / 11) * (weights(state) - first)
        torch.testing.assert_close(weights(state, "ema"), expected)

    def test_only_generators_are_averaged(self, tmp_path):
        state = loop.train(toy(), pictures(), short_loop(1), tmp_path)
        assert {k.partition(".")[0] for k in state["ema"]} == {"g_y"}
        assert {k.partition(".")[0] for k in state["networks"]} == {"g_y", "d_y"}

    def test_the_gradient_is_clipped_when_told(self, tmp_path):
        def first_change(name, **changes):
            gan = toy(noise=0.0, norm=False)
            gan.optimizers = lambda: {
                "g": torch.optim.SGD(gan.networks["g_y"].parameters(), 1.0),
                "d": torch.optim.SGD(gan.networks["d_y"].parameters(), 1.0),
            }
            before = gan.networks["d_y"].state_dict()
            before = torch.cat([v.flatten() for v in before.values()]).clone()
            loop.train(gan, pictures(), short_loop(1, warmup_steps=0, **changes), tmp_path / name)
            return (torch.cat([v.flatten() for v in gan.networks["d_y"].state_dict().values()]) - before).norm()

        assert first_change("clipped", clip_gradient=1e-3) == pytest.approx(1e-3, rel=1e-3)
        assert first_change("free", clip_gradient=0.0) > 2e-3

    def test_how_an_optimiser_computes_does_not_come_from_a_checkpoint(self):
        parameter = torch.nn.Parameter(torch.ones(3))
        saved = torch.optim.Adam([parameter], 1e-3, foreach=True).state_dict()
        assert saved["param_groups"][0]["foreach"] is True
        optimizer = torch.optim.Adam([parameter], 1e-2, fused=True)
        loop._load(optimizer, saved)
        group = optimizer.param_groups[0]
        assert (group["fused"], group["foreach"], group["lr"]) == (True, None, 1e-3)

    @pytest.mark.parametrize("kind", [torch.optim.Adam, torch.optim.AdamW])
    def test_fused_optimisers_do_the_same(self, kind):
        assert placement.fused([torch.nn.Parameter(torch.ones(2))]) is True
        found = []
        for fused in (True, False):
            torch.manual_seed(0)
            parameters = [torch.nn.Parameter(torch.randn(size)) for size in (5, (4, 3), (2, 3, 3, 3))]
            optimizer = kind(parameters, 1e-2, (0.5, 0.999), fused=fused)
            for _ in range(20):
                for parameter in parameters:
                    parameter.grad = torch.randn_like(parameter)
                optimizer.step()
            found.append(torch.cat([p.detach().flatten() for p in parameters]))
        torch.testing.assert_close(found[0], found[1], rtol=1e-5, atol=1e-6)

    @pytest.mark.skipif(not hasattr(os, "confstr") or "CS_GNU_LIBC_VERSION" not in os.confstr_names, reason="another C library")
    def test_freed_memory_stays_while_training(self):
        import resource

        def faults():
            before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
            for _ in range(20):
                np.ones(1 << 19)  # 1024 pages
            return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

        with placement.memory_kept():
            faults()
            assert faults() < 20 * 1024 / 10


class TestNotFinite:
    @pytest.mark.parametrize("phase", ["g", "d"])
    def test_such_a_step_is_left_out_and_told(self, tmp_path, phase):
        gan, lines = toy(noise=0.0, pool=False), []
        gan.break_at = lambda now, call: now == phase and call == {"g": 3, "d": 4}[phase]
        seen = []
        state = loop.train(gan, pictures(), short_loop(5), tmp_path, observe=seen.append, report=lines.append)
        assert (state["step"], state["skipped"]) == (5, 1)
        assert torch.isfinite(weights(state)).all()
        (line,) = [line for line in lines if "not finite" in line]
        assert f"loss_{phase} is not finite at step 2" in line
        assert all(value == value for p in seen for value in p.losses.values())
        assert events(tmp_path, "skipped")[0]["fault"] == f"loss_{phase}"

    def test_running_statistics_are_as_before(self, tmp_path):
        gan = toy()
        gan.samples = lambda views, rng, made=gan.samples: [
            {k: v * float("nan") for k, v in s.items()} for s in made(views, rng)
        ]
        before = {k: v.clone() for k, v in gan.networks.state_dict().items()}
        loop.train(gan, pictures(), short_loop(2), tmp_path)
        after = gan.networks.state_dict()
        assert all(torch.equal(before[k], after[k]) for k in before if "num_batches" not in k)

    @pytest.mark.parametrize("checkpoint_minutes", [0.0, 1e9])
    def test_twenty_in_a_row_end_the_run_and_the_last_good_checkpoint_stays(self, tmp_path, checkpoint_minutes):
        loop.train(toy(), pictures(), short_loop(2), tmp_path)
        before = (tmp_path / checkpoint.CHECKPOINT).read_bytes()
        gan, lines = toy(), []
        gan.break_at = lambda phase, call: True
        with pytest.raises(TrainingError, match=r"not finite at step 22, 20 steps in a row.*last checkpoint"):
            loop.train(
                gan,
                pictures(),
                short_loop(100, checkpoint_minutes=checkpoint_minutes),
                tmp_path,
                resume=True,
                report=lines.append,
            )
        assert len(lines) == 2
        assert lines[0].startswith("resumes at step 2")
        assert (tmp_path / checkpoint.CHECKPOINT).read_bytes() == before

    @pytest.mark.parametrize("kind", ["tensor", "number"])
    def test_nor_is_an_objectives_state_that_is_not_finite_ever_saved(self, tmp_path, kind):
        """Resumed, such a run would have no finite loss any more; Ctrl-C while they are not finite saves nothing."""
        gan, lines = toy(), []

        def spoil(phase, call):
            if call < 7:
                return False
            if kind == "tensor":
                gan.pool = gan.pool * float("nan")
            else:
                gan.state = lambda: {"pool": gan.pool, "means": [1.0, (0.5, float("nan"))]}
            return True

        gan.break_at = spoil
        act = StopAt(6, lambda: os.kill(os.getpid(), signal.SIGINT))
        with pytest.raises(KeyboardInterrupt):
            loop.train(gan, pictures(), short_loop(50, checkpoint_minutes=0.0), tmp_path, observe=act, report=lines.append)
        assert checkpoint.load_run(tmp_path)["step"] == 3
        assert lines[-2:] == [
            "no checkpoint written: the state of toy is not finite; the older one is kept",
            "interrupted at step 6",
        ]
        assert loop.train(toy(), pictures(), short_loop(5), tmp_path, resume=True)["skipped"] == 0

    def test_steps_that_the_scaler_of_half_precision_leaves_out_are_counted_and_told(self, tmp_path):
        """A scale of 2**24 is too large for float16, whose largest is 65504; halved some times it is not."""
        from lightning.fabric import Fabric
        from lightning.fabric.plugins.precision.amp import MixedPrecision

        lines, scaler = [], torch.amp.GradScaler("cpu", init_scale=2.0**24)
        fabric = Fabric(accelerator="cpu", devices=1, plugins=[MixedPrecision("16-mixed", "cpu", scaler)])
        config = short_loop(14, precision="16-mixed")
        state = loop.train(toy(), pictures(), config, tmp_path, fabric=fabric, report=lines.append)
        assert state["skipped"] == len(events(tmp_path, "skipped")) == round(np.log2(2.0**24 / scaler.get_scale())) > 0
        assert lines == [
            "gradient of loss_g in half precision (its scale was halved) is not finite at step 1: that step is left out"
        ]
        assert state["skipped"] < 14

    @pytest.mark.parametrize("end", [3, 4])
    def test_weights_that_are_not_finite_are_never_saved(self, tmp_path, end):
        loop.train(toy(), pictures(), short_loop(2), tmp_path)
        before = (tmp_path / checkpoint.CHECKPOINT).read_bytes()
        gan = toy()
        gan.optimizers = lambda made=gan.optimizers: {
            name: _Exploding(optimizer.param_groups[0]["params"], 1e-3) for name, optimizer in made().items()
        }
        with pytest.raises(TrainingError, match=rf"weights, or what toy keeps, are not finite after step {end} .*checkpoint"):
            loop.train(gan, pictures(), short_loop(end, checkpoint_minutes=0.0), tmp_path, resume=True)
        assert (tmp_path / checkpoint.CHECKPOINT).read_bytes() == before


class _Exploding(torch.optim.Adam):
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                p.data.fill_(float("inf"))


class TestInterruptions:
    @pytest.fixture(autouse=True)
    def _hangup(self):
        """As in a terminal, also where the tests run under nohup."""
        before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
        yield
        signal.signal(signal.SIGHUP, before)

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
    @pytest.mark.parametrize("workers", [0, 1])
    def test_signals_end_the_step_and_save(self, tmp_path, number, workers):
        before = signal.getsignal(number)
        act = StopAt(2, lambda: os.kill(os.getpid(), number))
        with pytest.raises(KeyboardInterrupt):
            loop.train(toy(), pictures(), short_loop(50, workers=workers), tmp_path, observe=act)
        assert checkpoint.load_run(tmp_path)["step"] == 2
        assert signal.getsignal(number) is before
        assert events(tmp_path, "interrupted")

    def test_a_second_one_does_not_wait_and_saves_no_half_step(self, tmp_path):
        gan = toy()

        def twice(phase, call):
            if call == 5:
                os.kill(os.getpid(), signal.SIGINT)
                os.kill(os.getpid(), signal.SIGINT)
            return False

        gan.break_at = twice
        with pytest.raises(KeyboardInterrupt):
            loop.train(gan, pictures(), short_loop(50, checkpoint_minutes=0.0), tmp_path)
        assert checkpoint.load_run(tmp_path)["step"] == 2

    def test_one_that_is_sent_twice_by_a_program_is_one(self, tmp_path):
        """GNU timeout sends SIGTERM to its child and to the group that this is in."""
        gan = toy()

        def twice(phase, call):
            if call == 5:
                signal.raise_signal(signal.SIGTERM)
                signal.raise_signal(signal.SIGTERM)
                signal.raise_signal(signal.SIGHUP)
            return False

        gan.break_at = twice
        with pytest.raises(KeyboardInterrupt):
            loop.train(gan, pictures(), short_loop(50), tmp_path)
        assert checkpoint.load_run(tmp_path)["step"] == 3

    def test_another_one_later_does_not_wait(self, tmp_path, monkeypatch):
        monkeypatch.setattr(loop, "SAME_REQUEST", 0.0)
        gan = toy()

        def twice(phase, call):
            if call == 5:
                signal.raise_signal(signal.SIGTERM)
                time.sleep(0.01)
                signal.raise_signal(signal.SIGTERM)
            return False

        gan.break_at = twice
        with pytest.raises(KeyboardInterrupt):
            loop.train(gan, pictures(), short_loop(50, checkpoint_minutes=0.0), tmp_path)
        assert checkpoint.load_run(tmp_path)["step"] == 2

    def test_under_nohup_a_closed_terminal_is_nothing(self, tmp_path):
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        act = StopAt(2, lambda: os.kill(os.getpid(), signal.SIGHUP))
        assert loop.train(toy(), pictures(), short_loop(3), tmp_path, observe=act)["step"] == 3
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN

    def test_a_terminal_that_is_gone_is_no_reason_not_to_save(self, tmp_path):
        """What is written to a closed terminal fails with EIO."""
        gan, closed = toy(), []

        def hang_up(phase, call):
            if call == 5 and not closed:
                closed.append(True)
                signal.raise_signal(signal.SIGHUP)
            return False

        def tell(what):
            if closed:
                raise OSError(errno.EIO, "Input/output error")

        gan.break_at = hang_up
        with pytest.raises(KeyboardInterrupt):
            loop.train(gan, pictures(), short_loop(50), tmp_path, observe=tell, report=tell)
        assert checkpoint.load_run(tmp_path)["step"] == 3

    @pytest.mark.parametrize("end", ["finished", "interrupted", "exception", "no samples"])
    def test_no_worker_outlives_the_run(self, tmp_path, monkeypatch, end):
        pids, watched = [], placement._watched

        def remembered(iterator, workers):
            pids.extend(worker.pid for worker in workers)
            return watched(iterator, workers)

        def act():
            for process in multiprocessing.active_children():  # as of a whole group: they leave it to the main process
                os.kill(process.pid, signal.SIGTERM)
                os.kill(process.pid, signal.SIGHUP)
            if end == "interrupted":
                os.kill(os.getpid(), signal.SIGTERM)
            if end == "exception":
                raise ValueError("of an observer")

        monkeypatch.setattr(placement, "_watched", remembered)
        gan = bad_after(toy(), 3, DataError("gone")) if end == "no samples" else toy()
        caught = None
        try:
            loop.train(gan, pictures(), short_loop(6, workers=2), tmp_path, observe=StopAt(2, act))
        except (KeyboardInterrupt, ValueError, DataError) as error:
            caught = error  # with its traceback, which holds the frames that hold the loader
        kinds = {"finished": type(None), "interrupted": KeyboardInterrupt, "exception": ValueError, "no samples": DataError}
        assert type(caught) is kinds[end]
        assert len(pids) == 2
        assert gone(pids)

    def test_a_long_temporary_folder_does_not_keep_samples_from_arriving(self, tmp_path, monkeypatch):
        """Paths of sockets end at 107 bytes; beyond, workers' tensors were lost and the run waited for ever."""
        long = tmp_path / ("a" * 90)
        long.mkdir()
        monkeypatch.setattr("tempfile.tempdir", str(long))
        monkeypatch.setitem(multiprocessing.current_process()._config, "tempdir", None)
        assert loop.train(toy(), pictures(), short_loop(2, workers=1), tmp_path / "run")["step"] == 2
        assert list(long.iterdir()) == []
        # as when something else in this process has made its sockets there before
        monkeypatch.setitem(multiprocessing.current_process()._config, "tempdir", str(long))
        with pytest.raises(TrainingError, match=r"path is too long.*TMPDIR"):
            loop.train(toy(), pictures(), short_loop(2, workers=1), tmp_path / "other")

    @pytest.mark.slow  # torch waits twice for five seconds
    def test_not_even_one_that_hangs(self, tmp_path):
        gan, pids = toy(), []
        made, count = gan.samples, [0]

        def hangs(chosen, rng):
            count[0] += 1
            time.sleep(1000 if count[0] > 6 else 0)
            return made(chosen, rng)

        def act():
            pids.extend(process.pid for process in multiprocessing.active_children())
            os.kill(os.getpid(), signal.SIGTERM)

        gan.samples = hangs
        with pytest.raises(KeyboardInterrupt):
            loop.train(gan, pictures(), short_loop(50, workers=1), tmp_path, observe=StopAt(2, act))
        assert checkpoint.load_run(tmp_path)["step"] == 2
        assert gone(pids)

    def test_a_worker_that_was_killed_is_named_and_what_was_learned_is_saved(self, tmp_path):
        def act():
            (worker,) = multiprocessing.active_children()
            worker.kill()
            worker.join()

        lines = []
        with pytest.raises(TrainingError, match=r"process that makes samples was killed by signal 9 .*--cache-memory"):
            loop.train(toy(), pictures(), short_loop(5, workers=1), tmp_path, observe=StopAt(3, act), report=lines.append)
        assert lines == ["stopped at step 3; --resume auto goes on from there"]
        assert checkpoint.load_run(tmp_path)["step"] == 3
        whole = loop.train(toy(), pictures(), short_loop(5), tmp_path / "whole")
        assert torch.equal(weights(loop.train(toy(), pictures(), short_loop(5), tmp_path, resume=True)), weights(whole))

    @pytest.mark.parametrize("workers", [0, 1])
    @pytest.mark.parametrize("error", [DataError("can't be read any more", where="a.exr"), ValueError("a bug")])
    def test_a_run_without_samples_any_more_is_saved(self, tmp_path, workers, error):
        gan = bad_after(toy(), 6, error)
        with pytest.raises(type(error), match=r"can't be read any more|a bug"):
            loop.train(gan, pictures(), short_loop(50, workers=workers, log_steps=100), tmp_path)
        assert checkpoint.load_run(tmp_path)["step"] == 3
        assert [e["step"] for e in events(tmp_path, "stopped")] == [3]

    def test_if_that_can_not_be_saved_the_first_error_still_is_the_one(self, tmp_path, monkeypatch):
        def full(state, folder, shard_mib=None):
            raise TrainingError("checkpoint can't be written: No space left on device", where=folder)

        monkeypatch.setattr(checkpoint, "save", full)
        lines = []
        with pytest.raises(DataError, match="gone"):
            loop.train(bad_after(toy(), 4, DataError("gone")), pictures(), short_loop(9), tmp_path, report=lines.append)
        assert len(lines) == 1
        assert "No space left" in lines[0]

    def test_a_full_disk_is_told_the_older_checkpoint_stays_and_training_goes_on(self, tmp_path, monkeypatch):
        loop.train(toy(), pictures(), short_loop(2), tmp_path)
        before = (tmp_path / checkpoint.CHECKPOINT).read_bytes()
        save, lines, tried = checkpoint.save, [], []

        def full_at_first(state, folder, shard_mib=None):
            tried.append(state["step"])
            if len(tried) < 3:
                raise TrainingError("checkpoint can't be written: No space left on device", where=folder)
            assert (folder / checkpoint.CHECKPOINT).read_bytes() == before
            save(state, folder, shard_mib)

        monkeypatch.setattr(checkpoint, "save", full_at_first)
        config = short_loop(4, checkpoint_minutes=0.0)
        state = loop.train(toy(), pictures(), config, tmp_path, resume=True, report=lines.append)
        assert tried == [3, 4, 4]
        assert sum("No space left" in line and "tries again" in line for line in lines) == 2
        assert checkpoint.load_run(tmp_path)["step"] == state["step"] == 4

    def test_at_the_end_a_full_disk_is_an_error(self, tmp_path, monkeypatch):
        self.full(monkeypatch)
        with pytest.raises(TrainingError, match=r"No space left.*the generators, at least, are in .*generators, for hdrcli"):
            loop.train(toy(), pictures(), short_loop(1), tmp_path)
        kept = checkpoint.load_run(tmp_path / checkpoint.GENERATORS)
        assert set(kept) >= {"ema", "generators", "step"}
        assert not checkpoint.exists(tmp_path)

    def full(self, monkeypatch):
        """Checkpoints don't fit on the disk, generators alone do."""
        save = checkpoint.save

        def full(state, folder, shard_mib=None):
            if state["networks"]:
                raise TrainingError("checkpoint can't be written: No space left on device", where=folder)
            save(state, folder, shard_mib)

        monkeypatch.setattr(checkpoint, "save", full)

    @pytest.mark.parametrize("resume", [False, True])
    def test_generators_that_were_saved_alone_are_not_lost(self, tmp_path, monkeypatch, resume):
        self.full(monkeypatch)
        with pytest.raises(TrainingError, match="No space left"):
            loop.train(toy(), pictures(), short_loop(2, shard_mib=0.02), tmp_path)
        monkeypatch.undo()
        kept = tmp_path / checkpoint.GENERATORS
        assert len(list(kept.glob("checkpoint-*.pt"))) > 1
        before = {p.name: p.read_bytes() for p in kept.iterdir()}
        words = rf"holds the generators .*hdrcli models export {kept} -o DIR.* another --out"
        with pytest.raises(TrainingError, match=words):
            loop.train(toy(), pictures(), short_loop(3), tmp_path, resume=resume)
        assert {p.name: p.read_bytes() for p in kept.iterdir()} == before

    def test_they_go_when_a_checkpoint_is_as_far(self, tmp_path, monkeypatch):
        loop.train(toy(), pictures(), short_loop(1), tmp_path)
        self.full(monkeypatch)
        with pytest.raises(TrainingError, match="No space left"):
            loop.train(toy(), pictures(), short_loop(3), tmp_path, resume=True)
        monkeypatch.undo()
        kept = tmp_path / checkpoint.GENERATORS
        assert checkpoint.load_run(kept)["step"] == 3
        loop.train(toy(), pictures(), short_loop(2), tmp_path, resume=True)
        assert checkpoint.load_run(kept)["step"] == 3
        loop.train(toy(), pictures(), short_loop(3), tmp_path, resume=True)
        assert not kept.exists()

    def test_a_folder_that_can_not_be_made_is_named(self, tmp_path):
        (tmp_path / "file").write_text("")
        with pytest.raises(TrainingError, match=r"file/run: can't be made"):
            loop.train(toy(), pictures(), short_loop(1), tmp_path / "file" / "run")

    @pytest.mark.parametrize("workers", [0, 1])
    def test_a_picture_that_goes_bad_is_named(self, tmp_path, workers):
        from hdrcli.training.cache import Limits
        from hdrcli.training.sources import SceneFile

        gone = Stored("gone", False, "", SceneFile(tmp_path / "gone.exr"), "hdr", Limits(), 64)
        with pytest.raises(DataError, match=r"gone\.exr.*can't be read any more"):
            loop.train(objective(), (gone,), short_loop(1, workers=workers), tmp_path / "run")


class TestRecords:
    def test_the_checkpoint_says_what_was_trained_on_what(self, trained_run):
        state = checkpoint.load(trained_run / checkpoint.CHECKPOINT)
        assert state["step"] == 10
        assert state["scenes"] == [["pano", "CC0-1.0"], ["photo", "CC0-1.0"]]
        assert state["device"] == "cpu"
        assert state["seed"] == 1
        record = json.loads((trained_run / RUN_FILE).read_text(encoding="utf-8"))
        assert record["objective"]["recipe"] == "paired"
        assert record["loop"]["max_steps"] == 10
        assert {"python", "torch", "numpy"} <= set(record["versions"])
        assert list(trained_run.glob("events.out.tfevents.*"))

    def test_the_log_has_every_loss_and_goes_on_when_resumed(self, tmp_path):
        loop.train(toy(), pictures(), short_loop(2), tmp_path)
        loop.train(toy(), pictures(), short_loop(3), tmp_path, resume=True)
        assert [e["event"] for e in events(tmp_path) if e["event"] in ("started", "resumed", "finished")] == [
            "started",
            "finished",
            "resumed",
            "finished",
        ]
        losses = events(tmp_path, "losses")
        assert [e["step"] for e in losses] == [1, 2, 3]
        assert set(losses[0]["losses"]) == {"loss_g", "loss_d", "adversarial"}
        assert set(losses[0]["learning_rates"]) == {"g", "d"}

    @pytest.mark.parametrize(("steps", "reports"), [(1, [1]), (4, [1, 4]), (5, [1, 5]), (7, [1, 5, 7])])
    def test_losses_are_told_after_the_first_step_every_so_often_and_at_the_end(self, tmp_path, steps, reports):
        each, seen = [], []
        loop.train(toy(), pictures(), short_loop(steps), tmp_path / "each", observe=lambda p: each.append(p.losses["loss_g"]))
        loop.train(toy(), pictures(), short_loop(steps, log_steps=5), tmp_path / "run", observe=seen.append)
        assert [p.step for p in seen] == [e["step"] for e in events(tmp_path / "run", "losses")] == reports
        means = [np.mean(each[a:b]) for a, b in zip([0, *reports], reports)]
        assert [p.losses["loss_g"] for p in seen] == pytest.approx(means, rel=1e-6)
        assert len(list((tmp_path / "run" / "sheets").glob("*.png"))) == 1 + (steps == 7)  # none of the first step

    def test_a_sheet_is_drawn_at_the_end(self, tmp_path):
        import cv2

        loop.train(objective(), SCENES, short_loop(2, log_steps=5), tmp_path)
        sheet = cv2.imread(str(tmp_path / "sheets" / "step-0000002.png"))
        assert sheet.shape == (4 * 64, 4 * 64, 3)
        assert sheet.std() > 5

    @pytest.mark.parametrize("fault", [None, KeyboardInterrupt, RuntimeError])
    def test_the_files_of_the_journal_are_closed(self, tmp_path, monkeypatch, fault):
        closed = []
        monkeypatch.setattr(logs._Records, "close", lambda records: closed.append(records) or records._file.close())

        def observe(progress):
            if fault:
                raise fault

        if fault:
            with pytest.raises(fault):
                loop.train(objective(), SCENES, short_loop(1), tmp_path, observe=observe)
        else:
            loop.train(objective(), SCENES, short_loop(1), tmp_path)
        assert len(closed) == 2

    def test_tensorboard_reads_the_curves(self, tmp_path):
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        loop.train(toy(), pictures(), short_loop(3), tmp_path)
        loop.train(toy(), pictures(), short_loop(4), tmp_path, resume=True)
        read = EventAccumulator(str(tmp_path))
        read.Reload()
        assert set(read.Tags()["scalars"]) >= {"loss_g", "loss_d", "adversarial", "learning_rate/g"}
        assert [e.step for e in read.Scalars("loss_g")] == [1, 2, 3, 4]
        logged = [e["losses"]["loss_g"] for e in events(tmp_path, "losses")]
        assert [e.value for e in read.Scalars("loss_g")] == pytest.approx(logged, rel=1e-6)
        assert (read.Images("sheet")[-1].width, read.Images("sheet")[-1].height) == (64, 32)

    def test_checkpoints_by_epochs(self, tmp_path):
        config = short_loop(9, checkpoint_minutes=1e9, checkpoint_epochs=1)
        loop.train(toy(), pictures(), config, tmp_path)  # an epoch is 3 batches of 2
        assert [e["step"] for e in events(tmp_path, "checkpoint")] == [3, 6, 9, 9]
