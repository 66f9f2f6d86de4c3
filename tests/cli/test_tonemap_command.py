from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from command_line import Cli, files, save, spawn

import hdrcli
from hdrcli import registry
from hdrcli.color import Primaries, Transfer, decode
from hdrcli.errors import UsageError
from hdrcli.image import Image
from hdrcli.tonemapping import drago03

OPERATORS = registry.names("hdrcli.tonemapping")


def write(path: str, light: np.ndarray) -> Path:
    hdrcli.write(Image(np.ascontiguousarray(light, dtype=np.float32), Transfer.LINEAR), path)
    return Path(path)


def ramp() -> np.ndarray:
    return np.geomspace(0.01, 100, 32 * 24, dtype=np.float32).reshape(24, 32, 1).repeat(3, 2)


@pytest.fixture
def scene() -> Path:
    return write("scene.exr", ramp())


def mean(path: str | Path) -> float:
    return float(hdrcli.read(path).pixels.mean())


def test_beside_the_input(cli: Cli, scene: Path) -> None:
    ran = cli("tonemap", scene)
    assert (ran.code, ran.out) == (0, "")
    assert ran.lines == ["scene.exr -> scene.png  32x24 (learned, +0 EV)"]
    image = hdrcli.read("scene.png")
    assert image.pixels.dtype == np.uint8
    assert image.pixels[0, 0, 0] < 64 < image.pixels[-1, -1, 0]


@pytest.mark.parametrize("operator", OPERATORS)
def test_every_operator(cli: Cli, scene: Path, operator: str) -> None:
    assert cli("tonemap", scene, "--tmo", operator, "-o", f"{operator}.png", "--bits", "16").code == 0
    assert hdrcli.read(f"{operator}.png").pixels.dtype == np.uint16


def test_the_old_name_of_the_option(cli: Cli, scene: Path) -> None:
    assert "(clip, " in cli("tonemap", scene, "--operator", "clip").err


def test_parameters_and_exposure_count(cli: Cli, scene: Path) -> None:
    for name, extra in (("plain", []), ("p", ["-p", "mu=50"]), ("ev", ["--ev", "-3"])):
        assert cli("tonemap", scene, "-t", "mulaw", "-o", f"{name}.png", *extra).code == 0
    plain, p, ev = (mean(f"{n}.png") for n in ("plain", "p", "ev"))
    assert p < plain
    assert ev < plain


def test_there_and_back(cli: Cli, tiny_bundle: Path) -> None:
    save("photo.png")
    assert cli("expand", "photo.png", "-m", tiny_bundle).code == 0
    assert cli("tonemap", "photo.exr", "-o", "again.png").code == 0


def test_a_photo_is_tone_mapped_with_a_remark(cli: Cli) -> None:
    save("photo.png")
    ran = cli("tonemap", "photo.png", "-o", "again.png")
    assert ran.code == 0
    assert "photo.png: is LDR already" in ran.err
    assert Path("again.png").is_file()


def test_help_imports_nothing_heavy() -> None:
    script = (
        "import sys, json; from hdrcli.cli.app import main; main(sys.argv[1:]); "
        "print(json.dumps(sorted(sys.modules)), file=sys.stderr)"
    )
    import subprocess

    done = subprocess.run([sys.executable, "-c", script, "tonemap", "--help"], capture_output=True, text=True, check=True)
    heavy = {"numpy", "cv2", "torch", "onnxruntime", "rich", "scipy", "imagecodecs", "PIL", "OpenEXR"}
    assert heavy.isdisjoint(json.loads(done.stderr))
    assert max(map(len, done.stdout.splitlines())) <= 100


# --- files ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "head"), [("png", b"\x89PNG"), ("jpg", b"\xff\xd8"), ("tiff", b"II*"), ("webp", b"RIFF")])
def test_formats(cli: Cli, scene: Path, name: str, head: bytes) -> None:
    assert cli("tonemap", scene, "--format", name).code == 0
    assert Path(f"scene.{name}").read_bytes().startswith(head)
    assert hdrcli.read(f"scene.{name}").pixels.shape == (24, 32, 3)


