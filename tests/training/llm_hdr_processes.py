"""Trains LLM-HDR on the processes that torchrun started, and writes losses and weights: run by test_llm_hdr_distributed."""

import json
import sys
import warnings
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent)]
warnings.simplefilter("ignore")

import torch  # noqa: E402

torch.set_num_threads(1)

from tiny_llm_hdr import CONFIG, MeanColour, objective  # noqa: E402
from tiny_training import short_loop  # noqa: E402
from toy_gan import pictures  # noqa: E402

from hdrcli import perception  # noqa: E402
from hdrcli.networks import patchgan  # noqa: E402
from hdrcli.training import loop  # noqa: E402


def run(folder: Path, batch: int) -> None:
    """No batch norm, no pool; embeddings of the whole batch against each other."""
    real = perception.create
    perception.create = lambda kind, name, options=None: MeanColour() if name == "clip" else real(kind, name, options)
    judge = patchgan.Config(width=CONFIG.discriminator.width, norm=False)
    made = objective(batch_size=batch, discriminator=judge, pool=0, embeddings="clip")
    seen = []
    state = loop.train(made, pictures(), short_loop(3, devices=1), folder, observe=lambda p: seen.append(p.losses))
    if seen:
        weights = torch.cat([v.flatten() for v in state["networks"].values()]).tolist()
        (folder / "result.json").write_text(json.dumps({"losses": seen, "weights": weights}), encoding="utf-8")


if __name__ == "__main__":
    run(Path(sys.argv[1]), int(sys.argv[2]))
