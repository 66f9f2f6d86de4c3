"""Every fault ends in one line that names file, fault and remedy, in the right exit code, and leaves nothing behind."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path

import numpy as np
import pytest
from command_line import CARD, Cli, files, save

import hdrcli
from hdrcli.color import Transfer
from hdrcli.image import Image


def check(ran, *, code: int, words: tuple[str, ...]) -> None:
    assert ran.code == code, ran.err
    assert ran.out == ""
    assert len(ran.lines) == 1, ran.err
    assert ran.err.startswith("hdrcli: ")
    assert "Traceback" not in ran.err
    assert ran.err.rstrip().endswith(")"), "no remedy"
    for word in words:
        assert word in ran.err


def missing() -> None:
    pass


def empty() -> None:
    Path("bad.jpg").write_bytes(b"")


def truncated_jpeg() -> None:
    whole = save("bad.jpg").read_bytes()
    Path("bad.jpg").write_bytes(whole[: len(whole) // 2])


def truncated_png() -> None:
    whole = save("a.png").read_bytes()
    Path("a.png").rename("bad.jpg")
    Path("bad.jpg").write_bytes(whole[: len(whole) // 2])


def corrupt_png() -> None:
    whole = bytearray(save("a.png").read_bytes())
    whole[len(whole) // 2] ^= 0xFF
    Path("a.png").rename("bad.jpg")
    Path("bad.jpg").write_bytes(whole)


def only_magic() -> None:
    Path("bad.jpg").write_bytes(b"\xff\xd8\xff\xe0")


def text_named_jpg() -> None:
    Path("bad.jpg").write_text("To whom it may concern", encoding="utf-8")


def directory() -> None:
    Path("bad.jpg").mkdir()


def hdr_named_jpg() -> None:
    hdrcli.write(Image(np.ones((4, 4, 3), np.float32), Transfer.LINEAR), "x.exr")
    Path("x.exr").rename("bad.jpg")


def dangling_link() -> None:
    Path("bad.jpg").symlink_to("nowhere")


def under_a_file() -> None:
    pass


INPUT_FAULTS = [
    (missing, "no such file"),
    (empty, "is empty"),
    (truncated_jpeg, "ends early"),
    (truncated_png, "ends early"),
    (corrupt_png, "damaged"),
    (only_magic, "damaged"),
    (text_named_jpg, "not an image of a known type"),
    (directory, "is a directory"),
    (hdr_named_jpg, "scene-linear (HDR) already"),
    (dangling_link, "no such file"),
]


@pytest.mark.parametrize(("make", "fault"), INPUT_FAULTS, ids=lambda v: getattr(v, "__name__", ""))
def test_input_faults(cli: Cli, make, fault: str) -> None:
    make()
    before = files()
    ran = cli("expand", "bad.jpg", "-m", "linear", "-o", "out.exr")
    check(ran, code=1, words=("bad.jpg: ", fault))
    assert files() == before


@pytest.mark.parametrize(("make", "fault"), INPUT_FAULTS, ids=lambda v: getattr(v, "__name__", ""))
def test_the_others_still_get_done(cli: Cli, make, fault: str) -> None:
    make()
    save("first.png")
    save("last.png")
    ran = cli("expand", "first.png", "bad.jpg", "last.png", "-m", "linear")
    assert ran.code == 3
    assert {"first.exr", "last.exr"} <= files()
    assert "bad.exr" not in files()
    assert len(ran.lines) == 3
    assert sum(line.startswith("hdrcli: bad.jpg: ") and fault in line for line in ran.lines) == 1


def test_all_fail(cli: Cli) -> None:
    ran = cli("expand", "a.jpg", "b.jpg", "-m", "linear")
    assert (ran.code, len(ran.lines)) == (1, 2)


def test_input_without_rights(cli: Cli, photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Path.open

    def refuse(self: Path, *args, **kwargs):
        if self.name == "photo.png":
            raise PermissionError(errno.EACCES, "Permission denied", str(self))
        return real(self, *args, **kwargs)

    monkeypatch.setattr(Path, "open", refuse)
    check(cli("expand", photo), code=1, words=("photo.png: ", "Permission denied", "permissions"))


def existing(target: Path) -> None:
    target.write_bytes(b"precious")


def folder_in_its_place(target: Path) -> None:
    target.mkdir()


@pytest.mark.parametrize(
    ("make", "output", "words"),
    [
        (existing, "out.exr", ("exists already", "--overwrite")),
        (folder_in_its_place, "out.exr", ("is a directory",)),
        (None, "photo.png/out.exr", ("its folder is a file",)),
        (None, "no/such/out.exr", ("its folder does not exist", "make the folder first")),
    ],
)
def test_output_faults(cli: Cli, photo: Path, make, output: str, words: tuple[str, ...]) -> None:
    if make:
        make(Path(output))
    before = files()
    ran = cli("expand", photo, "-m", "linear", "-o", output)
    check(ran, code=1, words=(f"{output}: ", *words))
    assert files() == before
    if make is existing:
        assert Path(output).read_bytes() == b"precious"


def test_existing_preview(cli: Cli, photo: Path) -> None:
    existing(Path("photo.preview.png"))
    check(cli("expand", photo, "-m", "linear", "--preview"), code=1, words=("photo.preview.png: exists already",))
    assert not Path("photo.exr").exists()


def test_folder_without_rights(cli: Cli, photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.access", lambda path, mode: False)
    check(cli("expand", photo, "-m", "linear"), code=1, words=("photo.exr: ", "no rights"))


@pytest.mark.parametrize("number", [errno.EACCES, errno.ENOSPC, errno.EROFS])
def test_fault_while_writing(cli: Cli, photo: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def fail(image: object, path: Path, options: object) -> None:
        path.write_bytes(b"half of it")
        raise OSError(number, "Sorry", str(path))

    monkeypatch.setattr("hdrcli.formats.exr.write", fail)
    check(cli("expand", photo, "-m", "linear"), code=1, words=("photo.exr: can't be written: Sorry", "free space"))
    assert files() == {"photo.png"}


def test_name_too_long(cli: Cli, photo: Path) -> None:
    name = "x" * 300
    check(cli("expand", photo, "-m", "linear", "-o", f"{name}.exr"), code=1, words=(name,))
    check(cli("expand", f"{name}.jpg", "-m", "linear", "-o", "o.exr"), code=1, words=(name,))


@pytest.mark.parametrize("folder", ["nowhere", "photo.png"])
def test_out_dir_must_be_there(cli: Cli, photo: Path, folder: str) -> None:
    check(cli("expand", photo, "-m", "linear", "--out-dir", folder), code=1, words=(f"{folder}: ", "--out-dir"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["-o", "x.png"], ("x.png: ", "can't hold HDR", "tonemap")),
        (["-o", "x.abc"], ("x.abc: ", "unknown output type")),
        (["-o", "x"], ("x: ", "no extension")),
        (["-o", "."], (".: is a folder", "--out-dir .")),
        (["-o", "x", "--format", "exr"], ("x: ", "name it x.exr")),
        (["-o", "x.exr", "--format", "hdr"], ("x.exr: ", "another type")),
        (["-o", "x.exr", "--out-dir", "."], ("exclude each other",)),
        (["-o", "-"], ("-o -: ", "--format")),
        (["-o", "-", "--format", "exr", "--json"], ("--json -o -",)),
        (["-o", "-", "--format", "exr", "--preview"], ("--preview",)),
        (["-o", "x.hdr", "--confidence"], ("--confidence: ", ".exr")),
        (["--strength", "1.5"], ("--strength: ",)),
        (["--strength", "nan"], ("--strength: ",)),
        (["--ev", "99"], ("--ev: ",)),
        (["--white-nits", "0"], ("--white-nits: ",)),
        (["--peak-stops", "-1"], ("--peak-stops: ",)),
        (["--device", "gpu"], ("--device: ", "cuda:N")),
        (["--device", "cuda:"], ("--device: ",)),
        (["--backend", "jax"], ("'--backend'", "onnx")),
        (["second.png", "-o", "x.exr"], ("-o takes one input", "--out-dir")),
        (["photo.png"], ("photo.png: is given twice",)),
        (["./photo.png"], ("photo.png: is given twice",)),
        (["photo.jpg"], ("photo.exr: would come from both photo.png and photo.jpg",)),
        (["photo.exr"], ("photo.exr: is one of the inputs",)),
    ],
)
def test_usage(cli: Cli, photo: Path, arguments: list[str], words: tuple[str, ...]) -> None:
    save("second.png")
    save("photo.jpg")
    before = files()
    ran = cli("expand", photo, "-m", "linear", *arguments)
    assert ran.code == 2
    assert (ran.out, len(ran.lines)) == ("", 1)
    for word in words:
        assert word in ran.err
    assert files() == before


def test_output_that_is_the_input(cli: Cli, photo: Path) -> None:
    photo.rename("photo.exr")
    before = Path("photo.exr").read_bytes()
    Path("link.exr").symlink_to("photo.exr")
    for output in ("photo.exr", "./photo.exr", "link.exr"):
        ran = cli("expand", "photo.exr", "-m", "linear", "-o", output, "--overwrite")
        check(ran, code=2, words=(f"{Path(output)}: is the input itself",))
    check(cli("expand", "photo.exr", "-m", "linear", "--overwrite"), code=2, words=("is the input itself",))
    assert Path("photo.exr").read_bytes() == before


def test_terminals_are_refused(cli: Cli, photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import io
    import sys

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr("sys.stdin", Terminal())
    check(cli("expand", "-", "-o", "x.exr", "-m", "linear"), code=2, words=("standard input is a terminal",))
    check(cli("expand", "-", "-m", "linear"), code=2, words=("-: has no name", "-o"))
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr(type(sys.stdout), "isatty", lambda self: True)
    check(cli("expand", photo, "-o", "-", "--format", "exr"), code=2, words=("standard output is a terminal",))


def test_bad_stdin_is_named_as_such(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    import io

    for content, fault in ((b"", "is empty"), (b"nonsense", "known type"), (b"\xff\xd8\xff\xe0", "damaged")):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content)))
        check(cli("expand", "-", "-o", "x.exr", "-m", "linear"), code=1, words=("standard input: ", fault))


# --- models ---------------------------------------------------------------------------------------------------------------


def no_model(folder: Path) -> str:
    return "defualt"


def no_bundle_folder(folder: Path) -> str:
    (folder / "g_y.onnx").unlink()
    (folder / "model.toml").unlink()
    return str(folder)


def tampered_weights(folder: Path) -> str:
    weights = folder / "g_y.onnx"
    weights.write_bytes(weights.read_bytes()[:-1] + b"!")
    return str(folder)


def weights_gone(folder: Path) -> str:
    (folder / "g_y.onnx").unlink()
    return str(folder)


def card_no_toml(folder: Path) -> str:
    (folder / "model.toml").write_text("hello = [", encoding="utf-8")
    return str(folder)


def card_of_another_format(folder: Path) -> str:
    (folder / "model.toml").write_text("format = 2", encoding="utf-8")
    return str(folder)


def foreign_card(folder: Path) -> str:
    (folder / "model.toml").write_text("format = 1\n[model]\nname = 'GPT'\n", encoding="utf-8")
    return str(folder)


def foreign_network(folder: Path) -> str:
    import hashlib

    (folder / "g_y.onnx").write_bytes(b"this is no network")
    sha = hashlib.sha256(b"this is no network").hexdigest()
    (folder / "model.toml").write_text(CARD.replace("{sha}", sha), encoding="utf-8")
    return str(folder)


def other_inputs(folder: Path) -> str:
    card = (folder / "model.toml").read_text(encoding="utf-8")
    (folder / "model.toml").write_text(card.replace('["ldr", "clip"]', '["ldr"]'), encoding="utf-8")
    return str(folder)


def unknown_inputs(folder: Path) -> str:
    card = (folder / "model.toml").read_text(encoding="utf-8")
    (folder / "model.toml").write_text(card.replace('["ldr", "clip"]', '["ldr", "depth"]'), encoding="utf-8")
    return str(folder)


def network_alone(folder: Path) -> str:
    (folder / "model.toml").unlink()
    return str(folder / "g_y.onnx")


def files_no_table(folder: Path) -> str:
    card = (folder / "model.toml").read_text(encoding="utf-8").partition("[files]")[0]
    (folder / "model.toml").write_text(f'files = ["g_y.onnx"]\n{card}', encoding="utf-8")
    return str(folder)


def endless_working_size(folder: Path) -> str:
    card = (folder / "model.toml").read_text(encoding="utf-8")
    (folder / "model.toml").write_text(card.replace("working_size = 64", "working_size = inf"), encoding="utf-8")
    return str(folder)


MODEL_FAULTS = [
    (no_model, 4, ("no model 'defualt'", "models list")),
    (tampered_weights, 1, ("g_y.onnx: ", "SHA-256")),
    (weights_gone, 1, ("g_y.onnx: ", "can't be read")),
    (card_no_toml, 1, ("model.toml: ", "can't be read")),
    (card_of_another_format, 1, ("model.toml: ", "format 2")),
    (foreign_card, 1, ("model.toml: ", "lacks or garbles")),
    (foreign_network, 1, ("bundle: ", "no network")),
    (other_inputs, 1, ("bundle: ", "inputs")),
    (unknown_inputs, 1, ("bundle: ", "can't make")),
    (network_alone, 1, ("bundle/g_y.onnx: ", "name the folder of its bundle")),
    (files_no_table, 1, ("model.toml: ", "[files]")),
    (endless_working_size, 1, ("model.toml: ", "domain.working_size")),
]


@pytest.mark.parametrize(("spoil", "code", "words"), MODEL_FAULTS, ids=lambda v: getattr(v, "__name__", ""))
def test_model_faults(cli: Cli, photo: Path, tiny_bundle: Path, spoil, code: int, words: tuple[str, ...]) -> None:
    model = spoil(Path(shutil.copytree(tiny_bundle, "bundle")))
    before = files()
    # told once, not for every photo
    save("second.png")
    ran = cli("expand", photo, "second.png", "-m", model)
    check(ran, code=code, words=words)
    assert files() == before | {"second.png"}


def test_cuda_that_is_missing(cli: Cli, photo: Path, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hdrcli.inference.onnx_backend.cuda_driver_present", lambda: False)
    check(cli("expand", photo, "-m", tiny_bundle, "--device", "cuda"), code=4, words=("--device cuda: ", "--device cpu"))


def test_torch_missing_is_said_in_one_line(photo: Path, tiny_bundle: Path) -> None:
    import subprocess
    import sys

    script = "import sys; sys.modules['torch'] = None; from hdrcli.cli.app import main; sys.exit(main(sys.argv[1:]))"
    for arguments in (
        ["expand", str(photo), "-m", str(tiny_bundle), "--backend", "torch"],
        ["train", "--hdr", ".", "--out", "run", "--max-steps", "1"],
        ["models", "export", "run", "-o", "bundle"],
    ):
        done = subprocess.run(
            [sys.executable, "-c", script, *arguments], capture_output=True, text=True, timeout=60, check=False
        )
        assert (done.returncode, len(done.stderr.splitlines())) == (4, 1), done.stderr
        assert "needs the package torch (install it with: pip install 'hdrcli[train]')" in done.stderr
