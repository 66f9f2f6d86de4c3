from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import OpenEXR
import pytest
from scenes import SIZE, light, photo, save_codes, save_light

import hdrcli
from hdrcli.color import Primaries, Transfer, converted, encode
from hdrcli.errors import MismatchError, Unavailable
from hdrcli.evaluation import reading
from hdrcli.evaluation.pairs import Unit
from hdrcli.evaluation.results import Settings
from hdrcli.image import Image


def read(path: Path, **settings: object) -> tuple[np.ndarray, float]:
    return reading.light(hdrcli.read(path), path, Settings(**settings))


def write_odd(path: Path, value: float) -> Path:
    """A file with one odd value, by the formats' own libraries: hdrcli writes none."""
    pixels = light(0)
    pixels[3, 4, 1] = value
    if path.suffix == ".exr":
        channels = {name: np.ascontiguousarray(pixels[..., c]) for c, name in enumerate("RGB")}
        header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
        with OpenEXR.File(header, channels) as file:
            file.write(str(path))
    elif path.suffix == ".pfm":
        path.write_bytes(b"PF\n%d %d\n-1.0\n" % SIZE[::-1] + pixels[::-1].astype("<f4").tobytes())
    else:
        assert cv2.imwrite(str(path), pixels[..., ::-1])
    return path


def test_light_is_in_nits(tmp_path: Path) -> None:
    path = save_light(tmp_path / "a.exr", light(0))
    found, white = read(path, white_nits=203.0)
    assert (white, found.dtype) == (203.0, np.float32)
    np.testing.assert_allclose(found, light(0) * 203, rtol=1e-6)


def test_header_says_white(tmp_path: Path) -> None:
    path = save_light(tmp_path / "a.exr", light(0), white=250.0)
    found, white = read(path, white_nits="header")
    assert white == 250
    np.testing.assert_allclose(found, light(0) * 250, rtol=1e-6)
    with pytest.raises(MismatchError, match=r"b\.exr: its header does not say"):
        read(save_light(tmp_path / "b.exr", light(0)), white_nits="header")


def test_other_primaries_become_bt709(tmp_path: Path) -> None:
    wide = converted(light(0), Primaries.BT709, Primaries.BT2020)
    image = Image(wide, Transfer.LINEAR, Primaries.BT2020)
    hdrcli.write(image, tmp_path / "a.exr", hdrcli.WriteOptions(depth="float"))
    found, _ = read(tmp_path / "a.exr", white_nits=1.0)
    np.testing.assert_allclose(found, light(0), rtol=2e-4)


def test_pq_codes_are_absolute() -> None:
    codes = np.rint(encode(light(0) / 100, Transfer.PQ) * 65535).astype(np.uint16)
    for setting, expected in ((100.0, 100), ("header", 203)):
        found, white = reading.light(Image(codes, Transfer.PQ), Path("a.png"), Settings(white_nits=setting))
        assert white == expected
        np.testing.assert_allclose(found, light(0) * 100, rtol=0.01)


def test_ldr_and_hlg_are_refused(tmp_path: Path) -> None:
    path = save_codes(tmp_path / "a.png", photo(light(0)))
    with pytest.raises(MismatchError, match=r"a\.png: is LDR \(8-bit codes\).*--task tonemap"):
        read(path)
    with pytest.raises(MismatchError, match="is HLG"):
        reading.light(Image(photo(light(0)), Transfer.HLG), path, Settings())


@pytest.mark.parametrize("extension", ["exr", "pfm", "tif"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_refused(tmp_path: Path, extension: str, value: float) -> None:
    path = write_odd(tmp_path / f"a.{extension}", value)
    with pytest.raises(Unavailable, match=r"a\..*: not all values are finite: 1 (NaN|infinite) value read as"):
        read(path)


def test_values_that_overflow_are_refused(tmp_path: Path) -> None:
    path = save_light(tmp_path / "a.exr", np.full((4, 4, 3), 1e38))
    with pytest.raises(Unavailable, match="not all values are finite in cd/m2"):
        read(path)
    assert read(path, white_nits=1.0)[1] == 1


def test_oddities() -> None:
    grid = np.zeros((4, 5, 3), np.float32)
    assert reading.oddities(grid, "x") == ("x is all black",)
    assert reading.oddities(grid + 2, "x") == ("x is constant (2 cd/m2)",)
    grid[0, 0] = (1, 0, -0.5)
    assert reading.oddities(grid, "x") == ("x has negative values (1.67 % of samples, down to -0.5 cd/m2)",)
    assert reading.oddities(-grid[:1, :1] - 2, "x")[1:] == ("x has no positive value",)
    assert reading.oddities(light(0), "x") == ()


def test_sizes(tmp_path: Path) -> None:
    small, path = light(0, (12, 16)), Path("a.exr")
    with pytest.raises(MismatchError, match=r"a\.exr: is 16 x 12 pixels, the reference 32 x 24"):
        reading.to_size(small, (*SIZE, 3), path, Settings())
    grown, remarks = reading.to_size(small, (*SIZE, 3), path, Settings(resize=True))
    assert (grown.shape, remarks) == ((*SIZE, 3), ("a.exr: resized from 16 x 12 to 32 x 24",))
    assert grown.min() >= small.min()
    shrunk, _ = reading.to_size(light(0), (12, 16, 3), path, Settings(resize=True))
    np.testing.assert_allclose(shrunk, light(0).reshape(12, 2, 16, 2, 3).mean((1, 3)), rtol=1e-5)
    assert reading.to_size(small, small.shape, path, Settings())[0] is small


def test_photo_of_no_use_is_a_remark_or_an_error(tmp_path: Path) -> None:
    ldr = save_codes(tmp_path / "a.png", photo(light(0, (12, 16))))
    unit = Unit("m", "a", Path("r.exr"), Path("p.exr"), ldr)
    image, (remark,) = reading.photo(unit, (*SIZE, 3), Settings())
    assert image is None
    assert "a.png: is 16 x 12 pixels" in remark
    with pytest.raises(MismatchError, match="is 16 x 12 pixels"):
        reading.photo(Unit("linear", "a", Path("r.exr"), None, ldr), (*SIZE, 3), Settings())
    image, _ = reading.photo(unit, (*SIZE, 3), Settings(resize=True))
    assert image is not None
    assert image.codes.shape == (*SIZE, 3)
    hdr = save_light(tmp_path / "b.exr", light(0))
    with pytest.raises(MismatchError, match="is HDR, --ldr takes the LDR photos"):
        reading.photo(Unit("linear", "a", Path("r.exr"), None, hdr), (*SIZE, 3), Settings())


def test_linear_is_what_the_formula_says() -> None:
    codes = photo(light(0))
    v = codes / 255
    expected = np.where(v <= 0.04045, v / 12.92, ((v + 0.055) / 1.055) ** 2.4) * 100
    np.testing.assert_allclose(reading.linear(Image(codes, Transfer.SRGB), 100.0), expected, rtol=1e-5)
