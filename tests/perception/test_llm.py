"""The guide "llm" over real HTTP against a loopback server: good, malformed, slow, failing and refusing answers."""

import base64
import email.utils
import json
import logging
import socket
import time
import traceback
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from chat_server import ChatServer, Clock, completion, regions

from hdrcli.errors import MissingExtra, MissingModel, UsageError
from hdrcli.perception import _answers, exposure, llm
from hdrcli.perception._answers import BadAnswer, Cache, Region, parse, rasterised
from hdrcli.perception.llm import Config, build

pytest.importorskip("openai")

KEY = "sk-a-secret-that-nobody-may-see"
BOX = ("overexposed", 0.9, "box", [[0, 0], [500, 1000]])


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setenv("HDRCLI_LLM_KEY", KEY)


@pytest.fixture
def server():
    server = ChatServer()
    yield server
    server.close()


@pytest.fixture
def guide(server, tmp_path):
    """Builds providers with a clock of their own; they are closed at the end."""
    built = []

    def make(**options):
        given = {"consent": True, "base_url": server.url, "model": "m", "cache": str(tmp_path / "cache"), **options}
        provider = build(Config(**given))
        provider.clock = clock = Clock()
        provider._clock, provider._sleep, provider._chance = clock, clock.sleep, lambda: 1.0
        provider._bucket = llm.TokenBucket(provider.config.requests_per_minute, clock=clock, sleep=clock.sleep)
        provider._resume_at = clock()
        provider.lines = []
        provider.say = provider.lines.append
        built.append(provider)
        return provider

    yield make
    for provider in built:
        provider.close()


def image(seed=0, height=40, width=60):
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(seed))


def pixels(seed=0, height=40, width=60):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


# --- good answers ---------------------------------------------------------------------------------------------------------


def test_an_answer_becomes_maps(server, guide):
    server.script(regions(BOX, ("artifact", 0.5, "polygon", [[0, 0], [1000, 0], [0, 1000]]), ("underexposed", 0.1, *BOX[2:])))
    provider = guide()
    maps = provider.maps(image())
    assert maps.over.shape == (1, 1, 40, 60)
    assert maps.over[0, 0, :, :29].unique().tolist() == pytest.approx([0.9])
    assert not maps.over[0, 0, :, 31:].any()
    assert float(maps.artifact.mean()) == pytest.approx(0.25, abs=0.02)
    assert not maps.under.any()  # not sure enough
    assert not maps.stacked().requires_grad
    report = provider.report
    assert (report.asked, report.answered, report.cached, report.replaced, report.requests, report.tokens) == (
        1,
        1,
        0,
        0,
        1,
        100,
    )


def test_what_is_sent(server, guide):
    provider = guide(side=32)
    codes = torch.nn.functional.interpolate(image(height=6, width=10), size=(60, 100), mode="bilinear")
    provider.maps(codes)
    path, headers, body = server.requests[0]
    assert path == "/v1/chat/completions"
    assert headers["authorization"] == f"Bearer {KEY}"
    assert body["model"] == "m"
    assert body["response_format"]["json_schema"]["schema"] == _answers.SCHEMA
    text, picture = body["messages"][1]["content"]
    assert "overexposed" in text["text"]
    kind, _, data = picture["image_url"]["url"].partition(",")
    assert kind == "data:image/jpeg;base64"
    sent = cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    assert sent.shape == (19, 32, 3)
    expected = torch.nn.functional.interpolate(codes, size=(19, 32), mode="area")[0].permute(1, 2, 0).numpy() * 255
    assert np.abs(sent - expected).mean() < 6  # RGB in the right order, of the right picture


@pytest.mark.parametrize(("name", "expected"), [("json_object", {"type": "json_object"}), ("text", {"type": "text"})])
def test_endpoints_without_schemas(server, guide, name, expected):
    guide(answer_format=name).maps(image())
    assert server.requests[0][2]["response_format"] == expected


