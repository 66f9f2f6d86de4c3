"""LLM-HDR: what its samples hold, what each term and switch does, where gradients go, and that it learns without collapsing."""

import re
import shlex
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from fakes import smooth_scene
from tiny_llm_hdr import CONFIG, SIZE, MeanColour, batch, objective, step, views
from torch import nn

import hdrcli
from hdrcli import perception
from hdrcli.camera import clipped_share
from hdrcli.color import Transfer, decode
from hdrcli.errors import UsageError
from hdrcli.networks import feedback_unet, patchgan
from hdrcli.training import recipes
from hdrcli.training.objectives import create, llm_hdr

TERMS = {"gan", "cycle_x", "cycle_y", "identity_x", "identity_y", "contrastive", "semantic", "perception"}
ALL = {"loss_g", "loss_d", "d_x", "d_y"} | TERMS
GENERATORS, HEADS, JUDGES = {"g_y", "g_x"}, {"contrast_y", "contrast_x"}, {"d_y", "d_x"}
CHEAP = {"contrastive_weight": 0.0, "semantic_weight": 0.0, "perception_weight": 0.0}
ABLATIONS = Path(hdrcli.__file__).parent.parent / "docs" / "ablations.md"


def alone(term):
    """All weights 0 but one."""
    return {f"{name}_weight": float(name == term) for name in llm_hdr._WEIGHTS}


def with_gradient(made):
    """Names of the networks of which any parameter has one."""
    return {
        name
        for name, network in made.networks.items()
        if any(p.grad is not None and bool(p.grad.any()) for p in network.parameters())
    }


class TestSamples:
    def test_a_photo_is_its_codes_and_a_scene_is_t_of_its_exposed_light(self):
        given = views(0)
        (sample,) = objective().samples(given, np.random.default_rng(0))
        np.testing.assert_array_equal(sample["x"], given["ldr"] / np.float32(255))
        light = llm_hdr.exposed(given["hdr"], CONFIG, np.random.default_rng(0))
        np.testing.assert_allclose(sample["y"], np.log1p(5000 * light.astype(np.float64) / 256) / np.log(5001), atol=1e-6)
        assert {v.dtype for v in sample.values()} == {np.dtype(np.float32)}

    def test_an_exposure_is_one_factor(self):
        scene = smooth_scene(64, 64)
        for seed in range(5):
            ratio = llm_hdr.exposed(scene, CONFIG, np.random.default_rng(seed))[scene < 1] / scene[scene < 1]
            np.testing.assert_allclose(ratio, ratio[0], rtol=1e-5)

    def test_scenes_clip_as_photos_do(self):
        """Exponential with mean 0.08 in 0.002..0.4, as the virtual camera has it: mean 0.08, quartiles 0.023 and 0.11."""
        rng = np.random.default_rng(0)
        y, x = np.mgrid[0:96, 0:96] / 96
        scene = np.repeat((0.18 * 2 ** (8 * (x - 0.5) + y))[..., None], 3, 2).astype(np.float32)
        shares = [clipped_share(np.uint8(255 * np.minimum(llm_hdr.exposed(scene, CONFIG, rng), 1))) for _ in range(600)]
        assert np.mean(shares) == pytest.approx(0.08, abs=0.012)
        assert np.quantile(shares, [0.25, 0.75]) == pytest.approx([0.023, 0.11], abs=0.02)

    def test_a_lamp_does_not_turn_the_scene_black(self):
        """Of 9 % of the view and a million times as bright: without limits on the median nothing else would be seen."""
        scene = np.full((50, 50, 3), 0.18, np.float32)
        scene[:15, :15] = 2e5
        medians = [np.median(llm_hdr.exposed(scene, CONFIG, np.random.default_rng(seed))) for seed in range(20)]
        assert min(medians) >= 0.0199
        assert max(medians) <= 0.801

    @pytest.mark.parametrize("fill", [0.0, 1e-30, np.inf, np.nan, -1.0])
    def test_scenes_that_are_none_give_values_in_range(self, fill):
        scene = np.full((SIZE, SIZE, 3), fill, np.float32)
        (sample,) = objective().samples({"ldr": views(0)["ldr"], "hdr": scene}, np.random.default_rng(0))
        assert np.isfinite(sample["y"]).all()
        assert sample["y"].min() >= 0
        assert sample["y"].max() <= 1

    def test_light_ends_at_the_peak(self):
        scene = smooth_scene(64, 64)
        scene[3, 5] = np.inf
        light = llm_hdr.exposed(scene, CONFIG, np.random.default_rng(0))
        assert light[3, 5] == pytest.approx([256] * 3)


