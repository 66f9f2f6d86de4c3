"""ColorVideoVDP: the package's numbers, and that nothing of how they are had is left behind."""

import json
import logging
import subprocess
import sys
from importlib import metadata, util
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from scipy import ndimage

from hdrcli.errors import MismatchError, Unavailable, UsageError
from hdrcli.metrics import Viewing
from hdrcli.metrics import cvvdp as module
from hdrcli.metrics.cvvdp import SCORES, cvvdp, version

pytestmark = pytest.mark.skipif(util.find_spec("pycvvdp") is None, reason="the package cvvdp isn't installed")


def pair(height=90, width=130, noise=0.2):
    """A smooth scene of 0.6 to 850 cd/m2 from a frozen random stream, and a noisy picture of it."""
    rs = np.random.RandomState(0)
    reference = np.stack([np.exp(6 * ndimage.gaussian_filter(rs.randn(90, 130), 2) + 3) for _ in range(3)], -1)
    test = reference * (1 + noise * rs.uniform(-1, 1, reference.shape))
    return test[:height, :width].astype(np.float32), reference[:height, :width].astype(np.float32)


# The package 0.5.7, imported as its authors mean it, with torchvision 0.28 itself and a display of these properties
@pytest.mark.parametrize(("ppd", "told"), [(10, 8.53480339), (30, 9.58101082), (60, 9.95788193)])
def test_it_is_what_the_package_gives_with_torchvision(ppd, told):
    assert cvvdp(*pair(), ppd) == pytest.approx(told, abs=2e-5)


# as above, for corners of so many pixels
@pytest.mark.parametrize(("side", "told"), [(2, 9.77422333), (5, 9.80752373), (13, 9.64426994), (20, 9.52180195)])
def test_small_pictures_too(side, told):
    assert cvvdp(*pair(side, side), 30) == pytest.approx(told, abs=2e-5)


def test_equal_pictures_get_10():
    _, reference = pair()
    assert cvvdp(reference, reference, 30) == 10
    assert cvvdp(0 * reference, 0 * reference, 30) == 10


def test_more_noise_is_less():
    found = [cvvdp(*pair(noise=noise), 30) for noise in (0.05, 0.1, 0.2, 0.4, 0.8)]
    assert found == sorted(found, reverse=True)
    assert found[-1] < found[0] < 10


@pytest.mark.parametrize("gain", [0.25, 0.5, 1.1, 4])
def test_it_does_not_see_global_exposure_as_its_documentation_here_says(gain):
    _, reference = pair()
    assert cvvdp(gain * reference, reference, 30) == pytest.approx(10, abs=1e-3)


def test_light_beyond_the_display_is_clamped():
    test, reference = pair()
    test[:20] *= 1e6
    assert cvvdp(test, reference, 30) == cvvdp(np.clip(test, 0.005, 10000), reference, 30)
    test[:20] = -1
    assert cvvdp(test, reference, 30) == cvvdp(np.clip(test, 0.005, 10000), reference, 30)


def test_the_same_numbers_twice_and_for_all_floats():
    test, reference = pair()
    told = cvvdp(test, reference, 30)
    assert cvvdp(test, reference, 30) == told
    assert cvvdp(test.astype(np.float64), np.asfortranarray(reference), 30) == told


@pytest.mark.parametrize("shape", [(13, 7), (40, 31)])
def test_the_blur_is_a_gaussian_with_mirrored_borders(shape):
    taps = np.exp(-0.5 * (np.arange(-6, 7) / 3.0) ** 2)
    taps /= taps.sum()
    picture = np.random.RandomState(1).rand(2, 3, *shape)
    told = ndimage.correlate1d(ndimage.correlate1d(picture, taps, axis=2, mode="mirror"), taps, axis=3, mode="mirror")
    found = module._gaussian_blur(13, 3)(torch.from_numpy(picture))
    np.testing.assert_allclose(found.numpy(), told, atol=1e-12)


