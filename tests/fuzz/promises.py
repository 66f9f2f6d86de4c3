"""Small files whose headers promise hundreds of megapixels, and a process with little memory that reads them.

python tests/fuzz/promises.py      a line of JSON a file: format, size, error, seconds
"""

from __future__ import annotations

import json
import struct
import sys
import tempfile
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import worker
from corpus import corpus

from hdrcli import formats
from hdrcli.errors import HdrcliError

# one that the limit of 400 megapixels allows, one that it doesn't, and others that don't fit usual types
SIZES = ((19_950, 20_000), (25_000, 20_000), (1 << 20, 380), (1 << 21, 100), (60_000, 60_000), (1, 1 << 30))
SECONDS = 0.5
MEMORY = 96 << 20  # a quarter of the codes of the smallest


def png(width: int, height: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(90_000))) + chunk(b"IEND", b"")


def jpeg(width: int, height: int) -> bytes:
    data = next(d for d in corpus("jpeg").values() if b"\xff\xc0" in d)
    place = data.index(b"\xff\xc0") + 5
    return data[:place] + struct.pack(">HH", height, width) + data[place + 4 :]


def webp(width: int, height: int) -> bytes:
    # lossy: a lossless picture of one colour may have any size, it takes no bits at all
    body = b"\x50\x02\x00\x9d\x01\x2a" + struct.pack("<HH", width, height) + bytes(range(60))
    chunk = b"VP8 " + struct.pack("<I", len(body)) + body
    return b"RIFF" + struct.pack("<I", len(chunk) + 4) + b"WEBP" + chunk


def bmp(width: int, height: int) -> bytes:
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 54 + 200, 0, 0, 54) + header + bytes(200)


def gif(width: int, height: int) -> bytes:
    screen = b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + bytes(range(6))
    picture = b"," + struct.pack("<HHHHB", 0, 0, width, height, 0) + b"\x02" + b"\x64" + bytes(range(100)) + b"\x00"
    return screen + picture + b";"


def tiff(width: int, height: int) -> bytes:
    # SHORT 3, LONG 4; one strip of all rows, Deflate: the compression that promises most
    entries = ((256, 4, width), (257, 4, height), (258, 3, 8), (259, 3, 8), (262, 3, 1), (273, 4, 122), (277, 3, 1))
    entries += ((278, 4, height), (279, 4, 100))
    directory = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in entries)
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + directory + bytes(4) + zlib.compress(bytes(90_000)).ljust(100)


def pfm(width: int, height: int) -> bytes:
    return b"PF\n%d %d\n-1.0\n" % (width, height) + bytes(120)


def radiance(width: int, height: int) -> bytes:
    head = b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y %d +X %d\n" % (height, width)
    return head + bytes((2, 2, width >> 8 & 255, width & 255)) + b"\xff\x80" * 50


def exr(width: int, height: int) -> bytes:
    data = corpus("exr")["grey"]
    for name in (b"dataWindow\0box2i\0", b"displayWindow\0box2i\0"):
        place = data.index(name) + len(name) + 4
        data = data[:place] + struct.pack("<4i", 0, 0, width - 1, height - 1) + data[place + 16 :]
    return data


MAKERS: dict[str, tuple[Callable[[int, int], bytes], int]] = {  # and the longest side that the header can say
    "png": (png, 1 << 31),
    "jpeg": (jpeg, 65535),
    "webp": (webp, (1 << 14) - 1),
    "bmp": (bmp, 1 << 31),
    "gif": (gif, 65535),
    "tiff": (tiff, 1 << 32),
    "pfm": (pfm, 1 << 31),
    "radiance": (radiance, 1 << 31),
    "exr": (exr, 1 << 31),
}


def main() -> int:
    with worker.streams_into_files():
        worker.warm_up(tuple(MAKERS))
    worker.limit_memory(MEMORY)
    with tempfile.TemporaryDirectory() as folder:
        for format, (make, longest) in MAKERS.items():
            for width, height in {(min(w, longest), min(h, longest)) for w, h in SIZES}:
                path = Path(folder) / "file"
                path.write_bytes(make(width, height))
                started = time.perf_counter()
                try:
                    formats.module_for_name(format).read(path)
                    outcome = "was read"
                except (HdrcliError, MemoryError) as error:
                    outcome = type(error).__name__
                seconds = time.perf_counter() - started
                print(json.dumps({"format": format, "size": (width, height), "outcome": outcome, "seconds": seconds}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
