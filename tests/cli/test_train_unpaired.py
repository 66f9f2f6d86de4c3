"""``train --ldr --hdr``, from folders to expanded and tone-mapped pictures, at toy size."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tiny_pretrained
import torch
from chat_server import ChatServer, regions
from command_line import Cli, Ran
from fakes import smooth_scene

import hdrcli
from hdrcli import machine
from hdrcli.camera import Camera, srgb_response
from hdrcli.cli.train import _default_recipe
from hdrcli.color import Transfer
from hdrcli.errors import MissingRequirement
from hdrcli.image import Image
from hdrcli.perception import llm
from hdrcli.training import cache, checkpoint, export, loop, objectives, placement, plan, recipes, sources

OPTIONS = {
    "network.width": "4",
    "network.iterations": "1",
    "discriminator.width": "4",
    "working_size": "32",
    "batch_size": "2",
    "guides.own.patches": "16",
    "guides.superpixels.side": "32",
}
SMALL = (*(word for key, value in OPTIONS.items() for word in ("-p", f"{key}={value}")), "--workers", "0", "--device", "cpu")
FULL = ("--precision", "32-true")
GATELESS = ("-p", "network.gates=false")  # the maps inside a bundle take a minute to export
PAPER = ("--recipe", "llm-hdr")


@pytest.fixture
def folders() -> tuple[str, ...]:
    """Photos and scenes of other things, as arguments."""
    for name in ("photos", "scenes"):
        Path(name).mkdir()
    for n in range(3):
        hdrcli.write(Image(smooth_scene(40, 48, n), Transfer.LINEAR), Path(f"scenes/s{n}.exr"))
        codes = Camera(srgb_response(), 1.5).shoot(smooth_scene(40, 48, 10 + n), np.random.default_rng(n))
        hdrcli.write(Image(codes, Transfer.SRGB), Path(f"photos/p{n}.png"))
    return ("--ldr", "photos", "--hdr", "scenes")


@pytest.fixture
def unexported(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs end without a bundle: these tests are not about that."""
    monkeypatch.setattr(export, "write_bundle", not_here)


def not_here(*arguments: object, **options: object) -> None:
    raise MissingRequirement("onnxruntime can't be loaded", remedy="install it again")


def weights(run: str) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = checkpoint.load_run(Path(run))["networks"]
    return state


def converts(cli: Cli, model: str, suffix: str) -> tuple[np.ndarray, np.ndarray]:
    """What a model makes of a photo and of a scene."""
    light, display = f"light{suffix}.exr", f"display{suffix}.png"
    expanded = cli("expand", "photos/p0.png", "--model", model, "-o", light)
    assert expanded.code == 0, expanded.err
    toned = cli("tonemap", "scenes/s0.exr", "-t", "learned", "--model", model, "-o", display)
    assert toned.code == 0, toned.err
    return hdrcli.read(light).pixels.astype(np.float32), hdrcli.read(display).pixels


def check_conversions(cli: Cli) -> None:
    """With the run and with its bundle: whole pictures, the same."""
    (light, display), (again, displayed) = converts(cli, "run", "-run"), converts(cli, "bundle", "-bundle")
    for hdr in (light, again):
        assert hdr.shape == (40, 48, 3)
        assert np.isfinite(hdr).all()
        assert 0 <= hdr.min() < hdr.max()
    for ldr in (display, displayed):
        assert (ldr.shape, ldr.dtype) == ((40, 48, 3), np.uint8)
        assert ldr.std() > 1
    np.testing.assert_allclose(light, again, rtol=5e-3, atol=1e-3)
    assert np.abs(display.astype(int) - displayed).max() <= 1


