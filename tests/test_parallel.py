"""One number of threads for all."""

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
