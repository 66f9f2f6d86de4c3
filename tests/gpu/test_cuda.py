"""On a CUDA device: torch and ONNX Runtime give what the CPU gives, and mixed precision trains. Run with ``pytest -m gpu``."""

import numpy as np
import pytest

from hdrcli.inference import bundles, onnx_backend, torch_backend

pytestmark = pytest.mark.gpu


@pytest.fixture(autouse=True)
def cuda():
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    return torch.cuda


def inputs(side=256):
    rng = np.random.default_rng(0)
    return {name: rng.random((1, 3, side, side), dtype=np.float32) for name in ("ldr", "clip")}


def test_torch_gives_what_the_cpu_gives(trained_run):
    on_cuda = torch_backend.load(trained_run, "cuda")
    assert "CPU" not in on_cuda.ran_on
    # TF32 convolutions keep ten bits of mantissa
    np.testing.assert_allclose(on_cuda(inputs()), torch_backend.load(trained_run, "cpu")(inputs()), atol=2e-3)


def test_auto_takes_the_card(trained_run):
    assert "CPU" not in torch_backend.load(trained_run).ran_on


def test_a_card_that_is_not_there_is_refused(trained_run, cuda):
    from hdrcli.errors import UsageError

    with pytest.raises(UsageError, match="CUDA"):
        torch_backend.load(trained_run, f"cuda:{cuda.device_count()}")


def test_onnx_runtime_gives_what_the_cpu_gives(exported_bundle):
    import onnxruntime

    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        pytest.skip("this ONNX Runtime has no CUDA")
    bundle = bundles.read(exported_bundle)
    on_cuda = onnx_backend.load(bundle, "cuda")
    assert on_cuda.ran_on.endswith("CUDA")
    np.testing.assert_allclose(on_cuda(inputs()), onnx_backend.load(bundle, "cpu")(inputs()), atol=2e-3)


def test_same_numbers_twice(trained_run):
    on_cuda = torch_backend.load(trained_run, "cuda")
    assert on_cuda(inputs()).tobytes() == on_cuda(inputs()).tobytes()


def step_memory(precision, cuda):
    """Peak bytes of one training step with 192-pixel images."""
    import torch
    from lightning.fabric import Fabric

    from hdrcli.networks import feedback_unet
    from hdrcli.training.objectives import paired
    from hdrcli.training.placement import placed

    network = feedback_unet.Config(width=32, iterations=2, gates=False, norm="none", clip_map=True)
    made = paired.build(paired.Config(network=network, working_size=192))
    fabric = Fabric(accelerator="cuda", devices=1, precision=precision)
    made.networks.to(fabric.device)
    batch = {key: torch.rand(8, 3, 192, 192, device=fabric.device) for key in ("ldr", "clip", "stops", "lost")}
    cuda.empty_cache()
    cuda.reset_peak_memory_stats()
    with placed(made.networks, fabric):
        terms = made.loss("g", batch, 0)
        fabric.backward(terms["loss"])
    assert all(torch.isfinite(v) for v in terms.values())
    return cuda.max_memory_allocated()


def test_mixed_precision_takes_less_memory(cuda):
    assert step_memory("bf16-mixed", cuda) < 0.75 * step_memory("32-true", cuda)


def test_training_runs_on_the_card_and_resumes_on_the_cpu(tmp_path, hdr_folder):
    from tiny_training import objective, short_loop

    from hdrcli.training import loop
    from hdrcli.training.datasets import find_scenes, load_scenes

    scenes = load_scenes(find_scenes([hdr_folder]).files)
    state = loop.train(objective(), scenes, short_loop(3, device="cuda", precision="bf16-mixed", workers=1), tmp_path)
    assert state["device"].startswith("cuda")
    assert loop.train(objective(), scenes, short_loop(5), tmp_path, resume=True)["step"] == 5
