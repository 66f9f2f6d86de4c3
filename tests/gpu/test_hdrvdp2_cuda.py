"""HDR-VDP-2.2 on a CUDA device gives what the CPU gives. Run with ``pytest -m gpu``."""

import numpy as np
import pytest

from hdrcli.metrics.hdrvdp2 import hdrvdp2

pytestmark = pytest.mark.gpu


@pytest.fixture(autouse=True)
def cuda():
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    return torch.cuda


def pictures(height, width):
    rng = np.random.default_rng(5)
    reference = 10 ** rng.uniform(-2, 4, (height, width, 3))
    return reference * rng.uniform(0.9, 1.1, reference.shape), reference


# the second: sides with large prime factors, parts that don't divide them
@pytest.mark.parametrize(("height", "width"), [(256, 384), (173, 1201)])
@pytest.mark.parametrize(("precision", "q", "relative"), [("float64", 1e-9, 1e-9), ("float32", 5e-4, 2e-3)])
def test_cuda_gives_what_the_cpu_gives(height, width, precision, q, relative):
    test, reference = pictures(height, width)
    ours = hdrvdp2(test, reference, precision=precision)
    theirs = hdrvdp2(test, reference, precision=precision, device="cuda")
    assert theirs.q == pytest.approx(ours.q, abs=q)
    assert theirs.c_max == pytest.approx(ours.c_max, rel=relative)
    assert theirs.p_det == pytest.approx(ours.p_det, rel=relative)
    np.testing.assert_allclose(theirs.c_map, ours.c_map, rtol=relative, atol=relative * ours.c_max)
    assert hdrvdp2(test, reference, precision=precision, device="cuda", maps=False).q == pytest.approx(theirs.q, abs=q)


def test_cuda_gives_the_same_numbers_twice():
    test, reference = pictures(200, 300)
    first, second = (hdrvdp2(test, reference, device="cuda") for _ in range(2))
    assert first.q == second.q
    np.testing.assert_array_equal(first.c_map, second.c_map)


def test_a_card_that_is_not_there_is_refused(cuda):
    from hdrcli.errors import UsageError

    test, reference = pictures(20, 20)
    with pytest.raises(UsageError, match="CUDA"):
        hdrvdp2(test, reference, device=f"cuda:{cuda.device_count()}")
