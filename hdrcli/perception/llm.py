"""Perception maps from a multimodal chat model behind an OpenAI-compatible endpoint: hosted, Ollama, vLLM.

**Photos leave the machine** (or go to whatever answers at ``base_url``), reduced and as JPEG; so it is used only when
``consent`` says so. LLM-HDR's guide (3.1, Fig. S3 and S4), with structured answers instead of coloured maps: see
:mod:`hdrcli.perception._answers`.

What goes wrong with one image never stops a run: it is counted, and the guide ``exposure`` answers for that image. What makes
the guide useless from the start (no consent, key, model or connection; a first picture that is refused) is an error before it.

The key comes from the environment: ``HDRCLI_LLM_KEY``, or for OpenAI's own endpoint ``OPENAI_API_KEY``. It is in no message,
report or file, and neither is what a server says: a server may repeat what it was sent.
"""

from __future__ import annotations

import email.utils
import math
import os
import random
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from hdrcli.errors import MissingExtra, MissingModel, UsageError
from hdrcli.perception import _answers
from hdrcli.perception._answers import BadAnswer, Cache, Region
from hdrcli.perception._remote import Asking, Interrupted, Overdue, Patience

if TYPE_CHECKING:
    import numpy as np
    import openai
    from numpy.typing import NDArray
    from torch import Tensor

    from hdrcli.perception import Maps

KIND = "maps"
SUMMARY = "a multimodal chat model behind any OpenAI-compatible endpoint; photos leave the machine"

KEY_VARIABLE = "HDRCLI_LLM_KEY"
OPENAI_KEY_VARIABLE = "OPENAI_API_KEY"
_RETRIED = frozenset((408, 409, 425, 429))  # and all from 500
_LONGEST_WAIT = 60.0  # seconds that a step of training may be held up for one answer; longer ones are rests
_REST_AFTER = 3  # images in a row that the endpoint failed
_LONGEST_REST = 3600.0
_MOST_TOKENS = 4096  # of an answer: 64 regions
_GRACE = 1.0  # seconds; the client's own timeout, of each of its operations, comes first where it can


@dataclass(frozen=True)
class Config:
    """Options of the guide "llm".

    ``consent``: photos may leave the machine. ``base_url``, ``model``: the endpoint and what it shall use. ``cache``: folder of
    answers (empty: the user's cache folder). ``side``: longest side that is sent, in pixels. ``least_confidence``: of regions
    that count. ``requests_per_minute``, ``retries``, ``timeout`` (seconds): of requests. ``most_requests``: budget of a run,
    retries and the one test picture at each start included; 0: the cache alone. ``most_tokens``: as the endpoint counts them;
    0: no limit. ``answer_format``: what the endpoint is asked to enforce; the answer is checked in any case.

    A run of several processes has one budget and one rate: each process has its equal share of them. What is spent is kept in
    checkpoints and counts when the run is resumed; if it was killed, what it spent since its last checkpoint is forgotten.

    Raises UsageError for values that make no sense.
    """

    consent: bool = False
    base_url: str = "https://api.openai.com/v1"
    model: str = ""
    cache: str = ""
    side: int = 512
    least_confidence: float = 0.3
    requests_per_minute: float = 30.0
    retries: int = 4
    timeout: float = 60.0
    most_requests: int = 1000
    most_tokens: int = 0
    answer_format: Literal["json_schema", "json_object", "text"] = "json_schema"

    def __post_init__(self) -> None:
        for name, right, remedy in (
            ("side", 32 <= self.side <= 4096, "use 32 to 4096"),
            ("least_confidence", 0 <= self.least_confidence <= 1, "use 0 to 1"),
            ("requests_per_minute", self.requests_per_minute > 0, "use more than 0"),
            ("retries", 0 <= self.retries <= 10, "use 0 to 10"),
            ("timeout", self.timeout > 0, "use more than 0 seconds"),
            ("most_requests", self.most_requests >= 0, "use 0 or more"),
            ("most_tokens", self.most_tokens >= 0, "use 0 or more; 0 sets no limit"),
        ):
            if not right:
                raise UsageError(f"{name} can't be {getattr(self, name):g}", where=name, remedy=remedy)


MAY_CHANGE = ("consent", "cache", "requests_per_minute", "retries", "timeout", "most_requests", "most_tokens")
"""Options that decide how it is asked, and not what it says: a run that is resumed may have others."""