@pytest.mark.parametrize("name", ["jpg", "webp"])
def test_quality(cli: Cli, scene: Path, name: str) -> None:
    rng = np.random.default_rng(0)
    scene = write("noise.exr", rng.uniform(0.1, 3, (64, 64, 3)))
    assert cli("tonemap", scene, "-o", f"fine.{name}").code == 0
    assert cli("tonemap", scene, "-o", f"coarse.{name}", "--quality", "10").code == 0
    assert Path(f"coarse.{name}").stat().st_size < Path(f"fine.{name}").stat().st_size / 2


def test_to_standard_output_and_from_standard_input(scene: Path) -> None:
    done = spawn("tonemap", "-", "-o", "-", "--format", "png", stdin=scene.read_bytes())
    assert (done.returncode, done.stderr) == (0, b"standard input -> standard output  32x24 (learned, +0 EV)\n")
    codes = cv2.imdecode(np.frombuffer(done.stdout, np.uint8), cv2.IMREAD_UNCHANGED)
    assert codes.shape == (24, 32, 3)
    spawn("tonemap", "scene.exr")
    assert Path("scene.png").read_bytes() == done.stdout
    assert files() == {"scene.exr", "scene.png"}


def test_several_inputs_and_one_that_fails(cli: Cli, scene: Path) -> None:
    write("other.exr", ramp() * 3)
    Path("bad.exr").write_bytes(b"\x76\x2f\x31\x01 and no more")
    Path("out").mkdir()
    ran = cli("tonemap", scene, "bad.exr", "other.exr", "missing.exr", "--out-dir", "out", "--json")
    assert ran.code == 3
    assert {p.name for p in Path("out").iterdir()} == {"scene.png", "other.png"}
    records = [json.loads(line) for line in ran.out.splitlines()]
    # what is missing is found before any work
    assert [(r["input"], "error" in r) for r in records] == [
        ("missing.exr", True), ("scene.exr", False), ("bad.exr", True), ("other.exr", False),
    ]  # fmt: skip
    assert [r["exit_code"] for r in records if "error" in r] == [1, 1]
    assert len(ran.lines) == 2
    assert cli("tonemap", "bad.exr", "missing.exr").code == 1


def test_clashes_are_found_before_work(cli: Cli, scene: Path) -> None:
    Path("a").mkdir()
    write("a/scene.exr", ramp())
    Path("out").mkdir()
    ran = cli("tonemap", scene, "a/scene.exr", "--out-dir", "out")
    assert (ran.code, files()) == (2, {"scene.exr", "a/scene.exr"})
    assert "would come from both scene.exr and a/scene.exr" in ran.err


def test_dry_run(cli: Cli, scene: Path) -> None:
    ran = cli("tonemap", scene, "--brackets", "0,1", "--dry-run")
    assert ran.lines == ["scene.exr -> scene.ev+0.png, scene.ev+1.png  32x24 (dry run, nothing written)"]
    assert files() == {"scene.exr"}


def test_metadata_come_along_and_are_stripped(cli: Cli) -> None:
    import PIL.Image

    exif = PIL.Image.Exif()
    exif[0x0110] = "a camera"
    exif.get_ifd(0x8825).update({1: "N", 2: (52.0, 30.0, 0.0)})
    PIL.Image.fromarray(np.full((8, 8, 3), 99, np.uint8)).save("photo.jpg", exif=exif)
    for name in ("jpg", "png", "tiff", "webp"):
        for what, camera, place in (("", True, True), ("gps", True, False), ("all", False, False)):
            path = f"{name}{what}.{name}"
            assert cli("tonemap", "photo.jpg", "-o", path, *(["--strip", what] if what else [])).code == 0
            with PIL.Image.open(path) as opened:
                read = opened.getexif()
                assert (0x0110 in read, bool(read.get_ifd(0x8825))) == (camera, place), path


