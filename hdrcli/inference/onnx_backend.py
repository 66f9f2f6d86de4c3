"""Generators in ONNX Runtime: CUDA where it really works, else the CPU."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Mapping
from typing import Any

from hdrcli.errors import MissingExtra, ModelError, UsageError
from hdrcli.inference.bundles import Bundle, verified_bytes
from hdrcli.inference.generator import Floats, GeneratorSpec, checked, device_kind


def runtime() -> Any:
    """The module onnxruntime, its telemetry off. Raises MissingExtra."""
    # read at its import: else 1.31 keeps a database of events in the user's cache, and a file in the temporary folder
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    try:
        import onnxruntime
    except ImportError:
        raise MissingExtra("onnxruntime", "train", purpose="running a bundle") from None
    return onnxruntime


def cuda_driver_present() -> bool:
    """Is there an NVIDIA driver? (onnxruntime-gpu lists CUDA as available even where there is none.)"""
    try:
        ctypes.CDLL("libcuda.so.1" if os.name == "posix" else "nvcuda.dll")
    except OSError:
        return False
    return True


class OnnxGenerator:
    """A bundle's G_Y in ONNX Runtime."""

    def __init__(self, spec: GeneratorSpec, session: Any, ran_on: str) -> None:
        self.spec, self._session, self.ran_on = spec, session, ran_on

    def __call__(self, inputs: Mapping[str, Floats]) -> Floats:
        """See :class:`hdrcli.inference.generator.Generator`."""
        try:
            t = self._session.run(None, {name: inputs[name] for name in self.spec.inputs})[0]
        except Exception as error:  # ONNX Runtime's exceptions share no base class of their own
            raise ModelError("the network fails in ONNX Runtime", where=self.spec.origin, remedy="use another model") from error
        return checked(t, inputs, self.spec)


def load(bundle: Bundle, device: str = "auto") -> OnnxGenerator:
    """A bundle's G_Y. ``device``: "auto", "cpu", "cuda" or "cuda:N".

    Raises UsageError if CUDA is asked for and can't be had, ModelError for a file that is tampered with or no such network.
    """
    ort = runtime()
    kind, number = device_kind(device)
    spec = bundle.spec()
    content = verified_bytes(bundle, bundle.file("g_y").name)
    providers: list[Any] = ["CPUExecutionProvider"]
    if kind in ("auto", "cuda") and cuda_driver_present() and "CUDAExecutionProvider" in ort.get_available_providers():
        if hasattr(ort, "preload_dlls"):
            ort.preload_dlls()
        providers.insert(0, ("CUDAExecutionProvider", {"device_id": number}))
    options = ort.SessionOptions()
    options.log_severity_level = 4  # faults come as exceptions; the log would only add noise on stderr
    try:
        session = ort.InferenceSession(content, options, providers=providers)
    except Exception as error:  # ONNX Runtime's exceptions share no base class of their own
        raise ModelError("is no network that ONNX Runtime can run", where=bundle.folder, remedy="export it again") from error
    if sorted(i.name for i in session.get_inputs()) != sorted(spec.inputs):
        have = ", ".join(i.name for i in session.get_inputs())
        raise ModelError(
            f"the network's inputs ({have}) are not those on its card", where=bundle.folder, remedy="export it again"
        )
    used = "CUDA" if session.get_providers()[0] == "CUDAExecutionProvider" else "CPU"
    if kind == "cuda" and used != "CUDA":
        raise UsageError(
            "ONNX Runtime can't use CUDA here", where=f"--device {device}", remedy="use --device cpu, or install hdrcli[cuda]"
        )
    return OnnxGenerator(spec, session, f"ONNX Runtime {ort.__version__}, {used}")
