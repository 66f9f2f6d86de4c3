"""What the tests of local operators share: pictures, properties that all have, pfstools as a peer."""

import shutil
import subprocess

import cv2
import numpy as np
import pytest

from hdrcli import parallel
from hdrcli.color import Transfer, encode
from hdrcli.tonemapping import Scene

needs_pfstools = pytest.mark.skipif(
    shutil.which("pfstmo_durand02") is None, reason="pfstools is not installed (Debian package pfstools)"
)


def landscape(height=192, width=256, seed=0):
    """Light as of a landscape with a lamp: texture at all scales under a slope, hard edges, about 15 stops."""
    rng = np.random.default_rng(seed)
    stops = np.zeros((height, width), np.float32)
    for octave in range(6):
        noise = rng.normal(size=(4 * 2**octave, 6 * 2**octave)).astype(np.float32)
        stops += 0.7**octave * cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)
    y, x = np.mgrid[:height, :width]
    horizon = height * 0.45 + 8 * np.sin(x / 9)
    stops = np.where(y < horizon, 4 + 0.3 * stops, stops - 2 * y / height)
    stops[y - 20 > abs(x - width / 3) * 2] -= 3  # a dark wedge against the sky
    stops[(y - 30) ** 2 + (x - width * 0.8) ** 2 < 40] += 5
    colour = np.array([1.1, 1.0, 0.8], np.float32) * np.exp2(0.2 * rng.normal(size=(height, width, 3))).astype(np.float32)
    return (0.18 * np.exp2(stops)[..., None] * colour).astype(np.float32)


def grey(y):
    """Luminance ``(h, w)`` as a picture without colour."""
    return np.repeat(np.asarray(y, np.float32)[..., None], 3, axis=2)


def shown(module, light, exposure=1.0, **parameters):
    """A picture through an operator, at an exposure."""
    state = module.prepare(Scene.whole(light, exposure), module.Parameters(**parameters))
    return module.apply(light * np.float32(exposure), state, 0)


def codes(display):
    """sRGB codes of display light, not rounded, 0..255."""
    return encode(np.clip(np.asarray(display, np.float64), 0, 1), Transfer.SRGB) * 255


