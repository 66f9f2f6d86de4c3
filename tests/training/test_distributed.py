"""Several processes: the same losses and weights as one with batches as large, gradient accumulation too."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("two_processes.py")


def trained(folder, processes, batch, steps=3, accumulate=1):
    folder.mkdir(exist_ok=True)
    command = [sys.executable, str(SCRIPT)]
    if processes > 1:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        launcher = ["-m", "torch.distributed.run", f"--nproc-per-node={processes}", f"--master-port={port}"]
        command = [sys.executable, *launcher, str(SCRIPT)]
    arguments = [str(folder), str(batch), str(steps), str(accumulate)]
    done = subprocess.run(
        [*command, *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads((folder / "result.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("one"), 1, 4)


@pytest.mark.slow  # test_llm_hdr_distributed does the same with both directions
def test_two_processes_are_one_with_twice_the_batch(tmp_path, one):
    two = trained(tmp_path, 2, 2)
    assert two["processes"] == 2
    assert two["batches"] == 6
    for a, b in zip(one["losses"], two["losses"], strict=True):
        assert a == pytest.approx(b, rel=1e-4)
    assert two["weights"] == pytest.approx(one["weights"], abs=2e-5)


def test_accumulated_batches_are_one_as_large(tmp_path, one):
    parts = trained(tmp_path, 1, 2, accumulate=2)
    assert parts["weights"] == pytest.approx(one["weights"], abs=2e-5)
    for a, b in zip(one["losses"], parts["losses"], strict=True):
        assert a == pytest.approx(b, rel=1e-4)
