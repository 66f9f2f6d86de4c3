"""AlexNet and VGG16: torchvision's names and shapes, what they answer, and which files are taken as their weights."""

import hashlib
import pickle

import numpy as np
import pytest
import seeded_backbones as seeded
import torch
from safetensors.torch import save_file

from hdrcli.errors import MissingModel, ModelError
from hdrcli.networks import _backbone, alexnet, vgg
from hdrcli.networks._backbone import normalised

# as in torchvision's published files: index among the features -> shape of the weights
ALEXNET = {0: (64, 3, 11, 11), 3: (192, 64, 5, 5), 6: (384, 192, 3, 3), 8: (256, 384, 3, 3), 10: (256, 256, 3, 3)}
VGG16 = {
    0: (64, 3, 3, 3),
    2: (64, 64, 3, 3),
    5: (128, 64, 3, 3),
    7: (128, 128, 3, 3),
    10: (256, 128, 3, 3),
    12: (256, 256, 3, 3),
    14: (256, 256, 3, 3),
    17: (512, 256, 3, 3),
    19: (512, 512, 3, 3),
    21: (512, 512, 3, 3),
    24: (512, 512, 3, 3),
    26: (512, 512, 3, 3),
    28: (512, 512, 3, 3),
}
BOTH = [(alexnet.AlexNet, ALEXNET), (vgg.VGG16, VGG16)]