@dataclass(frozen=True)
class Report:
    """What happened so far: images ``asked`` about = ``cached`` + ``answered`` + ``replaced``, the last ``failed`` by kind."""

    asked: int = 0
    cached: int = 0
    answered: int = 0
    replaced: int = 0
    failed: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    requests: int = 0
    tokens: int = 0

    @property
    def line(self) -> str:
        """One line for logs."""
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(self.failed.items()))
        why = f" ({kinds})" if kinds else ""
        return (
            f"llm: {self.asked} images, {self.cached} from the cache, {self.answered} answered, "
            f"{self.replaced} replaced by exposure{why}; {self.requests} requests, {self.tokens} tokens"
        )


class TokenBucket:
    """Lets ``per_minute`` requests a minute through; it holds one token, so no burst. :meth:`take` waits for its turn."""

    def __init__(self, per_minute: float, *, clock: Callable[[], float], sleep: Callable[[float], None]) -> None:
        self._interval = 60 / per_minute
        self._clock, self._sleep = clock, sleep
        self._next = clock()

    def take(self) -> None:
        """Return when the next request may go out."""
        wait = self._next - self._clock()
        if wait > 0:
            self._sleep(wait)
        self._next = max(self._next, self._clock()) + self._interval


class _Failed(Exception):
    """An image without an answer. ``kind``: for the report; ``rest``: seconds that the endpoint asked to be left alone;
    ``status``: of a request that it won't ever answer."""

    def __init__(self, kind: str, rest: float = 0.0, status: int = 0) -> None:
        super().__init__(kind)
        self.kind, self.rest, self.status = kind, rest, status


_TRANSPORT = frozenset(("timeout", "unreachable", "rate-limited", "server error", "rejected"))


