from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from photos import photo

import hdrcli
from hdrcli.batch import sizes
from hdrcli.color import Transfer
from hdrcli.errors import UsageError
from hdrcli.image import Image


@pytest.mark.parametrize("extension", ["exr", "hdr", "pfm", "tif"])
def test_light(tmp_path: Path, extension: str) -> None:
    path = tmp_path / f"a.{extension}"
    hdrcli.write(Image(np.ones((5, 7, 3), np.float32), Transfer.LINEAR), path)
    assert sizes.pixels_in(str(path)) == 35


@pytest.mark.parametrize("extension", ["jpg", "png", "bmp", "webp", "tif"])
def test_photos(tmp_path: Path, extension: str) -> None:
    assert sizes.pixels_in(str(photo(tmp_path / f"a.{extension}"))) == 24 * 16


def test_a_small_file_of_many_pixels(tmp_path: Path) -> None:
    import PIL.Image

    PIL.Image.new("1", (30000, 300)).save(tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size < 30_000
    assert sizes.pixels_in(str(tmp_path / "a.png")) == 9_000_000


def test_where_headers_say_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"\xff\xd8\xff\xe0 nothing")
    (tmp_path / "b.exr").write_bytes(b"\x76\x2f\x31\x01\x02\0\0\0oh")
    assert sizes.pixels_in(str(tmp_path / "a.jpg")) == 4 * 12
    assert sizes.pixels_in(str(tmp_path / "b.exr")) == 4 * 10
    assert sizes.pixels_in(str(tmp_path / "gone.jpg")) == 0
    assert sizes.pixels_in("a\0b") == 0


def test_amounts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sizes, "free_memory", lambda: 1000)
    assert sizes.budget(None) == 500
    assert [sizes.budget(text) for text in ("25%", "8G", "1.5 GiB", "500MB", "7k", "12", "12B")] == [
        *(250, 8 << 30, 3 << 29, 500 << 20, 7168, 12, 12)
    ]
    for text in ("", "much", "0", "-1G", "101%", "1X", "G", "nan", "1e9"):
        with pytest.raises(UsageError, match="--memory"):
            sizes.budget(text)
