"""LPIPS against the authors' package and against NumPy, with backbones of seeded random weights: no published ones are here."""

import subprocess
import sys
from importlib import metadata, util

import numpy as np
import pytest
import seeded_backbones as seeded
import torch

from hdrcli.errors import MismatchError, MissingExtra, Unavailable, UsageError
from hdrcli.metrics import Viewing
from hdrcli.metrics import lpips as module
from hdrcli.metrics.lpips import SCORES, lpips, version
from hdrcli.networks import alexnet, vgg
from hdrcli.networks import lpips as network

pytestmark = pytest.mark.skipif(util.find_spec("lpips") is None, reason="the wheel lpips, which has the heads, isn't installed")

LAYERS = {"alex": (seeded.ALEXNET, (0, 3, 6, 8, 10)), "vgg": (seeded.VGG16, (2, 7, 14, 21, 28))}


@pytest.fixture(scope="module")
def states():
    return {
        "alex": seeded.seeded_state(alexnet.AlexNet()),
        "vgg": seeded.seeded_state(vgg.VGG16()),
    }


@pytest.fixture(scope="module")
def weights(states, tmp_path_factory):
    """Files of weights by the backbone's name."""
    folder = tmp_path_factory.mktemp("weights")
    for net, state in states.items():
        torch.save(state, folder / f"{net}.pth")
    return {net: folder / f"{net}.pth" for net in states}


@pytest.fixture(autouse=True)
def afresh(monkeypatch, tmp_path):
    """Nothing loaded before, nothing in torch's cache."""
    module._loaded.cache_clear()
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))


def plain(net, state, test, reference):
    """Equation 1 of the paper in NumPy, with the heads of the wheel."""
    heads = torch.load(network.heads_in_wheel(net), map_location="cpu", weights_only=True)
    layers, taps = LAYERS[net]
    both = [seeded.numpy_activations(layers, state, picture) for picture in (test, reference)]
    distance = 0.0
    for number, index in enumerate(taps):
        units = [f[index] / (np.sqrt((f[index] ** 2).sum(0)) + 1e-10) for f in both]
        head = heads[f"lin{number}.model.1.weight"].numpy().ravel()
        distance += np.tensordot(head, (units[0] - units[1]) ** 2, axes=1).mean()
    return distance


# lpips.LPIPS(net=net, pnet_rand=True)(test, reference, normalize=True) of the package 0.1.4 with torchvision 0.28
@pytest.mark.parametrize(("net", "size", "told"), [("alex", (64, 80), 0.016023419), ("vgg", (48, 40), 0.024537211)])
def test_distance_is_that_of_the_authors_package(net, size, told, weights):
    assert lpips(*seeded.pictures(*size), net, weights=weights[net]) == pytest.approx(told, rel=2e-6)


@pytest.mark.parametrize(("net", "size"), [("alex", (33, 50)), ("vgg", (17, 22))])
def test_distance_is_the_papers_equation(net, size, states, weights):
    pair = seeded.pictures(*size, seed=5)
    assert lpips(*pair, net, weights=weights[net]) == pytest.approx(plain(net, states[net], *pair), rel=1e-5)


def test_equal_pictures_have_no_distance_and_the_order_does_not_matter(weights):
    test, reference = seeded.pictures(40, 40)
    assert lpips(reference, reference, weights=weights["alex"]) == 0
    there, back = lpips(test, reference, weights=weights["alex"]), lpips(reference, test, weights=weights["alex"])
    assert there == pytest.approx(back, rel=1e-6)
    assert lpips(test, reference, weights=weights["alex"]) == there


def test_more_noise_is_more_distance(weights):
    rs = np.random.RandomState(0)
    reference = np.tile(np.linspace(0.2, 0.8, 48)[:, None, None], (1, 40, 3))
    noise = rs.uniform(-1, 1, reference.shape)
    found = [lpips(reference + a * noise, reference, weights=weights["alex"]) for a in (0.01, 0.03, 0.1, 0.2)]
    assert found == sorted(found)
    assert found[0] > 0


def test_heads_come_from_a_file_if_one_is_named(weights, tmp_path):
    heads = torch.load(network.heads_in_wheel("alex"), map_location="cpu", weights_only=True)
    torch.save({name: 2 * head for name, head in heads.items()}, tmp_path / "twice.pth")
    pair = seeded.pictures(40, 40)
    once = lpips(*pair, weights=weights["alex"])
    assert lpips(*pair, weights=weights["alex"], heads=tmp_path / "twice.pth") == pytest.approx(2 * once, rel=1e-6)
    with pytest.raises(Unavailable, match="no heads of LPIPS for AlexNet"):
        lpips(*pair, weights=weights["alex"], heads=network.heads_in_wheel("vgg"))
    with pytest.raises(Unavailable, match="no heads"):
        lpips(*pair, weights=weights["alex"], heads=tmp_path / "nothing.pth")