def test_nothing_is_left_behind_or_printed(monkeypatch, capfd):
    module._loaded.cache_clear()
    own = ModuleType("interp")
    monkeypatch.setitem(sys.modules, "interp", own)
    path, handlers, random = list(sys.path), list(logging.getLogger().handlers), torch.random.get_rng_state()
    test, reference = pair()
    # so dark that the package warns
    cvvdp(1e-3 * test, 1e-3 * reference, 30)
    assert sys.path == path
    assert logging.getLogger().handlers == handlers
    assert torch.equal(torch.random.get_rng_state(), random)
    assert sys.modules["interp"] is own
    left = {name.partition(".")[0] for name in sys.modules}
    assert not left & {"pycvvdp", "torchvision", "ffmpeg", "third_party", "video_source", "run_cvvdp"}
    assert not any(getattr(m, "__file__", None) and "pycvvdp" in m.__file__ for m in list(sys.modules.values()))
    captured = capfd.readouterr()
    assert not captured.out
    assert not captured.err


def test_warnings_go_to_a_logger_of_their_own(caplog):
    test, reference = pair()
    with caplog.at_level(logging.WARNING, logger="hdrcli.cvvdp"):
        cvvdp(1e-3 * test, 1e-3 * reference, 30)
    assert {record.name for record in caplog.records} == {"hdrcli.cvvdp"}


def test_parameters_from_elsewhere_change_nothing(monkeypatch, tmp_path):
    told = cvvdp(*pair(), 30)
    folder = Path(util.find_spec("pycvvdp").submodule_search_locations[0]) / "vvdp_data"
    parameters = json.loads((folder / "cvvdp_parameters.json").read_text())
    (tmp_path / "cvvdp_parameters.json").write_text(json.dumps({**parameters, "jod_a": 1.0}))
    monkeypatch.setenv("CVVDP_PATH", str(tmp_path))
    assert cvvdp(*pair(), 30) == told


def test_what_can_not_be_compared_is_refused():
    test, reference = pair(20, 20)
    broken = test.copy()
    broken[3, 4, 1] = np.nan
    for bad in (broken, np.full_like(test, np.inf), np.full((20, 20, 3), 1e300), test[:19], test[..., :2]):
        with pytest.raises(MismatchError):
            cvvdp(bad, reference if bad.shape[2] == 3 else bad, 30)
    for ppd in (0, -1, float("nan"), 1e6):
        with pytest.raises(UsageError, match="pixels per degree"):
            cvvdp(test, reference, ppd)
    with pytest.raises(Unavailable, match="2 x 2 pixels or more"):
        cvvdp(test[:1], reference[:1], 30)


@pytest.mark.parametrize(("hidden", "named"), [("pycvvdp", "cvvdp"), ("torch", "torch")])
def test_a_missing_package_is_named(hidden, named, monkeypatch):
    module._loaded.cache_clear()
    find = util.find_spec
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: None if name == hidden else find(name))
    with pytest.raises(Unavailable, match=rf"needs the package {named} .*hdrcli\[metrics\]"):
        cvvdp(*pair(20, 20), 30)


def test_a_package_of_other_insides_is_named(monkeypatch, tmp_path):
    module._loaded.cache_clear()
    (tmp_path / "cvvdp_metric.py").write_text("from torchvision.ops import nms\n")
    other = ModuleSpec("pycvvdp", None, is_package=True)
    other.submodule_search_locations = [str(tmp_path)]
    find = util.find_spec
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: other if name == "pycvvdp" else find(name))
    path = list(sys.path)
    with pytest.raises(Unavailable, match=r"cvvdp .* can't be used: .*torchvision"):
        cvvdp(*pair(20, 20), 30)
    assert sys.path == path
    assert "torchvision" not in sys.modules


def test_the_score_is_that_of_the_viewers_distance():
    (score,) = SCORES
    assert (score.name, score.unit, score.better, score.slow) == ("cvvdp_jod", "JOD", "higher", True)
    for ppd in (10.0, 60.0):
        assert score.compute(*pair(), Viewing(ppd=ppd)) == cvvdp(*pair(), ppd)


def test_listing_imports_neither_torch_nor_the_package():
    script = (
        "import sys; from hdrcli.metrics.cvvdp import SCORES, version; assert version(); "
        "assert not {'torch', 'pycvvdp', 'scipy'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)


def test_version_names_the_package():
    assert version() == f"cvvdp {metadata.version('cvvdp')}"


@pytest.mark.gpu
def test_a_card_gives_what_the_cpu_gives():
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    assert cvvdp(*pair(), 30, "cuda") == pytest.approx(cvvdp(*pair(), 30), abs=1e-3)