class TestKnownBeforehand:
    """What embedded guides say of data alone comes with the samples: the workers find it out."""

    def test_samples_carry_it(self):
        (sample,) = objective().samples(views(0), np.random.default_rng(0))
        assert {name: value.shape for name, value in sample.items() if name not in "xy"} == {
            "maps": (SIZE, SIZE, 12),  # of photo, scene, and what the identities are fed
            "areas": (4, 9, 6),  # two sets of scores for each of 9 areas, of photo and scene
        }
        (sample,) = objective(identity="none").samples(views(0), np.random.default_rng(0))
        assert sample["maps"].shape == (SIZE, SIZE, 6)

    @pytest.mark.parametrize(
        ("changes", "left"),
        [
            ({"network": replace(CONFIG.network, gates=False)}, {"areas"}),
            ({"masks": "none"}, {"maps"}),
            ({"semantic_weight": 0.0, "network": replace(CONFIG.network, gates=False)}, set()),
        ],
    )
    def test_only_what_is_used(self, changes, left):
        (sample,) = objective(**changes).samples(views(0), np.random.default_rng(0))
        assert set(sample) - {"x", "y"} == left

    @pytest.mark.parametrize("changes", [{}, {"identity": "none"}, {"identity": "paper"}, {"equalised": False}])
    def test_losses_and_gradients_are_the_same_without(self, changes):
        found, gradients = [], []
        for known in (True, False):
            made = objective(**changes)
            for name in GENERATORS:
                for key, parameter in made.networks[name].named_parameters():
                    if key.startswith("gate_"):
                        torch.nn.init.constant_(parameter, 0.1)
            given = batch(made)
            assert {"maps", "areas"} <= set(given)
            found.append(step(made, given if known else {name: given[name] for name in "xy"}))
            gradients.append([p.grad for name in GENERATORS for p in made.networks[name].parameters()])
        assert found[0] == pytest.approx(found[1], rel=1e-5, abs=1e-6)
        for a, b in zip(*gradients):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)

    def test_other_devices_look_for_themselves(self, monkeypatch):
        monkeypatch.setattr(llm_hdr.LlmHdr, "_on_cpu", False)
        (sample,) = objective().samples(views(0), np.random.default_rng(0))
        assert set(sample) == {"x", "y"}


class TestAsleep:
    """Generators that add nothing: G_Y linearises, G_X takes the ideal photo; what that gives can be calculated."""

    def test_photos_come_back_as_they_were(self):
        found = step(objective(asleep=True), batch(objective(asleep=True)))
        assert [found[name] for name in ("cycle_x", "identity_x", "identity_y")] == pytest.approx([0, 0, 0], abs=1e-5)

    def test_scenes_come_back_without_what_a_photo_clips(self):
        made = objective(asleep=True)
        given = batch(made)
        white = np.log1p(5000 / 256) / np.log(5001)
        expected = (given["y"] - given["y"].clamp(max=white)).abs().mean()
        assert step(made, given)["cycle_y"] == pytest.approx(float(expected), rel=1e-3)

    def test_the_identity_of_the_paper_is_none(self):
        """LDR white 1.0 shall stay 1.0 there, and become T(1 / peak) = 0.355 elsewhere."""
        made = objective(asleep=True, identity="paper")
        given = batch(made)
        linear = decode(given["y"].numpy().astype(np.float64), Transfer.SRGB)
        expected = np.abs(np.log1p(5000 * linear / 256) / np.log(5001) - given["y"].numpy()).mean()
        assert step(made, given)["identity_y"] == pytest.approx(expected, rel=1e-3)
        assert expected > 0.02

    def test_the_discriminators_begin_by_guessing(self):
        found = step(objective(asleep=True), batch(objective(asleep=True)))
        assert [found["d_x"], found["d_y"], found["gan"]] == pytest.approx([2 * np.log(2)] * 3, abs=0.1)


