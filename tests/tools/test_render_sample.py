"""The rendered sample photo: repeatable, clipped as meant, and true to its own JPEG pixels where nothing clipped."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

HERE = Path(__file__).parent
SIZE = (96, 64)


def _load() -> ModuleType:
    """The script as a module; it lies outside any package."""
    spec = importlib.util.spec_from_file_location("render_sample", HERE / "render_sample.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up there
    spec.loader.exec_module(module)
    return module


render_sample = _load()


@pytest.fixture(scope="module")
def truth() -> NDArray[Any]:
    """(64, 96, 3) float16, scene-linear."""
    result: NDArray[Any] = render_sample.render(*SIZE)
    return result


def _linear(codes: NDArray[Any]) -> NDArray[Any]:
    """Linear light of 8-bit sRGB codes."""
    value = codes.astype(np.float64) / 255.0
    result: NDArray[Any] = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    return result


def test_rendering_twice_gives_the_same_bytes(truth: NDArray[Any]) -> None:
    again = render_sample.render(*SIZE)
    assert again.dtype == np.float16
    assert again.shape == (64, 96, 3)
    assert again.tobytes() == truth.tobytes()
    assert render_sample.photograph(again).tobytes() == render_sample.photograph(truth).tobytes()


def test_tiles_leave_no_trace(truth: NDArray[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(render_sample, "TILE", 40)
    other = render_sample.render(*SIZE).astype(np.float64)
    apart = np.abs(other - truth.astype(np.float64)) > 0.02 * truth.astype(np.float64) + 1e-3
    assert apart.mean() < 1e-3


def test_light_spans_dark_corner_to_sun(truth: NDArray[Any]) -> None:
    assert np.isfinite(truth).all()
    assert truth.min() >= 0.0
    assert 0.05 < render_sample.clipped_share(truth) < 0.16
    assert truth.max() > 2.0**8
    assert np.percentile(truth.astype(np.float64), 5) < 0.03


def test_unclipped_truth_agrees_with_the_photo(truth: NDArray[Any]) -> None:
    photo = render_sample.photograph(truth)
    light = truth.astype(np.float64)
    open_ = light < _linear(np.array(254))
    error = (_linear(photo) - light)[open_] / np.sqrt(light[open_] + 0.02)
    assert abs(error.mean()) < 1e-3
    assert np.percentile(np.abs(error), 99) < 0.04
    assert (photo[light > 1.05] >= 254).all()


def test_size_changes_the_sampling_not_the_scene(truth: NDArray[Any]) -> None:
    large = np.minimum(render_sample.render(SIZE[0] * 3, SIZE[1] * 3).astype(np.float32), 1.0)
    small = np.minimum(truth.astype(np.float32), 1.0)
    apart = np.abs(cv2.resize(large, SIZE, interpolation=cv2.INTER_AREA) - small)
    assert apart.mean() < 0.02


def test_command_line_writes_jpeg_and_exr(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    openexr = pytest.importorskip("OpenEXR")
    ldr, hdr = tmp_path / "a.jpg", tmp_path / "a.exr"
    render_sample.main(["--width", "96", "--ldr", str(ldr), "--hdr", str(hdr)])
    assert "96x64" in capsys.readouterr().out
    image = cv2.imread(str(ldr))
    assert image is not None
    assert image.shape == (64, 96, 3)
    with openexr.File(str(hdr)) as file:
        pixels = file.channels()["RGB"].pixels
    assert pixels.dtype == np.float16
    assert pixels.max() > 256.0
