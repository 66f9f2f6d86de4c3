"""The recipe "paired": what a sample holds, what the losses measure."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from fakes import smooth_scene
from tiny_training import CONFIG, objective
from torch.nn import functional

from hdrcli.camera import Camera, measured_response, srgb_response
from hdrcli.color import Transfer, decode
from hdrcli.errors import UsageError
from hdrcli.inference.working import clip_map, lost_share, working_codes
from hdrcli.networks import feedback_unet
from hdrcli.training.datasets import collate
from hdrcli.training.objectives import _stops, create, paired


class FixedCamera:
    """A distribution of one camera without noise and JPEG."""

    def __init__(self, exposure=1.0, response=None):
        self.camera = Camera(response or srgb_response(), exposure)

    def draw(self, radiance, rng):
        return self.camera


def fixed(exposure=1.0, response=None, **changes):
    """The tiny recipe with that camera and no inventions."""
    return replace(CONFIG, camera=FixedCamera(exposure, response), steepened=0.0, lamps=0.0, **changes)


def codes_of(view, exposure=1.0):
    return Camera(srgb_response(), exposure).shoot(view, np.random.default_rng(0))


class TestSamples:
    view = smooth_scene(64, 64)

    def test_the_network_is_shown_what_inference_shows_it(self):
        sample = paired.photograph(self.view, fixed(), np.random.default_rng(0))
        codes = codes_of(self.view)
        np.testing.assert_array_equal(sample["ldr"], working_codes(codes, Transfer.SRGB, (64, 64)))
        np.testing.assert_array_equal(sample["lost"], lost_share(codes, (64, 64)))
        np.testing.assert_array_equal(sample["clip"], clip_map(sample["lost"]))

    def test_the_target_is_the_log_of_the_truth(self):
        sample = paired.photograph(self.view, fixed(), np.random.default_rng(0))
        expected = np.log2(np.minimum(self.view, 256) + 2.0**-10)
        np.testing.assert_allclose(sample["stops"], expected, atol=0.05)

    @pytest.mark.parametrize("exposure", [0.25, 1.0, 4.0])
    def test_the_truth_has_the_exposure_of_the_photo(self, exposure):
        """1.0 is LDR white: what was measured says in the target what its code says."""
        sample = paired.photograph(self.view, fixed(exposure), np.random.default_rng(0))
        expected = np.log2(np.minimum(self.view * exposure, 256) + 2.0**-10)
        np.testing.assert_allclose(sample["stops"], expected, atol=0.05)

    def test_the_truth_is_aligned_to_the_linearised_photo_whatever_its_response(self):
        """No network can know a scene's absolute exposure."""
        sample = paired.photograph(self.view, fixed(response=measured_response(90)), np.random.default_rng(0))
        linear = np.log2(decode(sample["ldr"], Transfer.SRGB) + 2.0**-10)
        well = ((sample["ldr"] >= 0.05) & (sample["ldr"] <= 0.90)).all(axis=2)
        assert np.median(sample["stops"][well] - linear[well]) == pytest.approx(0, abs=0.15)

    def test_a_small_lamps_target_is_its_own_light_not_the_cells_mean(self):
        view = np.full((256, 256, 3), 0.2, np.float32)
        view[101, 130] = 50.0
        config = fixed(working_size=32, view_size=256)
        sample = paired.photograph(view, config, np.random.default_rng(0))
        assert sample["lost"][12, 16].max() == pytest.approx(1 / 64, rel=1e-3)
        np.testing.assert_allclose(sample["stops"][12, 16], np.log2(50), atol=0.05)
        np.testing.assert_allclose(sample["stops"][0, 0], np.log2(0.2), atol=0.05)

    def test_truth_is_capped_at_the_peak(self):
        view = np.full((64, 64, 3), 0.2, np.float32)
        view[:20] = 1e4
        sample = paired.photograph(view, fixed(), np.random.default_rng(0))
        assert sample["stops"].max() == pytest.approx(8, abs=0.05)

    def test_steepening_changes_only_what_is_above_white(self):
        x = np.float32([0.1, 0.9, 1.0, 4.0])
        np.testing.assert_allclose(paired.steepen(x, 1.5), [0.1, 0.9, 1.0, 8.0], rtol=1e-6)

    def test_lamps_only_add_light(self):
        for seed in range(10):
            lit = paired.add_lamps(self.view, np.random.default_rng(seed))
            assert (lit >= self.view).all()
            assert lit.max() > 8 * np.median(self.view)
            assert lit.dtype == np.float32

    def test_random_samples_are_finite_and_follow_from_the_seed(self):
        tiny = objective()
        for seed in range(5):
            samples = tiny.samples({"hdr": self.view}, np.random.default_rng(seed))
            again = tiny.samples({"hdr": self.view}, np.random.default_rng(seed))
            assert len(samples) == CONFIG.photos_per_view
            for a, b in zip(samples, again):
                assert set(a) == {"ldr", "clip", "stops", "lost"}
                for key, value in a.items():
                    assert (value.shape, value.dtype) == ((64, 64, 3), np.float32), key
                    assert np.isfinite(value).all()
                    np.testing.assert_array_equal(value, b[key])


