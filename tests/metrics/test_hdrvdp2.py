"""HDR-VDP-2.2 against the release under GNU Octave: Q, maps, every stage; its parts against SciPy, NumPy and tables."""

import hashlib
import json
import math
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import scipy.ndimage
from hdrvdp2_pairs import EDGE_CASES, PAIRS
from hypothesis import given, settings
from hypothesis import strategies as st

from hdrcli import parallel
from hdrcli.errors import MismatchError, Unavailable, UsageError
from hdrcli.metrics import Viewing
from hdrcli.metrics import _hdrvdp2_constants as numbers
from hdrcli.metrics.hdrvdp2 import SCORES, hdrvdp2

torch = pytest.importorskip("torch")

from hdrcli.metrics import _hdrvdp2_bands as bands  # noqa: E402
from hdrcli.metrics import _hdrvdp2_eye as eye  # noqa: E402
from hdrcli.metrics import _hdrvdp2_pyramid as pyramid  # noqa: E402
from hdrcli.metrics._hdrvdp2_light import Light  # noqa: E402
from hdrcli.metrics._hdrvdp2_parts import Parts, parts  # noqa: E402

DATA = Path(__file__).parents[1] / "data" / "hdrvdp22"
CPU, F64 = torch.device("cpu"), torch.float64
ALL = PAIRS | EDGE_CASES


@cache
def read(name):
    return json.loads((DATA / name).read_text(encoding="utf-8"))


def expected(name):
    return read("pairs.json" if name in PAIRS else "edge_cases.json")["pairs"][name]


# ---- the whole


@pytest.mark.parametrize("name", PAIRS)
def test_pairs_are_those_of_the_reference(name):
    pair = PAIRS[name]()
    assert pair.reference.sum() == pytest.approx(expected(name)["reference_sum"], rel=1e-13)
    assert pair.test.sum() == pytest.approx(expected(name)["test_sum"], rel=1e-13)


@pytest.mark.parametrize("name", ALL)
def test_double_precision_agrees_with_the_release(name):
    pair, right = ALL[name](), expected(name)
    found = hdrvdp2(pair.test, pair.reference, pair.encoding, pair.ppd, "float64")
    assert found.q == pytest.approx(right["Q"], abs=1e-9)
    assert found.p_det == pytest.approx(right["P_det"], rel=1e-9, abs=1e-15)
    # the release loses a mirrored sample where a level has exactly 17 rows
    tolerance = 1e-8 if name == "one_level_17x40" else 1e-10
    assert found.c_max == pytest.approx(right["C_max"], rel=tolerance)
    assert found.c_map.mean() == pytest.approx(right["C_map_mean"], rel=tolerance)
    assert found.p_map.mean() == pytest.approx(right["P_map_mean"], rel=1e-7)
    assert found.p_map.dtype == found.c_map.dtype == np.float64
    assert found.p_map.shape == found.c_map.shape == pair.reference.shape[:2]


@pytest.mark.parametrize("name", ALL)
def test_single_precision_agrees_with_the_release(name):
    pair, right = ALL[name](), expected(name)
    found = hdrvdp2(pair.test, pair.reference, pair.encoding, pair.ppd, "float32")
    assert found.q == pytest.approx(right["Q"], abs=2e-4)
    assert found.c_max == pytest.approx(right["C_max"], rel=1e-4)
    assert found.p_det == pytest.approx(right["P_det"], rel=1e-4)
    assert found.p_map.mean() == pytest.approx(right["P_map_mean"], rel=2e-3)
    assert found.p_map.dtype == found.c_map.dtype == np.float32
    assert found.p_det == pytest.approx(found.p_map.max(), rel=1e-6)
    alone = hdrvdp2(pair.test, pair.reference, pair.encoding, pair.ppd, "float32", maps=False)
    assert alone.q == found.q
    assert alone.p_map is alone.c_map is alone.p_det is alone.c_max is None


def test_equal_pictures_have_exactly_100():
    pair = PAIRS["identical"]()
    found = hdrvdp2(pair.test, pair.reference, pair.encoding)
    assert (found.q, found.p_det, found.c_max, found.p_map.max()) == (100, 0, 0, 0)


# ---- stage by stage: pairs that name what goes wrong first


