"""Noise of C libraries is kept, Python's own stderr goes on, also with threads."""

import os
import sys
import threading

import pytest

from hdrcli.formats._native import quiet_stderr


def test_noise_is_kept_and_stderr_restored(capfd):
    with quiet_stderr() as said:
        os.write(2, b"libnoise: hm\n")
    assert said == ["libnoise: hm\n"]
    os.write(2, b"after")
    assert capfd.readouterr().err == "after"


def test_errors_pass_through(capfd):
    heard = []

    def fail():
        with quiet_stderr() as said:
            heard.append(said)
            os.write(2, b"noise")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert heard == [["noise"]]
    assert capfd.readouterr().err == ""


def test_pythons_stderr_goes_on(capfd, monkeypatch):
    with open(2, "w", closefd=False) as stderr:
        monkeypatch.setattr(sys, "stderr", stderr)
        with quiet_stderr() as said:
            print("progress", file=sys.stderr)
            os.write(2, b"noise")
        assert sys.stderr is stderr
    assert said == ["noise"]
    assert capfd.readouterr().err == "progress\n"


def test_threads_take_turns(capfd):
    heard = []

    def work(i):
        for _ in range(20):
            with quiet_stderr() as said:
                os.write(2, b"%d" % i)
            heard.append((str(i), said[0]))

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(sent == got for sent, got in heard)
    assert capfd.readouterr().err == ""
