from __future__ import annotations

import json
import subprocess
import sys

import pytest

import hdrcli


def test_exported_names() -> None:
    assert sorted(hdrcli.__all__) == [
        "ExpandOptions",
        "Expansion",
        "HdrcliError",
        "Image",
        "Metadata",
        "TonemapOptions",
        "WriteOptions",
        "__version__",
        "expand",
        "read",
        "tonemap",
        "write",
    ]
    for name in hdrcli.__all__:
        assert getattr(hdrcli, name) is not None
    assert dir(hdrcli) == sorted(hdrcli.__all__)


def test_other_names_are_missing() -> None:
    with pytest.raises(AttributeError, match="enhance"):
        hdrcli.enhance  # noqa: B018


def test_importing_it_costs_nothing() -> None:
    script = "import sys, json, hdrcli; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert not {"numpy", "cv2", "torch", "onnxruntime", "typer", "rich"} & set(json.loads(done.stdout))