def test_answers_are_kept_by_pixels_model_and_size(server, guide, tmp_path):
    server.script(regions(BOX))
    first = guide().maps(image()).stacked()
    again = guide()
    torch.testing.assert_close(again.maps(image()).stacked(), first)
    assert (again.report.cached, again.report.requests, len(server.requests)) == (1, 0, 1)
    server.models = (200, {"data": [{"id": "m"}, {"id": "other"}]}, {}, 0)
    for options, seed in (({"model": "other"}, 0), ({"side": 64}, 0), ({}, 1)):
        guide(**options).maps(image(seed))
    assert len(server.requests) == 4
    assert len(list((tmp_path / "cache").iterdir())) == 4


def test_a_new_question_asks_again(guide, monkeypatch):
    guide().maps(image())
    monkeypatch.setattr(_answers, "PROMPT_VERSION", _answers.PROMPT_VERSION + 1)
    provider = guide()
    provider.maps(image())
    assert provider.report.cached == 0


@pytest.mark.parametrize("damage", [b"", b"{", b"\xff\xfe", b'{"regions": [{}]}'])
def test_damaged_entries_are_made_anew(server, guide, tmp_path, damage):
    server.script(regions(BOX))
    guide().maps(image())
    (entry,) = (tmp_path / "cache").iterdir()
    whole = entry.read_bytes()
    entry.write_bytes(damage)
    provider = guide()
    assert provider.maps(image()).over.any()
    assert (provider.report.cached, provider.report.answered) == (0, 1)
    assert entry.read_bytes() == whole
    assert list((tmp_path / "cache").iterdir()) == [entry]


def test_a_cache_that_can_not_be_written_is_said_once_and_stops_nothing(server, guide, monkeypatch):
    provider = guide()
    monkeypatch.setattr(Path, "replace", lambda *args: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    for seed in range(3):
        provider.maps(image(seed))
    assert provider.report.answered == 3
    assert provider.lines == ["llm: answers can't be kept in the cache: No space left on device"]


def test_some_of_a_batch_from_the_cache_some_replaced(server, guide):
    server.script(regions(BOX), "no JSON at all")
    provider = guide()
    provider.maps(image(0))
    codes = torch.cat([image(0), image(1)]).requires_grad_()
    maps = provider.maps(codes)
    assert maps.over[0].max().item() == pytest.approx(0.9)
    expected = exposure.build(exposure.Config()).maps(codes[1:]).stacked()
    torch.testing.assert_close(maps.stacked()[1:], expected)
    maps.stacked().sum().backward()
    assert not codes.grad[0].any()
    assert codes.grad[1].any()


def test_the_replacement_knows_the_source(server, guide):
    server.script("{}")
    source, output = torch.ones(1, 3, 40, 60), torch.full((1, 3, 40, 60), 0.5)
    maps = guide().maps(output, source=source)
    assert maps.over.min() > 0.99  # flat where the source clipped


# --- bad answers: counted, replaced, never fatal --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ("Yes, there are artifacts.", "malformed"),
        (regions(("sky", 0.9, *BOX[2:])), "malformed"),
        ((200, b"{"), "malformed"),
        ((200, b"\xff\xfe\x00"), "malformed"),
        ((200, b"<html>login</html>", {"Content-Type": "text/html"}), "malformed"),
        ((200, {"error": "overloaded"}), "malformed"),
        ((200, {"choices": []}), "malformed"),
        ((200, {"choices": [{"message": "hello"}]}), "malformed"),
        ((200, []), "malformed"),
        ((200, b"[" * 200000), "malformed"),
        (completion(regions(), finish="length"), "malformed"),
        (completion([{"type": "text"}]), "malformed"),
        (completion(None, refusal="I can't help with that."), "refused"),
        (completion(regions(), finish="content_filter"), "refused"),
        (completion(""), "refused"),
    ],
)
def test_wrong_answers_are_counted_and_replaced_and_not_asked_for_again(server, guide, answer, kind):
    server.script(answer)
    provider = guide()
    codes = image()
    expected = exposure.build(exposure.Config()).maps(codes).stacked()
    for _ in range(2):
        torch.testing.assert_close(provider.maps(codes).stacked(), expected)
    report = provider.report
    assert dict(report.failed) == {kind: 1, "failed before": 1}
    assert (report.asked, report.answered, report.replaced, report.requests) == (2, 0, 2, 1)
    assert f"1 {kind}" in report.line


