from __future__ import annotations

import json
import os
import threading
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from command_line import Cli, codes, save, spawn
from test_app import HEAVY, modules_after

import hdrcli
from hdrcli.color import Primaries, Transfer
from hdrcli.formats import _exif, _icc
from hdrcli.image import Image, Metadata

SHOT = _exif.Shot(
    make="Aperta",
    model="Aperta One",
    lens_model="35 mm f/2",
    exposure_time=0.004,
    aperture=5.6,
    iso=200,
    focal_length=35,
    captured="2024:05:17 18:30:00",
    utc_offset=7200,
    latitude=52.516,
    longitude=-13.378,
    altitude=34.0,
)


def block(out: str) -> dict[str, str]:
    """A block's lines by label; those of one label joined."""
    found: dict[str, str] = {}
    for line in out.splitlines():
        if line.startswith("  "):
            label, text = line[2:12].strip(), line[13:]
            found[label] = f"{found[label]}; {text}" if label in found else text
    return found


def record(cli: Cli, *arguments: object) -> dict:
    ran = cli("info", *arguments, "--json")
    assert (ran.code, ran.err, ran.out.count("\n")) == (0, "", 1)
    return json.loads(ran.out)


@pytest.fixture
def scene() -> Path:
    """16 stops up a grey ramp, half of the light above 1."""
    light = np.exp2(np.linspace(-8, 8, 400, dtype=np.float32)).reshape(20, 20, 1).repeat(3, 2)
    metadata = Metadata(header={"hdrcli:model": "tiny 7"})
    hdrcli.write(Image(light, Transfer.LINEAR, Primaries.BT2020, 203.0, metadata), "scene.exr")
    return Path("scene.exr")


def test_a_photo(cli: Cli, photo: Path) -> None:
    ran = cli("info", photo)
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith("photo.png\n  file       png, ")
    told = block(ran.out)
    assert told["size"] == "64 x 48 (0.0031 megapixels)"
    assert told["numbers"] == "8 bit a channel, display-encoded"
    assert told["colour"] == "Rec.709, sRGB curve"
    # the clipped patch of the sample: a third of the rows, half of the columns
    assert told["clipped"] == "R 16.7 %  G 16.7 %  B 16.7 %"
    assert told["expand"] == "16.7 % of pixels lost a channel: 16.7 % lost all (a smooth guess)"
    assert told["black"] == "0 %"
    assert "note" not in told
    assert "\x1b" not in ran.out


def test_a_photo_as_json(cli: Cli, photo: Path) -> None:
    found = record(cli, photo)
    assert found["input"] == "photo.png"
    assert (found["type"], found["bytes"], found["depth"]) == ("png", photo.stat().st_size, "8 bit")
    assert (found["width"], found["height"], found["hdr"], found["converted"]) == (64, 48, False, False)
    assert found["chromaticities"] == [0.64, 0.33, 0.3, 0.6, 0.15, 0.06, 0.3127, 0.329]
    assert (found["icc_profile"], found["white_luminance"], found["shot"], found["header"]) == (None, None, {}, {})
    picture = codes()[..., ::-1]
    over = picture >= 0.97 * 255
    assert found["codes"]["clipped"] == pytest.approx(over.mean(axis=(0, 1)))
    assert found["codes"]["percentiles"]["50"] == list(np.percentile(picture, 50, axis=(0, 1), method="inverted_cdf"))
    assert "light" not in found


def test_what_the_survivors_save(cli: Cli) -> None:
    picture = np.full((10, 10, 3), 90, np.uint8)
    picture[0, :3, 2] = 255  # BGR: red
    picture[1, :2, 1:] = 255
    picture[2, :1] = 255
    save("x.png", picture)
    told = block(cli("info", "x.png").out)
    assert told["clipped"] == "R 6.0 %  G 3.0 %  B 1.0 %"
    assert told["expand"] == (
        "6.0 % of pixels lost a channel: 3.0 % lost one (colour and texture come from the two that survived), "
        "2.0 % lost two (texture comes from the one that survived), 1.0 % lost all (a smooth guess)"
    )
    assert record(cli, "x.png")["codes"]["lost"] == pytest.approx([0.03, 0.02, 0.01])


