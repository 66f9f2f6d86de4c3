"""Noise of C libraries is kept, Python's own streams go on, also with threads; lack of memory keeps its name."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import cv2
import pytest

from hdrcli.formats._native import quiet


def test_noise_is_kept_and_streams_restored(capfd):
    with quiet() as said:
        os.write(2, b"libnoise: hm\n")
        os.write(1, b"libchat: hello\n")
    assert said == ["libnoise: hm\nlibchat: hello\n"]
    os.write(1, b"out")
    os.write(2, b"err")
    assert capfd.readouterr() == ("out", "err")


def test_errors_pass_through(capfd):
    heard = []

    def fail():
        with quiet() as said:
            heard.append(said)
            os.write(2, b"noise")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert heard == [["noise"]]
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(("name", "descriptor"), [("stdout", 1), ("stderr", 2)])
def test_pythons_streams_go_on(capfd, monkeypatch, name, descriptor):
    with open(descriptor, "w", closefd=False) as stream:
        monkeypatch.setattr(sys, name, stream)
        stream.write("before ")
        with quiet() as said:
            print("progress", file=getattr(sys, name))
            os.write(descriptor, b"noise")
        assert getattr(sys, name) is stream
        print("after", file=stream)
    assert said == ["noise"]
    assert getattr(capfd.readouterr(), name[3:]) == "before progress\nafter\n"


@pytest.mark.skipif(os.name != "posix", reason="C's stdout")
def test_what_c_holds_back_is_kept_too():
    # C's stdout is buffered only where it is no terminal and Python has not switched that off
    script = """
import ctypes
from hdrcli.formats._native import quiet
c = ctypes.CDLL(None)
c.printf(b"before\\n")
with quiet() as said:
    c.printf(b"chatter\\n")
c.printf(b"after\\n")
assert said == ["chatter\\n"], said
"""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "before\nafter\n", "")


@pytest.mark.skipif(os.name != "posix", reason="a shell")
@pytest.mark.parametrize("closed", ["1>&-", "2>&-", "1>&- 2>&-"])
def test_closed_streams_need_no_quiet(closed):
    script = "from hdrcli.formats._native import quiet\nwith quiet() as said: pass\nassert said == ['']"
    line = f'exec {sys.executable} -c "$0" {closed}'
    assert subprocess.run(["sh", "-c", line, script], timeout=60, check=False).returncode == 0


def test_needs_no_place_for_temporary_files(monkeypatch, tmp_path):
    if not hasattr(os, "memfd_create"):
        pytest.skip("files in memory")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "nowhere"))
    with quiet() as said:
        os.write(2, b"noise")
    assert said == ["noise"]


def test_temporary_files_do_elsewhere(monkeypatch):
    monkeypatch.delattr(os, "memfd_create", raising=False)
    with quiet() as said:
        os.write(2, b"noise")
    assert said == ["noise"]


def test_endless_noise_is_cut():
    with quiet() as said:
        for _ in range(100):
            os.write(2, bytes(10_000))
    assert len(said[0]) == 65536


def test_threads_take_turns(capfd):
    heard = []

    def work(i):
        for _ in range(20):
            with quiet() as said:
                os.write(2, b"%d" % i)
            heard.append((str(i), said[0]))

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(heard) == 80
    assert all(sent == got for sent, got in heard)
    assert capfd.readouterr() == ("", "")


def test_lack_of_memory_is_no_damage():
    def raise_of_cv2(code):
        error = cv2.error("OpenCV said something")
        error.code, error.err = code, "Failed to allocate\n12 bytes"
        raise error

    with pytest.raises(MemoryError, match="Failed to allocate 12 bytes"), quiet():
        raise_of_cv2(-4)
    with pytest.raises(cv2.error), quiet():
        raise_of_cv2(-215)


@pytest.mark.skipif(os.name != "posix", reason="descriptors in /dev/fd")
def test_no_descriptor_is_left_open():
    with quiet():
        pass
    before = sorted(Path("/dev/fd").iterdir())
    for _ in range(5):
        with quiet():
            pass
    assert sorted(Path("/dev/fd").iterdir()) == before