class LocalOperator:
    """Properties. A subclass says ``module``; ``parameters`` that make the operator local, where it must be told to;
    ``reduced``: parameters under which :func:`landscape` is solved on cells of 2, and ``differs``: mean and 99th percentile, in
    codes, of what that may change."""

    module = None
    parameters: dict = {}  # noqa: RUF012
    reduced: dict = {"detail": 0.0125}  # noqa: RUF012
    differs = (1.0, 6.0)
    border = 12.0  # codes that a black border may change the rest by
    halo = 0.1  # of an edge

    def shown(self, light, exposure=1.0, **parameters):
        return shown(self.module, light, exposure, **self.parameters, **parameters)

    @pytest.mark.parametrize("value", [1e-3, 0.18, 1.0, 900.0])
    def test_a_constant_picture_stays_one(self, value):
        out = self.shown(np.full((40, 50, 3), value, np.float32) * np.array([1, 0.8, 0.5], np.float32))
        np.testing.assert_allclose(out, np.broadcast_to(out[:1, :1], out.shape), atol=1e-5)
        assert out.min() > 0.01
        assert out.max() <= 1

    def test_black_is_black(self):
        assert not self.shown(np.zeros((40, 50, 3), np.float32)).any()

    def test_one_bright_pixel(self):
        light = np.zeros((40, 50, 3), np.float32)
        light[17, 21] = 1e6
        out = self.shown(light)
        assert np.isfinite(out).all()
        assert out[17, 21].min() == out.max() > 0.1

    def test_a_hot_pixel_changes_little_elsewhere(self):
        light = landscape()
        hot = light.copy()
        hot[100, 100] = 3e4
        far = np.ones(light.shape[:2], bool)
        far[60:140, 60:140] = False
        assert np.abs(codes(self.shown(hot)) - codes(self.shown(light)))[far].mean() < 1.0

    @pytest.mark.parametrize("size", [(1, 1), (2, 3), (17, 1), (1, 17), (3, 2), (33, 5)])
    @pytest.mark.parametrize("small", [False, True])
    def test_any_size(self, size, small):
        light = np.random.default_rng(0).uniform(0, 20, (*size, 3)).astype(np.float32)
        out = self.shown(light, **(self.reduced if small else {}))
        assert (out.shape, out.dtype) == (light.shape, np.float32)
        assert np.isfinite(out).all()
        assert out.min() >= 0
        assert out.max() <= 1

    def test_the_unit_of_light_does_not_matter(self):
        light = landscape()
        for factor in (1 / 64, 32):  # powers of two: no rounding
            assert np.abs(codes(self.shown(light * np.float32(factor))) - codes(self.shown(light))).mean() < 0.02

    def test_an_exposure_asked_for_shows(self):
        light = landscape()
        darker, plain, brighter = (self.shown(light, exposure).mean() for exposure in (0.5, 1, 2))
        assert darker < 0.95 * plain
        assert brighter > 1.05 * plain

    @pytest.mark.parametrize("small", [False, True])
    def test_strips_equal_the_whole(self, small):
        light = landscape(97, 83)
        state = self.module.prepare(
            Scene.whole(light), self.module.Parameters(**self.parameters, **({"detail": 0.0025} if small else {}))
        )
        whole = self.module.apply(light, state, 0)
        for rows in (1, 10, 64):
            strips = [self.module.apply(light[i : i + rows], state, i) for i in range(0, 97, rows)]
            np.testing.assert_allclose(np.concatenate(strips), whole, atol=1e-5)

    def test_threads_change_nothing(self, monkeypatch):
        light = landscape()
        monkeypatch.setattr(parallel, "_limit", 1)
        alone = self.shown(light)
        monkeypatch.setattr(parallel, "_limit", 3)
        np.testing.assert_array_equal(self.shown(light), alone)

    def test_cells_give_what_pixels_give(self):
        light = landscape()
        away = np.abs(codes(self.shown(light, **self.reduced)) - codes(self.shown(light)))
        mean, worst = self.differs
        assert 0 < away.mean() <= mean
        assert np.percentile(away, 99) <= worst

    @pytest.mark.parametrize("small", [False, True])
    def test_an_edge_stays_an_edge(self, small):
        """Nothing is turned round, and no halo is more than a part of the edge."""
        y = np.full((96, 128), 0.05, np.float32)
        y[:, 61:] = 5.0
        out = codes(self.shown(grey(y), **(self.reduced if small else {})))[..., 1]
        low, high = out[:, 58:61], out[:, 61:64]
        step = high.mean() - low.mean()
        assert high.min() > low.max() + 0.5 * step
        assert np.ptp(out[:, :61]) < self.halo * step
        assert np.ptp(out[:, 61:]) < self.halo * step

    def test_a_black_border_is_not_part_of_the_scene(self):
        light = landscape()
        boxed = np.concatenate([np.zeros_like(light[:60]), light, np.zeros_like(light[:60])])
        out = self.shown(boxed)
        assert not out[:60].any()
        middle = slice(30, -30)  # the border is an edge, and edges are seen
        away = codes(out[60:-60][middle]) - codes(self.shown(light)[middle])
        assert abs(np.median(away)) < self.border

    def test_parameters_out_of_range_are_refused(self):
        from hdrcli.errors import UsageError

        for name, value in self.refused.items():
            with pytest.raises(UsageError, match="-p"):
                self.module.Parameters(**{name: value})

    refused: dict = {}  # noqa: RUF012


def pfstmo(folder, name, light, *arguments):
    """A picture through pfstools: ``(h, w, 3) float32``, what the operator writes."""
    source, result = folder / "in.pfm", folder / "out.pfm"
    with source.open("wb") as file:
        file.write(b"PF\n%d %d\n-1.0\n" % (light.shape[1], light.shape[0]))
        file.write(np.ascontiguousarray(light[::-1], dtype="<f4").tobytes())
    read = subprocess.Popen(["pfsinpfm", source], stdout=subprocess.PIPE)
    work = subprocess.Popen([f"pfstmo_{name}", *map(str, arguments)], stdin=read.stdout, stdout=subprocess.PIPE, stderr=-3)
    done = subprocess.run(["pfsoutpfm", result], stdin=work.stdout, capture_output=True, timeout=120)
    for process in (read, work):
        process.stdout.close()
        process.wait(timeout=120)
    assert done.returncode == 0, done.stderr
    with result.open("rb") as file:
        colour = file.readline().strip() == b"PF"
        width, height = map(int, file.readline().split())
        order = "<f4" if float(file.readline()) < 0 else ">f4"
        values = np.frombuffer(file.read(), order)
    return values.reshape(height, width, 3 if colour else 1)[::-1].astype(np.float32)
