"""The embedded guide: each fault on a synthetic picture that has it, nothing on the same picture without."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from hdrcli.errors import UsageError
from hdrcli.perception import exposure
from hdrcli.perception.exposure import Config, banding, blocking, build, clipped, crushed, flat_ceiling, outliers, ringing

SIDE = 96
X = np.linspace(0, 1, SIDE)[None].repeat(SIDE, 0)
DETECTORS = [banding, blocking, ringing, outliers]


def image(plane):
    """(H, W) or (3, H, W) to (1, 3, H, W)."""
    tensor = torch.as_tensor(np.ascontiguousarray(plane), dtype=torch.float32)
    return (tensor.expand(3, -1, -1) if tensor.ndim == 2 else tensor)[None]


def texture(seed=0):
    noise = cv2.GaussianBlur(np.random.default_rng(seed).random((SIDE, SIDE)), (0, 0), 5)
    return (0.5 + (noise - noise.mean()) / noise.std() * 0.12).clip(0, 1)


def blocked(plane):
    return plane.reshape(SIDE // 8, 8, SIDE // 8, 8).mean((1, 3)).repeat(8, 0).repeat(8, 1)


def edge(softness=0.0):
    distance = (X - 0.5) * SIDE
    return 0.2 + 0.6 * (1 / (1 + np.exp(-distance / softness)) if softness else distance > 0)


def ripples(kept=SIDE // 5):
    """What a low-pass filter with a sharp end leaves of two edges (Gibbs); nothing lost if all frequencies are kept."""
    spectrum = np.fft.fft2((np.abs(X - 0.5) < 0.25) * 0.6 + 0.2)
    spectrum[:, kept : 1 - kept] = 0
    return np.fft.ifft2(spectrum).real


def speck():
    plane = np.full((3, SIDE, SIDE), 0.5)
    plane[0, 40:42, 50:53], plane[1, 40:42, 50:53] = 0.8, 0.3
    return plane


RAMP = 0.2 + 0.4 * X
DIAGONAL = 0.2 + 0.4 * (0.6 * X + 0.4 * X.T)


@pytest.mark.parametrize("ramp", [RAMP, RAMP.T, DIAGONAL])
def test_bands_are_found_and_smooth_gradients_left(ramp):
    assert banding(image(np.round(ramp * 32) / 32)).mean() > 0.6
    assert banding(image(ramp)).max() < 0.01
    assert banding(image(np.round(ramp * 255) / 255)).max() < 0.01  # no 8-bit picture has less


@pytest.mark.parametrize("crop", [(0, 0), (3, 5), (7, 2)])
def test_blocks_are_found_wherever_the_grid_begins(crop):
    top, left = crop
    picture = texture()
    assert blocking(image(blocked(picture)[top:, left:])).mean() > 0.6
    assert blocking(image(picture[top:, left:])).max() < 0.01


def test_a_real_jpeg_shows_the_more_blocks_the_worse_it_is():
    picture = (texture(1) * 255).astype(np.uint8)
    scores = []
    for quality in (95, 20, 5):
        decoded = cv2.imdecode(cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_GRAYSCALE)
        scores.append(float(blocking(image(decoded / 255)).mean()))
    assert scores[0] < 0.02
    assert scores[0] <= scores[1] < scores[2]
    assert scores[2] > 0.3


@pytest.mark.parametrize("turned", [False, True])
def test_ripples_along_an_edge_are_found(turned):
    found = ringing(image(ripples().T if turned else ripples()))[0, 0]
    beside = found[:, SIDE // 4 + 3 : SIDE // 4 + 7] if not turned else found[SIDE // 4 + 3 : SIDE // 4 + 7]
    assert beside.mean() > 0.6
    assert (found[:, SIDE // 2] if not turned else found[SIDE // 2]).mean() < 0.1  # far from the edge


@pytest.mark.parametrize("softness", [0.0, 0.5, 1.5, 4.0])
def test_an_edge_without_ripples_is_left(softness):
    for turned in (False, True):
        plane = edge(softness)
        assert ringing(image(plane.T if turned else plane)).max() < 0.05


def test_stripes_and_noise_beside_an_edge_are_no_ripples():
    stripes = edge() + 0.04 * np.cos(X * SIDE * np.pi / 2)
    noise = edge() + 0.03 * np.random.default_rng(0).standard_normal((SIDE, SIDE))
    assert ringing(image(stripes)).mean() < 0.02
    assert ringing(image(noise)).mean() < 0.02


def test_a_speck_of_foreign_colour_is_found_and_nothing_else():
    found = outliers(image(speck()))[0, 0]
    assert found[40:42, 50:53].min() > 0.9
    found[40:42, 50:53] = 0
    assert found.max() < 0.01


def test_areas_corners_and_lines_of_another_colour_are_no_specks():
    for where in (np.s_[:, :40], np.s_[30:, 30:], np.s_[:, 50], np.s_[20:28, 20:28]):
        plane = np.full((3, SIDE, SIDE), 0.5)
        plane[0][where] = 0.9
        assert outliers(image(plane)).max() < 0.01


@pytest.mark.parametrize("detector", DETECTORS)
def test_a_plain_picture_has_no_fault(detector):
    for plane in (np.full((SIDE, SIDE), 0.5), RAMP, texture(2), edge(1.0)):
        assert detector(image(plane)).mean() < 0.01


@pytest.mark.parametrize("detector", DETECTORS)
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (5, 2), (16, 40)])
def test_any_size_stays_within_bounds_and_has_a_finite_gradient(detector, size):
    codes = torch.rand(2, 3, *size, requires_grad=True)
    found = detector(codes)
    assert found.shape == (2, 1, *size)
    assert ((found >= 0) & (found <= 1)).all()
    found.sum().backward()
    assert torch.isfinite(codes.grad).all()


@pytest.mark.parametrize(
    ("detector", "plane"),
    [
        (banding, np.round(RAMP * 255 / 4) * 4 / 255),
        (blocking, 0.7 * texture() + 0.3 * blocked(texture())),
        (ringing, 0.7 * ripples(SIDE) + 0.3 * ripples()),
        (outliers, 0.5 + 0.3 * (speck() - 0.5)),
    ],
)
def test_a_step_down_the_gradient_makes_a_half_visible_fault_smaller(detector, plane):
    codes = image(plane).requires_grad_()
    before = detector(codes).mean()
    before.backward()
    assert codes.grad.any()
    step = 0.2 / 255 * codes.grad / codes.grad.abs().max()
    assert 0 < float(detector(codes.detach() - step).mean()) < float(before.detach())


@pytest.mark.parametrize("detector", DETECTORS)
def test_gradients_are_right(detector):
    torch.manual_seed(1)
    codes = torch.rand(1, 3, 12, 12, dtype=torch.float64) * 0.3 + 0.3
    codes.requires_grad_()
    assert torch.autograd.gradcheck(detector, codes, eps=1e-7, atol=1e-4)


def test_clipped_and_crushed_codes():
    codes = torch.tensor([0.0, 0.03, 0.06, 0.5, 0.94, 0.97, 1.0])
    assert clipped(codes).tolist() == pytest.approx([0, 0, 0, 0, 0, 0.5, 1], abs=1e-6)
    grey = codes.view(1, 1, 1, 7).expand(1, 3, 1, 7)
    assert crushed(grey).flatten().tolist() == pytest.approx([1, 0.5, 0, 0, 0, 0, 0], abs=1e-6)


def test_a_saturated_colour_is_not_crushed_and_one_clipped_channel_is_clipped():
    red = torch.tensor([1.0, 0.0, 0.0]).view(1, 3, 1, 1)
    maps = build(Config()).maps(red)
    assert (float(maps.over), float(maps.under)) == (1, 0)


def test_even_fully_clipped_and_crushed_codes_have_a_gradient():
    codes = torch.tensor([0.0, 1.0]).view(1, 1, 1, 2).repeat(1, 3, 1, 1).requires_grad_()
    maps = build(Config()).maps(codes)
    (maps.over.sum() + maps.under.sum()).backward()
    assert codes.grad[..., 0].sum() < 0 < codes.grad[..., 1].sum()


# --- outputs of G_Y: flat, not bright -------------------------------------------------------------------------------------


def clipped_source():
    """An LDR whose middle is clipped, and where it is."""
    source = torch.full((1, 3, 48, 48), 0.5)
    source[..., 12:36, 12:36] = 1.0
    return source, (source[0, 0] == 1)


def test_a_flat_ceiling_scores_high_and_a_bright_varied_highlight_low():
    source, inside = clipped_source()
    torch.manual_seed(0)
    flat = torch.where(inside, 0.36, 0.3).expand(1, 3, -1, -1)
    bright_and_flat = torch.where(inside, 0.9, 0.3).expand(1, 3, -1, -1)
    varied = torch.where(inside, 0.6 + 0.3 * torch.rand(48, 48), 0.3).expand(1, 3, -1, -1)
    assert flat_ceiling(flat, source)[0, 0][inside].min() > 0.99
    assert flat_ceiling(varied, source)[0, 0][inside].max() < 0.1
    torch.testing.assert_close(flat_ceiling(bright_and_flat, source), flat_ceiling(flat, source))


def test_what_did_not_clip_is_no_ceiling_however_flat():
    source, inside = clipped_source()
    assert not flat_ceiling(torch.full((1, 3, 48, 48), 0.5), source)[0, 0][~inside].any()


def test_the_border_of_what_clipped_is_no_variation():
    source, inside = clipped_source()
    output = torch.where(inside, 0.8, 0.1).expand(1, 3, -1, -1)
    assert flat_ceiling(output, source)[0, 0, 12, 12:36].min() > 0.99


def test_a_smooth_rise_towards_the_sun_counts_as_variation():
    source, inside = clipped_source()
    rise = torch.where(inside, 0.4 + 0.3 * torch.linspace(0, 1, 48), 0.3).expand(1, 3, -1, -1)
    assert flat_ceiling(rise, source)[0, 0][inside].max() < 0.5


@pytest.mark.parametrize("ripple", [1e-3, 1e-2])
def test_the_gradient_points_towards_variation(ripple):
    source, inside = clipped_source()
    torch.manual_seed(0)
    output = (0.5 + ripple * torch.randn(1, 3, 48, 48)).requires_grad_()
    before = flat_ceiling(output, source)
    before.sum().backward()
    moved = output.detach() - 0.1 * ripple * output.grad / output.grad.abs().mean()
    assert moved[..., inside].std() > 1.02 * output.detach()[..., inside].std()
    assert flat_ceiling(moved, source).sum() < before.sum()
    assert abs(float(output.grad[..., inside].mean())) < 0.1 * float(
        output.grad[..., inside].abs().mean()
    )  # not darker or brighter


def test_with_a_source_over_means_flat_ceiling():
    source, _ = clipped_source()
    output = torch.full((1, 3, 48, 48), 1.0)
    provider = build(Config())
    torch.testing.assert_close(provider.maps(output, source=source).over, flat_ceiling(output, source))
    assert provider.maps(output).over.min() == 1


# --- the provider ---------------------------------------------------------------------------------------------------------


def test_the_maps_of_a_picture_with_everything():
    codes = torch.cat([image(np.round(RAMP * 32) / 32), image(blocked(texture())), image(speck()), image(texture(3))])
    maps = build(Config()).maps(codes)
    assert maps.stacked().shape == (4, 3, SIDE, SIDE)
    shares = maps.artifact.mean((1, 2, 3))
    assert shares[:2].min() > 0.6
    assert 0 < float(shares[2]) < 0.01
    assert float(shares[3]) < 0.001


def test_artifacts_are_joined_and_each_can_be_left_out():
    codes = image(blocked(texture()))
    whole = build(Config()).artifact(codes)
    kept = torch.stack([detector(codes) for detector in DETECTORS])
    torch.testing.assert_close(whole, 1 - (1 - kept).prod(0))
    off = dict.fromkeys(("banding", "blocking", "ringing", "outliers"), False)
    assert not build(Config(**off)).artifact(codes).any()
    for name in off:
        torch.testing.assert_close(build(Config(**{**off, name: True})).artifact(codes), getattr(exposure, name)(codes))


def test_codes_beyond_one_are_codes_of_one():
    codes = torch.tensor([-0.5, 0.5, 1.7]).view(1, 1, 1, 3).repeat(1, 3, 1, 1)
    provider = build(Config())
    torch.testing.assert_close(provider.maps(codes).stacked(), provider.maps(codes.clamp(0, 1)).stacked())


def everything():
    """Bands, blocks, ripples, specks, clipped and crushed areas, and a little of what cameras add: ``(2, 3, 96, 96)``."""
    planes = [0.5 * np.round(RAMP * 32) / 32 + 0.3 * blocked(texture()), 0.8 * ripples() + 0.2 * DIAGONAL]
    codes = torch.cat([image(plane) for plane in planes]) + 0.3 * (image(speck()) - 0.5)
    codes = codes + torch.tensor([0.0, 0.02, -0.01]).view(3, 1, 1)
    codes[:, :, 60:80, 10:30] += 0.6
    codes[:, :, 5:20, 70:] -= 0.5
    return codes + 0.004 * torch.sin(torch.arange(codes.numel()) * 1.7).view(codes.shape)


def test_the_maps_and_their_gradients_are_those_of_plain_operations():
    """Recorded when all was padding, pooling and autograd (float64, commit 7476014): values, and gradients of weighted sums."""
    recorded = json.loads((Path(__file__).parent.parent / "data" / "exposure_maps.json").read_text(encoding="utf-8"))
    source = (everything() * 1.3).double()
    for name, expected in recorded.items():
        codes = everything().double().requires_grad_()
        maps = build(Config()).maps(codes, source=source.clamp(0, 1) if name == "of_source" else None).stacked()
        weight = torch.cos(torch.arange(maps.numel()) * 0.9).view(maps.shape)
        (maps * weight).sum().backward()
        for key, tensor in (("values", maps.detach()), ("gradient", codes.grad)):
            found = tensor.flatten()[:: len(tensor.flatten()) // 97][:97].tolist()
            assert found == pytest.approx(expected[key], rel=1e-5, abs=1e-6 * max(map(abs, expected[key]))), (name, key)
            assert float(tensor.abs().sum()) == pytest.approx(expected[f"sum_of_{key}"], rel=1e-5)
        single = codes.detach().float().requires_grad_()
        torch.testing.assert_close(
            build(Config()).maps(single, source=source.float().clamp(0, 1) if name == "of_source" else None).stacked().double(),
            maps,
            rtol=0,
            atol=2e-4,
        )


@pytest.mark.parametrize(
    ("name", "value"), [("over_from", 1.0), ("under_to", 0.0), ("flat_window", 4), ("flat_window", 1), ("flat_deviation", 0.0)]
)
def test_options_that_make_no_sense_are_refused(name, value):
    with pytest.raises(UsageError, match=f"{name}: .*use"):
        Config(**{name: value})
