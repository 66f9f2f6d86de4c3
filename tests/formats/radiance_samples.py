"""Small valid Radiance files of every kind, made byte by byte: what mutated files are made of."""

from __future__ import annotations

import itertools
import random

Pixel = tuple[int, int, int, int]
Picture = list[list[Pixel]]


def picture(height: int, width: int) -> Picture:
    """Runs and noise, of the kind that both run-length codings meet; no pixel that looks like a code of theirs."""
    rng = random.Random(f"{height} {width}")
    rows: Picture = []
    for _ in range(height):
        row: list[Pixel] = []
        while len(row) < width:
            pixel = (rng.randrange(128, 256), rng.randrange(256), rng.randrange(256), rng.randrange(110, 150))
            row += [pixel] * rng.choice((1, 1, 1, 2, 5, 40))
        rows.append(row[:width])
    return rows


def flat(rows: Picture) -> bytes:
    return b"".join(bytes(pixel) for row in rows for pixel in row)


def old_runs(rows: Picture) -> bytes:
    """A pixel, then (1, 1, 1, n) for n repeats of it; counts above 255 go on in the next code's higher bytes."""
    coded = bytearray()
    for row in rows:
        for pixel, group in itertools.groupby(row):
            coded += bytes(pixel)
            repeats = len(list(group)) - 1
            while repeats:
                coded += bytes((1, 1, 1, repeats & 255))
                repeats >>= 8
    return bytes(coded)


def new_runs(rows: Picture) -> bytes:
    """Each component of a scanline on its own: 128 + n and a byte for n equal ones, n and n bytes for others."""
    coded = bytearray()
    for row in rows:
        coded += bytes((2, 2, len(row) >> 8, len(row) & 255))
        for component in range(4):
            for value, group in itertools.groupby(pixel[component] for pixel in row):
                count = len(list(group))
                while count:
                    run = min(count, 127)
                    coded += bytes((128 + run, value)) if run > 1 else bytes((1, value))
                    count -= run
    return bytes(coded)


def file(body: bytes, size: str, *lines: str, kind: str = "rgbe") -> bytes:
    header = ["#?RADIANCE", "# made by hand", *lines, f"FORMAT=32-bit_rle_{kind}", "", size, ""]
    return "\n".join(header).encode() + body


def samples() -> dict[str, bytes]:
    """Small valid files by the name of what is special about each."""
    small, wide, tall = picture(5, 7), picture(3, 300), picture(9, 20)
    made = {
        "flat": file(flat(small), "-Y 5 +X 7"),
        "one pixel": file(flat(picture(1, 1)), "-Y 1 +X 1"),
        "old runs": file(old_runs(small), "-Y 5 +X 7"),
        "old runs, long": file(old_runs([[(200, 10, 20, 130)] * 600]), "-Y 1 +X 600"),
        "new runs": file(new_runs(tall), "-Y 9 +X 20"),
        "new runs, wide": file(new_runs(wide), "-Y 3 +X 300"),
        "both kinds of runs": file(new_runs(tall[:4]) + flat(tall[4:6]) + new_runs(tall[6:]), "-Y 9 +X 20"),
        "xyze": file(new_runs(tall), "-Y 9 +X 20", kind="xyze"),
        "all variables": file(
            new_runs(tall),
            "-Y 9 +X 20",
            "EXPOSURE=2.5",
            "EXPOSURE= 1e-2",
            "COLORCORR=1 2 .5",
            "PRIMARIES=0.640 0.330 0.290 0.600 0.150 0.060 0.333 0.333",
            "PIXASPECT=1.5",
            "WHITE_LUMINANCE=203",
            "SOFTWARE=by hand",
            "VIEW= -vtv -vp 0 0 0",
            "CAPDATE= 2026:01:02 03:04:05",
        ),
        "line ends of Windows": file(flat(small), "-Y 5 +X 7").replace(b"\n", b"\r\n", 5),
    }
    for y, x in itertools.product("-+", "-+"):
        made[f"{y}Y {x}X"] = file(new_runs(tall), f"{y}Y 9 {x}X 20")
        made[f"{x}X {y}Y"] = file(new_runs(tall), f"{x}X 9 {y}Y 20")
    return made