class LLMMaps:
    """See the module's docstring.

    A :class:`hdrcli.perception.PictureMapsProvider` and a :class:`hdrcli.perception._remote.RemoteGuide`. ``client``: an
    openai.OpenAI without retries of its own. ``say``: gets a line when answers are of no use or the guide is replaced for
    longer than one image; :meth:`begin` sets it. ``clock``, ``sleep`` (seconds), ``chance`` (0 to 1, for jitter): for tests.
    """

    def __init__(
        self,
        config: Config,
        client: openai.OpenAI,
        cache: Cache,
        *,
        say: Callable[[str], None] = lambda line: None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] | None = None,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.config = config
        self.say = say
        self._client, self._cache = client, cache
        self._patience = Patience()
        self._clock, self._sleep, self._chance = clock, sleep or self._patience.sleep, chance
        self._process, self._processes = 0, 1
        self._bucket = TokenBucket(config.requests_per_minute, clock=clock, sleep=self._sleep)
        self._counts: Counter[str] = Counter()
        self._failed: Counter[str] = Counter()
        self._hopeless: set[str] = set()  # images that got a wrong answer or a refusal: not asked about again in this run
        self._failed_in_a_row = 0
        self._resume_at = clock()
        self._said: set[str] = set()

    def close(self) -> None:
        """Close connections."""
        self._client.close()

    @property
    def report(self) -> Report:
        """What happened so far."""
        return Report(failed=MappingProxyType(dict(self._failed)), **self._counts)

    # a run ----------------------------------------------------------------------------------------------------------------

    def begin(self, run: Asking) -> None:
        """See :class:`hdrcli.perception._remote.RemoteGuide`. Raises UsageError if the endpoint refuses a test picture."""
        self.say = run.say
        self._patience.renew()
        self._said.clear()
        self._divide(run.process, run.processes)
        self._bucket = TokenBucket(self.config.requests_per_minute / run.processes, clock=self._clock, sleep=self._sleep)
        self.say(self._plan())
        if self._spent():
            self._say_once("llm: the budget is spent; exposure answers for what is not in the cache")
            return
        self._first_request()
        if run.each_step > 0:
            self.say(self._outlook(run))

    def hurry(self) -> None:
        """See :class:`hdrcli.perception._remote.RemoteGuide`."""
        self._patience.end()

    def summary(self) -> str | None:
        """The line of :attr:`report`, if anything was asked."""
        return self.report.line if self._counts["asked"] or self._counts["requests"] else None

    def state(self) -> dict[str, Any]:
        """See :class:`hdrcli.perception._remote.RemoteGuide`."""
        return {"counts": dict(self._counts), "failed": dict(self._failed), "processes": self._processes}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """The reverse of :meth:`state`."""
        self._counts, self._failed = Counter(state["counts"]), Counter(state["failed"])
        self._processes = int(state["processes"])

    def _divide(self, process: int, processes: int) -> None:
        """Take this process's share of the budget. What was spent by another number of processes is divided anew."""
        if processes != self._processes:
            spent = {name: math.ceil(self._counts[name] * self._processes / processes) for name in ("requests", "tokens")}
            if process > 0:  # what else was counted is the first process's to tell
                self._counts.clear()
                self._failed.clear()
            self._counts.update({name: value - self._counts[name] for name, value in spent.items()})
        self._process, self._processes = process, processes

    def _share(self, most: int) -> int:
        return most // self._processes + (self._process < most % self._processes)

    def _spent(self) -> bool:
        config, counts = self.config, self._counts
        if counts["requests"] >= self._share(config.most_requests):
            return True
        return config.most_tokens > 0 and counts["tokens"] >= self._share(config.most_tokens)

    def _plan(self) -> str:
        config = self.config
        spent = min(self._counts["requests"] * self._processes, config.most_requests)
        tokens = f" and {config.most_tokens} tokens" if config.most_tokens else ""
        before = f", about {spent} of them spent" if spent else ""
        return (
            f"llm: pictures go to {_endpoint(config)}, in at most {config.most_requests} requests{tokens} of this run{before}, "
            f"{config.requests_per_minute:g} a minute"
        )

    def _outlook(self, run: Asking) -> str:
        """How long the budget of requests lasts if nothing fails."""
        left = (self._share(self.config.most_requests) - self._counts["requests"]) * self._processes
        each = run.each_step * self._processes
        steps = max(0, math.floor((left - run.once) / each))
        first = f"{run.once} photos and scenes once each, then " if run.once else ""
        wait = 60 * each / self.config.requests_per_minute
        change = ", ".join(name for name in ("most_requests", "requests_per_minute", run.knobs) if name)
        return (
            f"llm: {first}{each:.3g} new images a step: {left} requests last for about {steps} steps, at {wait:.2g} seconds a "
            f"step for their rate; exposure answers from there on (change: {change})"
        )

    def _first_request(self) -> None:
        """Ask about a picture of our own. Raises UsageError if the endpoint won't look at it; anything else may pass."""
        try:
            self._ask(_jpeg_url(_test_picture(), self.config.side))
        except _Failed as failure:
            if failure.status:
                raise _refusal(failure.status, _endpoint(self.config)) from None
            if failure.rest > 0:
                self._resume_at = self._clock() + failure.rest
            if failure.kind != "interrupted":
                self.say(f"llm: no usable answer to a test picture: {failure.kind}; exposure answers until there are some")

    # images ---------------------------------------------------------------------------------------------------------------

    def maps(self, codes: Tensor, *, source: Tensor | None = None) -> Maps:
        """See :class:`hdrcli.perception.MapsProvider`. Without gradient, except where ``exposure`` answered instead."""
        import torch

        from hdrcli.perception import Maps, exposure, to_uint8

        found = []
        for i, pixels in enumerate(to_uint8(codes)):
            regions = self.regions(pixels)
            if regions is None:
                instead = exposure.build(exposure.Config())
                found.append(instead.maps(codes[i : i + 1], source=None if source is None else source[i : i + 1]).stacked())
            else:
                planes = self.planes(regions, pixels.shape[0], pixels.shape[1])
                found.append(torch.from_numpy(planes)[None].to(codes.device))
        artifact, over, under = torch.cat(found).split_with_sizes([1, 1, 1], 1)
        return Maps(artifact, over, under)

    def regions(self, pixels: NDArray[np.uint8]) -> tuple[Region, ...] | None:
        """What the model finds in an image, ``(H, W, 3) uint8``; None if it has to be replaced. Counts all of it."""
        self._counts["asked"] += 1
        key = Cache.key(pixels, self.config.model, self.config.side)
        regions = self._cache.read(key)
        if regions is not None:
            self._counts["cached"] += 1
            return regions
        try:
            if key in self._hopeless:
                raise _Failed("failed before")
            if self._patience.ended:
                raise _Failed("interrupted")
            if self._clock() < self._resume_at:
                raise _Failed("resting")
            regions = self._ask(_jpeg_url(pixels, self.config.side))
        except _Failed as failure:
            self._count_failure(failure, key)
            return None
        self._failed_in_a_row = 0
        self._counts["answered"] += 1
        try:
            self._cache.write(key, regions)
        except OSError as error:
            self._say_once(f"llm: answers can't be kept in the cache: {error.strerror or 'disk error'}")
        return regions

    @property
    def longest_side(self) -> int:
        """See :class:`hdrcli.perception.PictureMapsProvider`."""
        return self.config.side

    def planes(self, regions: tuple[Region, ...], height: int, width: int) -> NDArray[np.float32]:
        """Regions as maps, ``(3, height, width)``; those that the model is not sure of are left out."""
        return _answers.rasterised(regions, height, width, self.config.least_confidence)

    def _count_failure(self, failure: _Failed, key: str) -> None:
        self._counts["replaced"] += 1
        self._failed[failure.kind] += 1
        if failure.kind in ("malformed", "refused"):
            self._hopeless.add(key)
            self._failed_in_a_row = 0  # it answers, if not what was asked
            self._say_once(f"llm: an answer was {failure.kind}; exposure answers for such images, which are counted")
        if failure.kind == "budget":
            self._say_once(f"llm: the budget is spent; exposure answers from here on. {self.report.line}")
        if failure.kind not in _TRANSPORT:
            return
        # An endpoint that is down must not hold up every step for all its retries
        self._failed_in_a_row += 1
        rest = failure.rest
        if self._failed_in_a_row >= _REST_AFTER:
            rest = max(rest, min(30.0 * 2 ** min(self._failed_in_a_row - _REST_AFTER, 10), _LONGEST_REST))
        if rest > 0:
            self._resume_at = self._clock() + rest
            self.say(f"llm: {failure.kind}; exposure answers for the next {rest:.0f} seconds")

    def _say_once(self, line: str) -> None:
        if (about := line.split(";")[0]) not in self._said:
            self._said.add(about)
            self.say(line)

    def _ask(self, url: str) -> tuple[Region, ...]:
        """The regions that are answered, after as many retries as are allowed. Raises _Failed."""
        attempt = 0
        while True:
            try:
                return self._request(url)
            except _Retry as retry:
                # full jitter on the upper half: many processes that failed together don't come back together
                wait = min(2.0**attempt, 30.0) * (0.5 + 0.5 * self._chance())
                wait = max(wait, retry.after)
                attempt += 1
                if attempt > self.config.retries or wait > _LONGEST_WAIT:
                    raise _Failed(retry.kind, rest=min(retry.after, _LONGEST_REST)) from None
                self._sleep(wait)

    def _request(self, url: str) -> tuple[Region, ...]:
        """One request. Raises _Retry or _Failed."""
        import openai

        config, counts = self.config, self._counts
        if self._spent():
            raise _Failed("budget")
        self._bucket.take()
        if self._patience.ended:
            raise _Failed("interrupted")
        counts["requests"] += 1
        question: Any = [
            {"role": "system", "content": _answers.SYSTEM},
            {
                "role": "user",
                "content": [{"type": "text", "text": _answers.QUESTION}, {"type": "image_url", "image_url": {"url": url}}],
            },
        ]

        def ask() -> Any:
            response = self._client.chat.completions.with_raw_response.create(
                model=config.model,
                messages=question,
                response_format=_response_format(config.answer_format),
                max_completion_tokens=_MOST_TOKENS,
            )
            return response.http_response.json()

        try:
            body = self._patience.call(ask, config.timeout + _GRACE)
        except Interrupted:
            raise _Failed("interrupted") from None
        except (openai.APITimeoutError, Overdue):  # overdue: an answer that comes drop by drop
            raise _Retry("timeout") from None
        except openai.APIConnectionError:
            raise _Retry("unreachable") from None
        except openai.APIStatusError as error:
            status, headers = error.status_code, error.response.headers
            if status not in _RETRIED and status < 500:
                raise _Failed("rejected", status=status) from None
            raise _Retry("rate-limited" if status == 429 else "server error", _retry_after(headers)) from None
        except (
            openai.OpenAIError,
            ValueError,
            RecursionError,
        ):  # a body that is no JSON, in no encoding, or nested without end
            raise _Failed("malformed") from None
        counts["tokens"] += _tokens(body)
        return _content(body)


