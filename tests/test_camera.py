"""The virtual camera: responses, exposure, noise, views; its distributions stay within what was measured on real cameras."""

from dataclasses import replace

import numpy as np
import pytest
from fakes import smooth_scene
from hypothesis import given, settings
from hypothesis import strategies as st

from hdrcli import camera
from hdrcli.camera import MEASURED_CODES, SCORING, Camera, CameraDistribution, Response, View, perspective
from hdrcli.color import Transfer, decode, encode, luminance
from hdrcli.errors import MismatchError

# stops relative to code 0.5 of 44 real photos: the table as it was measured
MEASURED = {
    10: [-3.21, -1.99, -1.20, -0.58, 0.44, 0.93, 1.39, 1.93, 2.24],
    50: [-2.81, -1.81, -1.09, -0.53, 0.50, 0.98, 1.52, 2.17, 2.60],
    90: [-2.61, -1.71, -1.03, -0.48, 0.53, 1.02, 1.58, 2.33, 2.98],
}
TABLE_CODES = np.array([0.1, 0.2, 0.3, 0.4, 0.6, 0.7, 0.8, 0.9, 0.95])


class TestResponses:
    @pytest.mark.parametrize("distribution", [CameraDistribution(), SCORING])
    def test_every_drawn_curve_rises_strictly_from_0_to_1(self, distribution):
        rng = np.random.default_rng(0)
        for _ in range(300):
            x = distribution.response(rng).exposures
            assert (x[0], x[-1]) == (0, pytest.approx(1))
            assert (np.diff(x) > 0).all()

    def test_other_curves_are_refused(self):
        falling = np.linspace(0, 1, 1025)
        falling[500] = falling[499]
        for exposures in (falling, np.linspace(0, 2, 1025), np.linspace(0.1, 1, 1025), np.linspace(0, 1, 10)):
            with pytest.raises(MismatchError, match="strictly"):
                Response("bad", exposures)

    @pytest.mark.parametrize("percentile", [10, 50, 90])
    def test_measured_curves_are_the_measured_table(self, percentile):
        stops = camera.measured_response(percentile).stops(TABLE_CODES)
        np.testing.assert_allclose(stops, MEASURED[percentile], atol=0.005)

    def test_blend_goes_from_srgb_to_the_table_in_stops(self):
        srgb = camera.srgb_response().stops(TABLE_CODES)
        np.testing.assert_allclose(camera.measured_response(50, 0.0).stops(TABLE_CODES), srgb, atol=1e-3)
        half = camera.measured_response(50, 0.5).stops(TABLE_CODES)
        np.testing.assert_allclose(half, (srgb + MEASURED[50]) / 2, atol=0.005)

    def test_scoring_responses_span_the_10th_to_the_90th_percentile(self):
        rng = np.random.default_rng(0)
        stops = np.array([SCORING.response(rng).stops(TABLE_CODES) for _ in range(400)])
        low, high = np.array(MEASURED[10]), np.array(MEASURED[90])
        assert (stops >= low - 0.006).all()
        assert (stops <= high + 0.006).all()
        width = high - low
        assert (stops.min(axis=0) < low + 0.05 * width + 0.006).all()
        assert (stops.max(axis=0) > high - 0.05 * width - 0.006).all()

    def test_sigmoid_inverts_eq_6_of_eilertsen_2017(self):
        n, sigma = 0.9, 0.6
        x = np.linspace(0.01, 1, 50)
        forward = (1 + sigma) * x**n / (x**n + sigma)
        np.testing.assert_allclose(camera.sigmoid_response(n, sigma).invert(forward), x, atol=2e-6)

    def test_gamma_is_a_power(self):
        np.testing.assert_allclose(camera.gamma_response(2.2).invert(np.array([0.5])), 0.5**2.2, rtol=1e-5)

    def test_a_random_monotone_curve_is_srgb_without_spread(self):
        x = camera.monotone_response(np.random.default_rng(0), spread=0).exposures
        np.testing.assert_allclose(x, camera.srgb_response().exposures, atol=1e-12)

    @pytest.mark.parametrize(
        "response", [camera.srgb_response(), camera.measured_response(50), camera.sigmoid_response(0.9, 0.6)]
    )
    def test_apply_undoes_invert_to_within_a_fifth_of_a_code(self, response):
        v = np.linspace(0, 1, 999)
        np.testing.assert_allclose(response.apply(response.invert(v).astype(np.float32)), v, atol=0.2 / 255)


