from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scenes import light, request, save_light, write_folders

from hdrcli.errors import UnreadableInput
from hdrcli.evaluation import engine, storage
from hdrcli.evaluation.repeat import compare, request_again
from hdrcli.evaluation.results import Evaluation


@pytest.fixture
def before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Evaluation:
    """Of relative paths, with an unmatched name, an error and other than the usual settings."""
    write_folders(tmp_path / "data")
    (tmp_path / "data/poor/two.exr").write_bytes(b"")
    (tmp_path / "data/good/three.exr").unlink()
    save_light(tmp_path / "data/truth/one.exr", light(0), white=120.0)
    monkeypatch.chdir(tmp_path / "data")
    settings = {"ppd": 45.0, "seed": 5, "options": {"sihdr": {"normalised": "true"}}, "peak": 1000.0}
    return storage.from_json(storage.to_json(engine.evaluate(request(Path(), "good", "poor", ldr=True, **settings))))


def again(before: Evaluation, folder: Path) -> Evaluation:
    return engine.evaluate(request_again(before, folder))


def test_the_record_is_enough(before: Evaluation, tmp_path: Path) -> None:
    after = again(before, tmp_path)
    found = compare(before, after)
    assert found.agree
    assert found.identical == found.numbers > 100
    assert (found.largest, found.remarks) == (0, ())
    assert storage.to_json(after) == storage.to_json(before)


def test_files_are_looked_for_beside_the_record(before: Evaluation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data").rename(tmp_path / "moved")
    monkeypatch.chdir(tmp_path)
    assert compare(before, again(before, tmp_path / "moved")).agree


def test_a_changed_file_is_named(before: Evaluation, tmp_path: Path) -> None:
    save_light(Path("good/one.exr"), light(0) * np.float32(1.0001))
    found = compare(before, again(before, tmp_path))
    assert not found.agree
    assert found.differences[0].startswith("good/one.exr: has changed since (SHA-256 ")
    assert any(d.startswith("raw good one pu21_psnr_rgb: was ") for d in found.differences)
    assert not any("poor" in d for d in found.differences)
    assert 0 < found.identical < found.numbers


def test_a_missing_file_is_named(before: Evaluation, tmp_path: Path) -> None:
    shutil.rmtree("poor")
    found = compare(before, again(before, tmp_path))
    assert "poor/one.exr: can't be read any more" in found.differences
    assert any(d.startswith("poor one: not scored now: poor/one.exr: no such file") for d in found.differences)
    assert any(d.endswith("is not there") for d in found.differences)


def test_rounding_agrees_and_more_does_not(before: Evaluation) -> None:
    def moved(factor: float) -> Evaluation:
        first, *rest = before.scores
        return replace(before, scores=(replace(first, scores={k: v * factor for k, v in first.scores.items()}), *rest))

    assert compare(before, moved(1 + 1e-9)).agree
    assert compare(before, moved(1 + 1e-9)).identical < compare(before, before).identical
    assert not compare(before, moved(1 + 1e-5)).agree


def test_other_versions_are_told(before: Evaluation) -> None:
    after = replace(before, versions={**before.versions, "numpy": "0.1"})
    found = compare(before, after)
    assert found.agree
    assert found.remarks == (f"numpy: was {before.versions['numpy']}, is 0.1",)


def test_a_record_without_pairs(before: Evaluation, tmp_path: Path) -> None:
    with pytest.raises(UnreadableInput, match="names no pair"):
        request_again(replace(before, images=()), tmp_path)