@pytest.mark.parametrize("status", [400, 401, 404, 413, 422, 307])
def test_rejections_are_not_retried(server, guide, status):
    server.script((status, {"error": {"message": f"bad key {KEY}"}}, {"Location": "http://127.0.0.1:9/elsewhere"}))
    provider = guide()
    provider.maps(image())
    assert dict(provider.report.failed) == {"rejected": 1}
    assert (provider.report.requests, provider.clock.slept) == (1, [])


@pytest.mark.parametrize(
    ("status", "kind"), [(429, "rate-limited"), (500, "server error"), (503, "server error"), (408, "server error")]
)
def test_passing_faults_are_retried_with_growing_waits(server, guide, status, kind):
    server.script((status, {}), (status, b"not json"), (status, {}), regions(BOX))
    provider = guide(requests_per_minute=6000)
    assert provider.maps(image()).over.any()
    assert [s for s in provider.clock.slept if s > 0.1] == [1, 2, 4]
    assert (provider.report.requests, provider.report.answered, provider.report.replaced) == (4, 1, 0)
    server.script((status, {}))
    provider.maps(image(1))
    assert dict(provider.report.failed) == {kind: 1}
    assert provider.report.requests == 4 + 5


def test_waits_are_jittered_and_bounded(server, guide):
    server.script((500, {}))
    provider = guide(requests_per_minute=6000, retries=7)
    provider._chance = lambda: 0.0
    provider.maps(image())
    assert [s for s in provider.clock.slept if s > 0.1] == [0.5, 1, 2, 4, 8, 15, 15]


def test_retry_after_is_honoured(server, guide):
    soon = email.utils.formatdate(time.time() + 30, usegmt=True)
    server.script(
        (429, {}, {"Retry-After": "7"}), (503, {}, {"Retry-After": soon}), (429, {}, {"Retry-After": "soon"}), regions()
    )
    provider = guide(requests_per_minute=6000)
    provider.maps(image())
    waits = [s for s in provider.clock.slept if s > 0.1]
    assert waits[0] == 7
    assert 25 < waits[1] <= 30
    assert waits[2] == 4
    assert provider.report.answered == 1


def test_a_long_retry_after_is_a_rest_and_not_a_wait(server, guide):
    server.script((429, {}, {"Retry-After": "600"}), regions(BOX))
    provider = guide()
    provider.maps(image(0))
    provider.maps(image(1))
    assert dict(provider.report.failed) == {"rate-limited": 1, "resting": 1}
    assert (provider.report.requests, provider.clock.slept) == (1, [])
    assert provider.lines == ["llm: rate-limited; exposure answers for the next 600 seconds"]
    provider.clock.now += 601
    assert provider.maps(image(1)).over.any()


def test_slow_answers_time_out_are_retried_and_replaced(server, guide):
    server.script((200, completion(regions(BOX)), {}, 5), regions(BOX))
    provider = guide(timeout=0.3, retries=1)
    assert provider.maps(image()).over.any()
    assert provider.report.requests == 2
    server.script((200, completion(regions(BOX)), {}, 5))
    started = time.monotonic()
    provider.maps(image(1))
    assert time.monotonic() - started < 4
    assert dict(provider.report.failed) == {"timeout": 1}