def test_nothing_clipped(cli: Cli) -> None:
    save("x.png", np.full((4, 4, 3), 200, np.uint8))
    assert block(cli("info", "x.png").out)["expand"] == "nothing clipped: all its light is there"


def test_an_hdr_file(cli: Cli, scene: Path) -> None:
    told = block(cli("info", scene).out)
    assert told["numbers"] == "half float a channel, scene-linear"
    assert told["colour"] == "Rec.2020, linear"
    assert told["white"] == "1.0 stands for 203 cd/m2"
    assert told["header"] == "hdrcli:model: tiny 7"
    assert told["values"] == "0.003906 to 256"
    assert told["range"] == "16.0 stops between 0.1 % and 99.9 % of pixels, 16.0 in all"
    assert told["average"].startswith("+0.00 stops, 203 cd/m2")
    assert "50 %: -0.0" in told["luminance"]
    assert told["above 1.0"] == "50.0 % of pixels"
    assert told["expand"] == "nothing to expand, it is HDR; hdrcli tonemap makes a picture of it"


def test_an_hdr_file_as_json(cli: Cli, scene: Path) -> None:
    found = record(cli, scene)
    assert (found["hdr"], found["transfer"], found["primaries"], found["white_luminance"]) == (True, "linear", "Rec.2020", 203)
    light = found["light"]
    assert (light["above_white"], light["negative"], light["black"]) == (0.5, 0, 0)
    assert light["most"] == pytest.approx(256, rel=1e-3)
    assert light["log_mean"] == pytest.approx(1, rel=1e-3)
    assert "codes" not in found


def test_black_is_no_fault(cli: Cli) -> None:
    hdrcli.write(Image(np.zeros((4, 4, 3), np.float32), Transfer.LINEAR), "black.exr")
    told = block(cli("info", "black.exr").out)
    assert told["black"] == "100 %"
    assert "50 %: black" in told["luminance"]
    assert "range" not in told
    assert record(cli, "black.exr")["light"]["most"] is None


def test_negative_values_are_told(cli: Cli) -> None:
    light = np.ones((4, 5, 3), np.float32)
    light[0, 0, 1] = -0.25
    hdrcli.write(Image(light, Transfer.LINEAR), "x.exr")
    assert block(cli("info", "x.exr").out)["values"] == "-0.25 to 1, 5.0 % of pixels have a negative one"


def test_the_camera_and_where_it_was(cli: Cli) -> None:
    image = Image(codes(), Transfer.SRGB, metadata=Metadata(exif=_exif.from_shot(SHOT)))
    hdrcli.write(image, "x.jpg")
    ran = cli("info", "x.jpg")
    told = block(ran.out)
    assert told["camera"] == "Aperta One"
    assert told["lens"] == "35 mm f/2"
    assert told["exposure"] == "1/250 s, f/5.6, ISO 200, 35 mm"
    assert told["taken"] == "2024:05:17 18:30:00 UTC+02:00"
    assert told["place"].startswith("is recorded (-v shows it")
    assert "52.5" not in ran.out
    ran = cli("info", "x.jpg", "-v")
    assert block(ran.out)["place"] == "52.51600 N, 13.37800 W, 34 m"
    assert "read " in ran.err
    found = record(cli, "x.jpg")
    assert found["shot"]["iso"] == 200
    assert found["has_place"] is True
    assert not {"latitude", "longitude", "altitude"} & found["shot"].keys()
    with_place = json.loads(cli("info", "x.jpg", "-v", "--json").out)
    assert with_place["shot"]["longitude"] == pytest.approx(-13.378, abs=1e-4)


def test_the_place_in_a_header_is_shown_with_v_only(cli: Cli) -> None:
    header = {"GPSPosition": "52.516 N", "studio": "nobody"}
    hdrcli.write(Image(np.ones((4, 4, 3), np.float32), Transfer.LINEAR, metadata=Metadata(header=header)), "x.exr")
    assert block(cli("info", "x.exr").out)["header"] == "studio: nobody"
    assert record(cli, "x.exr")["has_place"] is True
    assert "GPSPosition: 52.516 N" in cli("info", "x.exr", "-v").out


