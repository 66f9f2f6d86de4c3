"""The five RGB pairs of the protocols' reference values, and what the specification allows to differ from them."""

from reference_scenes import PROTOCOL_PAIRS, protocol_pair, reference_values, scene

from hdrcli.evaluation.protocols import Missing, Pair

REFERENCE = reference_values("protocols")
CHECKS = REFERENCE["checks"]
EXPECTED = {name[:2]: REFERENCE["pairs"][name] for name in PROTOCOL_PAIRS}
NAMES = tuple(EXPECTED)

__all__ = ["CHECKS", "EXPECTED", "NAMES", "assert_scores", "pair", "pictures", "scene", "tolerance"]


def pictures(name):
    """(test, reference) of pair "07", "08", "10", "11" or "12", read-only."""
    reference, test = protocol_pair(EXPECTED[name]["name"])
    return test, reference


def pair(name, **changes):
    """That pair as protocols take it; its values count as cd/m2."""
    test, reference = pictures(name)
    return Pair(**{"test": test, "reference": reference, "white_nits": 1.0} | changes)


def tolerance(score, kind="float64"):
    """What the specification allows a score of this name."""
    given = REFERENCE["tolerance"][kind]
    if "hdrvdp" in score:
        return given["HDR-VDP-2 Q"] if kind == "float64" else 1e-3
    return given["SSIM" if "ssim" in score else "delta E ITP" if "delta_e" in score else "PSNR dB"]


def assert_scores(scores, expected, kind="float64"):
    """All of ``expected`` are there, within the specification's tolerance."""
    for name, wanted in expected.items():
        assert not isinstance(scores[name], Missing), f"{name}: {scores[name]}"
        assert abs(scores[name] - wanted) <= tolerance(name, kind), f"{name}: {scores[name]!r}, should be {wanted!r}"