def terms(error, lost=None):
    lost = torch.zeros_like(error) if lost is None else lost
    return _stops.terms_of(error, lost, (lost <= 0).to(lost.dtype))


def by_autograd(t, stops, lost, measured, peak):
    """Error and terms as they are defined, in operations that autograd differentiates."""
    error = torch.log2(functional.relu(feedback_unet.from_t(t, peak)) + 2.0**-10) - stops - 8 * functional.relu(-t)
    weight = lost.sum((1, 2, 3))
    root = ((error.square() * lost).sum((1, 2, 3)) / weight.clamp(min=1) + 1e-4).sqrt()
    found = {"highlight": (root * (weight / 50).clamp(max=1)).mean()}
    found["measured"] = (error.abs() * measured).sum() / measured.sum().clamp(min=1)
    found["gradient"], border = 0, 0
    for dim in (-1, -2):
        step, size = error.diff(dim=dim).abs(), error.shape[dim] - 1
        pair = torch.maximum(lost.narrow(dim, 0, size), lost.narrow(dim, 1, size))
        found["gradient"] = found["gradient"] + step.mean()
        border = border + (step * pair).sum((1, 2, 3)) / pair.sum((1, 2, 3)).clamp(min=50)
    return found | {"border": border.mean()}


class TestLosses:
    @pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
    def test_values_and_gradients_are_those_of_autograd(self, layout):
        torch.manual_seed(0)
        t, stops, lost = torch.rand(3, 3, 20, 12) * 1.2 - 0.1, torch.randn(3, 3, 20, 12), torch.rand(3, 3, 20, 12) * 2 - 1
        lost = lost.clamp(min=0)
        lost[1] = 0
        lost[2, 0, 1:] *= 0.01
        measured = (lost <= 0).float()
        found = []
        for ours in (True, False):
            image = t.to(memory_format=layout).requires_grad_()
            if ours:
                made = _stops.terms_of(_stops.error_of(image, stops, 256.0), lost, measured)._asdict()
            else:
                made = by_autograd(image, stops, lost, measured, 256.0)
            sum((i + 1) * value for i, value in enumerate(made.values())).backward()
            found.append((made, image.grad))
        (made, gradient), (expected, right) = found
        assert {k: float(v.detach()) for k, v in made.items()} == pytest.approx(
            {k: float(v.detach()) for k, v in expected.items()}, rel=1e-5
        )
        torch.testing.assert_close(gradient, right, rtol=1e-5, atol=1e-5 * float(right.abs().max()))

    def test_gradients_are_right(self):
        torch.manual_seed(0)
        t = (torch.rand(2, 3, 5, 4, dtype=torch.float64) + 0.05).requires_grad_()
        stops, lost = torch.randn(2, 3, 5, 4, dtype=torch.float64), torch.rand(2, 3, 5, 4, dtype=torch.float64)

        def total(t):
            return sum(_stops.terms_of(_stops.error_of(t, stops, 256.0), lost, torch.ones_like(lost)))

        assert torch.autograd.gradcheck(total, t, atol=1e-5)

    def test_highlight_loss_is_the_rms_over_what_was_lost(self):
        error, lost = torch.zeros(2, 3, 16, 16), torch.zeros(2, 3, 16, 16)
        lost[0, :, :8], error[0, :, :8] = 1, 3.0
        error[0, :, 8:] = 100  # measured: no business of this loss
        lost[1, :, :8], error[1, :, :8] = 1, -4.0
        assert terms(error, lost).highlight == pytest.approx((3 + 4) / 2, rel=1e-3)

    def test_a_photo_that_lost_nothing_counts_nothing(self):
        error = torch.ones(1, 3, 8, 8, requires_grad=True)
        loss = terms(error).highlight
        loss.backward()
        assert loss == 0
        assert torch.isfinite(error.grad).all()

    def test_gradient_loss_is_blind_to_an_offset(self):
        error = torch.rand(1, 3, 8, 8)
        assert terms(error + 5).gradient == pytest.approx(float(terms(error).gradient), abs=1e-6)
        assert terms(torch.full((1, 3, 8, 8), 2.0)).gradient == 0

    def test_a_perfect_image_has_no_loss(self):
        tiny = objective()
        stops = torch.rand(2, 3, 32, 32) * 6 - 3
        batch = {"stops": stops, "lost": (stops > 0).float(), "ldr": torch.full_like(stops, 0.5)}
        image = feedback_unet.to_t(torch.exp2(stops) - 2.0**-10, CONFIG.network.peak)
        terms = tiny.losses([image], batch)
        assert {"highlight", "measured", "gradient"} <= set(terms)
        assert all(value < 0.02 for value in terms.values())  # roots are rounded off at zero

    def test_values_below_zero_still_have_a_gradient(self):
        tiny = objective()
        image = torch.full((1, 3, 16, 16), -0.1, requires_grad=True)
        batch = {"stops": torch.zeros(1, 3, 16, 16), "lost": torch.ones(1, 3, 16, 16), "ldr": torch.ones(1, 3, 16, 16)}
        sum(tiny.losses([image], batch).values()).backward()
        assert (image.grad < 0).all()