def test_neither_the_package_nor_torchvision_is_imported(weights):
    script = f"""
import sys
from pathlib import Path
import numpy as np
from hdrcli.metrics.lpips import SCORES, lpips, version
assert version() and SCORES and not {{"torch", "lpips"}} & sys.modules.keys()
picture = np.full((40, 40, 3), 0.5)
assert lpips(picture, picture, weights=Path({str(weights["alex"])!r})) == 0
assert not {{"lpips", "torchvision"}} & sys.modules.keys()
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=120)


def test_gradients_reach_both_pictures(weights):
    loaded = network.load("alex", weights["alex"])
    batch = [torch.from_numpy(p.transpose(2, 0, 1)[None].astype(np.float32)) for p in seeded.pictures(40, 40)]
    test, reference = (torch.cat([picture, picture.flip(3)]).requires_grad_() for picture in batch)
    distances = loaded(test, reference)
    assert distances.shape == (2,)
    distances.sum().backward()
    assert all(bool(p.grad.abs().sum() > 0) for p in (test, reference))
    assert not any(p.requires_grad for p in loaded.parameters())


def test_what_is_missing_is_named(weights, monkeypatch, tmp_path):
    pair = seeded.pictures(40, 40)
    for net, name in (("alex", "alexnet-owt-7be5be79.pth"), ("vgg", "vgg16-397923af.pth")):
        with pytest.raises(Unavailable, match=name):
            lpips(*pair, net)
    (tmp_path / "damaged.pth").write_bytes(b"nothing")
    with pytest.raises(Unavailable, match="can't be read"):
        lpips(*pair, weights=tmp_path / "damaged.pth")
    monkeypatch.setattr(network.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(Unavailable, match=r"needs the package lpips .*hdrcli\[metrics\]"):
        lpips(*pair, weights=weights["alex"])
    with pytest.raises(MissingExtra):
        network.heads_in_wheel("alex")


def test_without_torch_there_is_none(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(Unavailable, match=r"needs the package torch .*hdrcli\[metrics\]"):
        lpips(*seeded.pictures(40, 40))


def test_what_can_not_be_compared_is_refused(weights):
    test, reference = seeded.pictures(40, 40)
    broken = np.where(reference > 0.5, np.nan, reference)
    for first, second in (
        (1.5 * reference, reference),
        (reference, reference - 0.5),
        (test[:39], reference),
        (test[..., 0], reference[..., 0]),
        (broken, reference),
    ):
        with pytest.raises(MismatchError):
            lpips(first, second, weights=weights["alex"])
    with pytest.raises(UsageError, match="alex, vgg"):
        lpips(test, reference, "squeeze", weights=weights["alex"])
    for net, least in (("alex", 31), ("vgg", 16)):
        lpips(test[:least], reference[:least], net, weights=weights[net])
        with pytest.raises(Unavailable, match=f"{least} x {least} pixels or more"):
            lpips(test[: least - 1], reference[: least - 1], net, weights=weights[net])


@pytest.mark.parametrize("number", [0, 1])
def test_scores_are_of_mu_law_codes_of_the_references_range(number, weights, tmp_path):
    score, net = SCORES[number], ("alex", "vgg")[number]
    assert (score.name, score.better, score.slow) == (f"lpips_{net}", "lower", True)
    assert "not verified on published weights" in score.title
    codes = seeded.pictures(40, 40)
    test, reference = 3000 * codes[0] ** 3, 2000 * codes[1] ** 3
    made = [np.log1p(5000 * np.clip(p / reference.max(), 0, 1)) / np.log1p(5000) for p in (test, reference)]
    names = {"alex": "alexnet-owt-7be5be79", "vgg": "vgg16-397923af"}
    from safetensors.torch import save_file

    save_file(torch.load(weights[net], weights_only=True), tmp_path / f"{names[net]}.safetensors")
    viewing = Viewing(weights=tmp_path)
    assert score.compute(test, reference, viewing) == pytest.approx(lpips(*made, net, weights=weights[net]), rel=1e-6)
    assert score.compute(test, test, viewing) == 0
    with pytest.raises(Unavailable, match="black"):
        score.compute(test, 0 * reference, viewing)
    with pytest.raises(Unavailable, match=names[net]):
        score.compute(test, reference, Viewing())


def test_version_names_the_wheel(monkeypatch):
    assert version() == f"lpips {metadata.version('lpips')}"

    def none(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", none)
    assert version() is None


@pytest.mark.gpu
@pytest.mark.parametrize("net", ["alex", "vgg"])
def test_a_card_gives_what_the_cpu_gives(net, weights):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    pair = seeded.pictures(64, 80)
    on_cpu = lpips(*pair, net, weights=weights[net])
    assert lpips(*pair, net, weights=weights[net], device="cuda") == pytest.approx(on_cpu, rel=1e-4)
