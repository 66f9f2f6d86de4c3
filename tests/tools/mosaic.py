"""Which upsampling leaves a mosaic? ``python tests/tools/mosaic.py HDR_FOLDER``: a Markdown table, see docs/hybrid.md.

Hybrid autoencoders that differ in their upsampling alone get the same batches of virtual photos and the same number of steps,
from the same seeds. Then the energy at the period of the pixel shuffles is measured by FFT: the last shuffle's pattern repeats
every 2 pixels of the picture, that of the one before every 4, and so on; what repeats every p pixels has its energy at
multiples of 1 / p of the sampling frequency and nowhere else.

* flat: rms, in thousandths of a stop, of what repeats every p pixels and not every p / 2, in the middle of the answers to grey
  pictures, where the borders don't reach in. No pattern is right there.
* line: how far the power at these frequencies stands above the median of its surroundings, in dB, in answers to photos of
  validation scenes (Hann window). Pictures have no such lines: about 0 is right.
* band: power within 1/16 of the Nyquist frequency, against that of the truth, in dB: a pattern that changes from place to place
  has no line, but is seen here. Below 0 is a blurred picture, above 0 one with something added.
* stride: share of the power of what each upsampling gives, strides 16 to 1, that repeats every 2 of its cells, in photos.
* crop: rms difference, in stops, of the answer to a quarter of a photo and that quarter of the answer to the whole, without a
  sixth at each border: what the network makes of the picture as a whole.
"""

from __future__ import annotations

import argparse
import math
import statistics
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hdrcli.color import MU, STOPS_FLOOR
from hdrcli.networks import mobilenet_autoencoder
from hdrcli.networks.feedback_unet import from_t
from hdrcli.training.cache import load
from hdrcli.training.datasets import collate, random_view
from hdrcli.training.objectives import hybrid
from hdrcli.training.sources import find_files

VARIANTS = {
    "pixel shuffle": {"upsampling": "pixelshuffle", "icnr": False},
    "pixel shuffle, ICNR": {"upsampling": "pixelshuffle", "icnr": True},
    "resize": {"upsampling": "resize"},
}
PERIODS = (2, 4, 8)
GREYS = (0.1, 0.3, 0.5, 0.7, 0.9)
STRIDES = (16, 8, 4, 2, 1)


