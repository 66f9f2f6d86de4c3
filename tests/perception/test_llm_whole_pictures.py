"""The guide "llm" in training: asked once about each whole picture, over real HTTP; views get their part of the answer."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from chat_server import ChatServer, regions
from fakes import smooth_scene
from tiny_llm_hdr import CONFIG, SIZE, objective
from tiny_training import short_loop

from hdrcli.camera import View
from hdrcli.perception import llm
from hdrcli.training import loop
from hdrcli.training.cache import Photo, Scene
from hdrcli.training.datasets import Frame
from hdrcli.training.objectives._knowledge import WholePictures

pytest.importorskip("openai")

LEFT = ("overexposed", 0.9, "box", [[0, 0], [500, 1000]])
PLAIN = {"contrastive_weight": 0.0, "semantic_weight": 0.0, "perception_weight": 0.0, "gan_weight": 0.0, "identity": "encoded"}


@pytest.fixture
def server(monkeypatch):
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    server = ChatServer()
    server.script(regions(LEFT))
    yield server
    server.close()


@pytest.fixture
def made(server, tmp_path):
    """Objectives that ask the server; their connections are closed at the end."""
    built = []

    def make(**changes):
        options = {"consent": True, "base_url": server.url, "model": "m", "cache": str(tmp_path / "cache")}
        guide = llm.Config(**options, requests_per_minute=1e6, retries=0)
        guides = replace(CONFIG.guides, llm=guide)
        built.append(objective(maps="llm", maps_every=1_000_000, guides=guides, **{**PLAIN, **changes}))
        return built[-1]

    yield make
    for one in built:
        one._maps.close()


def pictures():
    rng = np.random.default_rng(0)
    photos = tuple(Photo(f"photo{n}", rng.integers(0, 256, (40, 48, 3), np.uint8)) for n in range(4))
    scenes = (Scene("panorama", smooth_scene(32, 64), True), Scene("photo", smooth_scene(40, 50, 1), False))
    return {"ldr": photos, "hdr": scenes}


@pytest.mark.parametrize("workers", [0, 1])
def test_a_second_epoch_makes_no_request(server, made, tmp_path, workers):
    asked = []
    config = short_loop(6, workers=workers)  # an epoch is 2 batches of 2
    loop.train(made(), pictures(), config, tmp_path / "run", observe=lambda progress: asked.append(len(server.requests)))
    assert asked == [5, 7, 7, 7, 7, 7]  # with the test picture of the start
    assert len(server.requests) == 7
    assert len(list((tmp_path / "cache").iterdir())) == 6


def test_a_second_run_makes_none_but_the_first(server, made, tmp_path):
    loop.train(made(), pictures(), short_loop(2), tmp_path / "one")
    before = len(server.requests)
    again = made()
    loop.train(again, pictures(), short_loop(4, seed=2), tmp_path / "two")
    assert before == 7
    assert len(server.requests) == before + 1
    assert again._maps.report.cached == 6


def test_what_is_not_answered_is_looked_at_by_exposure_and_asked_again(server, made, tmp_path):
    server.script(regions(), (500, {}), (500, {}), regions(LEFT))
    asked = []
    trained = made()
    loop.train(
        trained, pictures(), short_loop(4), tmp_path / "run", observe=lambda progress: asked.append(len(server.requests))
    )
    assert asked[-1] == 9
    report = trained._maps.report
    assert (report.answered, report.replaced) == (6, 2)


def test_views_get_their_part_of_the_answer(server, made):
    """The left half of each picture is marked; where a view shows it, in which size and whether mirrored."""
    whole = WholePictures(made()._maps, pictures(), 256.0)
    frames = [
        Frame(None, (0, 0, 1, 0.5)),
        Frame(None, (0.2, 0.25, 0.5, 0.5)),
        Frame(None, (0.2, 0.25, 0.5, 0.5), mirrored=True),
    ]
    packed = torch.from_numpy(np.stack([frame.packed(1) for frame in frames])).permute(0, 3, 1, 2)
    first, half, mirrored = whole.maps("ldr", packed, SIZE)
    assert first.shape == (1, 3, SIZE, SIZE)
    assert first[0, 1, :, :-2].unique().tolist() == pytest.approx([0.9])
    assert half[0, 1, :, : SIZE // 2 - 2].unique().tolist() == pytest.approx([0.9])
    assert not half[0, 1, :, SIZE // 2 + 2 :].any()
    torch.testing.assert_close(mirrored, half.flip(3))
    assert not first[0, [0, 2]].any()
    assert len(server.requests) == 1


def test_a_view_of_a_panorama_gets_its_part(made):
    """Marked is what lies to the left of the middle: headings of -180 to 0 degrees."""
    whole = WholePictures(made()._maps, pictures(), 256.0)
    frames = [Frame(View(heading, 0.0, 0.0, 60.0)) for heading in (270, 90, 0)]
    left, right, middle = whole.maps("hdr", torch.from_numpy(np.stack([f.packed(0) for f in frames])).permute(0, 3, 1, 2), SIZE)
    assert left[0, 1].min() == pytest.approx(0.9)
    assert right[0, 1].max() == 0
    assert middle[0, 1, :, : SIZE // 2 - 5].min() == pytest.approx(0.9)  # a pixel of the panorama is three of the view
    assert not middle[0, 1, :, SIZE // 2 + 5 :].any()


def test_gates_get_the_answers_and_what_the_exposure_decides_stays_with_exposure(server, made):
    """Identities: the photo of a scene has the scene's artifacts, but its own clipped areas."""
    server.script(regions(("artifact", 1.0, *LEFT[2:])))
    trained = made()
    trained.see(pictures())
    frame = Frame(None).packed(1)
    views = {
        "ldr": np.full((SIZE, SIZE, 3), 128, np.uint8),
        "hdr": smooth_scene(SIZE, SIZE),
        "ldr_frame": frame,
        "hdr_frame": frame,
    }
    (sample,) = trained.samples(views, np.random.default_rng(0))
    batch = {name: torch.from_numpy(value)[None].permute(0, 3, 1, 2).float() for name, value in sample.items()}
    identities = trained._identities(batch["x"], batch["y"], 256.0)
    (x, same_y), (y, same_x) = trained._inputs(batch, identities)
    for seen in (x, same_y, y, same_x):
        assert seen.maps[0, 0, :, : SIZE // 2 - 2].min() == 1
        assert not seen.maps[0, 0, :, SIZE // 2 + 2 :].any()
    own = trained._exposure.maps(identities[0].given)
    torch.testing.assert_close(same_y.maps[:, 1:2], own.over)
    torch.testing.assert_close(same_y.maps[:, 2:], own.under)
    assert not x.maps[:, 1:].any()