class _Retry(Exception):
    """A request that may do better later, not before ``after`` seconds."""

    def __init__(self, kind: str, after: float = 0.0) -> None:
        super().__init__(kind)
        self.kind, self.after = kind, after


def _tokens(body: Any) -> int:
    """Tokens that a request was charged for, as the endpoint states them; 0 if it doesn't."""
    usage = body.get("usage") if isinstance(body, dict) else None
    total = usage.get("total_tokens") if isinstance(usage, dict) else None
    return total if isinstance(total, int) and total > 0 else 0


def _content(body: Any) -> tuple[Region, ...]:
    """The answer's regions. Raises _Failed: refused or malformed."""
    try:
        choice = body["choices"][0]
        message, finish = choice["message"], choice.get("finish_reason")
        refusal, text = message.get("refusal"), message.get("content")
    except (LookupError, TypeError, AttributeError):
        raise _Failed("malformed") from None
    if refusal or finish == "content_filter" or not text:
        raise _Failed("refused")
    if finish == "length" or not isinstance(text, str):
        raise _Failed("malformed")
    try:
        return _answers.parse(text)
    except BadAnswer:
        raise _Failed("malformed") from None


def _response_format(name: str) -> Any:
    if name != "json_schema":
        return {"type": name}
    return {"type": name, "json_schema": {"name": "regions", "strict": True, "schema": _answers.SCHEMA}}