def test_from_folders_to_pictures(cli: Cli, folders: tuple[str, ...]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export, "write_bundle", not_here)  # once is enough, below
        ran = cli("train", *folders, "--out", "run", "--max-steps", "2", *SMALL, *GATELESS)
    assert (ran.code, ran.out) == (0, "")
    # the default where there is no CUDA
    assert "recipe: llm-hdr-small, 3 photos, 3 scenes, until 2 steps, device cpu, bf16-mixed, seed 1" in ran.lines
    assert "guide for maps: exposure, for perception loss; left out: gates" in ran.lines
    assert "guide for embeddings: own, for contrastive loss; left out: embedding" in ran.lines
    assert "guide for masks: none; left out: semantic loss" in ran.lines
    record = json.loads(Path("run/run.json").read_text(encoding="utf-8"))
    assert (record["recipe"], record["data"]) == ("llm-hdr-small", {"ldr": ["p0", "p1", "p2"], "hdr": ["s0", "s1", "s2"]})
    assert {"g_y.safetensors", "g_x.safetensors", "checkpoint.pt"} <= {p.name for p in Path("run").iterdir()}
    exported = cli("models", "export", "run", "-o", "bundle")
    assert exported.code == 0, exported.err
    card = tomllib.loads(Path("bundle/model.toml").read_text(encoding="utf-8"))
    assert (card["training"]["recipe"], card["training"]["objective"]) == ("llm-hdr-small", "llm_hdr")
    check_conversions(cli)


@pytest.mark.slow  # a minute: the export of the maps inside
def test_a_gated_run_exports_itself_and_converts(cli: Cli, folders: tuple[str, ...]) -> None:
    ran = cli("train", *folders, "--out", "run", "--max-steps", "2", *SMALL)
    assert ran.code == 0, ran.err
    assert "guide for maps: exposure, for gates and perception loss" in ran.lines
    Path("run/bundle").rename("bundle")
    check_conversions(cli)


@pytest.mark.parametrize(
    ("unpaired", "kind", "expected"),
    [(True, "cuda", "llm-hdr"), (True, "cpu", "llm-hdr-small"), (True, "mps", "llm-hdr-small"), (False, "cuda", "paired")],
)
def test_the_default_recipe(monkeypatch: pytest.MonkeyPatch, unpaired: bool, kind: str, expected: str) -> None:
    monkeypatch.setattr(placement, "placement", lambda *arguments: (kind, 1))
    assert _default_recipe("auto", unpaired=unpaired) == expected