class TestSwitches:
    def test_all_terms_are_there_by_default_and_the_total_is_eq_12(self):
        found = step(objective(), batch(objective()))
        assert set(found) == ALL
        total = found["gan"] + 10 * (found["cycle_x"] + found["cycle_y"]) + 5 * (found["identity_x"] + found["identity_y"])
        total += 2 * found["contrastive"] + 2 * found["semantic"] + found["perception"]
        assert found["loss_g"] == pytest.approx(total, rel=1e-5)
        assert found["loss_d"] == pytest.approx(found["d_x"] + found["d_y"], rel=1e-5)

    @pytest.mark.parametrize(
        ("changes", "without"),
        [
            ({"gan_weight": 0.0}, {"gan", "d_x", "d_y", "loss_d"}),
            ({"cycle_weight": 0.0}, {"cycle_x", "cycle_y"}),
            ({"identity_weight": 0.0}, {"identity_x", "identity_y"}),
            ({"identity": "none"}, {"identity_x", "identity_y"}),
            ({"contrastive_weight": 0.0}, {"contrastive"}),
            ({"embeddings": "none"}, {"contrastive"}),
            ({"semantic_weight": 0.0}, {"semantic"}),
            ({"masks": "none"}, {"semantic"}),
            ({"perception_weight": 0.0}, {"perception"}),
        ],
        ids=lambda value: "-".join(sorted(map(str, value))),  # the same in every process
    )
    def test_what_is_switched_off_is_left_out_and_nothing_else(self, changes, without):
        full, made = objective(), objective(**changes)
        for name in GENERATORS:  # other networks more or less: other weights drawn
            made.networks[name].load_state_dict(full.networks[name].state_dict())
        for name in HEADS & set(made.networks):
            made.networks[name].load_state_dict(full.networks[name].state_dict())
        for name in JUDGES & set(made.networks):
            made.networks[name].load_state_dict(full.networks[name].state_dict())
        before, after = step(full, batch(full)), step(made, batch(full))
        assert set(before) - set(after) == without
        for name in set(after) - {"loss_g"}:
            assert after[name] == pytest.approx(before[name], rel=1e-4, abs=1e-6), name

    def test_networks_are_only_those_that_are_needed(self):
        assert set(objective().networks) == GENERATORS | HEADS | JUDGES
        assert set(objective(gan_weight=0.0, embeddings="none").networks) == GENERATORS
        assert objective(gan_weight=0.0).phases == ("g",)

    def test_equalisation_changes_what_embeddings_and_masks_see(self):
        found = [step(objective(equalised=e), batch(objective())) for e in (True, False)]
        changed = {name for name in TERMS if abs(found[0][name] - found[1][name]) > 1e-6}
        assert changed == {"contrastive", "semantic"}

    def test_what_guides_do_is_told(self):
        told = objective(masks="none", perception_weight=0.0).guides()
        assert told["maps"] == "exposure, for gates; left out: perception loss"
        assert told["embeddings"] == "own, for contrastive loss; left out: embedding"
        assert told["masks"] == "none; left out: semantic loss"

    def test_what_has_nothing_to_do_is_described_as_none(self):
        described = objective(masks="superpixels", semantic_weight=0.0).describe()["options"]
        assert (described["maps"], described["embeddings"], described["masks"]) == ("exposure", "own", "none")
        assert set(described["guides"]) == {"exposure", "own"}

    def test_options_of_guides_reach_them(self):
        made = create("llm_hdr", {"guides.own.patches": "7", "network.width": "4", "discriminator.width": "4"}, 1)
        assert made._embeddings.config.patches == 7
        assert made.describe()["options"]["guides"]["own"]["patches"] == 7
        assert "llm" not in made.describe()["options"]["guides"]


class TestGradients:
    @pytest.mark.parametrize(
        ("term", "reached"),
        [
            ("gan", GENERATORS),
            ("cycle", GENERATORS),
            ("identity", GENERATORS),
            ("contrastive", GENERATORS | HEADS),
            ("semantic", GENERATORS),
            ("perception", GENERATORS),
        ],
    )
    def test_each_term_reaches_both_generators_and_no_discriminator(self, term, reached):
        made = objective(**alone(term))
        for network in made.networks.values():
            network.requires_grad_(True)
        for name in JUDGES & set(made.networks):
            made.networks[name].requires_grad_(False)  # as the loop has it in this phase
        made.loss("g", batch(made), 0)["loss"].backward()
        assert with_gradient(made) == reached

    def test_the_discriminators_step_reaches_nothing_else(self):
        made = objective()
        given = batch(made)
        made.loss("g", given, 0)
        for network in made.networks.values():
            network.requires_grad_(True)
        made.loss("d", given, 0)["loss"].backward()
        assert with_gradient(made) == JUDGES

    def test_every_parameter_is_trained(self):
        made = objective()
        step(made, batch(made))
        without = [name for name, p in made.networks.named_parameters() if p.grad is None]
        assert without == []

    def test_every_parameter_has_its_optimiser(self):
        made = objective()
        owned = [p for o in made.optimizers().values() for group in o.param_groups for p in group["params"]]
        assert {id(p) for p in owned} == {id(p) for p in made.networks.parameters()}
        assert len(owned) == len(list(made.networks.parameters()))
        assert [o.param_groups[0]["lr"] for o in made.optimizers().values()] == [CONFIG.learning_rate, 2e-4]

    @pytest.mark.parametrize("value", [0.0, 1.0])
    def test_black_and_white_have_finite_gradients(self, value):
        made = objective()
        given = {name: torch.full((2, 3, SIZE, SIZE), value) for name in ("x", "y")}
        assert np.isfinite(list(step(made, given).values())).all()
        assert all(bool(torch.isfinite(p.grad).all()) for p in made.networks.parameters())

    def test_memory_can_be_saved_at_no_other_cost_than_time(self):
        losses, gradients = [], []
        for saves in (False, True):
            made = objective(saves_memory=saves)
            losses.append(step(made, batch(made)))
            gradients.append([p.grad for p in made.networks["g_y"].parameters()])
        assert losses[0] == pytest.approx(losses[1], rel=1e-6)
        for a, b in zip(*gradients):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


