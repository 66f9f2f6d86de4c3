"""kill -9 at random moments: every output is whole at any time, and in the end all are there and as they should be.

``HDRCLI_SOAK_KILLS=20`` makes it shorter.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from photos import batch, photos, recipe, tree

import hdrcli
from hdrcli import formats
from hdrcli.batch.manifest import NAME
from hdrcli.batch.recipe import Recipe
from hdrcli.batch.running import prepared
from hdrcli.conversion import ExpandOptions, expand

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform != "linux", reason="/proc, process groups")]

PHOTOS, KILLS_A_RECIPE = 60, 10

RUN = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[4])
from test_soak import exposed
from photos import converted
if __name__ == "__main__":
    converted(Path(sys.argv[1]), Path(sys.argv[2]), exposed(int(sys.argv[3])), workers=2,
              report=lambda outcome: print(outcome.what, flush=True))
"""


def exposed(number: int) -> Recipe:
    """A recipe of many: each makes other files of the same photos."""
    return recipe(expand=ExpandOptions(model="linear", half=True, ev=number / 4))


def expected(source: Path, folder: Path, number: int) -> dict[str, bytes]:
    """The files of an undisturbed run, made without any of what is tested here."""
    made = {}
    for path in sorted(source.iterdir()):
        target = folder / f"{number}-{path.stem}.exr"
        formats.write(expand(hdrcli.read(path), exposed(number).expand).image, target)
        made[f"{path.stem}.exr"] = target.read_bytes()
    return made


def test_random_kills(tmp_path: Path) -> None:
    kills = int(os.environ.get("HDRCLI_SOAK_KILLS", "100"))
    chance = random.Random(7)
    source, out = photos(tmp_path / "in", PHOTOS), tmp_path / "out"
    script = tmp_path / "run.py"
    script.write_text(RUN, encoding="utf-8")
    (tmp_path / "whole").mkdir()
    whole: list[dict[str, bytes]] = []
    landed = 0
    for kill in range(kills):
        number = kill // KILLS_A_RECIPE
        if number == len(whole):
            whole.append(expected(source, tmp_path / "whole", number))
        landed += _killed(script, source, out, number, chance)
        for path in out.glob("*.exr"):
            content = path.read_bytes()
            assert any(content == made[path.name] for made in whole), f"{path.name} is not whole after kill {kill}"
    last = len(whole) - 1
    done = subprocess.run(_command(script, source, out, last), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "failed" not in done.stdout
    assert {p.name: p.read_bytes() for p in out.glob("*.exr")} == whole[last]
    assert tree(out) == {NAME, *whole[last]}
    assert prepared(batch(source, out, exposed(last))).current == PHOTOS
    print(f"{kills} kills, {landed} of them in the midst of the work; {(out / NAME).read_text().count(chr(10))} lines")
    assert landed >= kills // 2


def _command(script: Path, source: Path, out: Path, number: int) -> list[str]:
    return [sys.executable, str(script), str(source), str(out), str(number), str(Path(__file__).parent)]


def _killed(script: Path, source: Path, out: Path, number: int, chance: random.Random) -> bool:
    """A run that is killed: all of it, its first process alone, or one of its workers and then all. True if it was at work."""
    process = subprocess.Popen(_command(script, source, out, number), stdout=subprocess.PIPE, start_new_session=True)
    with process:
        assert process.stdout is not None
        if chance.random() < 0.8:  # else while it starts
            process.stdout.readline()
        time.sleep(chance.random() * 0.25)
        at_work = process.poll() is None
        way = chance.random()
        if at_work and way < 0.2:
            workers = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
            if workers:
                _kill(int(chance.choice(workers)))
            time.sleep(chance.random() * 0.2)
        if way < 0.4:
            _kill(process.pid)  # the workers see it themselves
            time.sleep(chance.random() * 0.05)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    return at_work


def _kill(process: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(process, signal.SIGKILL)
