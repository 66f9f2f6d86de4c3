"""The seam of panoramas: found, continued, closed."""

import numpy as np
import pytest

from hdrcli.color import Transfer
from hdrcli.errors import MismatchError, UsageError
from hdrcli.image import Image, Metadata
from hdrcli.inference import seam


def turning(height=128, width=256):
    """Light that depends on the direction smoothly and steadily: poles even, no seam."""
    elevation = (0.5 - (np.arange(height) + 0.5) / height) * np.pi
    azimuth = (np.arange(width) + 0.5) / width * 2 * np.pi
    stops = 2 * np.cos(elevation)[:, None] * np.cos(3 * azimuth + 1) + np.sin(2 * elevation)[:, None]
    return np.repeat(np.exp2(stops)[..., None], 3, 2).astype(np.float32)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 500.0])
def test_light_is_recognised_whatever_its_scale(scale):
    light = turning() * np.float32(scale)
    assert seam.looks_like_panorama(Image(light, Transfer.LINEAR))
    assert not seam.looks_like_panorama(Image(light[:, :-2], Transfer.LINEAR))
    assert not seam.looks_like_panorama(Image(np.ascontiguousarray(light[32:96, 60:188]), Transfer.LINEAR))


def test_light_of_any_value_is_looked_at():
    for value in (0.0, np.nan, np.inf):
        assert not seam.looks_like_panorama(Image(np.full((64, 128, 3), value, np.float32), Transfer.LINEAR))


def test_who_says_so_is_sure():
    picture = Image(turning(), Transfer.LINEAR)
    assert seam.panorama(picture, "flat", "") == (False, False, ())
    assert seam.panorama(picture, "equirect", "") == (True, True, ())
    is_one, sure, (note,) = seam.panorama(picture, "auto", "say flat")
    assert (is_one, sure) == (True, False)
    assert note.endswith("so its seam is closed; say flat")
    marked = Image(turning(100, 150), Transfer.LINEAR, metadata=Metadata(panorama=True))
    is_one, sure, (note,) = seam.panorama(marked, "auto", "")
    assert (is_one, sure) == (False, False)
    assert "150 x 100 is not 2:1" in note
    with pytest.raises(MismatchError, match="2:1"):
        seam.panorama(marked, "equirect", "")
    with pytest.raises(UsageError, match="no projection"):
        seam.check_projection("cube")


def test_closing_undoes_continuing():
    values = np.random.default_rng(1).random((3, 48, 2), dtype=np.float32)
    np.testing.assert_allclose(seam.closed(seam.continued(values, 8), 8), values, atol=1e-6)
    assert seam.closed(values, 0) is values
    assert seam.continued(values, 0) is values


def test_an_answer_that_knows_no_neighbours_has_none_the_less_no_seam():
    """A ramp from left to right over the continued picture: at the border both sides come to the same value."""
    margin = seam.margin_of(160)
    ramp = np.linspace(0, 1, 160 + 2 * margin, dtype=np.float32)[None, :, None]
    out = seam.closed(ramp, margin)[0, :, 0]
    assert abs(out[0] - out[-1]) < 0.04  # 0.8 as it was given
    assert np.abs(np.diff(out)).max() < 0.09  # spread over half a margin at each side


def test_margins_are_multiples():
    assert seam.margin_of(256, 16) == 32
    assert seam.margin_of(100, 16) == 16
    assert seam.margin_of(1) == 1