def test_an_endpoint_that_goes_away_is_left_alone_for_ever_longer(server, guide):
    provider = guide(retries=0)
    server.close()
    for seed in range(6):
        provider.maps(image(seed))
    assert dict(provider.report.failed) == {"unreachable": 3, "resting": 3}
    assert provider.lines == ["llm: unreachable; exposure answers for the next 30 seconds"]
    provider.clock.now += 31
    provider.maps(image(7))
    assert provider.lines[1:] == ["llm: unreachable; exposure answers for the next 60 seconds"]


# --- rate and budget ------------------------------------------------------------------------------------------------------


def test_requests_keep_their_rate():
    clock = Clock()
    bucket = llm.TokenBucket(30, clock=clock, sleep=clock.sleep)
    times = []
    for i in range(6):
        bucket.take()
        times.append(clock.now - 1000)
        if i == 3:
            clock.now += 60  # nothing is saved up while nobody asks
    assert times == [0, 2, 4, 6, 66, 68]


def test_retries_keep_the_rate_too(server, guide):
    server.script((500, {}), regions())
    provider = guide(requests_per_minute=6)
    provider.maps(image())
    assert sum(provider.clock.slept) == pytest.approx(10)


def test_the_budget_of_requests_includes_retries_and_ends_in_one_line(server, guide):
    server.script((500, {}), (500, {}), regions())
    provider = guide(most_requests=4)
    for seed in range(5):
        provider.maps(image(seed))
    report = provider.report
    assert (report.requests, report.answered, report.replaced) == (4, 2, 3)
    assert dict(report.failed) == {"budget": 3}
    assert len(provider.lines) == 1
    assert provider.lines[0].startswith("llm: the budget is spent; exposure answers from here on")
    provider.maps(image(0))
    assert provider.report.cached == 1  # what is known stays known


def test_the_budget_of_tokens(server, guide):
    server.script(completion(regions(), tokens=60))
    provider = guide(most_tokens=100)
    for seed in range(4):
        provider.maps(image(seed))
    assert (provider.report.requests, provider.report.tokens, dict(provider.report.failed)) == (2, 120, {"budget": 2})


def test_a_budget_of_nothing_lives_on_the_cache(server, guide):
    server.script(regions(BOX))
    guide().maps(image())
    provider = guide(most_requests=0)
    assert provider.maps(image()).over.any()
    provider.maps(image(1))
    assert provider.report.requests == 0


# --- before training starts -----------------------------------------------------------------------------------------------


def test_without_consent_nothing_leaves_and_that_is_why(server, guide):
    with pytest.raises(UsageError, match=r"photos to 127\.0\.0\.1: they leave this machine"):
        guide(consent=False)
    with pytest.raises(UsageError, match="consent"):
        build(Config())
    assert not server.requests


def test_no_model(guide):
    with pytest.raises(UsageError, match="needs a model"):
        guide(model="")


def test_a_model_that_the_endpoint_has_not(server, guide):
    with pytest.raises(MissingModel, match=r"no model 'n' \(it has m\)"):
        guide(model="n")
    server.models = (200, {"data": [{"id": "llava:latest"}]}, {}, 0)
    guide(model="llava")


@pytest.mark.parametrize("models", [(404, {}), (405, b""), (200, {"data": []}), (200, {"data": None}), (200, [])])
def test_endpoints_that_list_no_models_are_taken_at_their_word(server, guide, models):
    server.models = (*models, {}, 0)
    guide()


@pytest.mark.parametrize(
    ("models", "fault"),
    [
        ((401, {"error": f"wrong key {KEY}"}, {}, 0), "refuses the key"),
        ((403, {}, {}, 0), "refuses the key"),
        ((500, b"", {}, 0), "status 500"),
        ((302, b"", {"Location": "http://example.org"}, 0), "status 302"),
        ((200, b"<html>", {"Content-Type": "text/html"}, 0), "no OpenAI-compatible endpoint"),
        ((200, {}, {}, 5), "does not answer"),
    ],
)
def test_an_endpoint_that_does_not_serve_is_an_error(server, guide, models, fault):
    server.models = models
    with pytest.raises(UsageError, match=fault):
        guide(timeout=0.3)


