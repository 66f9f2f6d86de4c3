"""Free memory as systems tell it, and what is started with few threads."""

import os
from pathlib import Path

from hdrcli import machine


def test_free_memory(tmp_path: Path) -> None:
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert 0 < machine.free_memory() <= total
    (tmp_path / "max").write_text("max\n")
    assert machine._number_in(str(tmp_path / "max")) is None
    assert machine._number_in(str(tmp_path / "gone")) is None
    (tmp_path / "meminfo").write_text("MemTotal:  9 kB\nMemAvailable:   7 kB\n")
    assert machine._number_after(str(tmp_path / "meminfo"), "MemAvailable:", 1024) == 7168
    assert machine._number_after(str(tmp_path / "gone"), "MemAvailable:", 1024) is None


def test_what_is_started_has_few_threads_and_nothing_is_left_behind() -> None:
    before = dict(os.environ)
    with machine.few_threads(3):
        assert os.environ["OMP_NUM_THREADS"] == "3"
        assert os.environ[machine.THREADS_OF_NUMPY] == "1"
    assert dict(os.environ) == before