class TestLearning:
    def test_cycle_and_identity_errors_fall(self):
        made = objective(network=replace(CONFIG.network, gates=False), **CHEAP)
        optimizers, given = made.optimizers(), [batch(made, seed) for seed in range(2)]
        found = [step(made, given[i % 2], optimizers) for i in range(40)]
        for name in ("cycle_x", "cycle_y", "identity_x", "identity_y"):
            first, last = (np.mean([f[name] for f in part]) for part in (found[:2], found[-4:]))
            assert last < 0.7 * first, name

    def test_lost_light_comes_back_from_scenes_alone(self):
        """No photo shows it: G_Y learns it from scenes that G_X took photos of."""
        network = replace(CONFIG.network, gates=False, width=8, iterations=1)
        made = objective(gan_weight=0.0, highlights_weight=10.0, network=network, **CHEAP)
        optimizers, given = made.optimizers(), batch(made)
        for _ in range(160):
            step(made, given, optimizers)
        y = given["y"]
        photo = feedback_unet.photograph(y, 256.0)
        lost = photo > 0.995
        again = made.networks["g_y"](photo).detach()
        flat = (y - y.clamp(max=float(y[lost].min())))[lost].mean()
        assert float((again - y)[lost].abs().mean()) < 0.6 * float(flat)

    def test_what_lies_above_white_may_count_apart(self):
        given = batch(objective())
        plain, more = (step(objective(highlights_weight=h), given) for h in (0.0, 3.0))
        assert "highlights" not in plain
        assert more["highlights"] > more["cycle_y"]
        assert more["cycle_y"] == plain["cycle_y"]
        assert more["loss_g"] == pytest.approx(plain["loss_g"] + 3 * more["highlights"], rel=1e-5)
        alone = step(objective(cycle_weight=0.0, highlights_weight=3.0), given)
        assert alone["highlights"] == pytest.approx(more["highlights"], rel=1e-5)
        assert not {"cycle_x", "cycle_y"} & set(alone)

    def test_highlights_of_a_scene_without_any_cost_nothing(self):
        made = objective(highlights_weight=3.0)
        given = batch(made)
        dark = given | {"y": given["y"].clamp(max=0.3)}  # LDR white is 0.355
        assert step(made, dark)["highlights"] == 0

    def test_their_root_mean_square_is_a_root_per_photo(self):
        target = torch.rand(2, 3, 16, 16)
        weight = (target > 0.5).float()
        weight[1] = 0
        weight[1, 0, 0, :25] = 1  # half of what makes a photo count in full: rows of 16 hold no more than 16
        images = [target + 0.1, target + 0.3]
        counted = float(weight[1].sum())
        expected = sum((d + d * counted / 50) / 2 for d in (0.1, 0.3)) / 2
        assert float(llm_hdr._root_mean_square(images, target, weight)) == pytest.approx(expected, rel=1e-2)
        assert float(llm_hdr._root_mean_square(images, target, weight * 0)) == 0

    def test_large_errors_of_highlights_may_count_more(self):
        given = batch(objective())
        flat, square = (step(objective(highlights_weight=3.0, highlights=h), given) for h in ("l1", "rms"))
        assert square["highlights"] > flat["highlights"]

    def test_light_that_photos_lost_is_drawn_to_that_of_scenes(self):
        """All of it alike, as far as the running means are apart; once they are one, nothing is drawn."""
        lost = torch.zeros(2, 3, 16, 16)
        lost[0, :, :8] = 1
        real, above = torch.full((2, 3, 16, 16), 0.6), torch.ones(2, 3, 16, 16)
        made = torch.full((2, 3, 16, 16), 0.4, requires_grad=True)
        means = llm_hdr.Brightness()
        gap = means.gap(made, lost, real, above)
        assert float(gap.detach()) == pytest.approx(0.2, abs=1e-6)
        gap.backward()
        assert (made.grad[0, :, :8] == -1 / (3 * 8 * 16)).all()
        assert (made.grad[1] == 0).all()
        assert (made.grad[0, :, 8:] == 0).all()
        for _ in range(400):
            same = torch.full((2, 3, 16, 16), 0.6, requires_grad=True)
            gap = means.gap(same, lost, real, above)
        gap.backward()
        assert float(gap.detach()) < 1e-3
        assert same.grad.abs().max() < 0.1 / (3 * 8 * 16)

    def test_photos_that_lost_nothing_are_not_asked(self):
        means = llm_hdr.Brightness()
        made = torch.rand(1, 3, 16, 16, requires_grad=True)
        nothing, all_of_it = torch.zeros(1, 3, 16, 16), torch.ones(1, 3, 16, 16)
        gap = means.gap(made, nothing, made.detach(), all_of_it)
        gap.backward()
        assert float(gap.detach()) == 0
        assert not made.grad.any()

    def test_a_step_that_is_not_finite_leaves_the_running_means(self):
        """The loop leaves such a step out, and the next one must be able to go on."""
        means = llm_hdr.Brightness()
        all_of_it, real = torch.ones(1, 3, 16, 16), torch.full((1, 3, 16, 16), 0.6)
        means.gap(torch.full_like(real, 0.4), all_of_it, real, all_of_it)
        for bad in (float("nan"), float("inf")):
            means.gap(torch.full_like(real, bad), all_of_it, real, all_of_it)
        assert (means.made, means.real) == (pytest.approx(0.4), pytest.approx(0.6))

    def test_running_means_are_kept_and_count_in_the_total(self):
        given = batch(objective())
        given |= {"x": (given["x"] * 3).clamp(max=1)}
        made = objective(brightness_weight=2.0)
        with_it, without = step(made, given), step(objective(), given)
        assert with_it["loss_g"] == pytest.approx(without["loss_g"] + 2 * with_it["brightness"], rel=1e-4)
        again = objective(brightness_weight=2.0)
        again.load_state(made.state())
        assert again._brightness.made == made._brightness.made is not None
        assert again._brightness.real == made._brightness.real is not None

    def test_generated_photos_may_saturate_as_sensors_do(self):
        made = objective(cycle_clip=0.9)
        codes = torch.linspace(0.8, 1.0, 60).repeat(1, 3, 4, 1).requires_grad_(True)
        stored = made._stored(codes)
        assert (stored[codes >= 0.905] == 1).all()
        assert (stored[codes < 0.895] - codes[codes < 0.895]).abs().max() < 0.003
        stored.sum().backward()
        assert (codes.grad[codes >= 0.905] == 0).all()
        assert (codes.grad[codes < 0.895] == 1).all()

    def test_generated_photos_can_hide_nothing_in_codes_too_fine_to_see(self):
        made = objective(cycle_noise=1e-6)
        codes = torch.full((1, 3, SIZE, SIZE), 100 / 255)
        hidden = (codes + 0.3 / 255 * torch.rand(codes.shape)).requires_grad_(True)
        stored = made._stored(hidden)
        torch.testing.assert_close(stored.detach(), codes)
        (stored * 3).sum().backward()
        torch.testing.assert_close(hidden.grad, torch.full_like(hidden, 3.0))

    def test_noise_of_stored_photos_is_as_strong_as_said_and_goes_on_after_a_resume(self):
        made = objective(cycle_noise=0.02)
        codes = torch.full((1, 3, SIZE, SIZE), 0.5)
        kept = made.state()
        first = made._stored(codes)
        assert float((first - codes).std()) == pytest.approx(0.02, rel=0.05)
        again = objective(cycle_noise=0.02)
        again.load_state(kept)
        torch.testing.assert_close(again._stored(codes), first, rtol=0, atol=0)
        plain, noisy = (step(objective(cycle_noise=n), batch(objective())) for n in (0.0, 0.05))
        assert noisy["cycle_y"] > plain["cycle_y"]
        assert noisy["cycle_x"] == plain["cycle_x"]

    def test_all_terms_together_stay_finite_and_the_discriminators_learn(self):
        made = objective()
        optimizers, given = made.optimizers(), [batch(made, seed) for seed in range(2)]
        found = [step(made, given[i % 2], optimizers) for i in range(8)]
        assert all(np.isfinite(list(f.values())).all() for f in found)
        assert found[-1]["loss_d"] < found[0]["loss_d"]


