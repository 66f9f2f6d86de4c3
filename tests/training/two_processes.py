"""Trains the toy on however many processes torchrun started, and writes its losses and weights: run by test_distributed."""

import json
import sys
import warnings
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent)]
warnings.simplefilter("ignore")

import torch  # noqa: E402

torch.set_num_threads(1)

from tiny_training import short_loop  # noqa: E402
from toy_gan import pictures, toy  # noqa: E402

from hdrcli.training import loop  # noqa: E402


def run(folder: Path, batch: int, steps: int, accumulate: int) -> None:
    """Batch norm frozen, no pool, no noise: what depends on the batch as a whole."""
    objective = toy(batch_size=batch, norm=False, pool=False, noise=0.0)
    seen = []
    config = short_loop(steps, devices=1, accumulate=accumulate)
    state = loop.train(objective, pictures(), config, folder, observe=lambda p: seen.append(p.losses), resume=True)
    if seen:
        weights = torch.cat([v.flatten() for v in state["networks"].values()]).tolist()
        result = {
            "losses": seen,
            "weights": weights,
            "processes": len(state["processes"]),
            "batches": state["batches"],
        }
        (folder / "result.json").write_text(json.dumps(result), encoding="utf-8")


if __name__ == "__main__":
    run(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