class Stages:
    """The release's intermediate values, test first, in double precision."""

    def __init__(self, name):
        pair, work = PAIRS[name](), Parts()
        encoding = numbers.encodings()[pair.encoding.lower()]
        pictures = [p if p.ndim == 3 else p[..., None] for p in (pair.test, pair.reference)]
        light = Light(pictures, encoding, CPU)
        _, channels, height, width = light.shape
        self.differs = light.differs(F64, work)
        scatter = eye.Scatter(height, width, pair.ppd, work, CPU)
        self.retina = torch.empty(light.shape, dtype=F64)
        for picture in (0, 1):
            for channel in range(channels):
                scatter(lambda rows, p=picture, c=channel: light.seen(p, c, rows), self.retina[picture, channel])
        self.caught = [eye.receptors(r, encoding.to_receptors) for r in self.retina]
        self.response, adapting = eye.see(light, encoding.to_receptors, pair.ppd, F64, CPU, work)
        self.adapting_means = tuple(adapting.mean((1, 2)).tolist())
        self.bands = list(bands.decompose(self.response, pair.ppd, self.adapting_means, work))
        adaptation = bands.log_adaptation(adapting)
        self.planes = []
        for finer, band, coarser in zip([None, *self.bands], self.bands, [*self.bands[1:], None], strict=False):
            whole = slice(0, band.size[0])
            sensitive = None if band.is_base else bands.sensitivity(adaptation, band.frequency, band.size, whole)
            near = finer, None if coarser is None or coarser.is_base else coarser
            mask = pyramid.resized(self.differs, *band.size, whole)[0]
            masked = bands.masked(band, *near, sensitive, whole)
            for number, (signal, size) in enumerate(zip(bands.masking(band, *near, whole), masked, strict=True)):
                q = numbers.constants()["masking"]["q"]
                masking = signal * band.amplitude * (1 if sensitive is None else sensitive**q)
                visible = bands.visible(size, band.difference[number], band.amplitude)
                self.planes.append((band, sensitive, masking, size * band.amplitude, visible, mask))


@pytest.fixture(scope="module", params=["noise5", "gamma_odd", "rgb_noise10"])
def stages(request):
    return Stages(request.param), read("stages.json")[request.param], request.param


def plain(values):
    """Tensors and arrays, also in lists, as a flat list of floats."""
    if isinstance(values, list | tuple):
        return [number for value in values for number in plain(value)]
    return torch.as_tensor(values, dtype=F64).flatten().tolist()


def close(values, right, rel=1e-10):
    np.testing.assert_allclose(plain(values), plain(right), rtol=rel)


def test_stage_light_on_the_retina(stages):
    ours, right, _ = stages
    for retina, side in zip(ours.retina, ("test", "reference"), strict=True):
        close(retina.mean((1, 2)), right[side]["optics"])
        close([retina.min(), retina.max()], right[side]["optics_minmax"])