def _retry_after(headers: Mapping[str, str]) -> float:
    """Seconds to wait, of a Retry-After header (RFC 9110, 10.2.3: seconds or a date); 0 without one that makes sense."""
    text = headers.get("retry-after", "")
    try:
        return max(0.0, min(float(text), _LONGEST_REST))
    except ValueError:
        pass
    try:
        return max(0.0, min(email.utils.parsedate_to_datetime(text).timestamp() - time.time(), _LONGEST_REST))
    except (ValueError, OverflowError):
        return 0.0


def _test_picture() -> NDArray[np.uint8]:
    """Nobody's photo: two ramps, large enough for models that want a least size."""
    import numpy as np

    y, x = np.mgrid[:256, :256]
    return np.stack([x, y, np.full_like(x, 128)], -1).astype(np.uint8)


def _jpeg_url(pixels: NDArray[np.uint8], side: int) -> str:
    """An image as a data URL, reduced to ``side`` where it is larger: JPEG, without metadata.

    At quality 95 and 4:4:4, since the question is about artifacts and the JPEG shall not add its own.
    """
    import base64

    import cv2

    scale = side / max(pixels.shape[:2])
    if scale < 1:
        size = (max(1, round(pixels.shape[1] * scale)), max(1, round(pixels.shape[0] * scale)))
        pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
    settings = [cv2.IMWRITE_JPEG_QUALITY, 95, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    done, coded = cv2.imencode(".jpg", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), settings)
    if not done:
        raise OSError("OpenCV could not encode the picture")
    return "data:image/jpeg;base64," + base64.b64encode(coded.tobytes()).decode("ascii")


# --- before training starts -----------------------------------------------------------------------------------------------


def _endpoint(config: Config) -> str:
    """Host of the endpoint. Raises UsageError for an address that is none."""
    remedy = "use an address like https://api.openai.com/v1 or http://localhost:11434/v1"
    try:
        parts = urlsplit(config.base_url)
        host, named, _ = parts.hostname, parts.username or parts.password, parts.port
    except ValueError:
        raise UsageError("is no address", where="base_url", remedy=remedy) from None
    if parts.scheme not in ("http", "https") or not host:
        raise UsageError("is no address", where="base_url", remedy=remedy)
    if named:
        fault = "the address holds a user or a password"
        raise UsageError(fault, where="base_url", remedy=f"leave it out, and put the key into {KEY_VARIABLE}")
    return host


