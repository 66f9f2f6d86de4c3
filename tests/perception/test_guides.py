"""What all guides have in common, and the helpers they share."""

import subprocess
import sys
from dataclasses import FrozenInstanceError, fields

import cv2
import numpy as np
import pytest
import torch

from hdrcli import perception, registry
from hdrcli.errors import UsageError

PACKAGE = "hdrcli.perception"
KINDS = {
    "clip": "embeddings",
    "exposure": "maps",
    "llm": "maps",
    "own": "embeddings",
    "sam": "masks",
    "segmentation": "maps",
    "superpixels": "masks",
}
PROTOCOL = {"maps": "maps", "masks": "soft_iou", "embeddings": "patch_contrast"}


def test_the_files_are_the_guides():
    assert {name: registry.load(PACKAGE, name).KIND for name in registry.names(PACKAGE)} == KINDS


@pytest.mark.parametrize("name", KINDS)
def test_every_guide_says_what_it_is_and_has_options_with_defaults(name):
    module = registry.load(PACKAGE, name)
    assert "\n" not in module.SUMMARY
    config = module.Config()
    with pytest.raises(FrozenInstanceError):
        setattr(config, fields(config)[0].name, None)
    assert callable(module.build)


@pytest.mark.parametrize("name", ["exposure", "own", "superpixels"])
def test_the_offline_ones_need_nothing(name):
    kind = KINDS[name]
    assert hasattr(perception.create(kind, name), PROTOCOL[kind])


def test_options_come_as_texts():
    assert perception.create("masks", "superpixels", {"seeds": "3"}).config.seeds == 3
    with pytest.raises(UsageError, match="no parameter of the name 'seed'"):
        perception.create("masks", "superpixels", {"seed": "3"})


@pytest.mark.parametrize("kind", PROTOCOL)
def test_none_is_no_guide(kind):
    assert perception.create(kind, "none") is None
    with pytest.raises(UsageError, match="has no options"):
        perception.create(kind, "none", {"side": "3"})


def test_a_guide_of_another_kind_is_refused_with_those_that_fit():
    with pytest.raises(UsageError, match=r"exposure gives maps, not masks \(there are: sam, superpixels, none\)"):
        perception.create("masks", "exposure")
    with pytest.raises(UsageError, match="did you mean clip"):
        perception.create("embeddings", "clp")


def test_importing_the_package_and_the_llm_guide_imports_nothing_heavy():
    script = """
import sys
import hdrcli.perception, hdrcli.perception.llm, hdrcli.losses
loaded = {"torch", "numpy", "cv2", "openai", "transformers"} & set(sys.modules)
assert not loaded, loaded
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)


def test_maps_in_the_order_that_generators_take_them():
    a, o, u = torch.rand(3, 2, 1, 4, 5)
    assert torch.equal(perception.Maps(a, o, u).stacked(), torch.cat([a, o, u], 1))


def test_equalised_luma_is_opencvs():
    rng = np.random.default_rng(0)
    dark = (rng.random((2, 3, 24, 32)) ** 3 * 0.4).astype(np.float32)
    codes = torch.from_numpy(dark).requires_grad_()
    out = perception.equalized(codes)
    assert not out.requires_grad
    grey = torch.from_numpy(dark[:, :1]).expand(-1, 3, -1, -1)
    expected = cv2.equalizeHist(np.rint(dark[1, 0] * 255).astype(np.uint8)) / 255
    np.testing.assert_allclose(perception.equalized(grey)[1, 2], expected, atol=1e-6)
    assert out.mean() > 1.5 * codes.detach().mean()


def test_equalising_keeps_hues_and_flat_images():
    red = torch.tensor([0.3, 0.1, 0.1]).view(1, 3, 1, 1) * torch.linspace(0.2, 1, 32).view(1, 1, 1, 32)
    out = perception.equalized(red.expand(1, 3, 16, 32))
    assert (out[:, 0] >= out[:, 1]).all()
    assert (out[:, 1] - out[:, 2]).abs().max() <= 2.1 / 255
    flat = torch.full((1, 3, 4, 4), 100 / 255)
    torch.testing.assert_close(perception.equalized(flat), flat, rtol=0, atol=1.5 / 255)


def test_bytes_are_rounded_and_bounded():
    codes = torch.tensor([-1.0, 0.0, 0.4999 / 255, 0.5001 / 255, 1.0, 3.0]).view(1, 1, 1, 6).expand(1, 3, 1, 6)
    out = perception.to_uint8(codes)
    assert out.dtype == np.uint8
    assert out.shape == (1, 1, 6, 3)
    assert out[0, 0, :, 1].tolist() == [0, 0, 0, 1, 255, 255]