def test_stage_receptors_and_responses(stages):
    ours, right, _ = stages
    for number, side in enumerate(("test", "reference")):
        long, middle, _, rod = right[side]["lmsr_mean"]
        close(ours.caught[number].mean((1, 2)), [long, middle, rod])
        close(eye.responses(ours.caught[number]).mean((1, 2)), right[side]["photoreceptor_mean_L_M_R"])
        response = ours.response[number]
        close(response.square().sum(), right[side]["P_sumsq"])
        close(response[0, 0], right[side]["P_00"], 1e-9)
        close(response[response.shape[0] // 2, response.shape[1] // 2], right[side]["P_mid"], 1e-9)
        close(ours.adapting_means[number], right[side]["L_mean"])
        assert abs(float(response.mean())) < 1e-9


def test_stage_pyramid(stages):
    ours, right, _ = stages
    work = Parts()
    for number, side in enumerate(("test", "reference")):
        values = right[side]
        assert numbers.levels(*ours.response.shape[1:]) == values["height"]
        planes = [pyramid.filtered(ours.response, "hi0", work)[number]]
        low = pyramid.filtered(ours.response, "lo0", work)
        for _ in range(values["height"]):
            planes += [pyramid.filtered(low, f"band{b}", work)[number] for b in range(4)]
            low = pyramid.filtered(low, "lo", work, stride=2)
        planes.append(low[number])
        assert [list(p.shape) for p in planes] == values["band_sizes"]
        close([p.square().sum() for p in planes], values["plane_sumsq"])
        close([planes[0][0, 0], planes[-1][0, 0]], [values["plane_00"][0], values["plane_00"][-1]])
        assert max(abs(p[0, 0]) for p in planes[1:-1]) < 1e-12  # an odd kernel on a mirrored corner
        filtered = bands.filter_base(low, ours.bands[-1].frequency, ours.adapting_means)[number]
        close(filtered.square().sum(), values["base_filtered_sumsq"])
        close(filtered[0, 0], values["base_filtered_00"])
        close(low[1].mean(), values["bb_padvalue"])


def test_stage_sensitivity_masking_and_differences(stages):
    ours, right, _ = stages
    # the base band's sensitivity is not used
    close([s.mean() for _, s, *_ in ours.planes[:-1]], right["csf_mean"][:-1])
    close([masking.mean() for _, _, masking, *_ in ours.planes], right["nmask_mean"])
    close([d.square().sum() for _, _, _, d, _, _ in ours.planes], right["D_sumsq"])
    close([v.square().sum() for *_, v, _ in ours.planes], right["D_psy_sumsq"])
    close([mask.sum() for *_, mask in ours.planes], right["mask_sum"])
    close(ours.differs.mean(), right["diff_mask_mean"])


def test_stage_pooled_errors(stages):
    ours, _, name = stages
    found = [
        [band.number, float((d * mask).square().sum().sqrt() / d.numel()), numbers.band_weight(band.frequency)]
        for band, _, _, d, _, mask in ours.planes
    ]
    right = [[band, error, weight] for band, _, _, _, error, weight in expected(name)["planes"]]
    close(found, right, 1e-9)
    assert bands.quality([(weight, error) for _, error, weight in right]) == pytest.approx(expected(name)["Q"], abs=1e-10)


def test_stage_reconstruction(stages):
    ours, right, _ = stages
    visible = {}
    for band, _, _, _, v, _ in ours.planes:
        visible.setdefault(band.number, []).append(v)
    first, *levels, last = [torch.stack(planes) for planes in visible.values()]
    picture = pyramid.synthesise(first[0], levels, last[0], Parts()).abs()
    close([picture.sum(), picture.max()], [right["S_sum"], right["S_max"]])
    close(picture[0, 0], right["S_00"], 1e-7)


# ---- the parts, each against something else


def test_filters_are_those_of_pyrtools():
    taps, right = numbers.constants()["filters"], read("checks.json")["filters"]
    for name, digest in right["sha256_of_float64_le_row_major_plus_0.0"].items():
        stored = np.array(taps[name], dtype="<f8") + 0.0
        assert hashlib.sha256(stored.tobytes()).hexdigest() == digest, name
    assert "Permission is hereby granted" in " ".join(taps["licence"])
    for kernel, values in zip(numbers.filters()["bands"], right["bfilts_values"], strict=True):
        assert [kernel[r, c] for r, c in right["kernel_row_col_from_0"]] == values
        np.testing.assert_array_equal(kernel[::-1, ::-1], -kernel)


def test_photoreceptor_tables():
    right = read("checks.json")["photoreceptor_table"]
    at = np.array(right["index_from_1"]) - 1
    luminance, cone, rod = numbers.sensitivities()
    jnd_cone, jnd_rod = numbers.photoreceptor_tables()
    close(luminance[at], right["l"], 1e-13)
    close(numbers.joint_sensitivity(luminance)[at], right["s_joint"], 1e-13)
    close(rod[at], right["s_rod"], 1e-11)
    close(cone[at], right["s_cone"], 1e-12)
    close(jnd_cone[at], right["jnd_cone"], 1e-12)
    close(jnd_rod[at], right["jnd_rod"], 1e-12)


def test_transfer_function_of_the_optics():
    right = read("checks.json")["mtf"]
    close(eye.mtf(torch.tensor(right["rho"], dtype=F64)), right["value"], 1e-13)
    assert float(eye.mtf(torch.zeros((), dtype=F64))) == pytest.approx(1, abs=1e-15)


def test_contrast_sensitivity():
    right = read("checks.json")["ncsf"]
    close(numbers.ncsf(np.array(right["rho"]), np.array(right["la"])[:, None]), right["rows_are_la"], 1e-12)
    assert numbers.ncsf(np.array(0.0), np.array(100.0)) == 0


def test_weights_are_interpolated_and_clamped():
    # the table says 0.4688 where the band has 0.46875
    assert [numbers.band_weight(f) for f in (1000, 30, 15, 0.01)] == [0, 0.2832, 0.2832, 0]
    assert numbers.band_weight(0.46875) == pytest.approx(0.0003 * (0.46875 - 0.2344) / (0.4688 - 0.2344))


@pytest.mark.parametrize(("name", "to"), [("a_in_7x5", "a_to_4x3"), ("a_in_7x5", "a_to_13x9"), ("b_in_8x6", "b_to_4x3")])
def test_resize(name, to):
    right = read("checks.json")["imresize"]
    given, wanted = torch.tensor(right[name], dtype=F64)[None], np.array(right[to])
    found = pyramid.resized(given, *wanted.shape, slice(0, len(wanted)))[0]
    np.testing.assert_allclose(found, wanted, atol=1e-14)
    part = pyramid.resized(given, *wanted.shape, slice(1, 3))[0]
    np.testing.assert_allclose(part, wanted[1:3], atol=1e-14)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 300), st.integers(1, 300), st.integers(1, 3))
