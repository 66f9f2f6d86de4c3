"""CLIP and SAM of random weights and a few thousand parameters: loading, preprocessing, gradients, and what can't be loaded."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import tiny_pretrained
import torch
from PIL import Image as Picture

from hdrcli.errors import MissingExtra, MissingModel, ModelError, UsageError
from hdrcli.perception import _pretrained, clip, sam

transformers = pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory):
    return tiny_pretrained.clip(tmp_path_factory.mktemp("clip"))


@pytest.fixture(scope="module")
def sam_folder(tmp_path_factory):
    return tiny_pretrained.sam(tmp_path_factory.mktemp("sam"))


def images(count=2, height=40, width=40, seed=0):
    return torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(seed))


# --- CLIP -----------------------------------------------------------------------------------------------------------------


def test_embeddings_are_those_of_the_whole_model(clip_folder):
    codes = images()
    provider = clip.build(clip.Config(clip_folder))
    with _pretrained._quiet():
        whole = transformers.CLIPModel.from_pretrained(clip_folder)
    with torch.no_grad():
        expected = whole.get_image_features(pixel_values=clip.prepared(codes, 32)).pooler_output
        torch.testing.assert_close(provider.embed(codes), expected / expected.norm(dim=1, keepdim=True), rtol=1e-4, atol=1e-5)
    assert provider.dimensions == expected.shape[1] == 12


def test_preprocessing_is_clips_own_on_square_images():
    """Against PIL, which CLIP's own preprocessing uses: both antialiased bicubic, PIL in 8 bits."""
    codes = torch.nn.functional.interpolate(images(1, 12, 12), size=(96, 96), mode="bicubic").clamp(0, 1)
    pixels = (codes[0].permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
    processor = transformers.CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    expected = processor(Picture.fromarray(pixels), return_tensors="pt")["pixel_values"]
    torch.testing.assert_close(clip.prepared(codes, 32), expected, rtol=0, atol=0.03)


def test_the_whole_of_a_wide_image_counts(clip_folder):
    provider = clip.build(clip.Config(clip_folder))
    wide = images(1, 20, 80)
    changed = wide.clone()
    changed[..., -10:] = 0
    assert not torch.allclose(provider.embed(wide), provider.embed(changed), atol=1e-4)


def test_embeddings_have_a_gradient_and_the_weights_none(clip_folder):
    provider = clip.build(clip.Config(clip_folder))
    codes = images().requires_grad_()
    embeddings = provider.embed(codes)
    torch.testing.assert_close(embeddings.norm(dim=1), torch.ones(2))
    (embeddings[0] @ embeddings[1]).backward()
    assert codes.grad.abs().sum() > 0
    assert not any(p.requires_grad for p in provider._network.parameters())
    assert not provider._network.training


# --- SAM ------------------------------------------------------------------------------------------------------------------


def test_preprocessing_is_sams_own():
    codes = torch.nn.functional.interpolate(images(1, 8, 12), size=(80, 120), mode="bicubic").clamp(0, 1)
    pixels = (codes[0].permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
    processor = transformers.SamImageProcessorPil(size={"longest_edge": 64}, pad_size={"height": 64, "width": 64})
    expected = processor(Picture.fromarray(pixels), return_tensors="pt")["pixel_values"]
    prepared, size = sam.prepared(codes, 64)
    assert size == (43, 64)
    torch.testing.assert_close(prepared, expected, rtol=0, atol=0.03)


def test_equal_images_have_equal_masks(sam_folder):
    provider = sam.build(sam.Config(sam_folder, points=2))
    codes = images()
    assert provider.soft_iou(codes, codes).tolist() == pytest.approx([1, 1], abs=1e-4)
    other = provider.soft_iou(codes, images(seed=1) ** 3)
    assert ((other > 0) & (other < 0.999)).all()


@pytest.mark.parametrize("size", [(40, 40), (30, 64), (90, 50)])
def test_the_gradient_reaches_the_generator_through_the_frozen_network(sam_folder, size):
    torch.manual_seed(0)
    provider = sam.build(sam.Config(sam_folder, points=2))
    generator = torch.nn.Conv2d(3, 3, 3, padding=1)
    ldr = images(1, *size).requires_grad_()
    value = provider.soft_iou(ldr, generator(ldr.detach()).sigmoid())
    assert value.shape == (1,)
    (1 - value.mean()).backward()
    assert ldr.grad is None
    assert all(p.grad is not None and p.grad.any() for p in generator.parameters())
    assert not any(p.requires_grad for p in provider._network.parameters())


def test_the_gradient_raises_the_overlap(sam_folder):
    provider = sam.build(sam.Config(sam_folder, points=2))
    ldr, output = images(1), images(1, seed=1).requires_grad_()
    before = provider.soft_iou(ldr, output)
    before.sum().backward()
    step = 0.01 * output.grad / output.grad.abs().max()
    assert float(provider.soft_iou(ldr, output.detach() + step)) > float(before.detach())


def test_of_masks_that_overlap_the_surest_stays():
    masks = torch.zeros(2, 4, 4, 4, dtype=torch.bool)
    masks[0, 0, :2], masks[0, 1, :2], masks[0, 2, 2:] = True, True, True
    scores = torch.tensor([[0.5, 0.9, 0.1, 1.0], [0.1, 0.2, 0.3, 0.4]])
    chosen = sam.distinct(masks, scores, 0.7)
    assert chosen[0].tolist() == [0, 1, 1, 0]  # the last is empty
    assert chosen[1].tolist() == [1, 1, 1, 1]  # all are
    masks[0, 1, 1, 2:] = False  # now IoU is 6 / 8
    assert sam.distinct(masks, scores, 0.8)[0].tolist() == [1, 1, 1, 0]


@pytest.mark.parametrize(("name", "value"), [("points", 0), ("overlap", 0.0), ("overlap", 1.5)])
def test_options_that_make_no_sense_are_refused(name, value):
    with pytest.raises(UsageError, match=f"{name}: .*use"):
        sam.Config(**{name: value})


# --- what can't be had is an error before training ------------------------------------------------------------------------

BOTH = pytest.mark.parametrize("guide", [clip, sam])


@BOTH
def test_a_folder_that_is_not_there(guide, tmp_path):
    with pytest.raises(MissingModel, match="no such folder"):
        guide.build(guide.Config(str(tmp_path / "nowhere")))


@BOTH
def test_a_folder_without_a_model(guide, tmp_path):
    with pytest.raises(MissingModel, match=r"config\.json"):
        guide.build(guide.Config(str(tmp_path)))


@BOTH
def test_no_name(guide):
    with pytest.raises(UsageError, match="name a local folder"):
        guide.build(guide.Config(""))


@BOTH
def test_a_hub_that_does_not_answer(guide, monkeypatch):
    """Offline mode stands for a network that is down: the same error, without waiting for it."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(MissingModel, match="hub"):
        guide.build(guide.Config("nobody/has-this-model"))


def test_another_kind_of_network_is_not_filled_up_with_random_weights(clip_folder, sam_folder):
    with pytest.raises(ModelError, match="CLIPVision"):
        clip.build(clip.Config(sam_folder))
    with pytest.raises(ModelError, match="Sam"):
        sam.build(sam.Config(clip_folder))


def test_weights_that_lack_a_tensor_are_refused(clip_folder, tmp_path):
    from safetensors.torch import load_file, save_file

    tensors = load_file(f"{clip_folder}/model.safetensors")
    del tensors["visual_projection.weight"]
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    shutil.copy(f"{clip_folder}/config.json", tmp_path)
    with pytest.raises(ModelError, match="1 of its tensors"):
        clip.build(clip.Config(str(tmp_path)))


@pytest.mark.parametrize("damage", ["truncated", "config", "not json"])
def test_damaged_files_are_named(clip_folder, tmp_path, damage):
    weights = Path(clip_folder, "model.safetensors").read_bytes()
    config = json.loads(Path(clip_folder, "config.json").read_text())
    if damage == "config":
        config["vision_config"]["hidden_size"] = 24
    (tmp_path / "model.safetensors").write_bytes(weights[: len(weights) // 2] if damage == "truncated" else weights)
    (tmp_path / "config.json").write_text("{" if damage == "not json" else json.dumps(config))
    with pytest.raises((ModelError, MissingModel)) as caught:
        clip.build(clip.Config(str(tmp_path)))
    assert str(tmp_path) in str(caught.value)
    assert str(caught.value).isprintable()


@BOTH
def test_without_transformers_the_extra_is_named(guide, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "transformers", None)
    with pytest.raises(MissingExtra, match=r"hdrcli\[guides\]"):
        guide.build(guide.Config("a/b"))


def test_loading_says_nothing(clip_folder, capfd):
    clip.build(clip.Config(clip_folder))
    out = capfd.readouterr()
    assert (out.out, out.err) == ("", "")
