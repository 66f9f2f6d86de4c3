"""What the guide "llm" does to a training run: over real HTTP, through the loop."""

import json
import os
import re
import signal
import socket
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from chat_server import ChatServer, regions
from fakes import smooth_scene
from tiny_llm_hdr import CONFIG, objective
from tiny_training import short_loop

from hdrcli.errors import TrainingError, UsageError
from hdrcli.perception import llm
from hdrcli.perception._remote import Asking
from hdrcli.training import checkpoint, loop
from hdrcli.training.cache import Photo, Scene
from hdrcli.training.objectives import AsksOthers, Surroundings

pytest.importorskip("openai")

KEY = "sk-a-secret-that-nobody-may-see"
ASKING = {"contrastive_weight": 0.0, "semantic_weight": 0.0, "gan_weight": 0.0, "identity": "none"}  # gates, perception, cycle
SPENT = "llm: the budget is spent; exposure answers for what is not in the cache"
SUMMARY = re.compile(r"llm: \d+ images, ")


@pytest.fixture
def server(monkeypatch):
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setenv("HDRCLI_LLM_KEY", KEY)
    server = ChatServer()
    yield server
    server.close()


@pytest.fixture
def made(server, tmp_path):
    """Objectives that ask the server; their connections are closed at the end."""
    built = []

    def make(maps_every=1, **guide):
        options = {"consent": True, "base_url": server.url, "model": "m", "cache": str(tmp_path / "cache")}
        options |= {"requests_per_minute": 1e6, "retries": 0} | guide
        guides = replace(CONFIG.guides, llm=llm.Config(**options))
        built.append(objective(maps="llm", maps_every=maps_every, guides=guides, **ASKING))
        return built[-1]

    yield make
    for one in built:
        one._maps.close()


def pictures():
    rng = np.random.default_rng(0)
    photos = tuple(Photo(f"photo{n}", rng.integers(0, 256, (40, 48, 3), np.uint8)) for n in range(2))
    return {"ldr": photos, "hdr": (Scene("one", smooth_scene(40, 50), False), Scene("two", smooth_scene(40, 50, 1), False))}


def train(trained, folder, steps=2, *, resume=False, **changes):
    """What the user was told, and the run's last state."""
    told = []
    changes = {"report_minutes": 1e6, **changes}  # a sheet at the start and one at the end
    state = loop.train(trained, pictures(), short_loop(steps, **changes), folder, resume=resume, report=told.append)
    return [line for line in told if line.startswith("llm")], state


def events(folder, what):
    lines = (folder / "log.jsonl").read_text().splitlines()
    return [record for record in map(json.loads, lines) if record["event"] == what]


# --- what is told ---------------------------------------------------------------------------------------------------------


def test_what_is_asked_of_whom_is_told_first_and_what_came_of_it_last(server, made, tmp_path):
    trained = made(maps_every=2)
    told, _ = train(trained, tmp_path / "run")
    assert told[0] == "llm: pictures go to 127.0.0.1, in at most 1000 requests of this run, 1e+06 a minute"
    # y^ and x^ of a batch of 2, every second step; 4 photos and scenes; one request is spent on the test picture
    assert told[1].startswith(
        "llm: 4 photos and scenes once each, then 2 new images a step: 999 requests last for about 497 steps"
    )
    assert "maps_every" in told[1]
    assert told[-1] == trained._maps.report.line
    assert events(tmp_path / "run", "guide_summary")[-1]["line"] == told[-1]
    assert [e["line"] for e in events(tmp_path / "run", "guide")] == told[:2]
    assert not [line for line in told if KEY in line]


@pytest.mark.parametrize(("maps_every", "expected"), [pytest.param(1, 4.0, marks=pytest.mark.slow), (2, 2.0)])
def test_the_images_of_a_step_are_those_that_are_asked_about(server, made, tmp_path, maps_every, expected):
    trained = made(maps_every=maps_every)
    assert trained._asked_each_step() == expected
    requests = []
    asked = lambda progress: requests.append(trained._maps.report.asked)  # noqa: E731
    loop.train(trained, pictures(), short_loop(9, report_minutes=1e6), tmp_path / "run", observe=asked)
    # the 2 + 2 pictures are asked about once, in the first steps; a sheet follows the first
    assert requests[-1] - requests[4] == 4 * expected


@pytest.mark.parametrize("answer", ["no JSON at all", (200, b"{"), (500, {})])
def test_answers_of_no_use_are_told_and_counted(server, made, tmp_path, answer):
    server.script(answer)
    trained = made()
    told, state = train(trained, tmp_path / "run")
    kind = "server error" if isinstance(answer, tuple) and answer[0] == 500 else "malformed"
    assert f"llm: no usable answer to a test picture: {kind}; exposure answers until there are some" in told
    report = trained._maps.report
    assert report.answered == 0
    assert report.replaced == report.asked > 0
    assert told[-1] == report.line
    assert f" {kind}" in told[-1]
    assert state["step"] == 2
    assert [e["line"] for e in events(tmp_path / "run", "guide")] == [line for line in told if not SUMMARY.match(line)]


