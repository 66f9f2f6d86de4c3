import numpy as np
import pytest
import terminal_decoders
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from hdrcli import terminal
from hdrcli.color import Transfer, decode
from hdrcli.terminal import Screen

pictures = array_shapes(min_dims=2, max_dims=2, max_side=17).flatmap(lambda s: arrays(np.uint8, (*s, 3)))


def smooth(height=60, width=90):
    y, x = np.mgrid[0:height, 0:width]
    channels = [255 * x / (width - 1), 255 * y / (height - 1), 120 + 100 * np.sin(x / 9) * np.cos(y / 7)]
    return np.rint(np.stack(channels, axis=-1)).astype(np.uint8)


@given(pictures)
@settings(deadline=None, max_examples=60)
def test_half_blocks_show_every_pixel(picture):
    assert np.array_equal(terminal_decoders.half_blocks(terminal.blocks(picture, "true")), picture)


def test_equal_colours_are_not_said_again():
    flat = np.full((4, 50, 3), 7, np.uint8)
    assert terminal.blocks(flat, "true") == ("\x1b[38;2;7;7;7;48;2;7;7;7m" + 50 * "▀" + "\x1b[0m\n") * 2


def test_256_colours_are_near_and_dithered():
    picture = smooth()
    shown = terminal_decoders.half_blocks(terminal.blocks(picture, "256")).astype(float)
    assert shown.shape == picture.shape
    assert np.abs(shown - picture).mean() < 30
    means = [p.astype(float).reshape(6, 10, 9, 10, 3).mean(axis=(1, 3)) for p in (picture, shown)]
    assert np.abs(means[0] - means[1]).mean() < 3  # the mean over some pixels is right, though none of them is
    cube = np.array([[0, 0, 0], [255, 255, 255], [255, 0, 0], [95, 135, 215], [8, 8, 8], [238, 238, 238]], np.uint8)[None]
    assert np.array_equal(terminal_decoders.half_blocks(terminal.blocks(cube, "256")), cube)


def test_256_colours_keep_lightness():
    """Error diffusion in plain RGB makes specks of other lightness, which are seen before those of another hue."""
    picture = np.full((20, 40, 3), (110, 75, 40), np.uint8)
    shown = terminal_decoders.half_blocks(terminal.blocks(picture, "256")).astype(float)
    weights = np.array([0.299, 0.587, 0.114])
    assert (shown[4:] @ weights).std() < 10
    assert shown[4:].mean(axis=(0, 1)) == pytest.approx([110, 75, 40], abs=8)


def test_shades():
    ramp = np.linspace(0, 255, 45).astype(np.uint8)[None, :, None].repeat(3, 2).repeat(4, 0)
    lines = terminal.blocks(ramp, "none").split("\n")
    assert lines[0] == lines[1]
    assert (len(lines), lines[2]) == (3, "")
    assert [terminal.SHADES.index(c) for c in lines[0]] == sorted(terminal.SHADES.index(c) for c in lines[0])
    assert (lines[0][0], lines[0][-1]) == (terminal.SHADES[0], terminal.SHADES[-1])
    assert set(lines[0]) == set(terminal.SHADES)
    assert terminal.shades(ramp[:3]).count("\n") == 2
    assert terminal.shades(ramp[:1, :1]) == "\n"


@given(
    array_shapes(min_dims=2, max_dims=2, max_side=17).flatmap(
        # codes that are whole percents: those a sixel palette holds exactly
        lambda s: arrays(np.uint8, (*s, 3), elements=st.sampled_from([0, 51, 102, 153, 204, 255]))
    )
)
@settings(deadline=None, max_examples=60)
def test_sixels_of_few_colours_are_exact(picture):
    few = picture.copy()
    few[..., 1] = few[..., 0]  # at most 36
    shown = terminal_decoders.sixel(terminal.sixel(few))
    assert np.abs(shown - few).max() < 1e-6


@given(pictures)
@settings(deadline=None, max_examples=30)
def test_sixels_draw_every_pixel_once(picture):
    shown = terminal_decoders.sixel(terminal.sixel(picture))
    assert shown.shape == picture.shape
    assert np.isfinite(shown).all()


def test_sixels_of_a_smooth_picture_are_near():
    picture = smooth(97, 130)
    shown = terminal_decoders.sixel(terminal.sixel(picture))
    assert np.abs(shown - picture).mean() < 12
    means = [p[:90].astype(float).reshape(9, 10, 13, 10, 3).mean(axis=(1, 3)) for p in (picture, shown)]
    assert np.abs(means[0] - means[1]).mean() < 2  # corners of the gamut are beyond any palette's


def test_runs_are_counted():
    assert terminal.sixel(np.full((6, 500, 3), 255, np.uint8)).endswith("#0!500~-\x1b\\")
    assert terminal.sixel(np.full((1, 3, 3), 255, np.uint8)).endswith("#0@@@-\x1b\\")


@pytest.mark.parametrize("size", [(1, 1), (37, 23), (400, 300)])
def test_kitty(size):
    picture = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    shown, keys = terminal_decoders.kitty(terminal.kitty(picture))
    assert np.array_equal(shown, picture)
    assert {k: keys[k] for k in ("a", "f", "q")} == {"a": "T", "f": "100", "q": "2"}
    assert "c" not in keys
    assert terminal_decoders.kitty(terminal.kitty(picture, 40))[1]["c"] == "40"


