"""One number of threads for all."""

import time

import cv2
import pytest

from hdrcli import parallel
from hdrcli.errors import UsageError


def test_all_cores_unless_limited(monkeypatch):
    monkeypatch.setattr(parallel, "_limit", None)
    before = cv2.getNumThreads()
    assert parallel.threads() == parallel.available() >= 1
    try:
        parallel.limit_threads(1)
        assert parallel.threads() == 1
        assert cv2.getNumThreads() == 1
    finally:
        cv2.setNumThreads(before)
    parallel.limit_threads(None)
    assert parallel.threads() == parallel.available()


@pytest.mark.parametrize("count", [0, -3])
def test_less_than_one_is_refused(count):
    with pytest.raises(UsageError, match="below 1"):
        parallel.limit_threads(count)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_results_come_in_turn_and_few_wait(monkeypatch, count):
    monkeypatch.setattr(parallel, "_limit", count)
    done = []

    def work(part):
        time.sleep(0.002 * (part % 3))
        done.append(part)
        return part * part

    results = parallel.in_turn(work, range(40))
    assert [next(results) for _ in range(3)] == [0, 1, 4]
    assert len(done) <= 3 + 2 * count + 1
    assert list(results) == [n * n for n in range(3, 40)]
    assert sorted(done) == list(range(40))
    assert list(parallel.in_turn(work, ())) == []


@pytest.mark.parametrize("count", [1, 4])
def test_the_first_error_ends_it(monkeypatch, count):
    monkeypatch.setattr(parallel, "_limit", count)
    seen = []

    def work(part):
        seen.append(part)
        if part == 3:
            raise ValueError("three")

    with pytest.raises(ValueError, match="three"):
        parallel.each(work, range(1000))
    assert len(seen) < 40
