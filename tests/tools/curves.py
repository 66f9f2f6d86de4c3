"""Curves of training runs as a picture: losses, and scores on --val, each run a line. Needs pip install matplotlib.

    python tests/tools/curves.py RUN [RUN ...] -o docs/llm-hdr-curves.png [--constant 0.893]

Losses are means over the last ``--over`` reports of log.jsonl, 20 steps each, since single ones are noise.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

# a panel each: title, losses by name
PANELS: Sequence[tuple[str, Mapping[str, str]]] = (
    ("cycle, photos and scenes (L1)", {"cycle_x": "-", "cycle_y": "--"}),
    ("identity, G_Y and G_X (L1)", {"identity_y": "-", "identity_x": "--"}),
    ("highlights of the cycle of scenes (RMS, T)", {"highlights": "-"}),
    ("adversarial, and both discriminators", {"gan": "-", "loss_d": "--"}),
    ("contrastive", {"contrastive": "-"}),
)
SCORE = "clipped_log2_rmse"


class Curves(NamedTuple):
    """Of one run, by name: steps and values. ``linear``: the score of plain linearisation."""

    name: str
    losses: dict[str, tuple[list[int], list[float]]]
    scores: tuple[list[int], list[float]]
    linear: float | None


def read(run: Path) -> Curves:
    """From RUN/log.jsonl. Raises OSError, ValueError."""
    losses: dict[str, tuple[list[int], list[float]]] = {}
    steps: list[int] = []
    scores: list[float] = []
    linear = None
    for line in (run / "log.jsonl").read_text(encoding="utf-8").splitlines():
        event: dict[str, Any] = json.loads(line)
        if event["event"] == "losses":
            for name, value in event["losses"].items():
                at, values = losses.setdefault(name, ([], []))
                at.append(event["step"])
                values.append(value)
        elif event["event"] == "scores" and SCORE in event["scores"]:
            steps.append(event["step"])
            scores.append(event["scores"][SCORE])
            linear = event["linear"][SCORE]
    return Curves(run.name, losses, (steps, scores), linear)


def smoothed(values: Sequence[float], over: int) -> np.ndarray[Any, Any]:
    """Means over the last ``over`` values; over fewer at the start."""
    total = np.cumsum([0.0, *values])
    ends = np.arange(1, len(values) + 1)
    starts = np.maximum(ends - over, 0)
    return np.asarray((total[ends] - total[starts]) / (ends - starts))


def draw(runs: Sequence[Curves], out: Path, over: int, constant: float | None) -> None:
    """The picture: five panels of losses, one of scores."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(2, 3, figsize=(12, 6), dpi=90, layout="constrained")
    for (title, names), ax in zip(PANELS, axes.flat, strict=False):
        for number, run in enumerate(runs):
            for name, style in names.items():
                if name in run.losses:
                    steps, values = run.losses[name]
                    ax.plot(steps, smoothed(values, over), style, color=f"C{number}", label=f"{run.name} {name}", linewidth=1.2)
        ax.set_title(title, fontsize=10)
        ax.set_ylim(bottom=0)
    ax = axes.flat[-1]
    for number, run in enumerate(runs):
        ax.plot(*run.scores, ".-", color=f"C{number}", label=run.name, linewidth=1.2)
        if run.scores[1]:
            best = int(np.argmin(run.scores[1]))
            ax.plot(run.scores[0][best], run.scores[1][best], "o", color=f"C{number}", markerfacecolor="none", markersize=9)
    linear = next((run.linear for run in runs if run.linear is not None), None)
    for value, name in ((linear, "linear"), (constant, "constant gain")):
        if value is not None:
            ax.axhline(value, color="0.5", linestyle=":" if name == "linear" else "--", linewidth=1)
            ax.text(0.99, value, f"{name} ", ha="right", va="bottom", fontsize=8, transform=ax.get_yaxis_transform())
    ax.set_title("clipped log2-RMSE, --val (ring: RUN/best)", fontsize=10)
    for ax in axes.flat:
        ax.grid(alpha=0.3)
        ax.tick_params(labelsize=8)
        ax.legend(fontsize=7, frameon=False)
    for ax in axes[1]:
        ax.set_xlabel("step", fontsize=8)
    figure.savefig(out, metadata={"Software": None})


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--over", type=int, default=3)
    parser.add_argument("--constant", type=float, help="the score of the best constant gain on the same photos")
    given = parser.parse_args()
    draw([read(run) for run in given.runs], given.out, given.over, given.constant)
    return 0


if __name__ == "__main__":
    sys.exit(main())