@pytest.mark.parametrize(
    ("environment", "colours"),
    [
        ({}, "none"),
        ({"TERM": "dumb", "COLORTERM": "truecolor"}, "none"),
        ({"TERM": "vt220"}, "none"),
        ({"TERM": "xterm-256color", "NO_COLOR": "1", "COLORTERM": "truecolor"}, "none"),
        ({"TERM": "xterm-256color", "NO_COLOR": ""}, "256"),
        ({"TERM": "screen"}, "256"),
        ({"TERM": "xterm-256color", "COLORTERM": "truecolor"}, "true"),
        ({"TERM": "tmux-256color", "COLORTERM": "24bit"}, "true"),
        ({"TERM": "xterm-direct"}, "true"),
    ],
)
def test_colours_of(environment, colours):
    assert terminal.colours_of(environment) == colours


@pytest.mark.parametrize(
    ("environment", "protocol"),
    [
        ({"TERM": "xterm-kitty"}, "kitty"),
        ({"TERM": "xterm-256color", "KITTY_WINDOW_ID": "1"}, "kitty"),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "WezTerm"}, "kitty"),
        ({"TERM": "xterm-ghostty"}, "kitty"),
        ({"TERM": "tmux-256color", "TMUX": "/tmp/x", "KITTY_WINDOW_ID": "1"}, None),
        ({"TERM": "screen.xterm-kitty", "KITTY_WINDOW_ID": "1", "TMUX": "x"}, None),
        ({"TERM": "screen-256color", "KITTY_WINDOW_ID": "1"}, None),
        ({"TERM": "xterm-256color"}, None),
        ({"TERM": "linux"}, "blocks"),
        ({"TERM": "dumb", "KITTY_WINDOW_ID": "1"}, "blocks"),
        ({}, "blocks"),
    ],
)
def test_protocol_of(environment, protocol):
    assert terminal.protocol_of(environment) == protocol


@pytest.mark.parametrize(
    ("answer", "whole", "protocol", "cell"),
    [
        ("", False, "blocks", None),
        ("\x1b[?62;4;", False, "blocks", None),
        ("\x1b[?62;4;22c", True, "sixel", None),
        ("\x1b[6;20;10t\x1b[?64;1;4c", True, "sixel", (20, 10)),
        ("\x1b[6;0;0t\x1b[?6c", True, "blocks", None),
        ("\x1b[?4;6c", True, "blocks", None),  # the first number is the terminal's kind: VT132
        ("\x1b[?65;1;9;14;44c", True, "blocks", None),
        ("typed\x1b[?62;4c", True, "sixel", None),
    ],
)
def test_answers(answer, whole, protocol, cell):
    assert terminal.answered(answer) == whole
    assert terminal.protocol_in(answer) == protocol
    assert terminal.cell_in(answer) == cell


@pytest.mark.parametrize(
    ("size", "screen", "protocol", "expected"),
    [
        ((600, 1200), Screen(80, 24), "blocks", (40, 80)),  # pixels of 8 x 8
        ((1200, 600), Screen(80, 24), "blocks", (48, 24)),
        ((600, 1200), Screen(80, 24, (24, 8)), "blocks", (27, 80)),  # of 12 x 8
        ((6000, 12000), Screen(80, 24, (20, 10)), "sixel", (400, 800)),
        ((6000, 12000), Screen(80, 24), "kitty", (320, 640)),
        ((30, 20), Screen(80, 24), "blocks", (30, 20)),  # never larger than it is
        ((30, 20), Screen(80, 24), "sixel", (30, 20)),
        ((1, 100000), Screen(80, 24), "blocks", (1, 80)),
        ((100000, 1), Screen(80, 24), "sixel", (384, 1)),
        ((1, 1), Screen(1, 1), "blocks", (1, 1)),
    ],
)
def test_fitted(size, screen, protocol, expected):
    assert terminal.fitted(*size, screen, protocol) == expected


@given(
    st.integers(1, 20000),
    st.integers(1, 20000),
    st.integers(1, 400),
    st.integers(1, 200),
    st.integers(4, 40),
    st.integers(3, 30),
)
@settings(deadline=None)
def test_what_is_fitted_has_room(height, width, columns, rows, tall, wide):
    screen = Screen(columns, rows, (tall, wide))
    h, w = terminal.fitted(height, width, screen, "blocks")
    assert 1 <= w <= columns
    assert 1 <= h <= 2 * rows
    assert h <= height
    assert w <= width
    h, w = terminal.fitted(height, width, screen, "sixel")
    assert 1 <= w <= max(1, columns * wide)
    assert 1 <= h <= max(1, rows * tall)


def test_grey_in_sixels_keeps_its_light():
    """Dither is made for what the terminal shows of its whole percents."""
    picture = np.full((30, 30, 3), 99, np.uint8)
    shown = terminal_decoders.sixel(terminal.sixel(picture))
    assert decode(shown / 255, Transfer.SRGB).mean() == pytest.approx(decode(np.array(99 / 255), Transfer.SRGB), rel=0.01)