class TestPaperGuides:
    @pytest.fixture
    def server(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[ChatServer]:
        pytest.importorskip("openai")
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.delenv(name, raising=False)
            monkeypatch.delenv(name.lower(), raising=False)
        server = ChatServer()
        server.script(regions(("overexposed", 0.9, "box", [[0, 0], [500, 1000]])))
        built, build = [], llm.build

        def remembered(config: llm.Config) -> llm.LLMMaps:
            built.append(build(config))
            return built[-1]

        monkeypatch.setattr(llm, "build", remembered)
        yield server
        for guide in built:  # a command's connections are closed as it ends
            guide.close()
        server.close()

    @pytest.fixture
    def guides(self, server: ChatServer, tmp_path: Path) -> tuple[str, ...]:
        pytest.importorskip("transformers")
        options = {
            "guides.clip.model": tiny_pretrained.clip(tmp_path / "clip", 512),
            "guides.sam.model": tiny_pretrained.sam(tmp_path / "sam"),
            "guides.sam.points": "2",
            "guides.llm.base_url": server.url,
            "guides.llm.model": "m",
            "guides.llm.cache": str(tmp_path / "answers"),
            "guides.llm.requests_per_minute": "1e6",
            "guides.llm.retries": "0",
        }
        return ("--guides", "paper", *(word for key, value in options.items() for word in ("-p", f"{key}={value}")))

    def test_llm_clip_and_sam_guide_a_run(
        self, cli: Cli, folders: tuple[str, ...], unexported: None, server: ChatServer, guides: tuple[str, ...]
    ) -> None:
        consent = ("-p", "guides.llm.consent=true")
        ran = cli("train", *folders, "--out", "run", "--max-steps", "2", *PAPER, *SMALL, *FULL, *guides, *consent)
        assert ran.code == 0, ran.err
        assert "guide for maps: llm, for gates and perception loss" in ran.lines
        assert "guide for embeddings: clip, for embedding and contrastive loss" in ran.lines
        assert "guide for masks: sam, for semantic loss" in ran.lines
        assert any(line.startswith("llm: pictures go to 127.0.0.1") for line in ran.lines)
        assert server.requests
        assert {path for path, _, _ in server.requests} == {"/v1/chat/completions"}
        losses = [json.loads(line) for line in Path("run/log.jsonl").read_text(encoding="utf-8").splitlines()]
        (last,) = [event["losses"] for event in losses if event["event"] == "losses"][-1:]
        assert {"contrastive", "semantic", "perception", "gan", "cycle_x", "cycle_y"} <= set(last)
        assert np.isfinite(list(last.values())).all()
        assert 0 < last["semantic"] <= 2
        options = json.loads(Path("run/run.json").read_text(encoding="utf-8"))["objective"]["options"]
        assert [options[kind] for kind in ("maps", "embeddings", "masks")] == ["llm", "clip", "sam"]

    def test_consent_is_asked_for(
        self, cli: Cli, folders: tuple[str, ...], server: ChatServer, guides: tuple[str, ...]
    ) -> None:
        ran = cli("train", *folders, "--out", "run", "--max-steps", "2", *PAPER, *SMALL, *guides)
        assert ran.code == 2
        assert "consent" in ran.lines[-1]
        assert not server.requests
        assert not Path("run").exists()

    def test_a_dry_run_asks_nobody_and_estimates_all_the_same(
        self, cli: Cli, folders: tuple[str, ...], server: ChatServer, guides: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        server.models = (500, {}, {}, 0)  # would be an error, if it was asked what models there are
        ran = cli("train", *folders, "--out", "run", "--max-steps", "2", "--dry-run", *PAPER, *SMALL, *guides)
        assert ran.code == 0, ran.err
        assert not server.requests
        lines = dict(line.split(": ", 1) for line in ran.out.splitlines())
        stands = "exposure, for gates and perception loss (in place of llm, which a dry run neither asks nor checks)"
        assert lines["guide for maps"] == stands
        assert lines["guide for masks"] == "sam, for semantic loss"
        assert "memory, estimated" in lines
        assert "s a step (measured on 2, one process); 2 steps" in lines["time"]


def started(folder: Path, **changes: str) -> tuple[objectives.Objective, dict[str, tuple[cache.Picture, ...]]]:
    """The recipe llm-hdr-small at toy size, with all that draws random numbers, and its pictures."""
    more = {"semantic_weight": "1", "network.gates": "false", "perception_every": "2", "pool": "2"}
    made = recipes.load("llm-hdr-small")
    objective = objectives.create(made.objective, {**made.options, **OPTIONS, **more, **changes}, 1)
    data = {domain: cache.load(sources.find_files([Path(name)], domain).files, domain) for domain, name in DOMAINS.items()}
    return objective, data


DOMAINS: dict[sources.Domain, str] = {"ldr": "photos", "hdr": "scenes"}


def test_a_resumed_run_goes_on_bit_for_bit(folders: tuple[str, ...]) -> None:
    config = loop.LoopConfig(max_steps=5, device="cpu", precision="32-true", workers=0, warmup_steps=2, log_steps=1)

    def stop(progress: loop.Progress) -> None:
        if progress.step == 3:
            raise KeyboardInterrupt

    whole = loop.train(*started(Path()), config, Path("whole"))
    with pytest.raises(KeyboardInterrupt):
        loop.train(*started(Path()), config, Path("parts"), observe=stop)
    assert checkpoint.load_run(Path("parts"))["step"] == 3
    resumed = loop.train(*started(Path()), config, Path("parts"), resume=True)
    assert resumed["step"] == whole["step"] == 5
    for kind in ("networks", "ema"):
        assert whole[kind].keys() == resumed[kind].keys()
        for name, value in whole[kind].items():
            assert torch.equal(value, resumed[kind][name]), name
    for ours, theirs in zip(*(state["processes"][0]["objective"]["pools"].values() for state in (whole, resumed)), strict=True):
        assert len(ours["images"]) == 2
        assert all(torch.equal(a, b) for a, b in zip(ours["images"], theirs["images"], strict=True))


def test_accumulated_batches_make_one_step(cli: Cli, folders: tuple[str, ...], unexported: None) -> None:
    ran = cli("train", *folders, "--out", "run", "--max-steps", "2", "--accumulate", "2", *SMALL, *GATELESS, *FULL)
    assert ran.code == 0, ran.err
    state = checkpoint.load_run(Path("run"))
    assert (state["step"], state["batches"], state["skipped"]) == (2, 4, 0)
    assert json.loads(Path("run/run.json").read_text(encoding="utf-8"))["loop"]["accumulate"] == 2


def test_activations_computed_again_change_nothing(cli: Cli, folders: tuple[str, ...], unexported: None) -> None:
    plain = ("--max-steps", "2", *PAPER, *SMALL, *FULL)
    for run, more in (("kept", ()), ("again", ("--checkpoint-activations",))):
        ran = cli("train", *folders, "--out", run, *plain, *more)
        assert ran.code == 0, ran.err
    record = json.loads(Path("again/run.json").read_text(encoding="utf-8"))
    assert record["objective"]["options"]["saves_memory"] is True
    kept, again = weights("kept"), weights("again")
    statistics = ("running_mean", "running_var", "num_batches_tracked")  # they see what is computed again, too
    for name in (name for name in kept if not name.endswith(statistics)):
        torch.testing.assert_close(again[name], kept[name], rtol=1e-4, atol=1e-5)


class TestMemory:
    def dry(self, cli: Cli, folders: tuple[str, ...], *more: str) -> Ran:
        return cli("train", *folders, "--out", "run", "--max-steps", "2", "--dry-run", *SMALL, *GATELESS, *FULL, *more)

    def test_what_does_not_fit_is_said_and_not_tried(
        self, cli: Cli, folders: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(machine, "free_memory", lambda: 10**6)
        monkeypatch.setattr(plan, "measure", None)
        monkeypatch.setattr(
            plan, "estimate", lambda *arguments: plan.Estimate(3 * 10**7, 4 * 10**7)
        )  # test_plan has the real one
        ran = self.dry(cli, folders)
        assert ran.code == 0, ran.err
        assert re.search(
            r"^memory, estimated: \d\.\d\d GB \(\d\.\d\d for weights .* 2 images\); 0\.00 GB are free$", ran.out, re.M
        )
        remedy = "lower -p batch_size=2 or -p working_size=32 or use --checkpoint-activations"
        assert ran.out.endswith(f"that is more than there is: {remedy}\ntime: not measured, since a step would not fit\n")

    @pytest.mark.parametrize("dry", [False, True])
    @pytest.mark.parametrize(
        "error", [MemoryError(), RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried 9 bytes")]
    )
    def test_what_runs_out_is_one_clear_line(
        self, cli: Cli, folders: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, dry: bool, error: Exception
    ) -> None:
        def out_of_memory(*arguments: object, **options: object) -> None:
            raise error

        monkeypatch.setattr(loop, "train", out_of_memory)
        monkeypatch.setattr(plan, "estimate", lambda *arguments: plan.Estimate(5, 5))
        start = ("train", *folders, "--out", "run", "--max-steps", "2", *SMALL)
        ran = cli(*start, "--dry-run") if dry else cli(*start)
        assert ran.code == 1
        remedy = "lower -p batch_size=2 or -p working_size=32 or use --checkpoint-activations"
        assert ran.lines[-1] == f"hdrcli: there is not enough memory for training ({remedy})"
        assert ("memory, estimated: " in ran.out) == dry

    def test_other_faults_stay_what_they_are(self, folders: tuple[str, ...]) -> None:
        objective, _ = started(Path())
        with pytest.raises(RuntimeError, match="shapes"), plan.memory_errors(objective):
            raise RuntimeError("shapes don't match")


def test_panoramas_are_counted_and_wide_photos_are_none(
    cli: Cli, folders: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "free_memory", lambda: 1)  # a plan is enough
    monkeypatch.setattr(plan, "estimate", lambda *arguments: plan.Estimate(5, 5))
    hdrcli.write(Image(smooth_scene(64, 128, 5), Transfer.LINEAR), Path("scenes/wide.exr"))
    rows = (
        "".join(f"s{n}.exr,train,{kind}\n" for n, kind in enumerate(("photo", "photo", "photo"))) + "wide.exr,train,equirect\n"
    )
    Path("scenes/manifest.csv").write_text("file,split,kind\n" + rows, encoding="utf-8")
    wide = Camera(srgb_response(), 1.5).shoot(smooth_scene(40, 80, 20), np.random.default_rng(0))
    hdrcli.write(Image(wide, Transfer.SRGB), Path("photos/wide.png"))
    arguments = ("--out", "run", "--max-steps", "2", "--dry-run", *SMALL, *GATELESS, *FULL)
    ran = cli("train", *folders, *arguments)
    assert ran.code == 0, ran.err
    assert "1 of 4 HDR images are panoramas: what is seen of them are flat views" in ran.lines
    assert not any("LDR images are panoramas" in line for line in ran.lines)