@pytest.fixture
def no_cache(monkeypatch, tmp_path):
    """torch's cache is an empty folder, its checkpoints' folder the fixture's value."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    folder = tmp_path / "torch" / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture(scope="module")
def weights():
    """A whole state dict of AlexNet, classifier and all."""
    return {**seeded.seeded_state(alexnet.AlexNet()), "classifier.6.bias": torch.zeros(1000)}


@pytest.mark.parametrize(("network", "shapes"), BOTH)
def test_parameters_have_torchvisions_names_and_shapes(network, shapes):
    with torch.device("meta"):
        state = network().state_dict()
    told = {f"features.{index}.weight": shape for index, shape in shapes.items()}
    told |= {f"features.{index}.bias": shape[:1] for index, shape in shapes.items()}
    assert {name: tuple(tensor.shape) for name, tensor in state.items()} == told


def test_taps_of_a_picture_of_224_pixels_have_the_papers_sizes():
    with torch.device("meta"):
        x = torch.zeros(1, 3, 224, 224)
        alex = [tuple(t.shape[1:]) for t in alexnet.AlexNet()(x).values()]
        vgg16 = {name: tuple(t.shape[1:]) for name, t in vgg.VGG16()(x).items()}
    assert alex == [(64, 55, 55), (192, 27, 27), (384, 13, 13), (256, 13, 13), (256, 13, 13)]
    assert vgg16 == {
        "relu1_2": (64, 224, 224),
        "relu2_2": (128, 112, 112),
        "relu3_3": (256, 56, 56),
        "relu4_3": (512, 28, 28),
        "relu5_3": (512, 14, 14),
    }


@pytest.mark.parametrize(("network", "shapes"), BOTH)
def test_widths_are_those_of_the_taps(network, shapes):
    with torch.device("meta"):
        found = network()
        assert found.widths == tuple(t.shape[1] for t in found(torch.zeros(1, 3, 64, 64)).values())


@pytest.mark.parametrize(
    ("network", "layers", "size", "first"),
    [(alexnet.AlexNet, seeded.ALEXNET, (40, 47), 0), (vgg.VGG16, seeded.VGG16, (20, 17), 2)],
)
def test_taps_are_what_numpy_computes(network, layers, size, first):
    found = network()
    state = seeded.seeded_state(found)
    found.load_state_dict(state)
    codes, _ = seeded.pictures(*size)
    told = seeded.numpy_activations(layers, state, codes)
    with torch.no_grad():
        taps = found(normalised(torch.from_numpy(codes.transpose(2, 0, 1)[None].astype(np.float32))))
    assert found.taps[next(iter(taps))] == first + 1  # the ReLU after that convolution
    for name, tap in taps.items():
        np.testing.assert_allclose(tap[0].numpy(), told[found.taps[name] - 1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("network", [alexnet.AlexNet, vgg.VGG16])
def test_the_smallest_picture_leaves_a_pixel_and_no_smaller_one_does(network):
    with torch.device("meta"):
        found = network()
        least = found.smallest
        assert all(min(t.shape) >= 1 for t in found(torch.zeros(1, 3, least, least + 5)).values())
        with pytest.raises(ValueError, match=f"{least} x {least} pixels or more, not {least + 5} x {least - 1}"):
            found(torch.zeros(1, 3, least - 1, least + 5))
        with pytest.raises(RuntimeError, match="too small"):
            found.features(torch.zeros(1, 3, least - 1, least - 1))


def test_only_what_is_asked_for_is_computed():
    network = vgg.VGG16()
    del network.features[10:]
    taps = network(torch.zeros(1, 3, 16, 16), ["relu2_2"])
    assert list(taps) == ["relu2_2"]
    with pytest.raises(ValueError, match="VGG16 has no relu9"):
        network(torch.zeros(1, 3, 16, 16), ["relu1_2", "relu9"])


def test_a_tap_keeps_its_values_while_later_layers_run():
    network = alexnet.AlexNet().requires_grad_(False)
    stages = network.stages(torch.rand(1, 3, 40, 40))
    _, first = next(stages)
    copy = first.clone()
    for _ in stages:
        pass
    assert torch.equal(first, copy)


def test_gradients_reach_the_picture_and_not_the_weights(tmp_path, weights):
    torch.save(weights, tmp_path / "a.pth")
    network = alexnet.load(tmp_path / "a.pth")
    assert not network.training
    picture = torch.rand(1, 3, 40, 40, requires_grad=True)
    network(normalised(picture))["relu5"].sum().backward()
    assert picture.grad.abs().sum() > 0
    assert all(p.grad is None for p in network.parameters())


def test_normalised_codes():
    mean, std = np.array(_backbone.MEAN), np.array(_backbone.STD)
    codes = torch.tensor(np.stack([mean, mean + std, mean - 2 * std], 1)[None, :, :, None])
    expected = np.array([[0, 1, -2]] * 3)
    np.testing.assert_allclose(normalised(codes)[0, :, :, 0], expected, atol=1e-12)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_weights_load_from_a_file(tmp_path, weights, suffix):
    path = tmp_path / f"mine{suffix}"
    (save_file if suffix == ".safetensors" else torch.save)(weights, path)
    network = alexnet.load(path)
    assert all(torch.equal(tensor, weights[name]) for name, tensor in network.state_dict().items())


def published_as_if(network, monkeypatch, weights, folder):
    """The file as torchvision would publish it: the name ends with the first digits of its SHA-256."""
    torch.save(weights, folder / "new.pth")
    digest = hashlib.sha256((folder / "new.pth").read_bytes()).hexdigest()
    name = f"alexnet-owt-{digest[:8]}.pth"
    (folder / "new.pth").rename(folder / name)
    monkeypatch.setattr(network, "PUBLISHED", name)
    return name


def test_weights_are_found_in_a_folder_and_in_torchs_cache(tmp_path, weights, no_cache, monkeypatch):
    name = published_as_if(alexnet, monkeypatch, weights, no_cache)
    assert torch.equal(alexnet.load().features[0].bias, weights["features.0.bias"])
    assert _backbone.find(name, tmp_path) == no_cache / name  # a folder without them: the cache is looked at, too
    (no_cache / name).rename(tmp_path / name)
    assert _backbone.find(name, tmp_path) == tmp_path / name
    assert torch.equal(alexnet.load(tmp_path).features[0].bias, weights["features.0.bias"])
    with pytest.raises(MissingModel):
        alexnet.load()


def test_a_safetensors_of_the_published_name_will_do(no_cache, weights):
    save_file(weights, no_cache / "alexnet-owt-7be5be79.safetensors")
    assert torch.equal(alexnet.load().features[0].bias, weights["features.0.bias"])


@pytest.mark.parametrize(("load", "name"), [(alexnet.load, "alexnet-owt-7be5be79.pth"), (vgg.load, "vgg16-397923af.pth")])
def test_missing_weights_say_which_file_belongs_where(load, name, no_cache, tmp_path):
    with pytest.raises(MissingModel) as raised:
        load()
    assert name in str(raised.value)
    assert str(no_cache) in str(raised.value)
    with pytest.raises(MissingModel, match="no such file or folder"):
        load(tmp_path / "nothing.pth")


def test_a_file_that_is_not_what_its_name_says_is_refused(no_cache, weights):
    torch.save(weights, no_cache / "alexnet-owt-7be5be79.pth")
    with pytest.raises(ModelError, match="SHA-256"):
        alexnet.load()


class Sprung:
    """Runs when it is unpickled."""

    def __reduce__(self):
        return (pytest.fail, ("code from the file was run",))


def test_files_that_hold_no_such_network_are_refused(tmp_path, weights):
    lacking = {name: tensor for name, tensor in weights.items() if name != "features.3.bias"}
    other = {**weights, "features.3.bias": torch.zeros(7)}
    more = {**weights, "features.12.weight": torch.zeros(7)}
    for state in (lacking, other, more, {}):
        torch.save(state, tmp_path / "a.pth")
        with pytest.raises(ModelError, match="is no AlexNet"):
            alexnet.load(tmp_path / "a.pth")
    for state in ({"features.0.weight": 3}, [1, 2]):
        torch.save(state, tmp_path / "a.pth")
        with pytest.raises(ModelError, match="no state dict"):
            alexnet.load(tmp_path / "a.pth")
    torch.save(weights, tmp_path / "a.pth")
    whole = (tmp_path / "a.pth").read_bytes()
    for name, content in (("cut.pth", whole[: len(whole) // 2]), ("empty.pth", b""), ("a.safetensors", b"no header")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ModelError, match="can't be read"):
            alexnet.load(tmp_path / name)
    (tmp_path / "code.pth").write_bytes(pickle.dumps(Sprung()))
    with pytest.raises(ModelError, match="can't be read"):
        alexnet.load(tmp_path / "code.pth")