def test_a_budget_that_ends_is_told(server, made, tmp_path):
    told, _ = train(made(most_requests=3), tmp_path / "run")
    assert len(server.requests) == 3
    assert any(line.startswith("llm: the budget is spent; exposure answers from here on") for line in told)
    assert "budget" in told[-1]


def test_a_summary_is_told_again_only_if_it_has_changed(server, made, tmp_path):
    told, _ = train(made(most_requests=0), tmp_path / "run", 3, report_minutes=0)
    lines = [e["line"] for e in events(tmp_path / "run", "guide_summary")]
    assert len(lines) == len(set(lines)) == 3
    assert [line for line in told if SUMMARY.match(line)] == lines


# --- refused at the start -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "fault"),
    [
        (401, r"refuses the key \(401\) \(check HDRCLI_LLM_KEY\)"),
        (403, r"refuses the key \(403\)"),
        (404, r"refuses a test picture \(404\) \(check model and base_url"),
        (400, r"refuses a test picture \(400\) .*must see images"),
        (307, r"refuses a test picture \(307\)"),
    ],
)
def test_a_refusal_at_the_start_is_an_error_before_training(server, made, tmp_path, status, fault):
    server.script((status, {"error": {"message": f"bad key {KEY}"}}))
    with pytest.raises(UsageError, match=rf"^127\.0\.0\.1: the endpoint {fault}") as caught:
        train(made(), tmp_path / "run")
    assert KEY not in str(caught.value)
    assert len(server.requests) == 1
    assert not checkpoint.exists(tmp_path / "run")
    assert not events(tmp_path / "run", "losses")
    if status == 401:
        server.script(regions())
        train(made(), tmp_path / "run")  # nothing is in the way of the next try


def test_a_refusal_later_on_stops_nothing(server, made, tmp_path):
    server.script(regions(), regions(), (401, {}))
    trained = made()
    told, state = train(trained, tmp_path / "run")
    assert state["step"] == 2
    assert trained._maps.report.failed["rejected"] == 3  # then it is left alone
    assert "llm: rejected; exposure answers for the next 30 seconds" in told


def test_the_picture_of_the_start_is_nobodys(server, made, tmp_path):
    made().listen(Surroundings(lambda line: None))
    url = server.requests[0][2]["messages"][1]["content"][1]["image_url"]["url"]
    assert url == llm._jpeg_url(llm._test_picture(), 512)


# --- one budget a run -----------------------------------------------------------------------------------------------------


def test_a_resumed_run_has_what_is_left_of_its_budget(server, made, tmp_path):
    first = made(most_requests=30)
    _, state = train(first, tmp_path / "run", 2)
    before = len(server.requests)
    assert 0 < before < 30
    assert state["processes"][0]["objective"]["maps"]["counts"]["requests"] == before
    again = made(most_requests=30)
    told, _ = train(again, tmp_path / "run", 9, resume=True)
    assert f"30 requests of this run, about {before} of them spent" in told[0]
    assert len(server.requests) == 30
    assert again._maps.report.requests == 30
    assert again._maps.report.asked > first._maps.report.asked  # of the whole run
    told, _ = train(made(most_requests=30), tmp_path / "run", 10, resume=True)
    assert len(server.requests) == 30
    assert told[1] == SPENT
    assert sum("budget is spent" in line for line in told) == 1


def test_a_budget_may_be_raised_and_a_model_may_not_be_changed(server, made, tmp_path):
    train(made(most_requests=5), tmp_path / "run", 2)
    assert len(server.requests) == 5
    train(made(most_requests=9, retries=1, timeout=7.0), tmp_path / "run", 4, resume=True)
    assert len(server.requests) == 9
    with pytest.raises(TrainingError, match=r"other options: guides\.llm\.side 512, not 256"):
        train(made(most_requests=9, side=256), tmp_path / "run", 5, resume=True)


def test_checkpoints_of_before_know_of_no_spending(server, made):
    trained = made()
    old = trained.state()
    trained._maps._counts["requests"] = 7
    assert old.pop("maps") == {"counts": {}, "failed": {}, "processes": 1}
    trained.load_state(old)
    assert trained._maps.report.requests == 7


def test_other_guides_have_nothing_to_keep_or_to_say(tmp_path):
    plain = objective(**ASKING)
    assert isinstance(plain, AsksOthers)
    assert "maps" not in plain.state()
    told, _ = train(plain, tmp_path / "run")
    assert told == []
    assert plain.summary() is None
    plain.hurry()


