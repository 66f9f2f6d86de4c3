"""Runs the worker over a range of spoiled files, starts it again behind each file that kills it, gathers what is wrong.

python tests/fuzz/hunt.py png 0 10000 FOLDER     findings go to FOLDER as png-NUMBER.bin, and to stdout
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

WORKER = Path(__file__).parent / "worker.py"
ENOUGH = 20  # deaths of the worker: each costs a start


def hunt(what: str, first: int, end: int, folder: Path) -> list[str]:
    """A line for every file of ``first`` up to ``end`` that a reader, or a command of the program, does not bear.

    The spoiled files themselves go into ``folder``.
    """
    report, progress = folder / f"{what}.report", folder / f"{what}.progress"
    report.write_text("", encoding="utf-8")
    for _ in range(ENOUGH):
        progress.write_text("", encoding="ascii")
        command = [sys.executable, str(WORKER), what, str(first), str(end), "--folder", str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
        if done.returncode == 0:
            break
        reached = progress.read_text(encoding="ascii")
        if not reached:
            raise RuntimeError(f"the worker does not start: {done.stderr}")
        words = " | ".join(done.stderr.splitlines())[:1500]  # faulthandler's about a hang, or a C library's about its end
        finding = {"what": what, "number": int(reached), "problem": f"the process ended with {done.returncode}: {words}"}
        with report.open("a", encoding="utf-8") as file:
            file.write(json.dumps(finding) + "\n")
        (folder / f"{what}.in-work").rename(folder / f"{what}-{reached}.bin")
        first = int(reached) + 1
    found = [json.loads(line) for line in report.read_text(encoding="utf-8").splitlines()]
    return [f"python tests/fuzz/worker.py {f['what']} {f['number']}: {f['problem']}" for f in found]


if __name__ == "__main__":
    os.nice(5)
    lines = hunt(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]))
    print("\n".join(lines[:40]), f"{len(lines)} findings", sep="\n")
    sys.exit(bool(lines))
