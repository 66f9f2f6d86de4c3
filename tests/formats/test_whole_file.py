"""Outputs appear whole or not at all: links, permissions, odd names, things that are no files, full disks, killed writers."""

import errno
import os
import signal
import stat
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import numpy as np
import pytest

from hdrcli import formats
from hdrcli.color import Transfer
from hdrcli.errors import MissingInput, OutputExists, UnreadableInput, UnwritableOutput
from hdrcli.formats import check_target, whole_file
from hdrcli.image import Image

posix = pytest.mark.skipif(os.name != "posix", reason="permissions, links and signals as POSIX has them")


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    """Each test works in a folder of its own and leaves no temporary file there."""
    monkeypatch.chdir(tmp_path)
    yield
    assert [p.name for p in tmp_path.rglob(".*")] == []


def write(path, text, *, overwrite=False):
    with whole_file(Path(path), overwrite=overwrite) as temporary:
        temporary.write_text(text, encoding="utf-8")


def mode(path):
    return stat.S_IMODE(Path(path).stat().st_mode)


# --- what becomes of what is there ------------------------------------------------------------------------------------------


def test_new_file():
    with whole_file(Path("a.exr"), overwrite=False) as temporary:
        temporary.write_bytes(b"half")
        assert not Path("a.exr").exists()
        assert (temporary.parent, temporary.suffix) == (Path(), ".exr")
        temporary.write_bytes(b"whole")
    assert Path("a.exr").read_bytes() == b"whole"
    with pytest.raises(OutputExists, match=r"a\.exr: exists already"):
        write("a.exr", "again")
    write("a.exr", "again", overwrite=True)
    assert Path("a.exr").read_text(encoding="utf-8") == "again"


@pytest.mark.parametrize("fault", [ValueError("no"), KeyboardInterrupt(), MemoryError()])
def test_faults_pass_and_leave_the_old_file(fault):
    def work():
        with whole_file(Path("a.exr"), overwrite=True) as temporary:
            temporary.write_text("half", encoding="utf-8")
            raise fault

    Path("a.exr").write_text("old", encoding="utf-8")
    with pytest.raises(type(fault)):
        work()
    assert Path("a.exr").read_text(encoding="utf-8") == "old"


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_file_that_appears_meanwhile(overwrite):
    def race():
        with whole_file(Path("a.exr"), overwrite=overwrite) as temporary:
            temporary.write_text("mine", encoding="utf-8")
            Path("a.exr").write_text("theirs", encoding="utf-8")

    if overwrite:
        race()
    else:
        with pytest.raises(OutputExists, match=r"a\.exr: has appeared meanwhile"):
            race()
    assert Path("a.exr").read_text(encoding="utf-8") == ("mine" if overwrite else "theirs")


@pytest.mark.parametrize("there", [False, True])
def test_file_systems_without_hard_links(monkeypatch, there):
    def refuse(source, target):
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr("os.link", refuse)
    if not there:
        write("a.exr", "mine")
        assert Path("a.exr").read_text(encoding="utf-8") == "mine"
        return
    with pytest.raises(OutputExists), whole_file(Path("a.exr"), overwrite=False):
        Path("a.exr").write_text("theirs", encoding="utf-8")
    assert Path("a.exr").read_text(encoding="utf-8") == "theirs"


# --- permissions ------------------------------------------------------------------------------------------------------------


@posix
@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_new_files_have_the_rights_that_open_gives(umask):
    before = os.umask(umask)
    try:
        write("a.exr", "new")
    finally:
        os.umask(before)
    assert mode("a.exr") == 0o666 & ~umask


@posix
@pytest.mark.parametrize("rights", [0o600, 0o664, 0o444, 0o755])
def test_replaced_files_hand_down_their_rights(rights):
    Path("a.exr").write_text("old", encoding="utf-8")
    Path("a.exr").chmod(rights)
    with whole_file(Path("a.exr"), overwrite=True) as temporary:
        # nobody may look into what will be private
        assert mode(temporary) & 0o077 == 0
        temporary.write_text("new", encoding="utf-8")
    assert (mode("a.exr"), Path("a.exr").read_text(encoding="utf-8")) == (rights, "new")


@posix
def test_file_systems_of_one_mode(monkeypatch):
    def refuse(self, mode):
        raise PermissionError(errno.EPERM, "Operation not permitted")

    Path("a.exr").write_text("old", encoding="utf-8")
    Path("a.exr").chmod(0o600)
    monkeypatch.setattr(Path, "chmod", refuse)
    write("a.exr", "new", overwrite=True)
    assert Path("a.exr").read_text(encoding="utf-8") == "new"


