"""A few hundred bytes that promise hundreds of megapixels are refused at once, and before memory is asked for."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from corpus import all_formats
from promises import MAKERS, SECONDS

PROMISES = Path(__file__).parent / "promises.py"


@pytest.mark.skipif(sys.platform != "linux", reason="/proc, limits of memory")
def test_promises_are_not_believed() -> None:
    assert set(MAKERS) == set(all_formats())
    done = subprocess.run([sys.executable, str(PROMISES)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    tried = [json.loads(line) for line in done.stdout.splitlines()]
    assert {t["format"] for t in tried} == set(MAKERS)
    bad = [t for t in tried if t["outcome"] not in ("UnreadableInput", "UnsupportedInput") or t["seconds"] > SECONDS]
    assert bad == []
    too_large = [t for t in tried if t["size"][0] * t["size"][1] > 400e6]
    assert {t["outcome"] for t in too_large} <= {"UnsupportedInput", "UnreadableInput"}
