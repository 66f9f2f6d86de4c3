"""The virtual camera: scene radiance to the LDR photo that a real camera would have taken of it.

radiance -> white balance, exposure -> sensor noise -> clip at 1 -> response curve -> 8-bit codes -> JPEG.

A response curve is tabulated by its *inverse*: for each code value v in [0, 1] the exposure x(v) that gives it, with
x(0) = 0 and x(1) = 1, where 1 is the exposure at which a channel clips. So 1.0 is LDR white on both sides.
Parameters are drawn from a documented, seeded distribution (:class:`CameraDistribution`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdrcli.color import Transfer, decode, luminance
from hdrcli.errors import MismatchError
from hdrcli.image import brightest_channel

Floats = NDArray[np.float32]
Codes = NDArray[np.uint8]

CODES = np.linspace(0.0, 1.0, 1025)  # the code values at which responses are tabulated
_LUT_SIZE = 8192

# Real cameras (44 photos against HDR merged from their own brackets, green channel): stops relative to code 0.5 at these
# codes, 10th, 50th and 90th percentile. Measured by this project; see README, "The virtual camera".
MEASURED_CODES = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95])
MEASURED_PERCENTILES = (10.0, 50.0, 90.0)
MEASURED_STOPS = np.array(
    [
        [-3.21, -1.99, -1.20, -0.58, 0.0, 0.44, 0.93, 1.39, 1.93, 2.24],
        [-2.81, -1.81, -1.09, -0.53, 0.0, 0.50, 0.98, 1.52, 2.17, 2.60],
        [-2.61, -1.71, -1.03, -0.48, 0.0, 0.53, 1.02, 1.58, 2.33, 2.98],
    ]
)


@dataclass(frozen=True, eq=False)
class Response:
    """A camera response curve.

    ``exposures``: ``(1025,) float64``, increasing, exposure for each of :data:`CODES`; the last is 1. ``name`` for reports.
    Raises MismatchError if the curve is not strictly increasing from 0 to 1.
    """

    name: str
    exposures: NDArray[np.float64]

    def __post_init__(self) -> None:
        x = self.exposures
        if x.shape != CODES.shape or x[0] != 0 or abs(x[-1] - 1) > 1e-9 or not (np.diff(x) > 0).all():
            raise MismatchError(f"response {self.name}: exposures must rise strictly from 0 to 1")

    @cached_property
    def _table(self) -> Floats:
        # uniform in sqrt(x): dark codes, where curves are steep, get enough entries
        x = (np.arange(_LUT_SIZE) / (_LUT_SIZE - 1)) ** 2
        return np.interp(x, self.exposures, CODES).astype(np.float32)

    def apply(self, exposure: Floats) -> Floats:
        """Exposure (float, clipped to [0, 1]) to code values in [0, 1], float32, same shape."""
        index = np.sqrt(np.clip(exposure, 0, 1)) * np.float32(_LUT_SIZE - 1) + np.float32(0.5)
        return np.asarray(self._table[index.astype(np.int32)])

    def invert(self, codes: NDArray[Any]) -> NDArray[np.float64]:
        """Code values in [0, 1] to exposure, float64."""
        return np.asarray(np.interp(codes, CODES, self.exposures))

    def stops(self, codes: NDArray[Any]) -> NDArray[np.float64]:
        """Exposure at these codes in stops relative to code 0.5, as the table of measured cameras states it."""
        return np.asarray(np.log2(self.invert(codes) / self.invert(np.array(0.5))))


def srgb_response() -> Response:
    """The sRGB transfer function (IEC 61966-2-1) as a camera response."""
    return Response("srgb", np.asarray(decode(CODES, Transfer.SRGB), dtype=np.float64))


def gamma_response(gamma: float) -> Response:
    """v = x^(1/gamma)."""
    return Response(f"gamma({gamma:.2f})", CODES**gamma)


def sigmoid_response(n: float, sigma: float) -> Response:
    """v = (1 + sigma) x^n / (x^n + sigma): Eilertsen et al. 2017, "HDR image reconstruction from a single exposure", eq. 6."""
    return Response(f"sigmoid({n:.2f}, {sigma:.2f})", (sigma * CODES / (1 + sigma - CODES)) ** (1 / n))


def monotone_response(rng: np.random.Generator, spread: float = 0.25) -> Response:
    """A random smooth monotone curve around sRGB: its slope in each eighth of the code range is multiplied by a random factor.

    ``spread``: standard deviation of the factor, in natural log units.
    """
    factors = np.exp(rng.normal(0, spread, 9))
    steps = np.diff(decode(CODES, Transfer.SRGB)) * np.interp(CODES[1:], np.linspace(0, 1, 9), factors)
    exposures = np.concatenate([[0.0], np.cumsum(steps)])
    return Response("monotone", exposures / exposures[-1])


def measured_response(percentile: float, blend: float = 1.0) -> Response:
    """A curve like those of real cameras: the given percentile (10..90, extrapolated outside) of the measured table.

    ``blend`` 0 gives sRGB, 1 the table, in between and beyond a mix in stops. Between percentiles and between codes the
    difference to sRGB, in stops, is interpolated linearly; below the lowest measured code it stays constant, above the
    highest it goes on with its last slope.
    """
    rows = [np.interp(percentile, MEASURED_PERCENTILES, column) for column in MEASURED_STOPS.T]
    if percentile > 90 or percentile < 10:
        a, b = (MEASURED_STOPS[1], MEASURED_STOPS[2]) if percentile > 90 else (MEASURED_STOPS[0], MEASURED_STOPS[1])
        low = 50.0 if percentile > 90 else 10.0
        rows = list(a + (b - a) * (percentile - low) / 40.0)
    srgb = srgb_response()
    difference = np.array(rows) - srgb.stops(MEASURED_CODES)
    slope = (difference[-1] - difference[-2]) / (MEASURED_CODES[-1] - MEASURED_CODES[-2])
    codes = np.append(MEASURED_CODES, 1.0)
    difference = np.append(difference, difference[-1] + slope * 0.05)
    stops = np.log2(srgb.exposures[1:]) + blend * np.interp(CODES[1:], codes, difference)
    # interpolation in stops can make a curve fall at a knot when blend is large: keep it rising by a hair
    rising = np.maximum.accumulate(stops + 1e-6 * np.arange(stops.size))
    exposures = np.concatenate([[0.0], np.exp2(rising - rising[-1])])
    return Response(f"measured(p{percentile:.0f}, {blend:.2f})", exposures)


@dataclass(frozen=True, eq=False)
class Camera:
    """One setting of the virtual camera.

    ``exposure``: factor from scene radiance to exposure (1 clips). ``white_balance``: factor per channel. Noise is of
    the sensor, in exposure units: standard deviation sqrt(``read_noise``^2 + ``shot_noise`` * x). ``jpeg_quality`` None:
    no JPEG.
    """

    response: Response
    exposure: float = 1.0
    white_balance: tuple[float, float, float] = (1.0, 1.0, 1.0)
    read_noise: float = 0.0
    shot_noise: float = 0.0
    jpeg_quality: int | None = None

    def exposed(self, radiance: Floats) -> Floats:
        """Scene radiance to noiseless exposure, the HDR truth of the photo: ``(H, W, 3) float32``, 1.0 = LDR white."""
        return radiance * (np.float32(self.exposure) * np.asarray(self.white_balance, np.float32))

    def shoot(self, radiance: Floats, rng: np.random.Generator) -> Codes:
        """``(H, W, 3) float32`` scene radiance to the photo: ``(H, W, 3) uint8`` codes. Same rng state, same bytes."""
        x = self.exposed(radiance)
        if self.read_noise > 0 or self.shot_noise > 0:
            clean = np.clip(x, 0, 4)  # noise of what lies far above the clip point never shows
            sigma = np.sqrt(np.float32(self.read_noise**2) + np.float32(self.shot_noise) * clean)
            x = x + sigma * rng.standard_normal(x.shape, dtype=np.float32)
        codes = np.rint(self.response.apply(x) * 255).astype(np.uint8)
        return codes if self.jpeg_quality is None else jpeg_round_trip(codes, self.jpeg_quality)


def jpeg_round_trip(codes: Codes, quality: int) -> Codes:
    """``(H, W, 3) uint8`` RGB through JPEG (4:2:0) at this quality and back."""
    import cv2

    ok, data = cv2.imencode(".jpg", codes[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not ok:
        raise MismatchError(f"JPEG encoder refused an image of {codes.shape}")
    decoded: Codes = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), dtype=np.uint8)
    return np.ascontiguousarray(decoded[..., ::-1])


def clipped_share(codes: Codes, threshold: float = 0.97) -> float:
    """Share of pixels with at least one channel at or above the threshold (code units)."""
    return float((brightest_channel(codes) >= threshold * 255).mean())


def exposure_for_share(radiance: Floats, share: float) -> float:
    """The factor that lifts the given share of pixels (their brightest channel) to the clip point.

    ``radiance``: ``(H, W, 3)``, white balance applied. A black scene gives 1.
    """
    brightest = brightest_channel(radiance).ravel()
    k = min(max(round((1 - share) * brightest.size), 0), brightest.size - 1)
    level = float(np.partition(brightest, k)[k])
    return 1 / level if level > 0 else 1.0


@dataclass(frozen=True)
class CameraDistribution:
    """What a random camera is drawn from; the defaults are those of training.

    Response: ``p_measured`` of the cameras follow the measured table (percentile uniform in ``percentiles``, blend
    uniform in ``blends``), the rest are in equal parts sRGB, gamma 1.8..2.6, sigmoid (Eilertsen's n ~ N(0.9, 0.1),
    sigma ~ N(0.6, 0.1)) and random monotone. Clipped share: exponential with ``mean_share``, cut at ``shares``; none at
    all with probability ``p_unclipped``. White balance: log-normal per channel, ``white_balance_stops``. Noise: read
    noise 0.0002..0.004 and shot noise 1e-6..4e-4, log-uniform. JPEG quality uniform in ``jpeg_qualities``; none in
    ``p_no_jpeg``.
    """

    p_measured: float = 0.7
    percentiles: tuple[float, float] = (0.0, 100.0)
    blends: tuple[float, float] = (0.7, 1.15)
    mean_share: float = 0.08
    shares: tuple[float, float] = (0.002, 0.4)
    p_unclipped: float = 0.02
    white_balance_stops: float = 0.15
    jpeg_qualities: tuple[int, int] = (70, 99)
    p_no_jpeg: float = 0.1

    def response(self, rng: np.random.Generator) -> Response:
        """A random response curve."""
        if rng.random() < self.p_measured:
            return measured_response(rng.uniform(*self.percentiles), rng.uniform(*self.blends))
        match rng.integers(4):
            case 0:
                return srgb_response()
            case 1:
                return gamma_response(rng.uniform(1.8, 2.6))
            case 2:
                return sigmoid_response(max(rng.normal(0.9, 0.1), 0.5), max(rng.normal(0.6, 0.1), 0.2))
            case _:
                return monotone_response(rng)

    def draw(self, radiance: Floats, rng: np.random.Generator) -> Camera:
        """A random camera, exposed for this scene: ``(H, W, 3) float32``."""
        balance = 2 ** rng.normal(0, self.white_balance_stops, 3)
        balance = balance / balance[1]
        share = float(np.clip(rng.exponential(self.mean_share), *self.shares))
        if rng.random() < self.p_unclipped:
            share = 0.0
        camera = Camera(
            response=self.response(rng),
            white_balance=(float(balance[0]), 1.0, float(balance[2])),
            read_noise=10 ** rng.uniform(math.log10(2e-4), math.log10(4e-3)),
            shot_noise=10 ** rng.uniform(-6, math.log10(4e-4)),
            jpeg_quality=None
            if rng.random() < self.p_no_jpeg
            else int(rng.integers(self.jpeg_qualities[0], self.jpeg_qualities[1] + 1)),
        )
        return replace(camera, exposure=exposure_for_share(camera.exposed(radiance), share))


SCORING = CameraDistribution(
    p_measured=1.0,
    percentiles=(10.0, 90.0),
    blends=(1.0, 1.0),
    shares=(0.01, 0.2),
    p_unclipped=0.0,
    white_balance_stops=0.0,
    jpeg_qualities=(75, 97),
    p_no_jpeg=0.0,
)
"""Cameras of ``make score``: responses between the 10th and 90th percentile of the measured table, JPEG 75..97."""


def gamma_exposures(radiance: Floats) -> tuple[Floats, ...]:
    """Four LDR images of one scene, Z = clip((H t)^(1/2.2)), t in 2^0.5, 2, 4, 16: HDR-cGAN (Eq. 11).

    ``(H, W, 3) float32`` radiance -> four ``(H, W, 3) float32`` in [0, 1], display-encoded.
    """
    return tuple(np.clip(radiance * np.float32(t), 0, 1) ** np.float32(1 / 2.2) for t in (2**0.5, 2.0, 4.0, 16.0))


@dataclass(frozen=True)
class View:
    """Where a perspective view of an equirectangular panorama looks: degrees; ``fov`` is horizontal."""

    heading: float
    pitch: float = 0.0
    roll: float = 0.0
    fov: float = 70.0


def perspective(panorama: Floats, view: View, width: int, height: int) -> Floats:
    """A perspective view of a panorama: ``(H, 2H, 3) float32`` -> ``(height, width, 3) float32``, bilinear, seam wrapped."""
    import cv2

    rows, columns = panorama.shape[:2]
    focal = 0.5 * width / math.tan(math.radians(view.fov) / 2)
    u = (np.arange(width, dtype=np.float32) + 0.5 - width / 2) / np.float32(focal)
    v = (np.arange(height, dtype=np.float32) + 0.5 - height / 2) / np.float32(focal)
    right, down = np.meshgrid(u, v)
    ray = np.stack([right, -down, np.ones_like(right)], axis=-1) @ _rotation(view).T.astype(np.float32)
    longitude = np.arctan2(ray[..., 0], ray[..., 2])
    latitude = np.arcsin(ray[..., 1] / np.linalg.norm(ray, axis=-1))
    x = (longitude / (2 * np.pi) + 0.5) * columns - 0.5
    y = (0.5 - latitude / np.pi) * rows - 0.5
    # remap knows one border rule for both axes: pad the seam by hand, clamp at the poles
    padded = np.concatenate([panorama[:, -1:], panorama, panorama[:, :1]], axis=1)
    y = np.clip(y, 0, rows - 1).astype(np.float32)
    return np.asarray(cv2.remap(padded, x.astype(np.float32) + 1, y, cv2.INTER_LINEAR), dtype=np.float32)


def _rotation(view: View) -> NDArray[np.float64]:
    """Camera to world axes (x right, y up, z forward): roll about z, then pitch about x, then heading about y."""
    h, p, r = (math.radians(a) for a in (view.heading, view.pitch, view.roll))
    heading = np.array([[math.cos(h), 0, math.sin(h)], [0, 1, 0], [-math.sin(h), 0, math.cos(h)]])
    pitch = np.array([[1, 0, 0], [0, math.cos(p), math.sin(p)], [0, -math.sin(p), math.cos(p)]])
    roll = np.array([[math.cos(r), -math.sin(r), 0], [math.sin(r), math.cos(r), 0], [0, 0, 1]])
    return np.asarray(heading @ pitch @ roll)


def exposure_alignment(prediction: Floats, truth: Floats, codes: Codes) -> float:
    """The factor that brings a prediction to the exposure of the truth, from well-exposed pixels alone.

    exp(median log ratio of luminance) over pixels whose three codes all lie in 0.05..0.90 (the convention of
    ``make score``, also that of training targets). Both images ``(H, W, 3)`` linear. With fewer than 50 such pixels: 1.
    """
    darkest = np.minimum(np.minimum(codes[..., 0], codes[..., 1]), codes[..., 2])
    usable = (darkest >= 0.05 * 255) & (brightest_channel(codes) <= 0.90 * 255)
    if np.count_nonzero(usable) < 50:
        return 1.0
    ratio = np.maximum(luminance(truth[usable]), 1e-6) / np.maximum(luminance(prediction[usable]), 1e-6)
    return float(np.exp(np.median(np.log(ratio))))
