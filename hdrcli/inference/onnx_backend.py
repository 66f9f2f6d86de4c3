"""Generators in ONNX Runtime: CUDA where it really works, else the CPU."""

from __future__ import annotations

import ctypes
import io
import os
from collections.abc import Mapping
from contextlib import redirect_stdout
from typing import Any

import numpy as np

from hdrcli.errors import MissingRequirement, ModelError
from hdrcli.inference.bundles import Bundle, verified_bytes
from hdrcli.inference.generator import Floats, GeneratorSpec, checked, device_kind
from hdrcli.parallel import threads


def runtime() -> Any:
    """The module onnxruntime, its telemetry off. Raises MissingRequirement if it is missing or can't be loaded."""
    # read at its import: else 1.31 keeps a database of events in the user's cache, and a file in the temporary folder
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    try:
        import onnxruntime
    except ImportError as error:
        install = "pip install onnxruntime-gpu, or onnxruntime where there is no such wheel"
        if isinstance(error, ModuleNotFoundError) and error.name == "onnxruntime":
            raise MissingRequirement(
                "running a bundle needs the package onnxruntime", remedy=f"install it with: {install}"
            ) from None
        raise MissingRequirement(f"onnxruntime can't be loaded: {error}", remedy=f"install it again: {install}") from error
    return onnxruntime


def cuda_driver_present() -> bool:
    """Is there an NVIDIA driver? (onnxruntime-gpu lists CUDA as available even where there is none.)"""
    try:
        ctypes.CDLL("libcuda.so.1" if os.name == "posix" else "nvcuda.dll")
    except OSError:
        return False
    return True


class OnnxGenerator:
    """One of a bundle's generators in ONNX Runtime."""

    def __init__(self, spec: GeneratorSpec, session: Any, ran_on: str) -> None:
        self.spec, self._session, self.ran_on = spec, session, ran_on

    def __call__(self, inputs: Mapping[str, Floats]) -> Floats:
        """See :class:`hdrcli.inference.generator.Generator`."""
        try:
            t = self._session.run(None, {name: inputs[name] for name in self.spec.inputs})[0]
        except Exception as error:  # ONNX Runtime's exceptions share no base class of their own
            raise ModelError("the network fails in ONNX Runtime", where=self.spec.origin, remedy="use another model") from error
        return checked(t, inputs, self.spec)


def load(bundle: Bundle, device: str = "auto", role: str = "g_y") -> OnnxGenerator:
    """A bundle's G_Y, or G_X (``role`` "g_x"). ``device``: "auto", "cpu", "cuda" or "cuda:N".

    CUDA counts as there when the network has run on it. Raises MissingModel if the bundle has no such generator,
    MissingRequirement if CUDA is asked for and can't be had, ModelError for a file that is tampered with or no such network.
    """
    ort = runtime()
    kind, number = device_kind(device)
    file = bundle.file(role)
    spec = bundle.spec(role)
    content = verified_bytes(bundle, file.name)
    nothing = {name: np.zeros((1, 3, spec.multiple, spec.multiple), np.float32) for name in spec.inputs}
    cause: Exception | None = None
    if kind != "cpu" and cuda_driver_present() and "CUDAExecutionProvider" in ort.get_available_providers():
        try:
            generator = OnnxGenerator(spec, _session(ort, spec, content, number), f"ONNX Runtime {ort.__version__}, CUDA")
            generator(nothing)
            return generator
        except Exception as error:  # a library that is missing, a card too old, too full or not there
            cause = error
    generator = OnnxGenerator(spec, _session(ort, spec, content), f"ONNX Runtime {ort.__version__}, CPU")
    if kind == "cuda":
        generator(nothing)  # a network that runs nowhere is the model's fault, not CUDA's
        raise MissingRequirement(
            "ONNX Runtime can't use CUDA here", where=f"--device {device}", remedy="use --device cpu, or install hdrcli[cuda]"
        ) from cause
    return generator


def _session(ort: Any, spec: GeneratorSpec, content: bytes, card: int | None = None) -> Any:
    """A session on that CUDA card, or the CPU. Raises ModelError, RuntimeError if it should be on a card and is not."""
    providers: list[Any] = ["CPUExecutionProvider"]
    if card is not None:
        providers.insert(0, ("CUDAExecutionProvider", {"device_id": card}))
        if hasattr(ort, "preload_dlls"):
            with redirect_stdout(io.StringIO()):  # prints what it does not find, on the stdout that may carry our picture
                ort.preload_dlls()
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads()
    options.log_severity_level = 4  # faults come as exceptions; the log would only add noise on stderr
    try:
        # no fallback: its Python part prints on stdout, at creation and at run, and tells nobody that it left the card
        session = ort.InferenceSession(content, options, providers=providers, enable_fallback=0)
        session.disable_fallback()
    except Exception as error:  # ONNX Runtime's exceptions share no base class of their own
        raise ModelError("is no network that ONNX Runtime can run", where=spec.origin, remedy="export it again") from error
    if sorted(i.name for i in session.get_inputs()) != sorted(spec.inputs):
        have = ", ".join(i.name for i in session.get_inputs())
        raise ModelError(
            f"the network's inputs ({have}) are not those on its card", where=spec.origin, remedy="export it again"
        )
    if card is not None and session.get_providers()[0] != "CUDAExecutionProvider":
        raise RuntimeError("ONNX Runtime left CUDA out")
    return session