@posix
def test_the_umask_is_left_alone_by_threads():
    # setting and restoring it, the usual way to ask, gives other threads' files the wrong rights for a moment
    before = os.umask(0o027)
    seen = set()

    def work(i):
        for k in range(30):
            write(f"{i}-{k}.exr", "x")
            seen.add(mode(f"{i}-{k}.exr"))

    threads = [threading.Thread(target=work, args=(i,)) for i in range(3)]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        os.umask(before)
    assert seen == {0o640}


# --- links ------------------------------------------------------------------------------------------------------------------


@posix
@pytest.mark.parametrize("absolute", [False, True])
def test_links_stay_and_what_they_lead_to_is_written(tmp_path, absolute):
    Path("far").mkdir()
    Path("far/real.exr").write_text("old", encoding="utf-8")
    Path("far/real.exr").chmod(0o640)
    Path("near.exr").symlink_to(tmp_path / "far/real.exr" if absolute else "far/real.exr")
    Path("again.exr").symlink_to("near.exr")
    with pytest.raises(OutputExists, match=r"again\.exr: exists already"):
        write("again.exr", "new")
    with whole_file(Path("again.exr"), overwrite=True) as temporary:
        assert temporary.resolve().parent == tmp_path / "far", "not on the file system of what is replaced"
        temporary.write_text("new", encoding="utf-8")
    assert Path("again.exr").is_symlink()
    assert Path("near.exr").is_symlink()
    assert not Path("far/real.exr").is_symlink()
    assert (Path("far/real.exr").read_text(encoding="utf-8"), mode("far/real.exr")) == ("new", 0o640)


@posix
@pytest.mark.parametrize("overwrite", [False, True])
def test_dangling_links_get_their_file(overwrite):
    Path("far").mkdir()
    Path("near.exr").symlink_to("far/real.exr")
    write("near.exr", "new", overwrite=overwrite)
    assert Path("near.exr").is_symlink()
    assert Path("far/real.exr").read_text(encoding="utf-8") == "new"


@posix
def test_links_within_a_linked_folder():
    Path("a/b").mkdir(parents=True)
    Path("short").symlink_to("a/b")
    Path("a/b/link.exr").symlink_to("../real.exr")  # a/real.exr, not ./real.exr
    write("short/link.exr", "new")
    assert Path("a/real.exr").read_text(encoding="utf-8") == "new"
    write("short/plain.exr", "new")
    assert Path("a/b/plain.exr").exists()


@posix
def test_links_that_lead_nowhere():
    Path("round.exr").symlink_to("about.exr")
    Path("about.exr").symlink_to("round.exr")
    Path("self.exr").symlink_to("self.exr")
    for name in ("round.exr", "self.exr"):
        for overwrite in (False, True):
            with pytest.raises(UnwritableOutput, match=rf"{name}: is a symbolic link that leads in a circle \("):
                write(name, "x", overwrite=overwrite)
    Path("lost.exr").symlink_to("no/such/real.exr")
    with pytest.raises(UnwritableOutput, match=r"lost\.exr: can't be written: the link leads to a folder that does not exist"):
        write("lost.exr", "x", overwrite=True)
    Path("folder").symlink_to("nowhere")
    with pytest.raises(UnwritableOutput, match="its folder does not exist"):
        write("folder/a.exr", "x")
    Path("dir.exr").symlink_to(".")
    with pytest.raises(UnwritableOutput, match=r"dir\.exr: is a directory"):
        write("dir.exr", "x", overwrite=True)


# --- names and things that are no files -----------------------------------------------------------------------------------

ODD_NAMES = [
    "with space 'and' \"quotes\".exr",
    "-o.exr",
    "line\nbreak.exr",
    "\x1b[31mred.exr",
    "größe 絵 🌅.exr",
    "not UTF-8 \udcff\udcfe.exr",
    "x" * 251 + ".exr",
    "絵" * 83 + "..exr",
    "x." + "y" * 253,
    ".hidden",
    "trailing. ",
    "%s $HOME `ls` ; rm *.exr",
]