class Turned(nn.Module):
    """A pair of these has no cycle error at all, and shows negatives: the colour inversion that CycleGAN is known for."""

    def iterate(self, image, *rest):
        return [1 - image]


class TestWhatCollapses:
    def test_an_inverted_pair_pays_in_the_identity_loss(self):
        made = objective(gan_weight=0.0, network=replace(CONFIG.network, gates=False), **CHEAP)
        for name in GENERATORS:
            made.networks[name] = Turned()
        found = made.loss("g", batch(made), 0)
        assert float(found["cycle_x"] + found["cycle_y"]) < 1e-6
        assert float(found["identity_x"]) > 0.2
        assert float(found["identity_y"]) > 0.2

    def perceived(self, y_hat, x):
        made = objective()
        y_hat.requires_grad_(True)
        maps = made._look(y_hat, source=x, made=True)
        loss = made._perceived(maps, y_hat, x, (0.0, 2.0, 1.5))
        loss.backward()
        return float(loss.detach()), y_hat.grad

    def lamp(self):
        """A photo with a clipped square, and where that is."""
        x = torch.full((1, 3, SIZE, SIZE), 0.4)
        x[..., 8:24, 8:24] = 1
        return x, (x == 1)

    def test_eq_2_does_not_train_highlights_away(self):
        """Bright and varied costs little; making it darker doesn't pay."""
        x, clipped = self.lamp()
        t = torch.where(clipped, 0.6 + 0.4 * torch.rand(x.shape, generator=torch.Generator().manual_seed(0)), 0.2)
        bright, gradient = self.perceived(t.clone(), x)
        darker, _ = self.perceived(torch.where(clipped, t - 0.3, t), x)
        flat, _ = self.perceived(torch.where(clipped, torch.tensor(0.355), t), x)
        assert bright < 0.1 * flat
        assert darker == pytest.approx(bright, rel=1e-3)
        assert abs(float(gradient[clipped].mean())) < 1e-3 * float(gradient.abs().max())

    def test_eq_2_does_not_train_shadows_away(self):
        """T of what is dark is near 0, and shall be: black only counts where the photo was not black."""
        x = torch.full((1, 3, SIZE, SIZE), 0.1)
        dark = feedback_unet.to_t(feedback_unet.srgb_to_linear(x), 256.0)
        assert float(dark.max()) < 0.06  # would be crushed if T were codes
        assert self.perceived(dark.clone(), x)[0] == 0
        loss, gradient = self.perceived(torch.full_like(dark, 1e-5), x)
        assert loss == pytest.approx(1.5, abs=0.1)
        assert float(gradient.sum()) < 0  # brighter is better

    def test_no_t_however_wild_makes_values_that_are_not_finite(self):
        t = torch.tensor([-1e4, -1.0, 0.0, 1e-30, 0.355, 1.0, 50.0, 1e4], requires_grad=True)
        codes = feedback_unet.photograph(feedback_unet.within(t), 256.0)
        assert codes.detach().numpy() == pytest.approx([0, 0, 0, 0, 1, 1, 1, 1], abs=1e-3)
        codes.sum().backward()
        assert bool(torch.isfinite(t.grad).all())

    def test_what_left_the_range_is_drawn_back(self):
        t = torch.tensor([-0.5, 0.5, 1.5], requires_grad=True)
        inside = feedback_unet.within(t)
        assert inside.tolist() == [0.0, 0.5, 1.0]
        inside.sum().backward()
        assert t.grad.tolist() == pytest.approx([0.1, 1.0, 0.1])


