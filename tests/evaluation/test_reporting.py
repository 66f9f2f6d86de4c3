from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scenes import light, request, save_codes, write_folders

from hdrcli.errors import OutputExists, UnwritableOutput
from hdrcli.evaluation import engine, reporting
from hdrcli.evaluation.pairs import Source, match
from hdrcli.evaluation.pictures import small_codes
from hdrcli.evaluation.results import Settings


def test_html(tmp_path: Path) -> None:
    asked = request(write_folders(tmp_path), "good", "poor", ldr=True)
    found = engine.evaluate(asked)
    reporting.write_html(tmp_path / "a.html", asked, found)
    page = (tmp_path / "a.html").read_text(encoding="utf-8")
    for text in ("one", "three", "poor", "as scored by raw", "as scored by sihdr", "pu21_psnr_rgb", found.protocols[0].line):
        assert text in page
    assert "Its pictures are not in this report" not in page
    with pytest.raises(OutputExists):
        reporting.write_html(tmp_path / "a.html", asked, found)
    reporting.write_html(tmp_path / "b.html", asked, found)
    assert (tmp_path / "b.html").read_bytes() == (tmp_path / "a.html").read_bytes()
    with pytest.raises(UnwritableOutput):
        reporting.write_html(tmp_path / "gone/a.html", asked, found)


def test_html_of_tone_mapping(tmp_path: Path) -> None:
    picture = save_codes(tmp_path / "a.png", np.full((20, 30, 3), 80, np.uint8))
    truth = save_codes(tmp_path / "b.png", np.full((20, 30, 3), 90, np.uint8))
    asked = engine.Request(match([Source("m", picture)], truth, kind="ldr"), Settings(task="tonemap"))
    reporting.write_html(tmp_path / "a.html", asked, engine.evaluate(asked))
    assert "psnr_codes" in (tmp_path / "a.html").read_text(encoding="utf-8")


def test_small_codes_are_averaged_in_light() -> None:
    board = np.zeros((1024, 1024, 3), np.uint8)
    board[::2] = 255
    np.testing.assert_allclose(small_codes(board) / 65535, 0.735357, atol=1e-4)  # sRGB of half the light
    assert small_codes(light(0)).shape == (24, 32, 3)