def test_nobody_there(guide):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(UsageError, match="does not answer"):
        guide(base_url=f"http://127.0.0.1:{port}/v1")


@pytest.mark.parametrize("url", ["", "localhost:11434", "ftp://localhost/v1", "http://", "http://[::1", "http://h:99999999/"])
def test_addresses_that_are_none(guide, url):
    with pytest.raises(UsageError, match="base_url: is no address"):
        guide(base_url=url)


def test_no_key_in_the_address(guide):
    with pytest.raises(UsageError, match="holds a user or a password") as caught:
        guide(base_url=f"http://me:{KEY}@127.0.0.1/v1")
    assert KEY not in str(caught.value)


def test_a_cache_that_is_no_folder(guide, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cache"):
        guide(cache=str(tmp_path / "file"))


def test_without_the_package_the_extra_is_named(guide, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "openai", None)
    with pytest.raises(MissingExtra, match=r"hdrcli\[llm\]"):
        guide()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("side", 8),
        ("least_confidence", 1.5),
        ("requests_per_minute", 0.0),
        ("retries", 11),
        ("timeout", 0.0),
        ("most_requests", -1),
        ("most_tokens", -1),
    ],
)
def test_options_that_make_no_sense_are_refused(name, value):
    with pytest.raises(UsageError, match=f"{name}: .*use"):
        Config(**{name: value})


# --- the key --------------------------------------------------------------------------------------------------------------


def test_whose_key_goes_where(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "openais")
    assert llm._key("api.openai.com") == KEY
    monkeypatch.delenv("HDRCLI_LLM_KEY")
    assert llm._key("api.openai.com") == "openais"
    assert llm._key("localhost") == "none"
    for host in ("example.org", "api.openai.com.example.org", "evilapi.openai.com.co"):
        with pytest.raises(UsageError, match=r"HDRCLI_LLM_KEY; to anything"):
            llm._key(host)
    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(UsageError, match="OPENAI_API_KEY"):
        llm._key("api.openai.com")


@pytest.mark.parametrize("key", ["sk\nx", "sk x", "schlüssel"])
def test_a_key_that_no_header_can_hold(guide, monkeypatch, key):
    monkeypatch.setenv("HDRCLI_LLM_KEY", key)
    with pytest.raises(UsageError, match="characters that no key has") as caught:
        guide()
    assert key not in str(caught.value)


def test_the_key_is_in_no_log_error_report_file_or_repr(server, guide, caplog, tmp_path, capfd):
    echo = {"error": {"message": f"Incorrect API key provided: {KEY}", "code": KEY}}
    caplog.set_level(logging.DEBUG)
    texts = []
    server.models = (401, echo, {}, 0)
    with pytest.raises(UsageError) as caught:
        guide()
    texts += ["".join(traceback.format_exception(caught.value)), repr(caught.value), str(caught.value)]
    server.models = (404, {}, {}, 0)
    provider = guide(retries=0)
    server.script((401, echo), (500, echo), completion(f"no, {KEY}"), regions(BOX))
    for seed in range(4):
        provider.maps(image(seed))
    texts += [provider.report.line, repr(provider.report), repr(provider), repr(provider.config), *provider.lines]
    texts += [caplog.text, *(str(r.__dict__) for r in caplog.records), *capfd.readouterr()]
    texts += [path.read_text() for path in (tmp_path / "cache").iterdir()]
    assert provider.report.answered == 1
    assert server.requests[0][1]["authorization"].endswith(KEY)
    assert not [text for text in texts if KEY in text]


# --- answers --------------------------------------------------------------------------------------------------------------