class TestObjective:
    def test_views_of_a_batch_are_counted_for_resuming(self):
        assert objective(batch_size=8, photos_per_view=2).views_per_batch == 4

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            ({"network.gates": "true"}, "network.gates: gates and embedding need guides"),
            ({"network.embedding": "true"}, "network.embedding: gates and embedding need guides"),
            ({"network.direction": "tonemap"}, "network.direction: .*LDR to HDR"),
            ({"network.stem": "3"}, "network.stem: .*1, 2, 4 or 8"),
            ({"photos_per_view": "0"}, "photos_per_view: 0 is below 1"),
            ({"batch_size": "0"}, "batch_size: 0 is below 1"),
            ({"batch_size": "15"}, "batch_size: 15 is no multiple of photos_per_view 2"),
            ({"working_size": "0"}, "working_size: 0 is below 1"),
            ({"working_size": "8192"}, "working_size: 8192 is above 4096"),
            ({"working_size": "100"}, "working_size: 100 is no multiple of 32"),
            ({"working_size": "512"}, "working_size: 512 is more than view_size 384"),
            ({"learning_rate": "0"}, "learning_rate: 0 is not above 0"),
            ({"weight_decay": "-1"}, "weight_decay: -1 is negative"),
            ({"measured_weight": "-1"}, "measured_weight: -1 is negative"),
            ({"gradient_weight": "-0.5"}, "gradient_weight: -0.5 is negative"),
            ({"border_weight": "-1"}, "border_weight: -1 is negative"),
            ({"lamps": "1.5"}, "lamps: 1.5 is no share"),
            ({"steepened": "-0.1"}, "steepened: -0.1 is no share"),
            (
                {"network.norm": "batch", "batch_size": "1", "photos_per_view": "1", "working_size": "32"},
                "network.norm: .*batch_size",
            ),
        ],
    )
    def test_options_that_make_no_sense_are_refused(self, options, words):
        with pytest.raises(UsageError, match=words):
            create("paired", {"network.width": "4"} | options, 1)

    @pytest.mark.parametrize("names", [("working_size", "view_size"), ("view_size", "working_size")])
    def test_options_that_belong_together_are_taken_in_any_order(self, names):
        sizes = {"working_size": "512", "view_size": "768"}
        made = create("paired", {"network.width": "4"} | {name: sizes[name] for name in names}, 1)
        assert (made.config.working_size, made.view_size) == (512, 768)

    def test_it_has_one_phase_that_trains_everything(self):
        tiny = objective()
        assert set(tiny.optimizers()) == set(tiny.phases)
        assert set(tiny.trained("g")) == set(tiny.averaged) == set(tiny.networks)

    def test_the_loss_is_the_weighted_sum_of_its_terms(self):
        tiny = objective()
        made = tiny.samples({"hdr": smooth_scene(64, 64)}, np.random.default_rng(0))
        terms = tiny.loss("g", collate(made), 0)
        expected = terms["highlight"] + 0.5 * terms["measured"] + 0.25 * terms["gradient"] + 0.3 * terms["border"]
        assert float(terms["loss"].detach()) == pytest.approx(float(expected.detach()), rel=1e-6)

    def test_the_sheet_shows_the_photo_and_the_truth(self):
        tiny = objective()
        batch = collate(tiny.samples({"hdr": smooth_scene(64, 64)}, np.random.default_rng(0)))
        with torch.no_grad():
            sheet = tiny.sheet(tiny.networks, batch)
        assert (sheet.shape, sheet.dtype) == ((128, 256, 3), np.uint8)
        photo = batch["ldr"][0].permute(1, 2, 0).numpy() * 255
        assert np.abs(sheet[:64, :64] - photo).max() <= 0.51
        well = (batch["lost"][0] == 0).all(0).numpy() & (photo > 20).all(2)
        shown, truth = sheet[:64, 64:128][well].astype(float), sheet[:64, 192:][well].astype(float)
        assert np.abs(shown - truth).mean() < 12  # linearised and true agree where nothing clipped

    def test_its_description_is_plain(self):
        description = objective().describe()
        assert description["recipe"] == "paired"
        assert description["options"]["network"]["width"] == 4

    def test_the_export_says_what_the_network_takes(self):
        tiny = objective()
        (export,) = tiny.export(tiny.networks)
        assert export.inputs == ("ldr", "clip")
        assert (export.multiple, export.peak, export.working_size) == (32, 256.0, 64)

    def test_the_seed_decides_the_first_weights(self):
        def first_weights(seed):
            made = create("paired", {"network.width": "4"}, seed)
            return torch.cat([p.flatten() for p in made.networks.parameters()])

        assert torch.equal(first_weights(1), first_weights(1))
        assert not torch.equal(first_weights(1), first_weights(2))