def test_resize_keeps_constants_where_it_grows_or_halves_evenly(height, width, times):
    planes = torch.full((1, height, width), 2.5, dtype=F64)
    grown = pyramid.resized(planes, height * times, width + times, slice(0, height * times))
    np.testing.assert_allclose(grown, 2.5, rtol=1e-13)
    doubled = torch.full((1, 2 * height, 2 * width), 2.5, dtype=F64)
    np.testing.assert_allclose(pyramid.resized(doubled, height, width, slice(0, height)), 2.5, rtol=1e-13)


@settings(max_examples=25, deadline=None)
@given(st.integers(17, 90), st.integers(17, 90), st.sampled_from(["hi0", "lo0", "lo", "bands"]), st.integers(1, 2))
def test_correlation_is_scipys(height, width, name, stride):
    planes = np.random.default_rng(height * 91 + width).standard_normal((2, height, width))
    kernels = numbers.filters()[name]
    found = np.empty((2, len(kernels), -(-height // stride), -(-width // stride)))

    def take(rows, wide, samples):
        inside = slice(rows.start - wide.start, rows.stop - wide.start)
        found[:, :, rows] = samples[:, :, inside]

    pyramid.correlate(torch.from_numpy(planes), name, take, Parts(), stride, margin=1)
    for plane, ours in zip(planes, found, strict=True):
        for kernel, mine in zip(kernels, ours, strict=True):
            witness = scipy.ndimage.correlate(plane, kernel, mode="mirror")[::stride, ::stride]
            np.testing.assert_allclose(mine, witness, atol=1e-12)


def test_parts_of_rows_join_without_a_seam():
    # wide enough for several parts, in each of which the kernels need rows of the next
    plane = np.random.default_rng(1).standard_normal((1, 70, 3000))
    with parts(CPU) as work:
        assert len(work.rows(70, 3000)) > 3
        found = pyramid.filtered(torch.from_numpy(plane), "lo", work)[0]
        band = bands._band(2, 7.5, torch.from_numpy(np.concatenate([plane, 0.5 * plane])), "bands", work)
    np.testing.assert_allclose(found, scipy.ndimage.correlate(plane[0], numbers.filters()["lo"][0], mode="mirror"), atol=1e-12)
    for kernel, mutual in zip(numbers.filters()["bands"], band.mutual, strict=True):
        smaller = np.abs(scipy.ndimage.correlate(plane[0], kernel, mode="mirror")) / 4
        witness = scipy.ndimage.uniform_filter(smaller, 3, mode="constant")
        np.testing.assert_allclose(mutual, witness, atol=1e-12)


@pytest.mark.parametrize(("height", "width"), [(40, 54), (37, 41), (32, 43), (61, 24)])
def test_scatter_is_the_filter_on_the_grid_of_twice_the_size(height, width):
    # sides with and without large prime factors: the latter are transformed on a longer grid
    light = 10 ** np.random.default_rng(2).uniform(-3, 5, (height, width))
    surround = numbers.constants()["surround"]
    padded = np.full((2 * height, 2 * width), surround)
    padded[:height, :width] = light
    ppd = 23.0
    rho = np.hypot(np.fft.fftfreq(2 * height, 1 / ppd)[:, None], np.fft.fftfreq(2 * width, 1 / ppd))
    gain = eye.mtf(torch.from_numpy(rho)).numpy()
    witness = np.fft.ifft2(np.fft.fft2(padded) * gain).real[:height, :width]
    found = torch.empty((height, width), dtype=F64)
    eye.Scatter(height, width, ppd, Parts(), CPU)(lambda rows: torch.from_numpy(light[rows]), found)
    np.testing.assert_allclose(found, np.clip(witness, 1e-5, 1e10), atol=1e-9)


def test_difference_mask_keeps_the_sign_of_its_divisor():
    reference = np.full((17, 17, 3), 10.0)
    test = reference.copy()
    test[0, 0, 1] = 10.02  # two thousandths of one channel
    test[0, 1] = 10.009  # less than one
    reference[0, 2], test[0, 2] = -1, 5
    reference[0, 3] = test[0, 3] = 0
    reference[0, 4] = 0
    test[0, 5] = np.nan
    mask = Light([test, reference], numbers.encodings()["rgb-bt.709"], CPU).differs(F64, Parts())
    assert mask[0, 0, :6].tolist() == [1, 0, 0, 0, 1, 0]
    assert mask.sum() == 2


# ---- what it takes, and refuses


def small(channels=3, seed=0):
    rng = np.random.default_rng(seed)
    reference = 10 ** rng.uniform(0, 2, (24, 30, channels))
    return reference * rng.uniform(0.8, 1.2, reference.shape), reference


@settings(max_examples=15, deadline=None)
@given(st.integers(17, 70), st.integers(17, 70), st.floats(1, 200), st.floats(-2, 4))
def test_any_size_and_scale(height, width, ppd, log_scale):
    reference = 10 ** (log_scale + np.random.default_rng(height + 100 * width).uniform(0, 1, (height, width)))
    assert hdrvdp2(reference, reference, "luminance", ppd, maps=False).q == 100
    found = hdrvdp2(1.5 * reference, reference, "luminance", ppd)
    assert math.isfinite(found.q)
    assert found.q <= 100
    assert 0 <= found.p_det <= 1
    assert hdrvdp2(1.5 * reference, reference, "luminance", ppd, maps=False).q == found.q


def test_no_band_counts_at_a_very_low_resolution():
    test, reference = small()
    assert hdrvdp2(test, reference, ppd=0.05, maps=False).q == hdrvdp2(test, reference, ppd=0.05).q == 100


def test_any_real_type_layout_and_spelling_is_taken():
    test, reference = (np.round(p).astype(np.float64) for p in small())
    q = hdrvdp2(test, reference, maps=False).q
    frozen = test.copy()
    frozen.flags.writeable = False
    for other in (
        test.astype(np.uint16),
        test.astype(np.float32),
        test.astype(">f4"),
        test.astype(np.float16),
        frozen,
        np.asfortranarray(test),
        np.ascontiguousarray(test[::-1])[::-1],
        np.broadcast_to(test, test.shape),
    ):
        before = other.copy()
        assert hdrvdp2(other, reference, "RGB-BT.709", maps=False).q == q
        np.testing.assert_array_equal(other, before)
    grey = test[..., 0]
    assert hdrvdp2(grey, reference[..., 0], "luminance").q == hdrvdp2(test[..., :1], reference[..., :1], "luminance").q


def test_nan_is_black():
    test, reference = small()
    with_nan = test.copy()
    with_nan[3, 4] = np.nan
    black = test.copy()
    black[3, 4] = 1e-5
    # unlike black it never counts as a difference, so only its neighbours do
    assert 0 < hdrvdp2(with_nan, reference).q != hdrvdp2(black, reference).q
    nan, dark = (hdrvdp2(p, reference, precision="float64").c_map for p in (with_nan, black))
    np.testing.assert_allclose(nan, dark, rtol=1e-12)


@pytest.mark.parametrize(
    ("test", "reference", "arguments", "error", "text"),
    [
        (np.ones((20, 20, 3)), np.ones((20, 21, 3)), {}, MismatchError, "shapes differ"),
        (np.ones((16, 40, 3)), np.ones((16, 40, 3)), {}, MismatchError, "40 x 16 pixels"),
        (np.ones((20, 20)), np.ones((20, 20)), {}, MismatchError, r"rgb-bt.709 takes \(H, W, 3\) arrays, not 20 x 20 x 1"),
        (np.ones((20, 20, 3)), np.ones((20, 20, 3)), {"encoding": "luminance"}, MismatchError, r"luminance takes \(H, W\)"),
        (np.ones((20, 20, 3), bool), np.ones((20, 20, 3)), {}, MismatchError, "type bool"),
        (np.ones((20, 20, 3)), np.full((20, 20, 3), np.inf), {}, MismatchError, "infinite"),
        (np.full((20, 20, 3), -np.inf), np.ones((20, 20, 3)), {}, MismatchError, "infinite"),
        (np.full((20, 20), -0.1), np.ones((20, 20)), {"encoding": "luma-display"}, MismatchError, "negative luma"),
        (np.ones((20, 20, 3)), np.ones((20, 20, 3)), {"encoding": "sRGB"}, UsageError, "there are: luminance, luma-display"),
        (np.ones((20, 20, 3)), np.ones((20, 20, 3)), {"ppd": 0}, UsageError, "ppd: 0 pixels"),
        (np.ones((20, 20, 3)), np.ones((20, 20, 3)), {"ppd": math.nan}, UsageError, "ppd: nan pixels"),
        (np.ones((20, 20, 3)), np.ones((20, 20, 3)), {"precision": "float16"}, UsageError, "float32 or float64"),
        (np.ones((20, 20, 3)), np.ones((20, 20, 3)), {"device": "tpu"}, UsageError, "cpu, cuda"),
        (np.ones((20, 20, 3)), np.ones((20, 20, 3)), {"device": "cuda:77"}, UsageError, "no CUDA device 77"),
    ],
)
def test_what_makes_no_sense_is_refused(test, reference, arguments, error, text):
    with pytest.raises(error, match=text):
        hdrvdp2(test, reference, **arguments)


@pytest.mark.parametrize("picture", [np.zeros((20, 20, 3)), np.full((20, 20, 3), -3.0), np.full((20, 20, 3), 1e29)])
def test_black_negative_and_blinding_pictures_have_a_score(picture):
    _, reference = small()
    reference = reference[:20, :20]
    assert math.isfinite(hdrvdp2(picture, reference).q)
    assert math.isfinite(hdrvdp2(reference, picture).c_max)
    assert hdrvdp2(picture, picture).q == 100


# ---- threads, imports, scores


def test_numbers_do_not_depend_on_threads_and_torch_keeps_its_own():
    pair = PAIRS["rgb_noise10"]()
    before = torch.get_num_threads()
    found = []
    try:
        for count in (1, 3):
            torch.set_num_threads(count)
            result = hdrvdp2(pair.test, pair.reference)
            found.append((result.q, result.c_max, result.p_map.tobytes()))
            assert torch.get_num_threads() == count
        assert found[0] == found[1]
    finally:
        torch.set_num_threads(before)


def test_threads_stay_within_the_limits():
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(4)
        parallel.limit_threads(3)
        with parts(CPU) as work:
            assert work.pool._max_workers == 3
            assert work.each(lambda part: torch.get_num_threads(), work.of(64, 1)) == [1] * 64
        with parts(CPU, 2) as work:
            assert work.pool._max_workers == 2
        parallel.limit_threads(1)
        with parts(CPU) as work:
            assert work.pool is None
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 4
    finally:
        parallel.limit_threads(None)
        torch.set_num_threads(before)


def test_listing_it_imports_no_torch():
    code = "import sys, hdrcli.metrics.hdrvdp2 as m; assert m.SCORES; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_scores():
    test, reference = small()
    result = hdrvdp2(test, reference, ppd=45)
    found = {score.name: score.compute(test, reference, Viewing(ppd=45)) for score in SCORES}
    assert found == {"hdrvdp22_q": result.q, "hdrvdp22_p_det": result.p_det, "hdrvdp22_c_max": result.c_max}
    assert [score.name for score in SCORES if score.slow] == ["hdrvdp22_p_det", "hdrvdp22_c_max"]
    for score in SCORES:
        with pytest.raises(Unavailable, match="17 x 17"):
            score.compute(test[:16], reference[:16], Viewing())
