"""Full disks, too little memory, signals, links, pipes and odd names, through the whole program."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from command_line import Cli, files, save

import hdrcli
from hdrcli.color import Transfer
from hdrcli.image import Image

pytestmark = pytest.mark.skipif(os.name != "posix", reason="limits, links and signals as POSIX has them")


def child(script: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


# --- full disk --------------------------------------------------------------------------------------------------------------

FULL_DISK = """
import resource, sys
from hdrcli.cli.app import main
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, resource.RLIM_INFINITY))  # beyond it writing fails, as on a full disk
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize("output", ["out.exr", "out.hdr"])
@pytest.mark.parametrize("old", [None, b"precious"])
def test_full_disk(photo: Path, output: str, old: bytes | None) -> None:
    if old:
        Path(output).write_bytes(old)
    done = child(FULL_DISK, "expand", photo, "-m", "linear", "-o", output, "--overwrite")
    line = f"hdrcli: {output}: can't be written: File too large (check rights and free space)\n"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", line)
    assert files() == ({"photo.png", output} if old else {"photo.png"})
    assert not old or Path(output).read_bytes() == old


@pytest.mark.parametrize("output", ["out.png", "out.jpg"])
def test_full_disk_of_pictures(output: str) -> None:
    hdrcli.write(Image(np.random.default_rng(0).random((60, 90, 3), np.float32), Transfer.LINEAR), "scene.exr")
    done = child(FULL_DISK, "tonemap", "scene.exr", "-o", output)
    line = f"hdrcli: {output}: can't be written: File too large (check rights and free space)\n"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", line)
    assert files() == {"scene.exr"}


# --- memory -----------------------------------------------------------------------------------------------------------------

LITTLE_MEMORY = """
import os, resource, sys
from pathlib import Path
from hdrcli.cli.app import main

verb, small, big, output, *rest = sys.argv[1:]
assert main([verb, small, "-o", output, "--quiet", *rest]) == 0  # all that is loaded on the way is loaded
Path(output).unlink()
for room in (1, 4, 8):  # MiB: not for the file, not for the codes, not for what is made of them
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    limit = pages * os.sysconf("SC_PAGE_SIZE") + (room << 20)
    resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
    code = main([verb, big, "-o", output, *rest])
    resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    print(room, code)
"""


def big_and_small(kind: str) -> tuple[str, str]:
    """Three megapixels, 9 MB of codes or more, and a few rows of them."""
    import PIL.Image

    rows = np.random.default_rng(0).integers(0, 256, (8, 3000, 3), np.uint8)
    for name, count in (("small", 1), ("big", 125)):
        codes = np.tile(rows, (count, 1, 1))
        if kind in ("webp", "bmp"):
            PIL.Image.fromarray(codes).save(f"{name}.{kind}", **({"lossless": True, "method": 0} if kind == "webp" else {}))
        elif kind in ("exr", "hdr", "pfm"):
            hdrcli.write(Image(codes.astype(np.float32), Transfer.LINEAR), f"{name}.{kind}")
        else:
            hdrcli.write(Image(codes, Transfer.SRGB), f"{name}.{kind}")
    return f"small.{kind}", f"big.{kind}"


