"""One process a card runs the network for all: with a card that is none, so that it is tested everywhere."""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Iterator
from pathlib import Path

import cards
import numpy as np
import pytest
from photos import converted, photo, photos, recipe
from test_local_engine import none_left

import hdrcli
from hdrcli import conversion
from hdrcli.batch import serving
from hdrcli.batch.engines._faults import Fault
from hdrcli.batch.recipe import Recipe
from hdrcli.conversion import ExpandOptions
from hdrcli.errors import MissingExtra, MissingRequirement, ModelError
from hdrcli.inference.generator import Floats

KEY = ("default", "auto", "g_y")


def request(height: int, seed: int = 0) -> dict[str, Floats]:
    rng = np.random.default_rng(seed)
    return {name: rng.random((1, 3, height, 8), np.float32) for name in ("ldr", "clip")}


def test_those_of_one_size_go_together() -> None:
    sizes = [8, 16, 8, 8, 24, 16]
    assert list(serving.grouped([request(size) for size in sizes])) == [[0, 2, 3], [1, 5], [4]]
    assert list(serving.grouped([request(8)] * 5, most=2)) == [[0, 1], [2, 3], [4]]
    assert list(serving.grouped([])) == []


def test_each_gets_its_own_answer() -> None:
    requests = [request(size, seed) for seed, size in enumerate([8, 16, 8, 8, 24, 16])]  # three of 8: no room, one by one
    found = dict(serving.answers(cards.OnCard(), requests))
    assert sorted(found) == list(range(6))
    for number, answer in found.items():
        assert np.array_equal(answer, cards.OnCard()(requests[number]))


def test_what_fails_alone_is_one_photos_fault() -> None:
    class Broken(cards.OnCard):
        def __call__(self, inputs: dict[str, Floats]) -> Floats:
            if (inputs["ldr"] > 0.999).any():
                raise ModelError("gives values that are not finite", where="x")
            return super().__call__(inputs)

    requests = [request(8, 1), request(8, 2)]
    requests[1]["ldr"][:] = 1
    found = dict(serving.answers(Broken(), requests))
    assert isinstance(found[1], Fault)
    assert str(found[1].revived()) == "x: gives values that are not finite"
    assert np.array_equal(found[0], cards.OnCard()(requests[0]))


@pytest.fixture
def served() -> Iterator[serving.Served]:
    server = serving.Server(KEY, "card:0", cards.load)
    try:
        found = server.ready()
        assert found is not None
        yield found
    finally:
        server.end()
        assert none_left()


def test_many_ask_at_once(served: serving.Served) -> None:
    wrong: list[int] = []

    def ask(number: int) -> None:
        generator = serving.RemoteGenerator(served)
        for turn in range(10):
            asked = request(8 * (1 + turn % 2), 100 * number + turn)
            if not np.array_equal(generator(asked), cards.OnCard()(asked)):
                wrong.append(number)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
    assert wrong == []


def test_a_process_that_dies_is_told(served: serving.Served) -> None:
    generator = serving.RemoteGenerator(served)
    assert generator(request(8)).shape == (1, 3, 8, 8)
    for child in multiprocessing.active_children():
        child.kill()
    with pytest.raises(ModelError, match="the process that runs the network has died"):
        generator(request(8))


def test_faults_of_loading_are_told() -> None:
    server = serving.Server(KEY, "card:0", cards.load_nothing)
    with pytest.raises(MissingRequirement, match="--device card:0: ONNX Runtime can't use CUDA here"):
        server.ready()
    server.end()


def test_errors_come_back_as_they_were() -> None:
    error = MissingExtra("ray", "ray", purpose="--engine ray")
    revived = Fault.of(error).revived()
    assert (type(revived), str(revived)) == (MissingExtra, str(error))


def test_which_cards(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("hdrcli.inference.onnx_backend.cuda_driver_present", lambda: False)
    assert serving.cards("auto") == serving.cards("cuda") == ()
    monkeypatch.setattr("hdrcli.inference.onnx_backend.cuda_driver_present", lambda: True)
    monkeypatch.setattr(serving, "_CARDS", tmp_path)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert serving.cards("cpu") == ()
    assert serving.cards("cuda:3") == ("cuda:3",)
    assert serving.cards("auto") == ("cuda:0",)
    (tmp_path / "0000:01:00.0").mkdir()
    (tmp_path / "0000:02:00.0").mkdir()
    assert serving.cards("auto") == ("cuda:0", "cuda:1")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5")
    assert serving.cards("cuda") == ("cuda:0",)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert serving.cards("auto") == ()


@pytest.fixture
def model() -> Recipe:
    return recipe(expand=ExpandOptions(half=True))


def test_a_run_on_two_cards(tmp_path: Path, model: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    source = photos(tmp_path / "in", 12)
    photo(source / "wide.png", width=64)
    monkeypatch.setattr(serving, "load", cards.load)
    monkeypatch.setattr(serving, "cards", lambda device: ("card:0", "card:1"))
    monkeypatch.setenv("CARDS_LOG", str(tmp_path / "log"))
    summary = converted(source, tmp_path / "out", model, workers=4)
    assert (summary.done, summary.failed) == (13, [])
    asked = [line.split() for line in (tmp_path / "log").read_text(encoding="ascii").splitlines()]
    assert sum(int(count) for count, _ in asked if int(count) <= 2) >= 13
    assert none_left()
    # the same as in one process
    with monkeypatch.context() as patch:
        patch.setattr(conversion, "load_generator", lambda *_: cards.OnCard())
        for path in source.iterdir():
            whole = conversion.expand(hdrcli.read(path), model.expand).image.pixels
            assert np.array_equal(hdrcli.read(tmp_path / "out" / f"{path.stem}.exr").pixels, whole)


def test_where_there_is_no_card_each_worker_has_its_own(tmp_path: Path, model: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "load", cards.load_on_cpu)
    monkeypatch.setattr(serving, "cards", lambda device: ("card:0",))
    summary = converted(photos(tmp_path / "in", 2), tmp_path / "out", model)
    assert (summary.done, summary.failed) == (2, [])
    assert "default" in (tmp_path / "out" / "hdrcli-batch.jsonl").read_text(encoding="ascii")