def test_resize(cli: Cli) -> None:
    write("wide.exr", np.ones((40, 100, 3)))
    for text, size in (("50", (50, 20)), ("20x20", (20, 8)), ("50%", (50, 20)), ("4000", (100, 40)), ("200%", (200, 80))):
        assert f"{size[0]}x{size[1]} (" in cli("tonemap", "wide.exr", "--resize", text, "--overwrite").err
        image = hdrcli.read("wide.png")
        assert (image.width, image.height) == size


def test_primaries_have_a_profile(cli: Cli, scene: Path) -> None:
    for name in ("png", "jpg", "tiff", "webp"):
        for primaries, known in (("srgb", Primaries.BT709), ("p3", Primaries.DISPLAY_P3)):
            path = f"{primaries}.{name}"
            assert cli("tonemap", scene, "-o", path, "--primaries", primaries).code == 0
            image = hdrcli.read(path)
            assert (image.primaries, image.transfer) == (known, Transfer.SRGB), path
    assert (hdrcli.read("p3.png").pixels == hdrcli.read("srgb.png").pixels).all()  # a grey scene


def test_dithering_is_on_unless_said_otherwise(cli: Cli) -> None:
    light = decode(np.linspace(200, 202, 256) / 255, Transfer.SRGB)[None, :, None].repeat(64, 0).repeat(3, 2)
    write("sky.exr", light)
    for name, extra in (("with", []), ("without", ["--no-dither"])):
        assert cli("tonemap", "sky.exr", "-t", "clip", "--no-auto-exposure", "-o", f"{name}.png", *extra).code == 0
    with_it, without = (hdrcli.read(f"{name}.png").pixels[..., 0] for name in ("with", "without"))
    assert len({*without[:, 30]}) == 1
    assert len({*with_it[:, 40]}) == 2


def test_light(cli: Cli, scene: Path) -> None:
    """White, saturation and exposure reach the library."""
    coloured = write("red.exr", ramp() * np.array([1, 0.3, 0.2]))
    plain = ["-t", "clip", "--bits", "16"]
    assert cli("tonemap", scene, *plain, "--white", "3", "-o", "white.png").code == 0
    light = decode(hdrcli.read("white.png").pixels / 65535, Transfer.SRGB)
    np.testing.assert_allclose(light, np.minimum(ramp() / 8, 1), atol=1e-3)
    assert cli("tonemap", scene, *plain, "--no-auto-exposure", "--ev", "-2", "-o", "keep.png").code == 0
    light = decode(hdrcli.read("keep.png").pixels / 65535, Transfer.SRGB)
    np.testing.assert_allclose(light, np.minimum(ramp() / 4, 1), atol=1e-3)
    assert cli("tonemap", coloured, *plain, "--saturation", "0", "-o", "grey.png").code == 0
    assert np.ptp(hdrcli.read("grey.png").pixels, axis=2).max() == 0
    ran = cli("tonemap", scene, "-t", "khronos", "--white", "auto", "-o", "k.png")
    assert (ran.code, ran.lines[0]) == (
        0,
        "hdrcli: warning: scene.exr: khronos finds its own white; --white changes nothing",
    )


# --- contact sheets ---------------------------------------------------------------------------------------------------------


def test_contact_sheet_of_some(cli: Cli, scene: Path) -> None:
    ran = cli("tonemap", scene, "-t", "clip", "-t", "reinhard", "-t", "mulaw", "-p", "mu=9", "-p", "key=0.4", "--json")
    assert (ran.code, ran.err) == (0, "")
    assert json.loads(ran.out)["operators"] == {"clip": None, "reinhard": None, "mulaw": None}
    assert files() == {"scene.exr", "scene.sheet.png"}
    assert hdrcli.read("scene.sheet.png").pixels.shape[1] > 3 * 32


