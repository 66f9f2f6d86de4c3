from __future__ import annotations

import csv
import io
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scenes import request, save_light, write_folders

from hdrcli.errors import MissingInput, UnreadableInput
from hdrcli.evaluation import engine, reporting, storage
from hdrcli.evaluation.protocols import Missing
from hdrcli.evaluation.results import Evaluation, Row


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Evaluation:
    root = write_folders(tmp_path_factory.mktemp("scenes"))
    save_light(root / "good/one.exr", np.zeros((24, 32, 3)))  # no correction: missing values
    (root / "poor/two.exr").write_bytes(b"")  # an error
    return engine.evaluate(request(root, "good", "poor", "truth", ldr=True))  # and infinite ones


def test_round_trip(found: Evaluation) -> None:
    text = storage.to_json(found)
    assert storage.from_json(text) == found
    assert storage.to_json(storage.from_json(text)) == text
    assert "NaN" not in text
    assert '"inf"' in text
    assert '"missing"' in text


@settings(max_examples=40, deadline=None)
@given(
    st.dictionaries(st.text(), st.floats(allow_nan=False) | st.builds(Missing, st.text())),
    st.dictionaries(st.text(), st.integers() | st.text() | st.lists(st.floats(allow_nan=False, allow_infinity=False))),
)
def test_every_value_round_trips(scores: dict[str, float | Missing], facts: dict[str, object]) -> None:
    row = Row("raw", "m", "i", scores, facts)
    assert storage._typed(Row, json.loads(json.dumps(storage.plain(row), allow_nan=False)), "") == row


def test_not_a_number_is_no_result() -> None:
    with pytest.raises(ValueError, match="NaN"):
        storage.plain({"x": math.nan})
    assert storage.plain({"x": np.float32(0.5), "y": np.arange(3), "z": (Path("a"),)}) == {"x": 0.5, "y": [0, 1, 2], "z": ["a"]}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: d.pop("format"), "is no evaluation"),
        (lambda d: d.update(format_version=99), "format version 99"),
        (lambda d: d.pop("images"), "evaluation has no images"),
        (lambda d: d["scores"][0].update(scores={"x": "high"}), r"scores\[0\].scores.x is 'high'"),
        (lambda d: d["scores"][0].update(scores={"x": True}), r"scores\[0\].scores.x is 'True'"),
        (lambda d: d["images"][0].update(width="wide"), r"images\[0\].width is 'wide'"),
        (lambda d: d["methods"].append(3), r"methods\[4\] is .3."),
        (lambda d: d["settings"].update(seed=None), "settings.seed is 'None'"),
    ],
)
def test_damaged_documents_are_refused(found: Evaluation, change: object, words: str) -> None:
    document = json.loads(storage.to_json(found))
    change(document)
    with pytest.raises(UnreadableInput, match=words):
        storage.from_json(json.dumps(document))


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingInput, match=r"x\.json: no such file"):
        storage.read(tmp_path / "x.json")
    for content, words in ((b"\xff\xfe", "is no text"), (b"{", "is no JSON"), (b"[]", "is no evaluation")):
        (tmp_path / "x.json").write_bytes(content)
        with pytest.raises(UnreadableInput, match=rf"x\.json: {words}"):
            storage.read(tmp_path / "x.json")
    with pytest.raises(UnreadableInput, match="can't be read"):
        storage.read(tmp_path)
    (tmp_path / "deep.json").write_text("[" * 200_000)
    with pytest.raises(UnreadableInput):
        storage.read(tmp_path / "deep.json")


def test_csv_has_every_value_and_no_blank(found: Evaluation) -> None:
    rows = list(csv.DictReader(io.StringIO(storage.to_csv(found))))
    assert len(rows) == len(found.entries)
    assert all(cell for row in rows for cell in row.values())
    cells = {(row["method"], row["image"]): row for row in rows}
    for r in found.scores:
        for name, value in r.scores.items():
            cell = cells[r.method, r.image][f"{r.protocol}.{name}"]
            assert cell == f"missing: {value.why}" if isinstance(value, Missing) else float(cell) == value
    for part in found.regions:
        assert float(cells[part.method, part.image][f"{part.protocol}.{part.region}.share"]) == part.share
    assert cells["truth", "one"]["raw.pu21_psnr_rgb"] == "inf"
    assert "is empty" in cells["poor", "two"]["error"]
    assert cells["poor", "two"]["raw.log2_rmse"].startswith("missing: ")
    assert cells["good", "one"]["error"] == "-"


def test_files_appear_whole(found: Evaluation, tmp_path: Path) -> None:
    reporting.write_json(tmp_path / "a.json", found)
    assert storage.read(tmp_path / "a.json") == found
    reporting.write_csv(tmp_path / "a.csv", replace(found, entries=()))
    assert (tmp_path / "a.csv").read_text(encoding="utf-8").count("\n") == 1
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []
