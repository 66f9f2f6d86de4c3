"""LLM-HDR on two processes: the losses and weights of one with twice the batch."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("llm_hdr_processes.py")


def start(folder, processes, batch):
    folder.mkdir(exist_ok=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    launcher = ["-m", "torch.distributed.run", f"--nproc-per-node={processes}", f"--master-port={port}"]
    command = [sys.executable, *(launcher if processes > 1 else []), str(SCRIPT), str(folder), str(batch)]
    with (folder / "output.txt").open("w") as output:
        return subprocess.Popen(command, stdout=output, stderr=output, env={**os.environ, "OMP_NUM_THREADS": "1"})


def result(folder, process):
    assert process.wait(timeout=300) == 0, (folder / "output.txt").read_text()[-3000:]
    return json.loads((folder / "result.json").read_text(encoding="utf-8"))


def test_two_processes_are_one_with_twice_the_batch(tmp_path):
    folders = [tmp_path / "one", tmp_path / "two"]
    running = [start(folder, processes, 4 // processes) for folder, processes in zip(folders, (1, 2))]
    one, two = (result(folder, process) for folder, process in zip(folders, running))
    for a, b in zip(one["losses"], two["losses"], strict=True):
        assert a == pytest.approx(b, rel=2e-3, abs=1e-4)
    assert two["weights"] == pytest.approx(one["weights"], abs=2e-4)