class TestShooting:
    radiance = smooth_scene(48, 64)

    def test_without_noise_codes_are_the_rounded_curve(self):
        x = np.clip(self.radiance.astype(np.float64) * 0.5, 0, 1)
        codes = Camera(camera.srgb_response(), exposure=0.5).shoot(self.radiance, np.random.default_rng(0))
        assert np.abs(codes - encode(x, Transfer.SRGB) * 255).max() < 0.75

    def test_exposed_is_the_truth_of_the_photo(self):
        settings_ = Camera(camera.srgb_response(), exposure=0.25, white_balance=(1.2, 1.0, 0.8))
        exposed = settings_.exposed(self.radiance)
        np.testing.assert_allclose(exposed, self.radiance * 0.25 * np.array([1.2, 1.0, 0.8]), rtol=1e-6)
        codes = settings_.shoot(self.radiance, np.random.default_rng(0))
        measured = (codes > 20) & (codes < 250)
        linear = decode(codes / 255, Transfer.SRGB)
        assert np.abs(np.log2(linear[measured] / exposed[measured])).max() < 0.06

    @pytest.mark.parametrize("distribution", [CameraDistribution(), SCORING])
    def test_same_seed_same_bytes(self, distribution):
        def shot(seed):
            rng = np.random.default_rng(seed)
            return distribution.draw(self.radiance, rng).shoot(self.radiance, rng)

        assert shot(5).tobytes() == shot(5).tobytes()
        assert shot(5).tobytes() != shot(6).tobytes()

    def test_noise_has_the_stated_deviation(self):
        grey = np.full((200, 200, 3), 0.2, np.float32)
        noisy = Camera(camera.gamma_response(1.0), read_noise=0.01, shot_noise=0.002)
        codes = noisy.shoot(grey, np.random.default_rng(0)) / 255
        assert codes.std() == pytest.approx(np.sqrt(0.01**2 + 0.002 * 0.2), rel=0.03)

    def test_jpeg_keeps_size_and_colour_order(self):
        codes = np.zeros((17, 23, 3), np.uint8)
        codes[...] = (200, 100, 30)
        assert np.abs(camera.jpeg_round_trip(codes, 95).astype(int) - codes).max() <= 4

    @settings(deadline=None, max_examples=25)
    @given(st.floats(0.0, 0.5), st.integers(0, 5))
    def test_exposure_reaches_the_clipped_share(self, share, seed):
        radiance = smooth_scene(40, 50, seed)
        x = radiance * np.float32(camera.exposure_for_share(radiance, share) * (1 + 1e-6))
        assert (x.max(axis=2) >= 1).mean() == pytest.approx(share, abs=2 / 2000)

    def test_a_black_scene_is_exposed_by_1(self):
        assert camera.exposure_for_share(np.zeros((4, 4, 3), np.float32), 0.1) == 1.0

    def test_scoring_cameras_clip_1_to_20_percent_as_metered(self):
        rng = np.random.default_rng(0)
        for _ in range(30):
            drawn = replace(SCORING.draw(self.radiance, rng), read_noise=0.0, shot_noise=0.0, jpeg_quality=None)
            share = (drawn.exposed(self.radiance).max(axis=2) >= 1 - 1e-5).mean()
            assert 0.009 <= share <= 0.201
            assert 75 <= SCORING.draw(self.radiance, rng).jpeg_quality <= 97

    def test_clipped_share_counts_pixels_with_a_channel_at_97_percent(self):
        codes = np.zeros((10, 10, 3), np.uint8)
        codes[0, :5, 1] = 248  # 0.97 * 255 = 247.35
        codes[1, :5, 1] = 247
        assert camera.clipped_share(codes) == pytest.approx(0.05)

    def test_gamma_exposures_are_eq_11_of_hdr_cgan(self):
        h = np.random.default_rng(0).random((3, 4, 3)).astype(np.float32)
        images = camera.gamma_exposures(h)
        assert len(images) == 4
        for z, t in zip(images, (np.sqrt(2), 2, 4, 16)):
            np.testing.assert_allclose(z, np.clip((h.astype(np.float64) * t) ** (1 / 2.2), 0, 1), atol=1e-6)


