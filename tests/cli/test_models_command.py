from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from command_line import Cli


@pytest.fixture
def models(tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of the user's own with the bundle "tiny" and one that is damaged."""
    Path("models").mkdir()
    monkeypatch.setenv("HDRCLI_MODELS", "models")
    return Path(shutil.copytree(tiny_bundle, "models/tiny"))


def test_list(cli: Cli, models: Path) -> None:
    ran = cli("models", "list")
    assert (ran.code, ran.err) == (0, "")
    rows = {line.split()[0]: line.split() for line in ran.out.splitlines()}
    assert rows["tiny"][1:3] == ["7", "handmade"]
    assert rows["tiny"][-1] == str(models)
    assert "linear" in rows
    assert "\x1b" not in ran.out


def test_list_names_what_is_damaged_and_shows_the_rest(cli: Cli, models: Path) -> None:
    Path("models/broken").mkdir()
    Path("models/broken/model.toml").write_text("hello", encoding="utf-8")
    ran = cli("models", "list")
    assert (ran.code, len(ran.lines)) == (3, 1)
    assert "models/broken/model.toml" in ran.err
    assert "tiny" in ran.out


@pytest.mark.parametrize(("table", "value"), [("files", '["g_y.onnx"]'), ("training", "1"), ("domain", "[]")])
def test_list_survives_cards_of_another_form(cli: Cli, models: Path, table: str, value: str) -> None:
    odd = Path(shutil.copytree(models, "models/odd")) / "model.toml"
    card = odd.read_text(encoding="utf-8").replace(f"[{table}]", "[other]")
    odd.write_text(f"{table} = {value}\n{card}", encoding="utf-8")
    ran = cli("models", "list")
    assert (ran.code, len(ran.lines)) == (3, 1)
    assert f"models/odd/model.toml: the card lacks or garbles table [{table}]" in ran.err
    assert "tiny" in ran.out


def test_list_json(cli: Cli, models: Path) -> None:
    records = {r["name"]: r for r in map(json.loads, cli("models", "list", "--json").out.splitlines())}
    assert records["tiny"]["bytes"] > 0
    assert records["linear"]["recipe"] == "classical"


def test_show(cli: Cli, models: Path) -> None:
    ran = cli("models", "show", "tiny")
    assert (ran.code, ran.err) == (0, "")
    assert "working_size  64" in ran.out
    assert "names    one, two" in ran.out
    card = json.loads(cli("models", "show", str(models), "--json").out)
    assert card["domain"]["inputs"] == ["ldr", "clip"]
    assert card["training"]["made"] == "2026-01-02"


def test_show_tells_the_scores_of_a_bundle_that_has_some(cli: Cli, models: Path) -> None:
    assert "scores" not in cli("models", "show", "tiny").out
    with (models / "model.toml").open("a", encoding="utf-8") as card:
        card.write('\n[scores]\nprotocol = "12 held-out scenes"\npu21_psnr = 31.5\n')
    assert "scores\n  protocol   12 held-out scenes\n  pu21_psnr  31.5\n" in cli("models", "show", "tiny").out
    assert json.loads(cli("models", "show", "tiny", "--json").out)["scores"]["pu21_psnr"] == 31.5


def test_verify(cli: Cli, models: Path) -> None:
    assert cli("models", "verify", "tiny").out == "tiny: 1 file(s) as on the card\n"
    (models / "g_y.onnx").write_bytes(b"tampered")
    ran = cli("models", "verify")
    assert (ran.code, len(ran.lines)) == (1, 1)
    assert ran.err.startswith("hdrcli: models/tiny/g_y.onnx: differs from its model card")


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["show", "nix"], 4, "no model 'nix'"),
        (["verify", "nix"], 4, "no model 'nix'"),
        (["export", "nix", "-o", "x"], 4, "nix: holds no training run"),
    ],
)
def test_faults(cli: Cli, models: Path, arguments: list[str], code: int, words: str) -> None:
    ran = cli("models", *arguments)
    assert (ran.code, len(ran.lines)) == (code, 1)
    assert words in ran.err
    assert ran.err.endswith(")\n")
    assert not Path("x").exists()


class TestImport:
    @pytest.fixture(autouse=True)
    def _a_home_of_its_own(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
        monkeypatch.delenv("HDRCLI_MODELS", raising=False)

    def test_an_archive_becomes_a_model_by_name(self, cli: Cli, tiny_bundle: Path) -> None:
        archive = shutil.make_archive("theirs", "zip", tiny_bundle)
        ran = cli("models", "import", archive)
        assert (ran.code, len(ran.lines)) == (0, 1)
        assert "use it: hdrcli expand photo.jpg --model theirs" in ran.err
        assert cli("models", "verify", "theirs").code == 0
        assert cli("models", "import", archive).code != 0
        assert cli("models", "import", archive, "--overwrite").code == 0
        assert cli("models", "import", archive, "--name", "mine").code == 0

    def test_what_is_no_bundle_is_one_line(self, cli: Cli) -> None:
        Path("a.zip").write_bytes(b"no archive")
        ran = cli("models", "import", "a.zip")
        assert (ran.code, len(ran.lines)) == (1, 1)
        assert "a.zip: is no bundle" in ran.err
