"""Pictures as text for terminals: half blocks, shades, sixel, kitty's graphics; and which of them a terminal takes.

Pure functions: nothing is read from or written to a terminal here. Pictures are ``(h, w, 3) uint8``, sRGB.
"""

from __future__ import annotations

import base64
import io
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Codes = NDArray[np.uint8]
Colours = Literal["true", "256", "none"]
Protocol = Literal["blocks", "sixel", "kitty"]

RESET = "\x1b[0m"
QUESTION = "\x1b[16t\x1b[c"  # XTWINOPS: how large is a cell? DA1: what can you do? Every terminal answers the latter
BLOCK = "▀"
SHADES = " .,:;i1tfLCG08@"  # from dark to bright, for light text on a dark ground
CELL = (16, 8)  # height and width of a cell in pixels, where the terminal does not tell
_SIXEL = "4"  # among the numbers of a DA1 answer
_SAMPLE = 1 << 16  # pixels that a palette is chosen from
_CHUNK = 4096  # base64 characters of kitty's commands
_RUN = re.compile(rb"(.)\1{3,}", re.DOTALL)  # shorter runs are not shorter as "!3x"
_LUMA_WEIGHT = 2.5  # of colour differences, by eye
_CUBE = (0, 95, 135, 175, 215, 255)  # levels of the 6 x 6 x 6 colours of xterm, 16..231; 24 greys follow


@dataclass(frozen=True)
class Screen:
    """``columns``, ``rows``: cells to fill. ``cell``: height and width of one in pixels, or None where that is not known."""

    columns: int
    rows: int
    cell: tuple[int, int] | None = None


def colours_of(environment: Mapping[str, str]) -> Colours:
    """How many colours a terminal has, by TERM, COLORTERM and NO_COLOR."""
    name = environment.get("TERM", "")
    if environment.get("NO_COLOR") or name in ("", "dumb") or name.startswith("vt"):
        return "none"
    if environment.get("COLORTERM", "").lower() in ("truecolor", "24bit") or name.endswith("-direct"):
        return "true"
    return "256"


def protocol_of(environment: Mapping[str, str]) -> Protocol | None:
    """What the environment alone tells: kitty's graphics or blocks; None where the terminal has to be asked.

    tmux and screen hand variables of the terminal around them down and its graphics not, so there only the answer counts.
    """
    if colours_of(environment) == "none":
        return "blocks"
    name = environment.get("TERM", "")
    if "TMUX" in environment or name.partition("-")[0] in ("tmux", "screen"):
        return None
    program = environment.get("TERM_PROGRAM", "").lower()
    if name in ("xterm-kitty", "xterm-ghostty") or program in ("kitty", "ghostty", "wezterm"):
        return "kitty"
    if environment.get("KITTY_WINDOW_ID"):
        return "kitty"
    return "blocks" if name == "linux" else None  # the console of Linux has none, and shows parts of questions


def answered(text: str) -> bool:
    """Is the answer to QUESTION whole? That to DA1 comes last."""
    return re.search(r"\x1b\[\?[\d;]*c", text) is not None


def protocol_in(answer: str) -> Protocol:
    """Sixel, if the answer to DA1 has it among its numbers; else blocks."""
    found = re.search(r"\x1b\[\?([\d;]*)c", answer)
    return "sixel" if found and _SIXEL in found[1].split(";")[1:] else "blocks"


def cell_in(answer: str) -> tuple[int, int] | None:
    """Height and width of a cell in pixels, where the terminal has told."""
    found = re.search(r"\x1b\[6;(\d+);(\d+)t", answer)
    size = (int(found[1]), int(found[2])) if found else (0, 0)
    return size if min(size) > 0 else None


