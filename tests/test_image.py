"""The value type: what it accepts, that it can't be changed, and the helpers on pixels."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hdrcli.color import Transfer
from hdrcli.errors import MismatchError
from hdrcli.image import Image, Metadata, as_unit_float, brightest_channel, look_up


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float16, np.float32])
def test_pixels_are_kept_as_stored_and_read_only(dtype):
    pixels = np.zeros((2, 3, 3), dtype)
    image = Image(pixels, Transfer.SRGB)
    assert image.pixels.dtype == dtype
    assert (image.height, image.width) == (2, 3)
    with pytest.raises(ValueError, match="read-only"):
        image.pixels[0, 0, 0] = 1
    pixels[0, 0, 0] = 1  # who made the array may still write to it


@pytest.mark.parametrize("shape", [(3,), (4, 4), (4, 4, 1), (4, 4, 4), (0, 4, 3), (4, 0, 3)])
def test_other_shapes_are_refused(shape):
    with pytest.raises(MismatchError, match="shape"):
        Image(np.zeros(shape, np.uint8), Transfer.SRGB)


@pytest.mark.parametrize("dtype", [np.int16, np.uint32, np.float64, bool])
def test_other_types_are_refused(dtype):
    with pytest.raises(MismatchError, match=str(np.dtype(dtype))):
        Image(np.zeros((2, 2, 3), dtype), Transfer.SRGB)


def test_alpha_has_the_pixels_size():
    with pytest.raises(MismatchError, match="alpha"):
        Image(np.zeros((2, 2, 3), np.uint8), Transfer.SRGB, metadata=Metadata(alpha=np.ones((2, 3), np.float32)))


def test_only_linear_floats_are_hdr():
    pixels = np.zeros((1, 1, 3), np.float32)
    assert [t for t in Transfer if Image(pixels, t).is_hdr] == [Transfer.LINEAR]
    assert not Image(np.zeros((1, 1, 3), np.uint16), Transfer.LINEAR).is_hdr


def test_stored_codes_are_what_clip_masks_come_from():
    pixels, stored = np.zeros((2, 3, 3), np.uint16), np.ones((2, 3, 3), np.uint8)
    plain, converted = Image(pixels, Transfer.SRGB), Image(pixels, Transfer.SRGB, stored=stored)
    assert plain.codes is plain.pixels
    np.testing.assert_array_equal(converted.codes, stored)
    with pytest.raises(ValueError, match="read-only"):
        converted.codes[0] = 0
    for wrong in (stored[:1], stored.astype(np.float32)):
        with pytest.raises(MismatchError, match="stored codes"):
            Image(pixels, Transfer.SRGB, stored=wrong)


def test_notes_are_added_to_a_new_image():
    image = Image(np.zeros((1, 1, 3), np.uint8), Transfer.SRGB)
    noted = image.with_notes("a").with_notes("b", "c")
    assert noted.metadata.notes == ("a", "b", "c")
    assert image.metadata.notes == ()


def test_largest_code_is_1():
    assert as_unit_float(np.array([255], np.uint8)) == as_unit_float(np.array([65535], np.uint16)) == 1
    assert as_unit_float(np.array([2.5], np.float16)) == np.float32(2.5)


@settings(deadline=None, max_examples=30)
@given(
    st.sampled_from([np.uint8, np.uint16]),
    st.sampled_from([np.float16, np.float32]),
    st.tuples(st.integers(1, 9), st.integers(1, 9)),
    st.booleans(),
)
def test_looking_up_is_indexing(codes_type, entry_type, shape, flipped):
    rng = np.random.default_rng(0)
    codes = rng.integers(0, np.iinfo(codes_type).max, (*shape, 3), dtype=codes_type, endpoint=True)
    codes = codes[:, ::-1] if flipped else codes  # not contiguous
    table = rng.standard_normal(np.iinfo(codes_type).max + 1).astype(entry_type)
    found = look_up(table, codes)
    np.testing.assert_array_equal(found, table[codes])
    assert found.dtype == entry_type
    assert found.flags.c_contiguous


@pytest.mark.parametrize("shape", [(1, 5000), (5000, 1)])
def test_looking_up_thin_images(shape):
    codes = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    table = np.arange(256, dtype=np.float32)
    np.testing.assert_array_equal(look_up(table, codes), codes)


def test_brightest_channel_is_the_maximum():
    pixels = np.random.default_rng(0).integers(0, 65536, (5, 7, 3), dtype=np.uint16)
    np.testing.assert_array_equal(brightest_channel(pixels), pixels.max(axis=2))
