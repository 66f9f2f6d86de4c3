"""Two processes of a run on one machine: each picture is decoded once, and both have it."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from hdrcli.training.cache import Limits, load
from hdrcli.training.sources import find_files

SCRIPT = Path(__file__).with_name("cache_processes.py")
COUNT = 7
SIZE = 16 * 20 * 3  # bytes of a picture at working size


BUDGETS = {"ample": (1e9, 1e9), "short": (3 * SIZE, 4 * SIZE), "no_disk": (1e9, 0)}


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for number in range(COUNT):
        cv2.imwrite(str(folder / f"{number}.png"), rng.integers(0, 256, (32, 40, 3), np.uint8))
    (folder / "3b.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    return folder


@pytest.fixture(scope="module")
def out(photos, tmp_path_factory):
    """Where both processes wrote what they did, with each budget."""
    out = tmp_path_factory.mktemp("out")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", f"--master-port={port}", str(SCRIPT)]
    arguments = [str(photos), str(out), json.dumps(BUDGETS)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=300, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return out


def reports(out, name):
    return [json.loads((out / f"rank{rank}.json").read_text(encoding="utf-8"))[name] for rank in range(2)]


def test_the_files_are_shared_out_and_the_disk_holds_them_for_both(photos, out):
    one, two = reports(out, "ample")
    assert one["pictures"] == two["pictures"]
    assert sorted(one["decoded"] + two["decoded"]) == sorted([*(f"{n}.png" for n in range(COUNT)), "3b.png"])
    assert len(one["decoded"]) == len(two["decoded"]) == 4
    assert [name for name, *_ in one["pictures"]] == [str(n) for n in range(COUNT)]
    assert all(stored for _, stored, _, _ in one["pictures"])
    assert one["lines"] == two["lines"]
    assert len(one["lines"]) == 1
    assert "3b.png" in one["lines"][0]
    alone = load(find_files([photos], "ldr").files, "ldr", Limits(16))
    assert [p.short_side for p in alone] == [short for _, _, short, _ in one["pictures"]]


def test_what_the_disk_does_not_take_each_keeps_for_itself(out):
    """Room on the disk for two from each, in memory for one and a half in each, of seven; the rest is decoded each time."""
    one, two = reports(out, "short")
    assert len(list((out / "short").iterdir())) == 4
    assert one["pictures"] == two["pictures"]
    assert one["memory"] == two["memory"] == SIZE
    assert sum(not stored for _, stored, _, _ in one["pictures"]) == 1


def test_without_a_disk_each_decodes_all(out):
    one, two = reports(out, "no_disk")
    assert one["pictures"] == two["pictures"]
    assert not any(stored for _, stored, _, _ in one["pictures"])
    assert not (out / "no_disk").exists()
