from __future__ import annotations

import pickle
import shutil
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest
from photos import LINEAR, recipe

from hdrcli.batch.recipe import EXPAND, TONEMAP, Recipe
from hdrcli.color import Transfer
from hdrcli.conversion import ExpandOptions, TonemapOptions
from hdrcli.errors import MismatchError, MissingModel, UsageError
from hdrcli.formats import WriteOptions
from hdrcli.image import Image
from hdrcli.inference.bundles import packaged_folder

PHOTO = Image(np.zeros((2, 2, 3), np.uint8), Transfer.SRGB)
LIGHT = Image(np.zeros((2, 2, 3), np.float32), Transfer.LINEAR)


def test_directions() -> None:
    assert recipe(".exr").directions == recipe(".hdr").directions == (EXPAND,)
    assert recipe(".png").directions == recipe(".jpg").directions == (TONEMAP,)
    assert recipe(".tif").directions == (EXPAND, TONEMAP)
    assert recipe(".exr").direction(PHOTO) == recipe(".tif").direction(PHOTO) == EXPAND
    assert recipe(".png").direction(LIGHT) == recipe(".tif").direction(LIGHT) == TONEMAP
    assert recipe(".png").direction(Image(PHOTO.pixels, Transfer.PQ)) == TONEMAP
    for extension, image in ((".exr", LIGHT), (".png", PHOTO)):
        with pytest.raises(MismatchError, match="already"):
            recipe(extension).direction(image)
    with pytest.raises(UsageError, match="unknown output type"):
        Recipe(".xyz")


def test_what_is_taken_from_folders() -> None:
    assert {".jpg", ".png", ".tif", ".gif"} <= recipe(".exr").takes
    assert not {".exr", ".hdr"} & recipe(".exr").takes
    assert {".exr", ".hdr", ".pfm", ".tif"} <= recipe(".png").takes
    assert ".jpg" not in recipe(".png").takes


def test_options_that_make_no_sense() -> None:
    learned = ExpandOptions(model="default")
    for extension, options in ((".hdr", {"confidence": True}), (".png", {"preview": True}), (".png", {"resize": "big"})):
        with pytest.raises(UsageError):
            recipe(extension, **options)
    with pytest.raises(UsageError, match="--confidence"):
        recipe(confidence=True)  # a classical operator knows none
    assert recipe(confidence=True, expand=learned).confidence


def test_it_can_be_sent() -> None:
    parameters = MappingProxyType({"mu": "500"})
    made = recipe(".png", tonemap=TonemapOptions(operator="mulaw", parameters=parameters))
    sent = pickle.loads(pickle.dumps(made))
    assert sent == made
    assert sent.digest == made.digest
    assert sent.tonemap.parameters == {"mu": "500"}


def test_the_digest_tells_what_changes_pixels() -> None:
    usual = recipe().digest
    assert len(usual) == 16
    assert recipe().digest == usual
    changed = [
        recipe(".hdr"),
        recipe(expand=ExpandOptions(model="linear")),
        recipe(expand=ExpandOptions(model="linear", half=True, ev=1)),
        recipe(write_hdr=WriteOptions(compression="piz")),
        recipe(strip="gps"),
        recipe(preview=True),
        recipe(expand=ExpandOptions(half=True)),
        recipe(".tif"),
    ]
    assert len({usual, *(made.digest for made in changed)}) == len(changed) + 1
    # the other direction's options, and where it runs, change nothing
    assert recipe(tonemap=TonemapOptions(operator="agx"), write_ldr=WriteOptions(quality=3)).digest == usual
    assert recipe(expand=ExpandOptions(model="linear", half=True, device="cpu")).digest == usual


def test_the_digest_tells_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(packaged_folder() / "default", tmp_path / "mine")
    first = recipe(expand=ExpandOptions(model=str(tmp_path / "mine"))).digest
    card = tmp_path / "mine" / "model.toml"
    text = card.read_text(encoding="utf-8")
    at = text.index('g_y.onnx"') + len('g_y.onnx" = "')
    card.write_text(text[:at] + ("0" if text[at] != "0" else "1") + text[at + 1 :], encoding="utf-8")
    assert recipe(expand=ExpandOptions(model=str(tmp_path / "mine"))).digest != first
    (tmp_path / "w.safetensors").write_bytes(b"a")
    weights = recipe(expand=ExpandOptions(model=str(tmp_path / "w.safetensors"))).digest
    (tmp_path / "w.safetensors").write_bytes(b"b")
    assert recipe(expand=ExpandOptions(model=str(tmp_path / "w.safetensors"))).digest != weights
    run = tmp_path / "run"
    run.mkdir()
    (run / "g_y.safetensors").write_bytes(b"a")
    trained = recipe(expand=ExpandOptions(model=str(run))).digest
    (run / "log.csv").write_bytes(b"a")
    assert recipe(expand=ExpandOptions(model=str(run))).digest == trained
    (run / "g_y.safetensors").write_bytes(b"ab")
    assert recipe(expand=ExpandOptions(model=str(run))).digest != trained
    with pytest.raises(MissingModel):
        _ = recipe(expand=ExpandOptions(model="nowhere")).digest


def test_names_of_models() -> None:
    assert recipe().model_name == "linear"
    assert recipe(expand=ExpandOptions(model="some/where/mine/")).model_name == "mine"
    assert recipe(".png", tonemap=TonemapOptions(operator="agx")).model_name == "agx"


def test_generators() -> None:
    assert recipe().generators == ()
    assert recipe(expand=ExpandOptions()).generators == (("default", "auto", "auto", "g_y"),)
    learned = TonemapOptions(operator="learned", device="cpu")
    assert recipe(".png", tonemap=learned).generators == (("default", "auto", "cpu", "g_x"),)
    assert recipe(".tif", expand=LINEAR, tonemap=learned).generators == ()
