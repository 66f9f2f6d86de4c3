"""Loads a folder's pictures on the processes that torchrun started, and writes what each did: run by test_cache_distributed."""

import hashlib
import json
import sys
from pathlib import Path

import torch

from hdrcli import formats
from hdrcli.training.cache import Budget, Limits, Stored, load
from hdrcli.training.sources import find_files

torch.set_num_threads(1)


def loaded(photos: Path, folder: Path, memory: float, disk: float) -> dict:
    """What is decoded, told and kept within a budget."""
    decoded: list[str] = []
    lines: list[str] = []
    read = formats.read

    def counted(path, *args, **kwargs):
        decoded.append(Path(path).name)
        return read(path, *args, **kwargs)

    formats.read = counted
    budget = Budget(memory, disk, folder)
    pictures = load(find_files([photos], "ldr").files, "ldr", Limits(16), budget, lines.append)
    formats.read = read
    digests = [hashlib.sha256(p.pixels().tobytes()).hexdigest() for p in pictures]
    kept = [(p.name, isinstance(p, Stored), p.short_side, digest) for p, digest in zip(pictures, digests)]
    return {"decoded": decoded, "lines": lines, "pictures": kept, "memory": budget.used_memory}


def run(photos: Path, out: Path, budgets: dict[str, tuple[float, float]]) -> None:
    """With each budget in turn."""
    torch.distributed.init_process_group("gloo")
    results = {name: loaded(photos, out / name, *budget) for name, budget in budgets.items()}
    (out / f"rank{torch.distributed.get_rank()}.json").write_text(json.dumps(results), encoding="utf-8")
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    run(Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3]))