class TestPool:
    def test_the_first_images_pass_and_later_ones_are_exchanged_half_of_the_time(self):
        pool = llm_hdr.Pool(10, seed=0)
        images = torch.arange(400.0).view(-1, 1, 1, 1) / 512
        assert torch.equal(pool.exchanged(images[:10]), images[:10])
        rest = torch.cat([pool.exchanged(image[None]) for image in images[10:]])
        fresh = (rest == images[10:]).float().mean()
        assert float(fresh) == pytest.approx(0.5, abs=0.08)
        assert len({float(v) for v in rest}) > 250  # old ones leave the pool

    def test_no_pool_changes_nothing(self):
        images = torch.rand(3, 3, 4, 4)
        assert llm_hdr.Pool(0, seed=0).exchanged(images) is images

    def test_it_goes_on_where_it_was(self):
        pool, other = llm_hdr.Pool(4, seed=0), llm_hdr.Pool(4, seed=9)
        for i in range(9):
            pool.exchanged(torch.full((1, 3, 2, 2), i / 16))
        other.load_state(pool.state())
        later = torch.rand(20, 3, 2, 2).split(1)
        for image in later:
            assert torch.equal(pool.exchanged(image), other.exchanged(image))


def test_the_state_is_all_there_is_beside_networks_and_optimisers():
    """Two steps, and one, a new objective with its state, and another: the same losses to the last bit."""
    first = objective()
    optimizers = first.optimizers()
    for seed in range(3):
        step(first, batch(first, seed), optimizers)
    second = objective()
    second.networks.load_state_dict(first.networks.state_dict())
    second.load_state(torch.load(_saved(first.state()), weights_only=True))
    assert step(first, batch(first, 5)) == step(second, batch(second, 5))