def fitted(height: int, width: int, screen: Screen, protocol: Protocol) -> tuple[int, int]:
    """The size (h, w) in which a picture is drawn: as large as the screen takes, its shape kept, never larger than it is.

    In pixels of the protocol: those of half blocks are as wide as a cell and half as high.
    """
    cell = screen.cell or CELL
    tall, wide = (cell[0] / 2, cell[1]) if protocol == "blocks" else (1.0, 1.0)
    scale = min(screen.columns * cell[1] / width, screen.rows * cell[0] / height, tall, wide)
    return max(1, round(height * scale / tall)), max(1, round(width * scale / wide))


def blocks(picture: Codes, colours: Colours) -> str:
    """Two pixels a cell, the upper one as the colour of a half block, the lower one as its ground; lines end in a newline."""
    if colours == "none":
        return shades(picture)
    if colours == "256":
        names = np.array([f"5;{i}" for i in range(256)], object)[_nearest(picture)]
    else:
        names = np.array([[f"2;{r};{g};{b}" for r, g, b in row] for row in picture.tolist()], object)
    pairs = ((names[row], names[row + 1] if row + 1 < len(names) else None) for row in range(0, len(names), 2))
    return "".join(f"{_line(upper, lower)}\n" for upper, lower in pairs)


def _line(upper: NDArray[np.object_], lower: NDArray[np.object_] | None) -> str:
    parts: list[str] = []
    ink = ground = None
    for x, colour in enumerate(upper):
        wanted = [] if colour == ink else [f"38;{colour}"]
        ink = colour
        if lower is not None and lower[x] != ground:
            ground = lower[x]
            wanted.append(f"48;{ground}")
        parts.append(f"\x1b[{';'.join(wanted)}m{BLOCK}" if wanted else BLOCK)
    return "".join((*parts, RESET))


def _nearest(picture: Codes) -> NDArray[np.uint8]:
    """Numbers of xterm's 256 colours, ``(h, w)``, by error diffusion (Floyd and Steinberg 1976).

    Pillow would do it a hundred times faster, but with specks that are seen: nearest in RGB is often a grey too bright or too
    dark. Here lightness counts more, so that what is wrong for one pixel is its hue.
    """
    palette, table = _xterm()
    height, width, _ = picture.shape
    found = np.empty((height, width), np.uint8)
    below = [[0.0, 0.0, 0.0] for _ in range(width + 2)]  # error handed down, with a column on either side
    for y, row in enumerate(picture.tolist()):
        here, below = below, [[0.0, 0.0, 0.0] for _ in range(width + 2)]
        for x, pixel in enumerate(row):
            wanted = [min(max(v + e, 0.0), 255.0) for v, e in zip(pixel, here[x + 1])]
            red, green, blue = (int(v) >> 3 for v in wanted)
            number = table[red << 10 | green << 5 | blue]
            found[y, x] = number + 16
            for c, (v, shown) in enumerate(zip(wanted, palette[number])):
                error = (v - shown) / 18  # not all of it, / 16: it would gather where no colour is near, to vivid specks
                here[x + 2][c] += 7 * error
                below[x][c] += 3 * error
                below[x + 1][c] += 5 * error
                below[x + 2][c] += error
    return found


@lru_cache(maxsize=1)
def _xterm() -> tuple[list[tuple[int, ...]], list[int]]:
    """xterm's colours without the first 16, which everyone sets to their taste; the nearest for 5 bits of red, green, blue."""
    palette = [(r, g, b) for r in _CUBE for g in _CUBE for b in _CUBE] + [(8 + 10 * i,) * 3 for i in range(24)]
    # ITU-R BT.601: luma and colour differences
    weights = np.array([[0.299, 0.587, 0.114], [-0.169, -0.331, 0.5], [0.5, -0.419, -0.081]]) * [[_LUMA_WEIGHT], [1], [1]]
    codes = np.linspace(0, 255, 32)
    cells = np.stack(np.meshgrid(codes, codes, codes, indexing="ij"), axis=-1).reshape(-1, 3) @ weights.T
    known = np.array(palette) @ weights.T
    # |a - b|^2 without the part that is the same for all
    nearest = np.argmin((known**2).sum(axis=1) - 2 * cells @ known.T, axis=1)
    return [tuple(colour) for colour in palette], nearest.tolist()