def at_period(image: NDArray[Any], period: int) -> NDArray[np.bool_]:
    """Which bins of an FFT ``(h, w)`` hold what repeats every ``period`` pixels, and not every half of it."""

    def multiples(p: int) -> NDArray[np.bool_]:
        rows, columns = (np.arange(n) % (n // p) == 0 for n in image.shape[-2:])
        return rows[:, None] & columns

    return multiples(period) & ~multiples(period // 2)


def power(image: NDArray[Any]) -> NDArray[np.float64]:
    """Of every frequency, ``(..., h, w)``; the sum over all is the mean square."""
    return np.abs(np.fft.fft2(image) / (image.shape[-1] * image.shape[-2])) ** 2


def rms_at_period(image: NDArray[Any], period: int) -> float:
    """Root mean square of what repeats every ``period`` pixels and not every half of it. Sides are multiples of it."""
    return math.sqrt(power(image)[..., at_period(image, period)].sum() / max(1, math.prod(image.shape[:-2])))


def line_above(image: NDArray[Any], period: int) -> float:
    """Mean power in these bins over the median of 7 x 7 bins around each, in dB; of ``(..., h, w)``."""
    window = np.outer(np.hanning(image.shape[-2]), np.hanning(image.shape[-1]))
    spectrum = power((image - image.mean((-2, -1), keepdims=True)) * window).reshape(-1, *image.shape[-2:]).mean(0)
    lines = np.argwhere(at_period(image, period))
    near = np.arange(-3, 4)
    floors = [np.median(spectrum.take(y + near, 0, mode="wrap").take(x + near, 1, mode="wrap")) for y, x in lines]
    return 10 * math.log10(np.mean([spectrum[y, x] for y, x in lines]) / np.mean(floors))


def band(image: NDArray[Any]) -> float:
    """Power of what is within 1/16 of the Nyquist frequency, in either direction."""
    window = np.outer(np.hanning(image.shape[-2]), np.hanning(image.shape[-1]))
    y, x = (np.abs(np.fft.fftfreq(n)) for n in image.shape[-2:])
    high = np.maximum(y[:, None], x) > 0.5 * 15 / 16
    return float(power((image - image.mean((-2, -1), keepdims=True)) * window)[..., high].sum())


def batches(folder: Path, config: hybrid.Config, count: int, split: str, seed: int) -> list[dict[str, Tensor]]:
    """Photos of the scenes of a split and their truth, drawn once for all variants."""
    scenes = load(find_files([folder], "hdr", split).files, "hdr", report=lambda line: None)
    made = hybrid.build(config)
    rng = np.random.default_rng(seed)

    def one() -> dict[str, NDArray[Any]]:
        scene = scenes[int(rng.integers(len(scenes)))]
        return made.samples({"hdr": random_view(scene, config.view_size, rng)}, rng)[0]

    return [collate([one() for _ in range(config.batch_size)]) for _ in range(count)]


def trained(config: hybrid.Config, data: Sequence[dict[str, Tensor]], steps: int, seed: int) -> Any:
    """A network after so many steps on these batches, in evaluation mode."""
    torch.manual_seed(seed)
    made = hybrid.build(config)
    made.networks.to(memory_format=torch.channels_last).train()
    adam = made.optimizers()["g"]
    for step in range(steps):
        adam.zero_grad(set_to_none=True)
        made.loss("g", data[step % len(data)], 0)["loss"].backward()
        adam.step()
    return made.networks["g_y"].eval()


@torch.no_grad()
def measured(network: Any, photos: Sequence[dict[str, Tensor]], size: int) -> dict[str, float]:
    """All columns of the table."""
    peak = network.config.peak

    def stops(t: Tensor) -> NDArray[Any]:
        return np.asarray(torch.log2(from_t(t, peak).clamp(min=0) + STOPS_FLOOR))

    side = 4 * size
    middle = slice(side // 2 - 32, side // 2 + 32)
    greys = torch.tensor(GREYS).view(-1, 1, 1, 1).expand(-1, 3, side, side).contiguous()
    flat = stops(network(greys))[..., middle, middle]
    row = {f"flat {p}": 1000 * rms_at_period(flat, p) for p in PERIODS}
    answers = np.concatenate([stops(network(photo["ldr"])) for photo in photos])
    truths = np.concatenate([photo["stops"].numpy() for photo in photos])
    row |= {f"line {p}": line_above(answers, p) for p in PERIODS}
    row["band"] = 10 * math.log10(band(answers) / band(truths))
    levels = [network.upsampled(photo["ldr"])[0] for photo in photos]
    for stride, *maps in zip(STRIDES, *levels):
        features = np.concatenate([m.float().numpy() for m in maps])
        spectrum = power(features - features.mean((-2, -1), keepdims=True))
        row[f"stride {stride}"] = float(spectrum[..., at_period(features, 2)].sum() / spectrum.sum())
    half = photos[0]["ldr"].shape[-1] // 2
    inside = (..., slice(half // 6, -(half // 6)), slice(half // 6, -(half // 6)))
    parts = np.concatenate([stops(network(photo["ldr"][..., :half, :half])) for photo in photos])
    row["crop"] = float(np.sqrt(np.square(parts[inside] - answers[..., :half, :half][inside]).mean()))
    row["L1"] = float(np.mean([(network(photo["ldr"]) - t_of(photo["stops"], peak)).abs().mean().item() for photo in photos]))
    return row


def t_of(stops: Tensor, peak: float) -> Tensor:
    """T of light in stops."""
    return torch.log1p((torch.exp2(stops) - STOPS_FLOOR).clamp(min=0) * (MU / peak)) / math.log1p(MU)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--width", type=int, default=8)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--norm", choices=("instance", "none"), default="instance")
    parser.add_argument("--rate", type=float, default=9e-4)
    parser.add_argument("--residual", action="store_true", help="a network that adds to the linearised input")
    args = parser.parse_args()
    torch.set_num_threads(1)
    network = mobilenet_autoencoder.Config(width=args.width, norm=args.norm, residual=args.residual)
    # LPIPS in one place and not in another would compare places
    base = hybrid.Config(
        network=network,
        working_size=args.size,
        view_size=args.size,
        batch_size=args.batch,
        lpips_weight=0.0,
        learning_rate=args.rate,
    )
    data = batches(args.folder, base, min(args.steps, 100), "train", 1)
    whole = replace(base, working_size=2 * args.size, view_size=2 * args.size)
    photos = batches(args.folder, whole, 4, "val", 2)
    kind = f"norm {args.norm}{', residual' if args.residual else ''}"
    print(f"{args.steps} steps of {args.batch} photos of {args.size} pixels, width {args.width}, {kind}", flush=True)
    header: list[str] = []
    for name, changes in VARIANTS.items():
        config = replace(base, network=replace(network, **changes))
        rows = [measured(trained(config, data, args.steps, seed), photos, args.size) for seed in range(args.seeds)]
        if not header:
            header = list(rows[0])
            print("| variant | " + " | ".join(header) + " |\n|---|" + "---|" * len(header))
        values = [[row[column] for row in rows] for column in header]
        cells = [f"{statistics.mean(v):.3g} [{min(v):.3g}, {max(v):.3g}]" for v in values]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