def test_processes_share_one_budget_and_one_rate(server, made):
    guides = [made(most_requests=7, most_tokens=301, requests_per_minute=60.0)._maps for _ in range(3)]
    lines = []
    for process, guide in enumerate(guides):
        guide.begin(Asking(lines.append, process=process, processes=3))
        assert guide._bucket._interval == pytest.approx(3)
    assert [g._share(7) for g in guides] == [3, 2, 2]
    assert sum(g._share(301) for g in guides) == 301
    assert "at most 7 requests and 301 tokens of this run" in lines[0]


@pytest.mark.parametrize(
    ("then", "now", "spent", "left"), [(1, 2, 500, (250, 250)), (2, 1, 250, (500,)), (3, 2, 101, (348, 348))]
)
def test_what_other_processes_spent_is_divided_anew(server, made, then, now, spent, left):
    state = {"counts": {"requests": spent, "asked": 9, "replaced": 9}, "failed": {"timeout": 9}, "processes": then}
    for process in range(now):
        guide = made()._maps
        guide.load_state(state)
        guide._divide(process, now)
        assert guide._share(1000) - guide.report.requests == left[process]
        assert guide.report.asked == (9 if process == 0 else 0)  # told once


# --- interrupted ----------------------------------------------------------------------------------------------------------


class Hangs(threading.Thread):
    """Sends this process a signal when the server has so many requests, and notes when."""

    def __init__(self, server, number, count):
        super().__init__()
        self.server, self.number, self.count, self.at = server, number, count, 0.0

    def run(self):
        until = time.monotonic() + 60
        while len(self.server.requests) < self.count and time.monotonic() < until:
            time.sleep(0.01)
        self.at = time.monotonic()
        os.kill(os.getpid(), self.number)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("retries", [0, 4])
def test_a_signal_ends_waiting_for_answers_and_the_run_is_saved(server, made, tmp_path, number, retries):
    hanging = (200, {}, {}, 60)
    server.script(regions(), hanging)
    trained = made(retries=retries, timeout=60.0)
    sender = Hangs(server, number, 2)
    sender.start()
    told = []
    with pytest.raises(KeyboardInterrupt):
        loop.train(trained, pictures(), short_loop(5), tmp_path / "run", report=told.append)
    assert time.monotonic() - sender.at < 10  # one hanging request is 60 s, and a step has 8
    sender.join()
    assert len(server.requests) == 2
    assert checkpoint.load_run(tmp_path / "run")["step"] == 1  # the step was ended, with what exposure says
    assert trained._maps.report.failed["interrupted"] == trained._maps.report.replaced > 4
    assert told[-2] == trained._maps.report.line
    assert told[-1].startswith("interrupted at step 1")


@pytest.mark.parametrize(("options", "requests"), [({"requests_per_minute": 0.01}, 1), ({"retries": 4}, 2)])
def test_a_signal_ends_waiting_for_the_rate_and_between_retries(server, made, tmp_path, options, requests):
    server.script(regions(), (429, {}, {"Retry-After": "50"}))
    sender = Hangs(server, signal.SIGTERM, requests)
    sender.start()
    with pytest.raises(KeyboardInterrupt):
        train(made(**options), tmp_path / "run")
    assert time.monotonic() - sender.at < 10
    assert len(server.requests) == requests
    sender.join()


def test_a_signal_at_the_first_request(server, made, tmp_path):
    server.script((200, {}, {}, 60))
    trained = made(timeout=60.0)
    sender = Hangs(server, signal.SIGTERM, 1)
    sender.start()
    with pytest.raises(KeyboardInterrupt):
        train(trained, tmp_path / "run")
    assert time.monotonic() - sender.at < 10
    sender.join()
    assert checkpoint.load_run(tmp_path / "run")["step"] == 0


def test_one_that_was_hurried_asks_again_in_its_next_run(server, made):
    trained = made()
    trained.hurry()
    assert trained._maps.regions(np.zeros((40, 40, 3), np.uint8)) is None
    assert not server.requests
    trained.listen(Surroundings(lambda line: None))
    assert trained._maps.regions(np.zeros((40, 40, 3), np.uint8)) == ()


def test_an_answer_that_comes_drop_by_drop_is_a_timeout(made, monkeypatch):
    """Each byte is in time for the client, whose timeout is that of an operation; the whole would take 50 seconds."""
    monkeypatch.setattr(llm, "_GRACE", 0.1)
    guide = made(timeout=0.4)._maps
    enough = threading.Event()
    listener = socket.create_server(("127.0.0.1", 0))

    def drip():
        connection, _ = listener.accept()
        with connection:
            connection.recv(100)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n")
            while not enough.wait(0.05):
                connection.sendall(b" ")

    thread = threading.Thread(target=drip)
    thread.start()
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
    monkeypatch.setattr(guide, "_client", guide._client.with_options(base_url=url))
    started = time.monotonic()
    guide.maps(torch.rand(1, 3, 40, 40))
    assert time.monotonic() - started < 10
    assert dict(guide.report.failed) == {"timeout": 1}
    enough.set()
    thread.join()
    listener.close()