@posix
@pytest.mark.parametrize("name", ODD_NAMES, ids=ascii)
def test_odd_names(tmp_path, name):
    try:
        (tmp_path / name).touch()
        (tmp_path / name).unlink()
    except OSError:
        pytest.skip("the file system has no such names")
    write(name, "new")
    write(name, "newer", overwrite=True)
    assert [p.name for p in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text(encoding="utf-8") == "newer"
    with pytest.raises(OutputExists) as raised:
        write(name, "x")
    assert str(raised.value).isprintable()
    (tmp_path / name).unlink()


def test_names_that_no_file_can_have():
    for name in ("a\0b.exr", "x" * 300 + ".exr"):
        with pytest.raises(UnwritableOutput) as raised:
            write(name, "x")
        assert str(raised.value).isprintable()
    with pytest.raises(MissingInput, match="no such file"):
        formats.read("a\0b.exr")


@posix
def test_pipes_and_devices_are_refused():
    os.mkfifo("pipe.exr")
    for path, kind in ((Path("pipe.exr"), "named pipe"), (Path(os.devnull), "device")):
        before = path.stat()
        for overwrite in (False, True):
            with pytest.raises(UnwritableOutput, match=f"is a {kind}, not a file"):
                write(path, "x", overwrite=overwrite)
        assert path.stat()[:2] == before[:2], "was replaced"
        with pytest.raises(UnreadableInput, match=f"is a {kind}, not a file"):
            formats.read(path)
    Path("null.exr").symlink_to(os.devnull)
    with pytest.raises(UnwritableOutput, match=r"null\.exr: is a device"):
        write("null.exr", "x", overwrite=True)


@posix
@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_folder_without_rights_as_it_is():
    Path("closed").mkdir(mode=0o555)
    with pytest.raises(UnwritableOutput, match="no rights to its folder"):
        write("closed/a.exr", "x")


def test_folder_without_rights(monkeypatch):
    monkeypatch.setattr("os.access", lambda path, mode: False)
    with pytest.raises(UnwritableOutput, match="no rights to its folder"):
        check_target(Path("a.exr"), overwrite=False)


def test_a_folder_that_vanishes():
    Path("gone").mkdir()

    def work():
        with whole_file(Path("gone/a.exr"), overwrite=False) as temporary:
            temporary.unlink()
            Path("gone").rmdir()

    with pytest.raises(UnwritableOutput, match=r"a\.exr: can't be written: .*\(make the folder first\)"):
        work()


# --- full disks, killed writers -------------------------------------------------------------------------------------------


def run(script, *arguments, **options):
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        **options,
    )


FULL_DISK = """
import resource, sys
from pathlib import Path
import numpy as np
from hdrcli import formats
from hdrcli.color import Transfer
from hdrcli.errors import UnwritableOutput
from hdrcli.image import Image

kind, limits = sys.argv[1], [int(v) for v in sys.argv[2:]]
noise = np.random.default_rng(0)
hdr = Image(noise.random((60, 90, 3), np.float32), Transfer.LINEAR)
ldr = Image(noise.integers(0, 256, (60, 90, 3), np.uint8), Transfer.SRGB)
for extension, module in formats.written(kind).items():
    path = Path(f"out{extension}")
    for old in (None, b"precious"):
        if old:
            path.write_bytes(old)
        for limit in limits:
            # writing beyond the limit fails with EFBIG as it does with ENOSPC on a full disk: Python ignores SIGXFSZ
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
            try:
                formats.write(hdr if kind == "hdr" else ldr, path, overwrite=bool(old))
            except UnwritableOutput as error:
                words = str(error)
            else:
                words = "was written"
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            assert words == f"out{extension}: can't be written: File too large (check rights and free space)", (limit, words)
            assert [p.name for p in Path().iterdir()] == ([path.name] if old else []), limit
            assert not old or path.read_bytes() == old
        path.unlink(missing_ok=True)
print("done")
"""


@posix
@pytest.mark.parametrize("kind", ["hdr", "ldr"])
def test_full_disk(kind):
    done = run(FULL_DISK, kind, 0, 1, 100, 1000, 4096)
    assert (done.stdout, done.stderr, done.returncode) == ("done\n", "", 0)


WAITS = """
import sys, time
from pathlib import Path
from hdrcli.formats import whole_file

with whole_file(Path(sys.argv[1]), overwrite=True) as temporary:
    temporary.write_bytes(b"half of it")
    print("ready", flush=True)
    time.sleep(60)
"""


@posix
@pytest.mark.parametrize("old", [None, b"precious"])
def test_killed_while_writing(tmp_path, old):
    if old:
        Path("out.exr").write_bytes(old)
    with subprocess.Popen([sys.executable, "-c", WAITS, "out.exr"], stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert (Path("out.exr").read_bytes() if old else Path("out.exr").exists()) == (old or False)
    # the name tells whose it was; nothing takes it for a picture
    (left,) = [p for p in tmp_path.iterdir() if p.name != "out.exr"]
    assert left.name.startswith(".hdrcli-")
    left.unlink()
    write("out.exr", "whole", overwrite=True)
    assert Path("out.exr").read_text(encoding="utf-8") == "whole"


def test_written_pictures_are_whole():
    image = Image(np.ones((3, 4, 3), np.float32), Transfer.LINEAR)
    for extension in formats.written("hdr"):
        formats.write(image, f"a{extension}")
        np.testing.assert_array_equal(formats.read(f"a{extension}").pixels, image.pixels)