def _key(host: str) -> str:
    """The key from the environment. An endpoint on this machine needs none. Raises UsageError."""
    # OpenAI's key is for OpenAI alone: another endpoint has no business with it
    official = host == "api.openai.com" or host.endswith(".api.openai.com")
    key = os.environ.get(KEY_VARIABLE, "") or (os.environ.get(OPENAI_KEY_VARIABLE, "") if official else "")
    if key := key.strip():
        if not (key.isascii() and key.isprintable() and " " not in key):
            raise UsageError("the key in the environment holds characters that no key has", where=host, remedy="copy it again")
        return key
    if host in ("localhost", "127.0.0.1", "::1"):
        return "none"
    also = f" or {OPENAI_KEY_VARIABLE}" if official else ""
    remedy = f"set {KEY_VARIABLE}{also}; to anything if the endpoint asks for none"
    raise UsageError("the guide llm needs a key in the environment", where=host, remedy=remedy)


def _refusal(status: int, host: str) -> UsageError:
    """The error of a test picture that was refused."""
    if status in (401, 403):
        return UsageError(f"the endpoint refuses the key ({status})", where=host, remedy=f"check {KEY_VARIABLE}")
    remedy = {
        402: "it wants to be paid",
        404: "check model and base_url: it has no such model, or nothing at that address",
    }.get(status, "check base_url and model, which must see images; or use answer_format=json_object or text")
    return UsageError(f"the endpoint refuses a test picture ({status})", where=host, remedy=remedy)


def _probe(client: openai.OpenAI, config: Config, host: str) -> None:
    """Ask the endpoint for its models, which costs nothing. Raises UsageError or MissingModel."""
    import openai

    try:
        body = client.models.with_raw_response.list().http_response.json()
    except openai.APIConnectionError:  # timeouts as well
        raise UsageError("the endpoint does not answer", where=host, remedy="check base_url and the connection") from None
    except openai.APIStatusError as error:
        if error.status_code in (401, 403):
            fault = f"the endpoint refuses the key ({error.status_code})"
            raise UsageError(fault, where=host, remedy=f"check {KEY_VARIABLE}") from None
        if error.status_code in (404, 405, 501):  # it is there, but does not list models
            return
        fault = f"the endpoint answers with status {error.status_code}"
        raise UsageError(fault, where=host, remedy="check base_url, or try later") from None
    except (openai.OpenAIError, ValueError, RecursionError):
        remedy = "check base_url: it ends in /v1 for most servers"
        raise UsageError("what answers is no OpenAI-compatible endpoint", where=host, remedy=remedy) from None
    listed = body.get("data") if isinstance(body, dict) else None
    known = {str(item.get("id")) for item in listed or () if isinstance(item, dict)}
    # Ollama lists llava:latest for llava
    if known and config.model not in known and f"{config.model}:latest" not in known:
        names = ", ".join(sorted(name for name in known if name.isprintable())[:8])
        raise MissingModel(f"the endpoint has no model {config.model!r}", where=host, remedy=f"it has {names}")


def _cache_folder(config: Config) -> Path:
    """The folder of the cache, made if it isn't there. Raises UsageError if it can't be used."""
    import platformdirs

    folder = Path(config.cache) if config.cache else Path(platformdirs.user_cache_dir("hdrcli")) / "llm"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"the cache can't be used: {error.strerror}", where=folder, remedy="name another folder") from error
    return folder


def build(config: Config) -> LLMMaps:
    """The provider, after one request that costs nothing.

    Raises UsageError without consent, model, key, or an endpoint that answers; MissingExtra without the package openai;
    MissingModel if the endpoint lists its models and this one is not among them.
    """
    host = _endpoint(config)
    if not config.consent:
        fault = f"the guide llm sends your photos to {host}: they leave this machine"
        raise UsageError(fault, where="consent", remedy="say so with consent=true, or use the guide exposure")
    if not config.model:
        raise UsageError(
            "the guide llm needs a model", where="model", remedy="name one that the endpoint has and that sees images"
        )
    try:
        import openai
    except ModuleNotFoundError:
        raise MissingExtra("openai", "llm", purpose="the guide llm") from None
    key, folder = _key(host), _cache_folder(config)
    # consent is for this host: no redirection takes the photos to another
    transport = openai.DefaultHttpxClient(follow_redirects=False, timeout=config.timeout)
    client = openai.OpenAI(api_key=key, base_url=config.base_url, timeout=config.timeout, max_retries=0, http_client=transport)
    try:
        _probe(client, config, host)
    except BaseException:
        client.close()
        raise
    return LLMMaps(config, client, Cache(folder))