def _saved(state):
    import io

    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return file


class Drawn:
    """Maps that someone drew: no gradient. Stands for the guide llm."""

    def __init__(self):
        self.asked = 0

    def maps(self, codes, *, source=None):
        self.asked += 1
        plane = (codes.detach().mean(1, keepdim=True) > 0.3).float()
        return perception.Maps(plane, plane, 1 - plane)


@pytest.fixture
def stand_ins(monkeypatch):
    drawn, real = Drawn(), perception.create
    others = {"clip": MeanColour(), "llm": drawn}

    def create_(kind, name, options=None):
        return others[name] if name in others else real(kind, name, options)

    monkeypatch.setattr(perception, "create", create_)
    return drawn


class TestOtherGuides:
    def test_embeddings_enter_generators_and_the_contrastive_loss(self, stand_ins):
        network = replace(CONFIG.network, embedding=True)
        made = objective(embeddings="clip", network=network)
        found = step(made, batch(made))
        assert set(made.networks) == GENERATORS | JUDGES
        assert set(found) == ALL
        assert all(p.grad is not None for p in made.networks["g_y"].embed_output.parameters())

    def test_the_next_iteration_knows_the_image_of_the_one_before(self, stand_ins):
        made = objective(embeddings="clip", network=replace(CONFIG.network, embedding=True, iterations=3))
        x = batch(made)["x"]
        seen = made._seen(x)
        (images,) = made._iterate(made.networks, "g_y", seen)
        (blind,) = made._iterate(made.networks, "g_y", seen, blind=True)
        fixed = [made.networks["g_y"].iterate(x, None, seen.maps, torch.stack([seen.embedding, 0 * seen.embedding], 1))]
        torch.testing.assert_close(images[0], feedback_unet.within(fixed[0][0]))
        assert not torch.equal(images[1], feedback_unet.within(fixed[0][1]))
        assert not torch.equal(images[0], blind[0])

    def test_maps_without_gradient_say_where_and_the_embedded_ones_what_to_do(self, stand_ins):
        made = objective(maps="llm", **alone("perception"))
        made.loss("g", batch(made), 0)["loss"].backward()
        assert with_gradient(made) == GENERATORS

    def test_generated_images_are_shown_every_so_many_steps(self, stand_ins):
        made = objective(maps="llm", maps_every=3, **(alone("cycle") | {"perception_weight": 1.0}))
        asked = []
        for _ in range(6):
            before = stand_ins.asked
            made.loss("g", batch(made), 0)
            asked.append(stand_ins.asked - before)
        assert asked == [2, 2, 4, 2, 2, 4]  # photo and scene, and then what was made of each

    def test_a_perception_loss_of_some_steps_counts_as_many_times(self):
        each, lazy = (
            objective(**CHEAP | {"perception_weight": 1.0}),
            objective(**CHEAP | {"perception_weight": 1.0}, perception_every=3),
        )
        for name in each.networks:
            lazy.networks[name].load_state_dict(each.networks[name].state_dict())
        shown = batch(each)
        expected = each.loss("g", shown, 0)["perception"]
        found = [lazy.loss("g", shown, 0) for _ in range(6)]
        assert ["perception" in terms for terms in found] == [False, False, True, False, False, True]
        for terms in found[2::3]:
            torch.testing.assert_close(terms["perception"], 3 * expected)

    def test_steps_without_perception_loss_leave_images_and_gates_alone(self):
        changes = CHEAP | {"gan_weight": 0.0, "perception_weight": 1e-12}
        found = []
        for every in (1, 4):
            made = objective(**changes, perception_every=every)
            torch.manual_seed(3)
            made.networks.load_state_dict({k: torch.randn_like(v) * 0.05 for k, v in made.networks.state_dict().items()})
            found.append(made.loss("g", batch(made), 0))
        for name in set(found[0]) - {"perception"}:
            torch.testing.assert_close(found[0][name], found[1][name])

    def test_one_process_gathers_nothing(self):
        a, b = torch.rand(3, 4), torch.rand(3, 4)
        assert float(llm_hdr.gathered_loss(a, b, lambda x, y: (x * y).sum())) == float((a * b).sum())


