"""A real cluster: two node processes on this machine, one of which is killed in mid-run."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from photos import batch, converted, photos, tree

from hdrcli.batch.engines import Running
from hdrcli.batch.manifest import NAME
from hdrcli.batch.running import prepared, run
from hdrcli.batch.work import Outcome
from hdrcli.errors import MissingExtra


def test_without_ray(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtra, match=r"--engine ray needs the package ray .*hdrcli\[ray\]"):
        run(batch(photos(tmp_path / "in", 1), tmp_path / "out"), Running(), engine="ray")
    assert tree(tmp_path / "out") == {NAME}


@pytest.fixture
def cluster() -> Iterator[Any]:
    ray = pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    made.add_node(num_cpus=1)
    ray.init(address=made.address, logging_level="ERROR", log_to_driver=False)
    try:
        yield made
    finally:
        ray.shutdown()
        made.shutdown()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of Ray's own making
def test_a_node_that_is_killed(cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = photos(tmp_path / "in", 40)
    (source / "bad.png").write_bytes(b"no photo")
    heard: list[Outcome] = []

    def kill(outcome: Outcome) -> None:
        heard.append(outcome)
        if len(heard) == 8:
            cluster.remove_node(cluster.worker_nodes.copy().pop(), allow_graceful=False)

    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    summary = run(batch(source, tmp_path / "out"), Running(workers=8), engine="ray", report=kill)
    assert (summary.done + summary.current, len(summary.failed), summary.left) == (40, 1, 0)
    assert len({outcome.output for outcome in heard}) == 41
    made = {p.name: p.read_bytes() for p in (tmp_path / "out").glob("*.exr")}
    assert tree(tmp_path / "out") == {NAME, *made}
    assert prepared(batch(source, tmp_path / "out")).current == 40
    # the same as without a cluster
    converted(source, tmp_path / "local")
    assert made == {p.name: p.read_bytes() for p in (tmp_path / "local").glob("*.exr")}