@pytest.mark.skipif(sys.platform != "linux", reason="/proc")
@pytest.mark.parametrize("kind", ["png", "jpg", "tif", "webp", "bmp", "exr", "hdr", "pfm"])
def test_lack_of_memory_is_not_called_damage(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MALLOC_ARENA_MAX", "1")  # else freed memory of other threads' arenas makes the limit a matter of luck
    small, big = big_and_small(kind)
    to_ldr = kind in ("exr", "hdr", "pfm")
    arguments = ["tonemap", small, big, "out.png"] if to_ldr else ["expand", small, big, "out.exr", "-m", "linear"]
    done = child(LITTLE_MEMORY, *arguments)
    assert done.stdout.splitlines() == ["1 1", "4 1", "8 1"], done.stderr
    lines = done.stderr.splitlines()
    assert len(lines) == 3, lines
    for line in lines:
        assert line.startswith("hdrcli: ")
        assert line.endswith("not enough memory (close other programs, or use a smaller picture)")
    assert files() == {small, big}


# --- signals ----------------------------------------------------------------------------------------------------------------

# the program itself, but for a writer that stops in the midst of it
SLOW_WRITER = """
import sys, time
from hdrcli.cli.app import main
from hdrcli.formats import exr

def write(image, path, options):
    with path.open("wb") as file:
        file.write(b"half of it")
        file.flush()
        print("ready", flush=True)
        time.sleep(60)

exr.write = write
sys.argv[0] = "hdrcli"
sys.exit(main())
"""


@pytest.mark.parametrize("old", [None, b"precious"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_ended_in_mid_write(photo: Path, number: signal.Signals, old: bytes | None) -> None:
    if old:
        Path("out.exr").write_bytes(old)
    command = [sys.executable, "-c", SLOW_WRITER, "expand", str(photo), "-m", "linear", "-o", "out.exr", "--overwrite"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        (temporary,) = Path().glob(".hdrcli-*")
        assert temporary.read_bytes() == b"half of it"
        process.send_signal(number)
        _, err = process.communicate(timeout=30)
    assert (Path("out.exr").read_bytes() if Path("out.exr").exists() else None) == old
    if number == signal.SIGKILL:
        temporary.unlink()  # nobody was left to do it
    else:
        assert (process.returncode, err.decode()) == (130, "hdrcli: interrupted\n")
        assert not temporary.exists()


# --- links, permissions, pipes, names ---------------------------------------------------------------------------------------


def test_links_are_followed(cli: Cli, photo: Path) -> None:
    Path("far").mkdir()
    photo.rename("far/real.png")
    Path("photo.png").symlink_to("far/real.png")
    Path("out.exr").symlink_to("far/out.exr")
    assert cli("expand", "photo.png", "-m", "linear", "-o", "out.exr").code == 0
    assert Path("out.exr").is_symlink()
    assert hdrcli.read("far/out.exr").width == 64
    ran = cli("expand", "photo.png", "-m", "linear", "-o", "out.exr")
    assert (ran.code, "out.exr: exists already" in ran.err) == (1, True)
    Path("far/out.exr").chmod(0o600)
    assert cli("expand", "photo.png", "-m", "linear", "-o", "out.exr", "--overwrite").code == 0
    assert Path("out.exr").is_symlink()
    assert stat.S_IMODE(Path("far/out.exr").stat().st_mode) == 0o600


def test_a_link_to_the_input_is_the_input(cli: Cli, photo: Path) -> None:
    Path("out.exr").symlink_to("photo.png")
    ran = cli("expand", photo, "-m", "linear", "-o", "out.exr", "--overwrite")
    assert (ran.code, "out.exr: is the input itself" in ran.err) == (2, True)


def test_circles_of_links(cli: Cli, photo: Path) -> None:
    Path("a.exr").symlink_to("b.exr")
    Path("b.exr").symlink_to("a.exr")
    ran = cli("expand", photo, "-m", "linear", "-o", "a.exr", "--overwrite")
    assert (ran.code, ran.err) == (1, "hdrcli: a.exr: is a symbolic link that leads in a circle (remove the link)\n")


def test_pipes_are_no_outputs(cli: Cli, photo: Path) -> None:
    os.mkfifo("out.exr")
    ran = cli("expand", photo, "-m", "linear", "-o", "out.exr", "--overwrite")
    assert (ran.code, ran.err) == (1, "hdrcli: out.exr: is a named pipe, not a file (name a file)\n")
    assert Path("out.exr").is_fifo()
    Path("null.exr").symlink_to(os.devnull)
    ran = cli("expand", photo, "-m", "linear", "-o", "null.exr", "--overwrite")
    assert (ran.code, ran.err) == (1, "hdrcli: null.exr: is a device, not a file (name a file)\n")


def test_devices_are_no_inputs(cli: Cli) -> None:
    started = time.monotonic()
    ran = cli("expand", "/dev/zero", "-m", "linear", "-o", "out.exr")
    assert (ran.code, len(ran.lines), "is a device" in ran.err) == (1, 1, True)
    assert time.monotonic() - started < 5


@pytest.mark.parametrize(
    "name", ["-m.png", "--.png", "a b'\"c.png", "\x1b[31m.png", "größe 絵 🌅.png", "\udcff.png", "x" * 251 + ".png", "*.png"]
)
def test_odd_names(cli: Cli, name: str) -> None:
    try:
        save("a.png").rename(name)
    except OSError:
        pytest.skip("the file system has no such names")
    ran = cli("expand", "-m", "linear", "--", name)
    assert (ran.code, len(ran.lines)) == (0, 1), ran.err
    assert ran.err.rstrip("\n").isprintable()
    assert files() == {name, f"{Path(name).stem}.exr"}
