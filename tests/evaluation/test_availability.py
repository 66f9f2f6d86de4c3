from __future__ import annotations

import pytest

from hdrcli.errors import Unavailable
from hdrcli.evaluation import availability
from hdrcli.evaluation.protocols._scores import known_scores
from hdrcli.metrics import Score, Viewing


def test_what_cannot_run_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    def no(*arguments: object) -> float:
        raise Unavailable("there are no weights")

    scores = {"yes": known_scores()["pu21_psnr_rgb"], "no": Score("no", "t", "dB", "lower", "s", no)}
    monkeypatch.setattr(availability, "known_scores", lambda: scores)
    yes, not_here = availability.metrics(Viewing())
    assert (yes.name, yes.lacking) == ("pu21_psnr_rgb", {})
    assert not_here.lacking == {"no": "there are no weights"}


def test_protocols_are_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(availability.registry, "names", lambda package: ("hdrtv", "mu", "raw"))
    found = {p.name: p for p in availability.protocols(Viewing())}
    assert found["raw"].lacking == found["mu"].lacking == {}
    assert list(found["hdrtv"].lacking) == ["hdrvdp3_side_by_side_Q"]
    assert found["mu"].options == {"scale": "refmax"}
