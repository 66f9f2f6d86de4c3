"""Likeness of photos and HDR: blind to exposure and response, not to what is where."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from paired_data import photo_of, scene
from skimage.metrics import structural_similarity
from skimage.registration import phase_cross_correlation

from hdrcli.camera import Camera, CameraDistribution, measured_response
from hdrcli.training import agreement
from hdrcli.training.agreement import ENOUGH, ORIENTATIONS, brightness_of_light, brightness_of_photo, likeness

PLANE = np.arange(12, dtype=np.float32).reshape(3, 4)
# what numpy calls the same
EXPECTED = {
    "as it is": PLANE,
    "mirrored": np.fliplr(PLANE),
    "turned by 180 degrees": np.rot90(PLANE, 2),
    "upside down": np.flipud(PLANE),
    "transposed": PLANE.T,
    "turned by 90 degrees clockwise": np.rot90(PLANE, -1),
    "turned by 90 degrees counterclockwise": np.rot90(PLANE, 1),
    "transposed along the other diagonal": np.rot90(PLANE, 2).T,
}


def found(codes, light, **options):
    return likeness(brightness_of_photo(codes), brightness_of_light(light.astype(np.float32)), **options)


@pytest.mark.parametrize("way", ORIENTATIONS, ids=lambda way: way.name)
def test_the_eight_orientations_are_what_they_are_called(way):
    np.testing.assert_array_equal(way.of(PLANE), EXPECTED[way.name])
    assert len({tuple(w.of(PLANE).ravel()) + w.of(PLANE).shape for w in ORIENTATIONS}) == 8


@pytest.mark.parametrize("way", ORIENTATIONS, ids=lambda way: way.name)
@pytest.mark.parametrize("shape", [(72, 96), (80, 80)])
def test_what_must_be_done_to_the_hdr_is_found(way, shape):
    light = scene(1, *shape)
    turned = next(w.of(light) for w in ORIENTATIONS if np.array_equal(way.of(w.of(PLANE)), PLANE))
    best = found(photo_of(light), turned, all_ways=True)
    assert best.orientation == way
    assert best.ssim > 0.95
    assert (best.as_it_is is None) == (turned.shape != light.shape)


@settings(max_examples=15, deadline=None)
@given(st.floats(0.2, 5), st.floats(-20, 20), st.floats(0, 100), st.integers(0, 3))
def test_neither_exposure_nor_scale_nor_response_count(exposure, stops, percentile, seed):
    light = scene(seed)
    codes = Camera(measured_response(percentile), exposure).shoot(light, np.random.default_rng(0))
    assert found(codes, light * np.float32(2.0**stops)).ssim > ENOUGH + 0.1


def test_noise_and_jpeg_of_random_cameras_do_not_matter_much():
    rng = np.random.default_rng(0)
    for seed in range(8):
        light = scene(seed, 160, 200)
        camera = CameraDistribution().draw(light, rng)
        assert found(camera.shoot(light, rng), light).ssim > ENOUGH + 0.1


def test_other_scenes_are_unlike():
    for seed in range(6):
        assert found(photo_of(scene(seed)), scene(seed + 10), all_ways=True).ssim < ENOUGH


def test_shapes_that_can_not_be_one_picture_are_unlike():
    best = found(photo_of(scene(0, 60, 120)), scene(0, 60, 90))
    assert (best.ssim, best.as_it_is) == (-1.0, None)


def test_pictures_of_one_brightness_are_unlike():
    assert found(np.full((40, 40, 3), 128, np.uint8), np.full((40, 40, 3), 3.0)).ssim == -1


def test_pictures_smaller_than_the_window_are_compared_all_the_same():
    light = scene(0, 9, 12)
    assert found(photo_of(light), light).ssim > 0.9


def test_the_likeness_of_small_pictures_is_ssim_after_histogram_matching():
    """Independent of ours: ranks by argsort, SSIM by scikit-image."""
    light = scene(2)
    codes = photo_of(light)
    photo, bright = brightness_of_photo(codes), brightness_of_light(light)
    matched = np.empty(bright.size)
    matched[np.argsort(bright, axis=None, kind="stable")] = np.sort(photo, axis=None)
    expected = structural_similarity(
        photo.astype(np.float64),
        matched.reshape(bright.shape),
        data_range=1.0,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
    )
    assert found(codes, light).ssim == pytest.approx(expected, abs=0.01)


def test_a_16_bit_photo_is_as_bright_as_its_8_bit_copy():
    codes = photo_of(scene(0))
    np.testing.assert_allclose(
        agreement.brightness_of_photo(codes.astype(np.uint16) * 257), agreement.brightness_of_photo(codes), atol=1e-6
    )


def textured(seed, height=120, width=160):
    """A scene with detail, and the function that gives it as seen from so many quarters of a pixel further down and right."""
    rng = np.random.default_rng(seed)
    sides = (4 * height + 80, 4 * width + 80)
    grain = cv2.GaussianBlur(np.exp2(2 * rng.normal(size=sides)).astype(np.float32), (0, 0), 4)[..., None]
    large = grain * cv2.resize(scene(seed, height, width), sides[::-1])

    def seen(down=0, right=0):
        part = large[40 + down : 40 + down + 4 * height, 40 + right : 40 + right + 4 * width]
        return cv2.resize(np.ascontiguousarray(part), (width, height), interpolation=cv2.INTER_AREA)

    return seen


class TestOffset:
    @pytest.mark.parametrize("quarters", [(0, 0), (1, -2), (9, 5), (-13, 22)])
    def test_it_is_found_to_a_fraction_of_a_pixel(self, quarters):
        rng = np.random.default_rng(0)
        for seed in range(2):
            seen = textured(seed)
            codes, light = CameraDistribution().draw(seen(), rng).shoot(seen(), rng), 7 * seen(*quarters)
            photo, shot = brightness_of_photo(codes), agreement.brightness_of_shot(light, codes)
            down, right = agreement.offset(photo, shot)
            assert (down, right) == pytest.approx([q / 4 for q in quarters], abs=0.1)
            other, _, _ = phase_cross_correlation(photo, agreement.as_photographed(shot, photo), upsample_factor=20)
            assert (down, right) == pytest.approx(other, abs=0.6)

    def test_what_is_compared_stays_as_it_is(self):
        """OpenCV's phase correlation writes into what it is given, at sizes like this."""
        photo, light = brightness_of_photo(photo_of(scene(0, 180, 240))), brightness_of_light(scene(0, 180, 240))
        before = photo.copy(), light.copy()
        agreement.offset(photo, light)
        np.testing.assert_array_equal(photo, before[0])
        np.testing.assert_array_equal(light, before[1])

    def test_moved_pictures_lie_where_they_were_moved_to(self):
        picture = scene(0)
        np.testing.assert_allclose(agreement.moved(picture, 3, -2)[3:, :-2], picture[:-3, 2:], rtol=1e-6)
        half = agreement.moved(picture, 0.5, 0)
        np.testing.assert_allclose(half[1:], (picture[1:] + picture[:-1]) / 2, rtol=1e-5)

    @given(st.floats(-5, 5), st.floats(-5, 5))
    def test_the_overlap_holds_only_pixels_of_its_own(self, down, right):
        numbers = np.ones((20, 30), np.float32)
        inside = cv2.copyMakeBorder(agreement.moved(numbers, 0, 0), 0, 0, 0, 0, cv2.BORDER_CONSTANT)
        rows, columns = agreement.overlap(inside.shape, down, right)
        for index, by, side in ((rows, down, 20), (columns, right, 30)):
            assert index.start - by >= 0
            assert index.stop - 1 - by <= side - 1
            assert index.stop - index.start >= side - np.ceil(abs(by)) - 1e-9

    @pytest.mark.parametrize("way", [ORIENTATIONS[0], ORIENTATIONS[3], ORIENTATIONS[5]], ids=lambda way: way.name)
    def test_orientation_is_found_under_an_offset(self, way):
        seen = textured(3)
        turned = next(w.of(seen(24, -30)) for w in ORIENTATIONS if np.array_equal(way.of(w.of(PLANE)), PLANE))
        found = agreement.register(brightness_of_photo(photo_of(seen())), brightness_of_light(np.ascontiguousarray(turned)))
        assert found[0] == way
        assert found[1] > 0.8