def test_contact_sheet_of_all(cli: Cli, scene: Path, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from hdrcli import formats

    read, times = formats.read, []
    monkeypatch.setattr(formats, "read", lambda path: times.append(path) or read(path))
    ran = cli("tonemap", scene, "--all", "-o", "all.jpg", "-m", tiny_bundle)  # which has no G_X
    assert ran.code == 0
    assert len(times) == 1  # decoded once
    assert ran.lines[0].startswith("without learned: ")
    assert ran.lines[1].endswith(f"({len(OPERATORS)} operators)")


def test_a_failing_operator_is_named_in_its_tile_and_in_the_exit_code(
    cli: Cli, scene: Path, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sound = cli("tonemap", scene, "-t", "clip", "-t", "drago03", "-o", "sound.png")
    assert sound.code == 0

    def fails(*_: object) -> None:
        raise ValueError("no bias for this")

    monkeypatch.setattr(drago03, "prepare", fails)
    ran = cli("tonemap", scene, "-t", "clip", "-t", "drago03", "--json")
    assert ran.code == 3
    assert "scene.exr, drago03: internal error: ValueError: no bias for this" in ran.err
    record = json.loads(ran.out)
    assert record["operators"]["clip"] is None
    assert "no bias for this" in record["operators"]["drago03"]
    assert (hdrcli.read("scene.sheet.png").pixels == 72).any()  # a grey tile
    assert cli("tonemap", scene, "-t", "learned", "-t", "gamma", "-m", tiny_bundle, "-o", "l.png").code == 3  # no G_X
    # where all fail there is no sheet, and where one is asked for alone it is that
    monkeypatch.setattr(sys.modules["hdrcli.tonemapping.clip"], "prepare", fails)
    assert cli("tonemap", scene, "-t", "clip", "-t", "drago03", "-o", "none.png").code == 1
    assert not Path("none.png").exists()


# --- exposure stacks --------------------------------------------------------------------------------------------------------


def test_brackets(cli: Cli, scene: Path) -> None:
    ran = cli("tonemap", scene, "--brackets", "2,-4,0,-2,0.5", "--no-auto-exposure", "--ev", "-1", "--bits", "16")
    assert ran.code == 0
    names = [f"scene.ev{stops}.png" for stops in ("-4", "-2", "+0", "+0.5", "+2")]
    assert ran.lines == [f"scene.exr -> {', '.join(names)}  32x24 (clip, -5, -3, -1, -0.5, +1 EV)"]
    assert files() == {"scene.exr", *names}
    for name, stops in zip(names, (-4, -2, 0, 0.5, 2), strict=True):
        light = decode(hdrcli.read(name).pixels / 65535, Transfer.SRGB)
        np.testing.assert_allclose(light, np.minimum(ramp() * 2.0 ** (stops - 1), 1), atol=2e-3)


def test_brackets_of_another_operator_and_name(cli: Cli, scene: Path) -> None:
    record = json.loads(cli("tonemap", scene, "-t", "hable", "--brackets", "0,1", "-o", "x.y.jpg", "--json").out)
    assert record["outputs"] == ["x.y.ev+0.jpg", "x.y.ev+1.jpg"]
    assert (record["operator"], record["ev"]) == ("hable", [0.0, 1.0])
    assert mean("x.y.ev+0.jpg") < mean("x.y.ev+1.jpg")


def test_one_bracket_is_one_file(cli: Cli, scene: Path) -> None:
    assert cli("tonemap", scene, "--brackets", "-3").code == 0
    assert files() == {"scene.exr", "scene.ev-3.png"}


def test_brackets_never_replace_a_file(cli: Cli, scene: Path) -> None:
    save("scene.ev+2.png")
    before = Path("scene.ev+2.png").read_bytes()
    assert cli("tonemap", scene, "--brackets", "-2,2").code == 1
    assert files() == {"scene.exr", "scene.ev+2.png"}
    assert Path("scene.ev+2.png").read_bytes() == before
    assert cli("tonemap", scene, "--brackets", "-2,2", "--overwrite").code == 0


# --- sequences --------------------------------------------------------------------------------------------------------------


def flickering(count: int) -> list[np.ndarray]:
    frames = []
    for index in range(count):
        light = np.full((20, 30, 3), 0.3)
        light[:, 15:20] = 0.1
        light[:, 20:] = 8.0 if index % 2 else 1.0
        frames.append(light)
    return frames


@pytest.mark.parametrize("operator", ["learned", "reinhard"])
def test_temporal(cli: Cli, operator: str) -> None:
    names = [str(write(f"shot.{8 + i:04}.exr", light)) for i, light in enumerate(flickering(8))]
    names += [str(write(f"shot.{16 + i:04}.exr", np.full((20, 30, 3), 0.004) + 0.001 * (i % 2))) for i in range(2)]
    means = {}
    for kind, extra in (("plain", []), ("calm", ["--temporal"])):
        Path(kind).mkdir()
        assert cli("tonemap", *names[::-1], "--out-dir", kind, "--bits", "16", "-t", operator, *extra).code == 0
        pictures = [hdrcli.read(f"{kind}/{Path(name).stem}.png").pixels[:, :15].astype(float) for name in names]
        means[kind] = [float(picture.mean()) for picture in pictures]
    changes = {kind: np.abs(np.diff(np.log2(values[:8]))).mean() for kind, values in means.items()}
    assert changes["plain"] > 0.1
    assert changes["calm"] < changes["plain"] / 8
    assert means["calm"][8] == means["plain"][8]  # the cut is followed at once
    assert means["calm"][0] == means["plain"][0]


def test_sequences_are_told_apart(cli: Cli) -> None:
    for name in ("a_v2.9.exr", "a_v2.10.exr", "b_v2.9.exr"):
        write(name, ramp())
    ran = cli("tonemap", "a_v2.10.exr", "b_v2.9.exr", "a_v2.9.exr", "--temporal")
    assert ran.code == 0
    assert [line.split()[0] for line in ran.lines] == ["a_v2.9.exr", "a_v2.10.exr", "b_v2.9.exr"]


# --- what it lists ----------------------------------------------------------------------------------------------------------


def test_list(cli: Cli) -> None:
    ran = cli("tonemap", "--list")
    assert (ran.code, ran.err) == (0, "")
    for name in (*OPERATORS, "learned"):
        assert f"\n{name} " in f"\n{ran.out}"
    assert "mu=5000 peak=0 normalise=robust|max" in ran.out
    assert "mu: compression. peak: LDR whites that are shown as white" in " ".join(ran.out.split())
    assert "cd/m2" in ran.out
    assert "`" not in ran.out
    assert max(map(len, ran.out.splitlines())) <= 80
    from hdrcli.conversion import takes_exposure

    marked = [entry.split()[0] for entry in ran.out.split("\n\n") if "[--auto-exposure" in entry or ", --auto" in entry]
    assert marked == [name for name in OPERATORS if takes_exposure(name)]


def test_json(cli: Cli, scene: Path) -> None:
    ran = cli("tonemap", scene, "--json")
    record = json.loads(ran.out)
    assert (record["input"], record["output"], record["operator"], ran.err) == ("scene.exr", "scene.png", "learned", "")


# --- bad input --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["missing.exr"], 1, ("missing.exr: no such file",)),
        (["photo.png"], 2, ("photo.png: is the input itself",)),
        (["scene.exr", "-o", "x.exr"], 2, ("x.exr: ", "LDR")),
        (["scene.exr", "-o", "-"], 2, ("-o -: standard output has no extension", "--format png, jpg, tiff, webp")),
        (["scene.exr", "-o", "x.jpg", "--format", "png"], 2, ("x.jpg: --format png says another type",)),
        (["scene.exr", "photo.png", "-o", "x.jpg"], 2, ("-o takes one input, these are 2",)),
        (["scene.exr", "-o", "-", "--format", "png", "--json"], 2, ("--json -o -",)),
        (["scene.exr", "--out-dir", "nowhere"], 1, ("nowhere: no such folder",)),
        (["scene.exr", "-t", "reinhart"], 2, ("reinhart", "did you mean reinhard?")),
        (["scene.exr", "-t", "clip", "-t", "drago"], 2, ("drago", "did you mean drago03?")),
        (["scene.exr", "-t", "clip", "-t", "clip"], 2, ("-t: clip is given twice",)),
        (["scene.exr", "-t", "clip", "--all"], 2, ("-t and --all exclude each other",)),
        (["scene.exr", "-t", "reinhard", "-p", "mu=1"], 2, ("mu", "key, white")),
        (["scene.exr", "-p", "key"], 2, ("-p: ", "key=value")),
        (["scene.exr", "-t", "reinhard", "-p", "key=dark"], 2, ("key: 'dark' is no float",)),
        (["scene.exr", "-t", "reinhard", "-p", "key=nan"], 2, ("key: 'nan' is no finite number",)),
        (["scene.exr", "-t", "reinhard", "-p", "key=-1"], 2, ("-p key: -1 is not within",)),
        (["scene.exr", "-p", "key=1", "-p", "key=2"], 2, ("-p: key is given twice",)),
        (["scene.exr", "-t", "clip", "-t", "gamma", "-p", "mu=1"], 2, ("-p: none of these operators has a parameter 'mu'",)),
        (["scene.exr", "--all", "-p", "mu=1", "-p", "mue=1"], 2, ("'mue'", "--list")),
        (["scene.exr", "--bits", "12"], 2, ("--bits: ",)),
        (["scene.exr", "--bits", "16", "--format", "jpg"], 2, ("--bits: .jpg has 8 bits a channel",)),
        (["scene.exr", "--quality", "0", "--format", "jpg"], 2, ("--quality: ",)),
        (["scene.exr", "--quality", "80"], 2, ("--quality: .png keeps every code",)),
        (["scene.exr", "--ev", "nan"], 2, ("--ev: ",)),
        (["scene.exr", "--white", "bright"], 2, ("--white: 'bright' is neither a number nor auto",)),
        (["scene.exr", "--white", "99"], 2, ("--white: 99 is not within -32..32",)),
        (["scene.exr", "--white", "nan"], 2, ("--white: nan",)),
        (["scene.exr", "-t", "reinhard", "--white", "1", "-p", "white=3"], 2, ("--white: -p white says what is white",)),
        (["scene.exr", "-t", "reinhard", "--auto-exposure", "-p", "exposure=keep"], 2, ("--auto-exposure: ",)),
        (["scene.exr", "--saturation", "5"], 2, ("--saturation: 5 is not within 0..4",)),
        (["scene.exr", "--resize", "big"], 2, ("--resize: 'big' is no size",)),
        (["scene.exr", "--resize", "0"], 2, ("--resize: ",)),
        (["scene.exr", "--resize", "-5"], 2, ("--resize: ",)),
        (["scene.exr", "--brackets", "1,x"], 2, ("--brackets: 'x' is no number of stops",)),
        (["scene.exr", "--brackets", ""], 2, ("--brackets: '' is no number",)),
        (["scene.exr", "--brackets", "1,nan"], 2, ("--brackets: nan is not within",)),
        (["scene.exr", "--brackets", "1,40"], 2, ("--brackets: 40 is not within",)),
        (["scene.exr", "--brackets", "30", "--ev", "5"], 2, ("--brackets: 30 is not within -32..32 with --ev",)),
        (["scene.exr", "--brackets", "1,2,1.0"], 2, ("--brackets: 1 is there twice",)),
        (["scene.exr", "--brackets", "0,1", "--all"], 2, ("--brackets: not with a contact sheet",)),
        (["scene.exr", "--brackets", "0,1", "-o", "-", "--format", "png"], 2, ("-o -: takes one picture, these are 2",)),
        (["scene.exr", "--all", "--resize", "9"], 2, ("--resize: not with a contact sheet",)),
        (["scene.exr", "--temporal"], 2, ("scene.exr: has no frame number", "shot.0001.exr")),
        (["s.1.exr", "s.01.exr", "--temporal"], 2, ("s.01.exr: is frame 1, as is s.1.exr",)),
        (["scene.exr", "-t", "leraned"], 2, ("did you mean learned?",)),
        (["scene.exr", "-t", "learned", "-m", "nowhere"], 4, ("nowhere",)),
        (["scene.exr", "-t", "learned", "-p", "key=1"], 2, ("learned has no parameters",)),
        (["scene.exr", "-o", "old.png"], 1, ("old.png: exists already", "--overwrite")),
        (["scene.exr", "--primaries", "rec2020"], 2, ("rec2020",)),
    ],
)
def test_faults(cli: Cli, scene: Path, arguments: list[str], code: int, words: tuple[str, ...]) -> None:
    save("photo.png")
    save("old.png")
    before = files()
    ran = cli("tonemap", *arguments)
    assert (ran.code, ran.out, len(ran.lines)) == (code, "", 1), ran.err
    assert ran.err.startswith("hdrcli: ")
    assert ran.err.endswith(")\n")
    for word in words:
        assert word in ran.err
    assert files() == before


