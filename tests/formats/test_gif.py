"""GIF: against the palette it was made of, and OpenImageIO."""

import numpy as np
import OpenImageIO
import pytest
from display_samples import gif_samples, noise

from hdrcli import formats
from hdrcli.color import Primaries, Transfer
from hdrcli.errors import HdrcliError, UnreadableInput, UnsupportedInput

SAMPLES = gif_samples()


@pytest.mark.parametrize("name", SAMPLES)
def test_pixels_are_those_of_the_witness(tmp_path, name):
    path = tmp_path / "x.gif"
    path.write_bytes(SAMPLES[name])
    image = formats.read(path)
    assert (image.transfer, image.primaries, image.pixels.dtype) == (Transfer.SRGB, Primaries.BT709, np.uint8)
    witness = OpenImageIO.ImageBuf(str(path)).get_pixels(OpenImageIO.UINT8)
    opaque = np.ones(witness.shape[:2], bool) if image.metadata.alpha is None else image.metadata.alpha == 1
    np.testing.assert_array_equal(image.pixels[opaque], witness[opaque][:, :3])
    assert opaque.mean() > 0.9
    assert (image.metadata.alpha is not None) == (name == "transparent")
    assert any("animation" in note for note in image.metadata.notes) == (name == "animation")


def test_colours_are_the_palettes(tmp_path):
    path = tmp_path / "x.gif"
    path.write_bytes(SAMPLES["plain"])
    codes, palette = noise(channels=1, largest=30)[..., 0], noise((1, 256), seed=3)[0]
    np.testing.assert_array_equal(formats.read(path).pixels, palette[codes])


def test_truncated_anywhere_in_the_first_picture(tmp_path):
    data = SAMPLES["plain"]
    path = tmp_path / "x.gif"
    for end in range(6, len(data) - 1, 7):
        path.write_bytes(data[:end])
        with pytest.raises(UnreadableInput) as caught:
            formats.read(path)
        assert "\n" not in str(caught.value)


def test_sizes_that_can_not_be(tmp_path):
    path = tmp_path / "x.gif"
    data = bytearray(SAMPLES["plain"])
    data[6:10] = b"\xff\xff\xff\xff"  # a canvas of 4295 megapixels
    path.write_bytes(data)
    with pytest.raises(UnsupportedInput, match="too large"):
        formats.read(path)
    data[6:10] = b"\x04\x00\x04\x00"  # smaller than its picture
    path.write_bytes(data)
    with pytest.raises(HdrcliError, match="outside of its canvas"):
        formats.read(path)