def angles_panorama(height=256):
    """A panorama whose colour tells where it was looked: cos and sin of the longitude, and the latitude, in radians."""
    width = 2 * height
    longitude = ((np.arange(width) + 0.5) / width - 0.5) * 2 * np.pi
    latitude = (0.5 - (np.arange(height) + 0.5) / height) * np.pi
    lon, lat = np.meshgrid(longitude, latitude)
    return np.stack([np.cos(lon), np.sin(lon), lat], axis=-1).astype(np.float32)


class TestViews:
    panorama = angles_panorama()

    def directions(self, view, width=65, height=49):
        """Longitude and latitude in degrees, ``(height, width)`` each."""
        out = perspective(self.panorama, view, width, height)
        return np.degrees(np.arctan2(out[..., 1], out[..., 0])), np.degrees(out[..., 2])

    @pytest.mark.parametrize("heading", [0, 30, 90, 179.9, 180, 200, 359])
    @pytest.mark.parametrize("pitch", [-40, 0, 25])
    def test_the_centre_looks_where_it_is_told(self, heading, pitch):
        lon, lat = self.directions(View(heading, pitch))
        assert (lon[24, 32] - heading + 180) % 360 - 180 == pytest.approx(0, abs=0.1)
        assert lat[24, 32] == pytest.approx(pitch, abs=0.1)

    @pytest.mark.parametrize("fov", [35, 70, 105])
    def test_the_field_of_view_is_horizontal(self, fov):
        lon, _ = self.directions(View(0, fov=fov), width=65)
        focal = 65 / 2 / np.tan(np.radians(fov / 2))
        assert lon[24, 64] == pytest.approx(np.degrees(np.arctan(32 / focal)), abs=0.1)
        assert lon[24, 0] == pytest.approx(-lon[24, 64], abs=0.1)

    def test_heading_turns_to_the_right_and_pitch_up(self):
        lon, lat = self.directions(View(0))
        assert lon[24, 40] > 0
        assert lat[10, 32] > 0

    def test_roll_lifts_the_right_side(self):
        _, lat = self.directions(View(0, roll=10))
        assert lat[24, 64] > 5
        assert lat[24, 0] < -5

    def test_no_jump_at_the_seam(self):
        across = perspective(self.panorama, View(180), 65, 49)
        assert np.abs(np.diff(across, axis=1)).max() < 0.05
        np.testing.assert_allclose(perspective(self.panorama, View(-180), 65, 49), across, atol=1e-4)
        np.testing.assert_allclose(
            perspective(self.panorama, View(370), 9, 9), perspective(self.panorama, View(10), 9, 9), atol=1e-4
        )

    def test_poles_are_finite(self):
        for pitch in (-90, 90):
            assert np.isfinite(perspective(self.panorama, View(0, pitch), 33, 33)).all()


class TestAlignment:
    rng = np.random.default_rng(0)
    truth = rng.uniform(0.05, 0.7, (30, 40, 3)).astype(np.float32)
    codes = np.rint(encode(truth, Transfer.SRGB) * 255).astype(np.uint8)

    def test_the_factor_is_the_median_ratio_of_luminance(self):
        assert camera.exposure_alignment(self.truth * 4, self.truth, self.codes) == pytest.approx(0.25, rel=1e-5)
        prediction = self.truth * self.rng.lognormal(0, 0.3, self.truth.shape).astype(np.float32)
        well = ((self.codes >= 0.05 * 255) & (self.codes <= 0.90 * 255)).all(axis=2)
        expected = np.exp(np.median(np.log(luminance(self.truth)[well] / luminance(prediction)[well])))
        assert camera.exposure_alignment(prediction, self.truth, self.codes) == pytest.approx(expected, rel=1e-5)

    def test_what_is_clipped_or_dark_has_no_say(self):
        codes, prediction = self.codes.copy(), self.truth.copy()
        codes[:14, :, 1], prediction[:14] = 255, 100
        codes[-14:, :, 0], prediction[-14:] = 3, 100
        assert camera.exposure_alignment(prediction, self.truth, codes) == pytest.approx(1, rel=1e-5)

    def test_too_few_pixels_leave_the_exposure_alone(self):
        codes = np.full_like(self.codes, 255)
        codes[0, :40] = 100
        assert camera.exposure_alignment(self.truth * 2, self.truth, codes) == 1.0


def test_the_table_in_the_code_is_the_measured_table():
    for row, percentile in zip(camera.MEASURED_STOPS, camera.MEASURED_PERCENTILES):
        assert row[MEASURED_CODES != 0.5].tolist() == MEASURED[int(percentile)]