def odd_scenes() -> dict[str, np.ndarray]:
    lamp = np.zeros((9, 12, 3), np.float32)
    lamp[4, 5] = 1e4
    broken = np.ones((9, 12, 3), np.float32)
    broken[0, 0], broken[1, 1], broken[2, 2] = np.nan, np.inf, -3
    return {"black": np.zeros((9, 12, 3)), "lamp": lamp, "broken": broken, "tiny": np.full((1, 1, 3), 0.5)}


@pytest.mark.parametrize("kind", sorted(odd_scenes()))
def test_odd_scenes_come_out_of_every_operator(cli: Cli, kind: str) -> None:
    write("odd.pfm", odd_scenes()[kind])
    extra = ["--white", "auto", "--saturation", "1.4", "--auto-exposure", "-q"]
    assert cli("tonemap", "odd.pfm", "--all", *extra).code == 0
    assert cli("tonemap", "odd.pfm", "--primaries", "p3", *extra).code == 0
    picture = hdrcli.read("odd.png").pixels
    if kind == "black":
        assert not picture.any()
    if kind == "lamp":
        assert picture[4, 5].min() > 128
        assert not np.delete(picture.reshape(-1, 3), 4 * 12 + 5, axis=0).any()
    if kind == "broken":
        assert not picture[0, 0].any()
        assert not picture[2, 2].any()
        assert picture[1, 1].min() >= picture[5, 5].max()


def test_a_sheet_of_all_from_a_pipe(scene: Path) -> None:
    done = spawn("tonemap", "-", "--all", "-o", "-", "--format", "jpg", "-q", stdin=scene.read_bytes())
    assert (done.returncode, done.stderr) == (0, b"")
    import PIL.Image

    with PIL.Image.open(io.BytesIO(done.stdout)) as sheet:
        assert sheet.format == "JPEG"


def test_brackets_are_parsed_and_sorted() -> None:
    from hdrcli.cli.tonemap import parse_brackets

    assert parse_brackets("2, -4,0.5,-0") == (-4.0, 0.0, 0.5, 2.0)
    with pytest.raises(UsageError, match="too many"):
        parse_brackets(",".join(map(str, np.linspace(-3, 3, 33))))