def test_the_profile_has_a_name(cli: Cli) -> None:
    hdrcli.write(Image(codes(), Transfer.SRGB, Primaries.DISPLAY_P3), "x.png")
    name = _icc.parse(_icc.build(Transfer.SRGB, Primaries.DISPLAY_P3)).name
    told = block(cli("info", "x.png").out)
    assert told["colour"] == "Display P3, sRGB curve"
    assert told["profile"] == f"ICC, {name}"
    assert record(cli, "x.png")["icc_profile"] == name


def test_the_type_comes_from_the_content(cli: Cli) -> None:
    save("x.jpg").rename("x.png")
    told = block(cli("info", "x.png").out)
    assert told["file"].startswith("jpeg, ")
    assert told["note"] == "is named .png but holds jpeg; read as jpeg"
    assert record(cli, "x.png")["notes"] == ["is named .png but holds jpeg; read as jpeg"]


def test_a_turned_photo_is_as_large_as_it_is_seen(cli: Cli) -> None:
    exif = PIL.Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    PIL.Image.fromarray(codes()).save("x.jpg", exif=exif)
    found = record(cli, "x.jpg")
    assert (found["width"], found["height"], found["orientation"]) == (48, 64, 6)
    assert "turned upright" in block(cli("info", "x.jpg").out)["size"]


def test_pq_is_hdr_in_codes() -> None:
    from hdrcli.cli.info import _prospect, _statistics_lines
    from hdrcli.inspection import light_statistics

    image = Image(np.full((4, 4, 3), 0xC000, np.uint16), Transfer.PQ, Primaries.BT2020, 10000.0)
    found = light_statistics(image)
    assert _prospect(image, found) == "nothing to expand, it is HDR in PQ encoding"
    assert "average" in dict(_statistics_lines(found, 10000.0))


def test_several_files_and_a_bad_one(cli: Cli, photo: Path, scene: Path) -> None:
    Path("bad.jpg").write_bytes(b"nothing")
    ran = cli("info", photo, "bad.jpg", scene)
    assert ran.code == 3
    assert [line for line in ran.out.splitlines() if line and line[0] != " "] == ["photo.png", "scene.exr"]
    assert ran.out.count("\n\n") == 1
    assert len(ran.lines) == 1
    assert ran.err.startswith("hdrcli: bad.jpg: ")
    ran = cli("info", photo, "bad.jpg", scene, "--json")
    records = [json.loads(line) for line in ran.out.splitlines()]
    assert [r["input"] for r in records] == ["photo.png", "bad.jpg", "scene.exr"]
    assert records[1]["exit_code"] == 1
    assert cli("info", "bad.jpg").code == cli("info", "missing.jpg").code == 1


def test_standard_input_and_pipes(cli: Cli, photo: Path) -> None:
    done = spawn("info", "-", stdin=photo.read_bytes())
    assert done.returncode == 0
    assert done.stdout.decode().startswith("standard input\n  file       png, ")
    os.mkfifo("pipe.png")
    writer = threading.Thread(target=lambda: Path("pipe.png").write_bytes(photo.read_bytes()))
    writer.start()
    found = record(cli, "pipe.png")
    writer.join()
    assert (found["input"], found["width"]) == ("pipe.png", 64)


def test_bad_standard_input_is_named() -> None:
    done = spawn("info", "-", stdin=b"nothing")
    assert done.returncode == 1
    assert done.stderr.decode().startswith("hdrcli: standard input: ")


def test_names_with_line_breaks_stay_one_line(cli: Cli, photo: Path) -> None:
    photo.rename("a\nb.png")
    assert cli("info", "a\nb.png").out.startswith("a\\nb.png\n")


def test_help_is_light(cli: Cli) -> None:
    assert not modules_after("info", "--help") & set(HEAVY)
    out = cli("info", "-h").out
    assert "hdrcli info photo.jpg" in out
    assert max(map(len, out.splitlines())) <= 80


def test_it_loads_no_torch_and_no_runtime(photo: Path) -> None:
    assert not modules_after("info", str(photo)) & {"torch", "onnxruntime", "rich.console"}


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0, "0 %"),
        (1e-9, "< 0.01 %"),
        (0.00123, "0.12 %"),
        (0.093, "9.3 %"),
        (0.5, "50.0 %"),
        (0.99999, "> 99.9 %"),
        (1, "100 %"),
    ],
)
def test_shares(share: float, text: str) -> None:
    from hdrcli.cli.info import _percent

    assert _percent(share) == text