def shades(picture: Codes) -> str:
    """A character a cell, for where there is no colour: brighter pixels have denser ones. Two rows make a line."""
    luma = picture.astype(np.float32) @ np.array([0.2126, 0.7152, 0.0722], np.float32)
    rows = [luma[row : row + 2].mean(axis=0) for row in range(0, len(luma), 2)]
    places = [np.minimum((row * (len(SHADES) / 256)).astype(int), len(SHADES) - 1) for row in rows]
    return "".join("".join(SHADES[i] for i in row).rstrip() + "\n" for row in places)


def sixel(picture: Codes) -> str:
    """As DEC's sixels (VT330/VT340 Programmer Reference Manual, chapter 14): 256 colours by median cut, dithered."""
    percent, indices = _palette(picture)
    height, width = indices.shape
    # P2 = 1: what no sixel covers stays as it is; the raster attributes say square pixels, and the size
    parts = [b'\x1bP0;1;0q"1;1;%d;%d' % (width, height)]
    parts += [b"#%d;2;%d;%d;%d" % (i, *colour) for i, colour in enumerate(percent.tolist())]
    parts += [_band(indices[top : top + 6]) for top in range(0, height, 6)]
    return b"".join((*parts, b"\x1b\\")).decode("ascii")


def _palette(picture: Codes) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """Colours in percent, ``(n, 3)``, and which of them each pixel has."""
    from PIL import Image

    step = max(1, math.isqrt(picture.shape[0] * picture.shape[1] // _SAMPLE))
    few = Image.fromarray(np.ascontiguousarray(picture[step // 2 :: step, step // 2 :: step]))
    chosen = np.array(few.quantize(256, method=Image.Quantize.MEDIANCUT).getpalette(), np.int64).reshape(-1, 3)
    percent = np.unique(np.rint(chosen * (100 / 255)).astype(np.int64), axis=0)
    # dithered to what the terminal will show of these percents
    known = Image.new("P", (1, 1))
    shown = np.rint(percent * (255 / 100)).astype(np.uint8)
    # Pillow looks for the nearest among 256: what is left over repeats the last one, which it then never takes
    known.putpalette(np.concatenate([shown, np.repeat(shown[-1:], 256 - len(shown), axis=0)]).ravel().tolist())
    indices = np.asarray(Image.fromarray(picture).quantize(palette=known, dither=Image.Dither.FLOYDSTEINBERG), np.uint8)
    return percent, np.minimum(indices, len(percent) - 1).astype(np.uint8)


def _band(indices: NDArray[np.uint8]) -> bytes:
    """Up to six rows: colour after colour, each a character a column, "$" between them, "-" at the end."""
    used = np.unique(indices)
    bits = np.packbits(indices[None] == used[:, None, None], axis=1, bitorder="little")[:, 0]
    lines = [b"#%d" % colour + _RUN.sub(_repeated, (row + 63).tobytes().rstrip(b"?")) for colour, row in zip(used, bits)]
    return b"$".join(lines) + b"-"


def _repeated(run: re.Match[bytes]) -> bytes:
    return b"!%d%b" % (len(run[0]), run[1])


def kitty(picture: Codes, columns: int | None = None) -> str:
    """As a PNG in commands of kitty's graphics protocol; ``columns``: cells to scale it to, else a pixel is a pixel.

    https://sw.kovidgoyal.net/kitty/graphics-protocol
    """
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(picture).save(file, "PNG")
    return "".join(_commands(base64.b64encode(file.getvalue()).decode("ascii"), columns))


def _commands(text: str, columns: int | None) -> Iterator[str]:
    # a=T: show it; f=100: a PNG; q=2: no answer, which would end up in the shell
    keys = "a=T,f=100,q=2," + ("" if columns is None else f"c={columns},")
    for at in range(0, len(text), _CHUNK):
        yield f"\x1b_G{keys}m={int(at + _CHUNK < len(text))};{text[at : at + _CHUNK]}\x1b\\"
        keys = ""