class TestRefusals:
    @pytest.mark.parametrize(
        ("changes", "where"),
        [
            ({"working_size": 33}, "working_size"),
            ({"maps": "none"}, "maps"),
            ({"network": replace(CONFIG.network, embedding=True)}, "network.embedding"),
            (dict.fromkeys((f"{t}_weight" for t in llm_hdr._WEIGHTS), 0.0), "cycle_weight"),
            (alone("perception") | {"perception_every": 2}, "perception_every"),
            ({"masks": "sam", "semantic_weight": 0.0}, "masks"),
            ({"embeddings": "clip", "contrastive_weight": 0.0}, "embeddings"),
            ({"maps": "llm", "perception_weight": 0.0, "network": replace(CONFIG.network, gates=False)}, "maps"),
        ],
    )
    def test_options_that_do_not_fit_are_named(self, changes, where):
        with pytest.raises(UsageError) as error:
            objective(**changes)
        assert error.value.where == where
        assert error.value.remedy

    def test_a_batch_of_one_has_nothing_to_contrast_with(self, stand_ins):
        with pytest.raises(UsageError, match=r"batch_size: the contrastive loss.*batch of 1"):
            objective(embeddings="clip", batch_size=1)
        network = replace(CONFIG.network, embedding=True)
        objective(embeddings="clip", batch_size=1, contrastive_weight=0.0, network=network)
        step(made := objective(batch_size=1), batch(made))  # own compares patches of one image

    @pytest.mark.parametrize(
        ("option", "value"),
        [
            ("network.direction", "tonemap"),
            ("working_size", "8"),
            ("batch_size", "0"),
            ("pool", "-1"),
            ("maps_every", "0"),
            ("perception_every", "0"),
            ("learning_rate", "0"),
            ("tau", "-1"),
            ("cycle_weight", "-1"),
            ("embedding_dropout", "2"),
            ("shares", "0.4,0.1"),
            ("medians", "0,1"),
            ("highlights_weight", "-1"),
            ("cycle_noise", "-0.1"),
            ("cycle_clip", "1.5"),
            ("highlights", "l2"),
            ("brightness_weight", "-1"),
            ("identity", "other"),
            ("masks", "exposure"),
            ("embeddings", "nix"),
            ("guides.own.patches", "1"),
            ("guides.nix.patches", "1"),
        ],
    )
    def test_options_that_make_no_sense_are_named(self, option, value):
        with pytest.raises(UsageError):
            create("llm_hdr", {option: value}, 1)


def rows():
    """Options of every row of docs/ablations.md."""
    found = re.findall(r"^\| ([^|]+) \| (`-p [^`]+`)? ?\|$", ABLATIONS.read_text(encoding="utf-8"), re.M)
    return {name: shlex.split(options.strip("`")) for name, options in found}


@pytest.mark.parametrize(("name", "words"), rows().items(), ids=rows())
def test_every_ablation_is_a_command_line(name, words, stand_ins):
    pairs = dict(word.split("=", 1) for word in words if word != "-p")
    tiny = {"network.width": "4", "discriminator.width": "4", "working_size": "32", "batch_size": "2", "network.norm": "none"}
    made = create("llm_hdr", {**tiny, "network.iterations": "2", "guides.superpixels.side": "32", **pairs}, 1)
    assert np.isfinite(list(step(made, batch(made)).values())).all()


@pytest.mark.parametrize(("name", "words"), rows().items(), ids=rows())
def test_every_ablation_is_another_system(name, words, stand_ins):
    """With the command line that the document gives, in which llm-hdr-small has its semantic loss."""
    base = {**recipes.load("llm-hdr-small").options, "semantic_weight": "2", "network.width": "4", "discriminator.width": "4"}
    pairs = dict(word.split("=", 1) for word in words if word != "-p")
    plain, made = create("llm_hdr", base, 1), create("llm_hdr", {**base, **pairs}, 1)
    assert (made.describe() == plain.describe()) == (not pairs)


def test_the_papers_numbers_are_the_defaults():
    config = llm_hdr.Config()
    assert (config.network.width, config.network.iterations, config.network.norm) == (64, 4, "batch")
    assert (config.working_size, config.batch_size, config.learning_rate, config.discriminator_rate) == (512, 4, 4e-4, 2e-4)
    weights = [config.weight(term) for term in ("gan", "cycle", "identity", "contrastive", "semantic", "perception")]
    assert (weights, config.tau, config.pool) == ([1, 10, 5, 2, 2, 1], 0.08, 50)
    assert config.discriminator == patchgan.Config()


def test_a_sheet_shows_what_the_networks_make_of_a_batch():
    made = objective()
    sheet = made.sheet(made.networks, batch(made))
    assert (sheet.shape, sheet.dtype) == ((2 * SIZE, 8 * SIZE, 3), np.uint8)
    np.testing.assert_array_equal(sheet[:SIZE, :SIZE], views(0)["ldr"])
