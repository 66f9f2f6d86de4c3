from __future__ import annotations

import contextlib
import os
import re
import select
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import terminal_decoders
from command_line import Cli, codes, files, save, spawn

import hdrcli
from hdrcli.color import Transfer
from hdrcli.conversion import TonemapOptions
from hdrcli.image import Image
from hdrcli.viewing import light

TRUE = {"TERM": "xterm-256color", "COLORTERM": "truecolor"}


@pytest.fixture(autouse=True)
def _a_plain_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever terminal the tests run in: this one."""
    for name in ("NO_COLOR", "KITTY_WINDOW_ID", "TERM_PROGRAM", "TMUX", "COLUMNS", "LINES"):
        monkeypatch.delenv(name, raising=False)
    for name, value in TRUE.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def scene() -> Path:
    ramp = np.geomspace(0.01, 100, 48 * 64, dtype=np.float32).reshape(48, 64, 1) * np.array([1, 0.8, 0.6], np.float32)
    hdrcli.write(Image(ramp, Transfer.LINEAR), "scene.exr")
    return Path("scene.exr")


def picture_of(out: str) -> np.ndarray:
    return terminal_decoders.half_blocks(out.partition("\n")[2])


def test_hdr_is_shown_tone_mapped(cli: Cli, scene: Path) -> None:
    ran = cli("view", scene, "--protocol", "blocks", "-t", "hable", "--ev", "1")
    assert (ran.code, ran.err) == (0, "")
    caption = ran.out.partition("\n")[0]
    assert caption == "scene.exr  64 x 48, HDR, 13.3 stops, 50 % above 1.0, peak +6.4, hable, +1 EV"
    expected = light.display(hdrcli.read(scene), (42, 56), TonemapOptions("hable", ev=1))
    assert np.array_equal(picture_of(ran.out), expected)  # 21 of 24 rows


def test_ldr_is_shown_as_it_is(cli: Cli, photo: Path) -> None:
    ran = cli("view", photo, "--protocol", "blocks", "--columns", "64")
    assert ran.out.startswith("photo.png  64 x 48, LDR, 16.7 % clipped\n")
    assert np.array_equal(picture_of(ran.out), codes()[..., ::-1])


def test_parameters_count(cli: Cli, scene: Path) -> None:
    shown = [picture_of(cli("view", scene, "--protocol", "blocks", "-t", "mulaw", *p).out) for p in ((), ("-p", "mu=20"))]
    assert shown[1].mean() < shown[0].mean() - 10


def test_graphics(cli: Cli, photo: Path) -> None:
    out = cli("view", photo, "--protocol", "kitty", "--columns", "4").out.partition("\n")[2]
    assert out.endswith("\x1b\\\n")
    picture, keys = terminal_decoders.kitty(out[:-1])
    assert picture.shape == (24, 32, 3)
    assert keys["c"] == "4"
    out = cli("view", photo, "--protocol", "sixel").out.partition("\n")[2]
    assert np.nanmax(np.abs(terminal_decoders.sixel(out[:-1]).mean(axis=(0, 1)) - codes()[..., ::-1].mean(axis=(0, 1)))) < 4


def test_several_files_one_after_the_other(cli: Cli, photo: Path, scene: Path) -> None:
    ran = cli("view", photo, "missing.exr", scene, "--protocol", "blocks")
    assert (ran.code, len(ran.lines)) == (3, 1)
    assert "missing.exr: no such file" in ran.err
    assert [line.partition("  ")[0] for line in ran.out.splitlines() if "x 48" in line] == ["photo.png", "scene.exr"]


def test_standard_input(scene: Path) -> None:
    done = spawn("view", "-", "--protocol", "blocks", stdin=scene.read_bytes(), PYTHONUTF8="1")
    assert done.returncode == 0
    assert done.stdout.decode().startswith("standard input  64 x 48, HDR")


@pytest.mark.parametrize("environment", [{"NO_COLOR": "1"}, {"TERM": "dumb"}, {"PYTHONIOENCODING": "ascii"}])
def test_without_colours_there_are_shades(scene: Path, environment: dict[str, str]) -> None:
    done = spawn("view", str(scene), "--protocol", "blocks", "--columns", "40", **environment)
    text = done.stdout.decode("ascii")
    assert (done.returncode, "\x1b" in text) == (0, False)
    lines = text.splitlines()[1:]
    assert len(lines) == 15
    assert set(lines[-1]) <= set("G08@")
    assert lines[0].strip() == ""


def test_256_colours(cli: Cli, photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLORTERM")
    out = cli("view", photo, "--protocol", "blocks").out
    assert "38;2;" not in out
    expected = light.display(hdrcli.read(photo), (42, 56), TonemapOptions("reinhard"))
    assert np.abs(picture_of(out).mean(axis=(0, 1)) - expected.mean(axis=(0, 1))).max() < 5


def test_names_stay_one_line(cli: Cli) -> None:
    save("a.png").rename("line\nbreak.png")
    assert cli("view", "line\nbreak.png", "--protocol", "blocks").out.startswith(r"line\nbreak.png  64 x 48")


def test_a_page(cli: Cli, scene: Path) -> None:
    ran = cli("view", scene, "--html", "--side", "32")
    assert (ran.code, ran.out) == (0, "")
    assert re.fullmatch(r"scene\.exr -> scene\.html  1 picture, 0\.\d MB\n", ran.err)
    text = Path("scene.html").read_text(encoding="utf-8")
    assert text.startswith("<!DOCTYPE html>")
    assert '<option value="reinhard" selected>' in text
    assert '"width": 32, "height": 24' in text.replace("&quot;", '"')
    again = cli("view", scene, "--html")
    assert (again.code, len(again.lines)) == (1, 1)
    assert "scene.html: exists already" in again.err
    assert Path("scene.html").read_text(encoding="utf-8") == text
    assert cli("view", scene, "--html", "--overwrite", "-t", "agx", "--ev", "-2.5").code == 0
    text = Path("scene.html").read_text(encoding="utf-8")
    assert '<option value="agx" selected>' in text
    assert 'value="-2.5"' in text


def test_the_same_page_twice(cli: Cli, scene: Path) -> None:
    for name in ("a.html", "b.html"):
        assert cli("view", scene, "-o", name).code == 0
    assert Path("a.html").read_bytes() == Path("b.html").read_bytes()


def figures(page: str) -> list[list[str]]:
    """Titles of the pictures side by side."""
    text = Path(page).read_text(encoding="utf-8")
    return [re.findall(r'<p class="hv-title"><b>(.*?)</b>', part) for part in text.split('<figure class="hv"')[1:]]


def test_a_photo_and_its_expansion_stand_side_by_side(cli: Cli, photo: Path, scene: Path) -> None:
    assert cli("expand", photo, "-m", "linear").code == 0
    assert cli("view", photo, scene, "photo.exr", "-o", "page.html").code == 0
    assert figures("page.html") == [["photo.png", "photo.exr"], ["scene.exr"]]
    assert '<option value="reinhard" selected>' in Path("page.html").read_text(encoding="utf-8")
    assert cli("view", photo, "photo.exr", "--html").code == 0
    assert figures("photo.html") == [["photo.png", "photo.exr"]]
    assert '<option value="" selected>' in Path("photo.html").read_text(encoding="utf-8")


def test_what_has_another_shape_stands_alone(cli: Cli, photo: Path, scene: Path) -> None:
    wide = save("wide.png", codes(20, 64))
    wide.rename("scene.png")
    assert cli("view", "scene.exr", "scene.png", "photo.png", "--html").code == 0
    assert sorted(figures("scene.html")) == [["photo.png"], ["scene.exr"], ["scene.png"]]


def test_beside(cli: Cli, photo: Path, scene: Path) -> None:
    save("large.png", codes(480, 640))
    save("wide.png", codes(20, 64))
    ran = cli("view", scene, "wide.png", "large.png", photo, "--beside", "-o", "page.html")
    assert (ran.code, len(ran.lines)) == (3, 2)
    assert "wide.png: is 64 x 20, which can't stand beside 64 x 48" in ran.lines[0]
    assert figures("page.html") == [["scene.exr", "large.png", "photo.png"]]
    assert "3 pictures" in ran.lines[1]


def test_a_page_to_standard_output(photo: Path) -> None:
    done = spawn("view", str(photo), "-o", "-")
    assert done.returncode == 0
    assert done.stdout.startswith(b"<!DOCTYPE html>")
    assert done.stdout.endswith(b"</html>\n")
    assert files() == {"photo.png"}


def test_a_page_of_nothing_is_not_written(cli: Cli, photo: Path) -> None:
    Path("broken.png").write_bytes(photo.read_bytes()[:60])
    ran = cli("view", "missing.exr", "broken.png", "-o", "page.html")
    assert (ran.code, len(ran.lines)) == (1, 2)
    assert not Path("page.html").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ([], 2, ("Missing argument 'FILE...'",)),
        (["scene.exr"], 2, ("standard output is no terminal", "--html", "--protocol blocks")),
        (["scene.exr", "--protocol", "regis"], 2, ("'blocks', 'sixel', 'kitty'",)),
        (["scene.exr", "--protocol", "blocks", "--columns", "0"], 2, ("--columns: 0 is not within 1..10000",)),
        (["scene.exr", "--protocol", "blocks", "--beside"], 2, ("--beside: is for a page", "--html")),
        (["scene.exr", "--protocol", "blocks", "--side", "99"], 2, ("--side: is for a page",)),
        (["scene.exr", "--protocol", "blocks", "--overwrite"], 2, ("--overwrite: is for a page",)),
        (["scene.exr", "--protocol", "blocks", "--html"], 2, ("--protocol: is for the terminal",)),
        (["scene.exr", "--columns", "9", "-o", "x.html"], 2, ("--columns: is for the terminal",)),
        (["scene.exr", "--html", "--side", "3"], 2, ("--side: 3 is not within 16..8192",)),
        (["scene.exr", "--html", "--ev", "40"], 2, ("--ev: ",)),
        (["scene.exr", "--html", "--ev", "nan"], 2, ("--ev: ",)),
        (["scene.exr", "--html", "-t", "reinhart"], 2, ("did you mean reinhard?",)),
        (["scene.exr", "--html", "-t", "learned"], 2, ("learned is more than a page can compute", "reinhard")),
        (["scene.exr", "--html", "-p", "kee=1"], 2, ("kee", "key, white")),
        (["scene.exr", "--protocol", "blocks", "-t", "reinhart"], 2, ("did you mean reinhard?",)),
        (["scene.exr", "--protocol", "blocks", "-p", "key=dark"], 2, ("key: 'dark' is no float",)),
        (["scene.exr", "scene.hdr", "--html", "-p", "key=1"], 2, ("-p: belongs to an operator", "-t")),
        (["scene.exr", "-o", "page.png"], 2, ("page.png: view writes pages", "tonemap")),
        (["scene.exr", "-o", "nowhere/page.html"], 1, ("nowhere/page.html: ", "folder")),
        (["scene.exr", "photo.html", "-o", "photo.html", "--overwrite"], 2, ("photo.html: is the input itself",)),
        (["-", "--html"], 2, ("-: has no name", "-o")),
        (["missing.exr", "--html"], 1, ("missing.exr: no such file",)),
        (["missing.exr", "--protocol", "blocks"], 1, ("missing.exr: no such file",)),
        (["scene.exr", "--protocol", "blocks", "-t", "learned", "-m", "nobody"], 4, ("nobody",)),
    ],
)
def test_faults(cli: Cli, scene: Path, photo: Path, arguments: list[str], code: int, words: tuple[str, ...]) -> None:
    photo.rename("photo.html")  # a picture, whatever its name says
    hdrcli.write(hdrcli.read(scene), "scene.hdr")
    before = files()
    ran = cli("view", *arguments)
    assert (ran.code, ran.out, len(ran.lines)) == (code, "", 1)
    assert ran.err.startswith("hdrcli: ")
    for word in words:
        assert word in ran.err
    assert files() == before


class Terminal:
    """A terminal with one program in it, which answers the question of what it can do, or not."""

    def __init__(self, *arguments: str, answer: bytes, cell: tuple[int, int] = (0, 0), **environment: str) -> None:
        import fcntl
        import struct
        import termios

        self.master, slave = os.openpty()
        size = struct.pack("HHHH", 24, 80, 80 * cell[1], 24 * cell[0])
        fcntl.ioctl(slave, termios.TIOCSWINSZ, size)
        self.before = termios.tcgetattr(slave)
        # makes the terminal its own, so that /dev/tty is it
        start = "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.executable, sys.argv[1:])"
        command = [sys.executable, "-c", start, sys.executable, "-m", "hdrcli", "view", *arguments]
        child = subprocess.Popen(
            command, stdin=slave, stdout=slave, stderr=slave, start_new_session=True, env={**os.environ, **TRUE, **environment}
        )
        self.output = self._served(child, answer)
        self.code = child.wait(30)
        self.after = termios.tcgetattr(slave)
        self.left = bool(select.select([slave], [], [], 0)[0])  # something that a shell would take for typed
        os.close(slave)
        os.close(self.master)

    def _served(self, child: subprocess.Popen[bytes], answer: bytes) -> bytes:
        output, asked, end = b"", False, time.monotonic() + 60
        while time.monotonic() < end:
            ready = select.select([self.master], [], [], 0.05)[0]
            if not ready and child.poll() is not None:
                return output
            with contextlib.suppress(OSError):
                output += os.read(self.master, 1 << 16) if ready else b""
            if not asked and b"\x1b[c" in output:
                asked = True
                os.write(self.master, answer)
        child.kill()
        raise TimeoutError(output)

    @property
    def lines(self) -> str:
        return self.output.decode().replace("\r\n", "\n")


@pytest.mark.skipif(os.name != "posix", reason="pseudo-terminals")
def test_in_a_terminal_with_sixels(photo: Path) -> None:
    shown = Terminal(str(photo), answer=b"\x1b[6;20;10t\x1b[?62;4;22c")
    assert shown.code == 0
    question, caption, drawn = re.fullmatch("(.*?)\x1b\\[1m(.*?)\n(.*)\n", shown.lines, re.DOTALL).groups()
    assert question == "\x1b[16t\x1b[c"
    assert "photo.png\x1b[0m  64 x 48, LDR" in caption
    assert terminal_decoders.sixel(drawn).shape == (48, 64, 3)
    assert shown.after == shown.before
    assert not shown.left


@pytest.mark.skipif(os.name != "posix", reason="pseudo-terminals")
def test_in_a_terminal_without_graphics(scene: Path) -> None:
    shown = Terminal(str(scene), answer=b"\x1b[?65;1;9c", cell=(24, 8))
    drawn = shown.lines.partition("peak +6.4, reinhard\n")[2]
    assert terminal_decoders.half_blocks(drawn).shape == (32, 64, 3)  # pixels of 12 x 8
    assert (shown.code, shown.after == shown.before, shown.left) == (0, True, False)


@pytest.mark.skipif(os.name != "posix", reason="pseudo-terminals")
def test_in_a_terminal_that_does_not_answer(scene: Path) -> None:
    shown = Terminal(str(scene), answer=b"\x1b[?6")  # nor does half an answer reach the shell
    assert "▀" in shown.lines
    assert (shown.code, shown.after == shown.before, shown.left) == (0, True, False)


@pytest.mark.skipif(os.name != "posix", reason="pseudo-terminals")
def test_in_kitty(photo: Path) -> None:
    shown = Terminal(str(photo), answer=b"", cell=(20, 10), TERM="xterm-kitty")
    picture, keys = terminal_decoders.kitty("\x1b_G" + shown.lines.partition("\x1b_G")[2][:-1])
    assert np.array_equal(picture, codes()[..., ::-1])
    assert "c" not in keys
    assert shown.code == 0


@pytest.mark.skipif(os.name != "posix", reason="pseudo-terminals")
def test_what_is_no_terminal_is_not_asked(photo: Path) -> None:
    shown = Terminal(str(photo), "--protocol", "blocks", answer=b"")
    assert "\x1b[c" not in shown.lines
    assert shown.code == 0