def answer(**changes):
    item = {"class": "artifact", "confidence": 0.5, "shape": "box", "points": [[0, 0], [10, 20]], **changes}
    return json.dumps({"regions": [{k: v for k, v in item.items() if v is not ...}]})


def test_what_is_taken():
    box = Region("artifact", 0.5, ((0.0, 0.0), (10.0, 0.0), (10.0, 20.0), (0.0, 20.0)))
    assert parse(answer()) == (box,)
    assert parse(f"```json\n{answer()}\n```") == (box,)
    assert parse('{"regions": []}') == ()
    assert len(parse(answer(shape="polygon", points=[[0, 0], [0, 1000], [1000, 1000.0]]))[0].corners) == 3


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        "{}",
        '{"regions": {}}',
        '{"regions": [], "note": 1}',
        '{"regions": [1]}',
        "[" * 100000,
        answer(note="x"),
        answer(confidence=...),
        answer(**{"class": "Artifact"}),
        answer(**{"class": ["artifact"]}),
        answer(confidence=1.01),
        answer(confidence=-0.1),
        answer(confidence=True),
        answer(confidence="0.5"),
        answer(confidence=float("nan")),
        answer(shape="circle"),
        answer(shape="polygon"),
        answer(points=[[0, 0], [1, 1], [2, 0]]),
        answer(points=[[0, 0], [10, 1000.5]]),
        answer(points=[[-1, 0], [10, 10]]),
        answer(points=[[0, 0], [float("inf"), 10]]),
        answer(points=[[0, 0, 0], [10, 10, 10]]),
        answer(points="0,0 10,10"),
        answer(points=[[5, 5], [5, 9]]),
        answer(shape="polygon", points=[[0, 0], [5, 5], [10, 10]]),
        answer(shape="polygon", points=[[i, i * i % 7] for i in range(65)]),
        json.dumps({"regions": json.loads(answer())["regions"] * 65}),
    ],
)
def test_what_is_not(text):
    with pytest.raises(BadAnswer):
        parse(text)


def test_the_schema_and_the_check_agree():
    item = _answers.SCHEMA["properties"]["regions"]["items"]
    assert set(item["required"]) == set(item["properties"]) == set(json.loads(answer())["regions"][0])
    assert item["properties"]["class"]["enum"] == list(_answers.CLASSES)


@pytest.mark.parametrize("size", [(1, 1), (40, 60), (33, 7)])
def test_the_whole_grid_is_the_whole_image(size):
    whole = Region("underexposed", 0.75, ((0, 0), (1000, 0), (1000, 1000), (0, 1000)))
    maps = rasterised((whole,), *size)
    assert maps.dtype == np.float32
    assert (maps[2] == 0.75).all()
    assert not maps[:2].any()


def test_polygons_are_filled_where_they_are():
    """Against the closed form: pixels whose centre lies inside a triangle."""
    triangle = Region("artifact", 1.0, ((100, 100), (900, 100), (100, 900)))
    found = rasterised((triangle,), 200, 200)[0]
    y, x = np.mgrid[:200, :200] / 199 * 1000
    inside = (x > 105) & (y > 105) & (x + y < 995)
    outside = (x < 95) | (y < 95) | (x + y > 1008)
    assert found[inside].all()
    assert not found[outside].any()


def test_where_regions_overlap_the_surest_counts():
    box = ((0, 0), (1000, 0), (1000, 1000), (0, 1000))
    found = rasterised((Region("artifact", 0.9, box), Region("artifact", 0.4, box), Region("overexposed", 0.2, box)), 2, 2, 0.3)
    assert (found[0] == np.float32(0.9)).all()
    assert not found[1].any()


def test_keys_tell_images_of_other_shapes_apart():
    a = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    assert Cache.key(a, "m", 64) != Cache.key(a.reshape(4, 2, 3), "m", 64)
    assert Cache.key(a, "m", 64) == Cache.key(a.copy(), "m", 64)
    assert len(Cache.key(a, "m", 64)) == 64
