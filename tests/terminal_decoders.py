"""Small terminals: what pictures look like that are written to them. Read from the protocols' descriptions, not from hdrcli."""

import base64
import re

import cv2
import numpy as np

_CELL = re.compile("\x1b\\[([\\d;]*)m|(.)", re.DOTALL)
_CUBE = [0, 95, 135, 175, 215, 255]


def _indexed(number):
    """A colour of xterm's 256, beyond the first 16."""
    if number >= 232:
        return (8 + 10 * (number - 232),) * 3
    number -= 16
    return _CUBE[number // 36], _CUBE[number // 6 % 6], _CUBE[number % 6]


def _colours(codes, state):
    """Follow an SGR sequence; ``state``: [ink, ground]."""
    numbers = [int(code or 0) for code in codes.split(";")]
    while numbers:
        kind = numbers.pop(0)
        if kind == 0:
            state[:] = [None, None]
        else:
            assert kind in (38, 48), codes
            if numbers.pop(0) == 2:
                colour = tuple(numbers[:3])
                del numbers[:3]
            else:
                colour = _indexed(numbers.pop(0))
            state[kind == 48] = colour


def half_blocks(text):
    """``(2 n, w, 3)``, and whether the last row is there at all."""
    assert text.endswith("\n")
    lines, whole = [], True
    for line in text[:-1].split("\n"):
        state, upper, lower = [None, None], [], []
        for codes, character in _CELL.findall(line):
            if character:
                assert character == "▀"
                assert state[0] is not None
                upper.append(state[0])
                lower.append(state[1])
            else:
                _colours(codes, state)
        assert state == [None, None]  # colours do not run on
        whole = all(colour is not None for colour in lower)
        assert whole or all(colour is None for colour in lower)
        lines += [upper, lower] if whole else [upper]
    return np.array(lines, np.uint8)


def sixel(text):
    """``(h, w, 3)`` of float codes 0..255, NaN where nothing was drawn."""
    found = re.fullmatch('\x1bP0;1;0q"1;1;(\\d+);(\\d+)([^\x1b]*)\x1b\\\\', text)
    assert found
    width, height, body = int(found[1]), int(found[2]), found[3]
    picture = np.full((-(-height // 6) * 6, width, 3), np.nan)
    palette, colour, x, band, drawn = {}, None, 0, 0, 0
    for define, choose, run, times, single, control in re.findall(
        r"#(\d+;2;\d+;\d+;\d+)|#(\d+)|!(\d+)([?-~])|([?-~])|([$-])", body
    ):
        if define:
            number, _, *percent = map(int, define.split(";"))
            assert max(percent) <= 100
            palette[number] = np.array(percent) * 2.55
        elif choose:
            colour = palette[int(choose)]
        elif control:
            x, band = 0, band + (control == "-")
        else:
            bits, count = ord(times or single) - 63, int(run or 1)
            for row in range(6):
                if bits >> row & 1:
                    part = picture[6 * band + row, x : x + count]
                    assert part.shape[0] == count
                    assert np.isnan(part).all()  # each pixel once
                    part[:] = colour
            x += count
        drawn += len(define or choose) + 1 if define or choose else len(run) + 2 if run else 1
    assert drawn == len(body)  # nothing there that no terminal understands
    assert np.isnan(picture[height:]).all()
    return picture[:height]


def kitty(text):
    """``(h, w, 3) uint8``, and the keys of the command."""
    commands = re.findall("\x1b_G([^;]*);([A-Za-z0-9+/=]*)\x1b\\\\", text)
    assert sum(len(keys) + len(data) + 6 for keys, data in commands) == len(text)
    keys = dict(pair.split("=") for pair in commands[0][0].split(","))
    assert all(len(data) <= 4096 and len(data) % 4 == 0 for _, data in commands)
    assert all(keys == "m=1" for keys, _ in commands[1:-1])
    assert len(commands) == 1 or (keys["m"], commands[-1][0]) == ("1", "m=0")
    data = base64.b64decode("".join(data for _, data in commands), validate=True)
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[..., ::-1], keys
