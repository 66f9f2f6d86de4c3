"""Bundles from elsewhere: taken whole, checked, or not at all."""

import hashlib
import io
import shutil
import tarfile
import zipfile

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from hdrcli.errors import MissingInput, ModelError, OutputExists, UsageError
from hdrcli.inference import bundles, importing
from hdrcli.inference.importing import install


@pytest.fixture(autouse=True)
def _a_home_of_its_own(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.delenv(bundles.ENVIRONMENT, raising=False)


@pytest.fixture
def source(tiny, tmp_path):
    return shutil.copytree(tiny, tmp_path / "from" / "theirs")


def network(name="ldr", output="t", value=None, size=None):
    """One that gives back what it gets, or a constant."""
    shape = ["n", 3, "h", "w"]
    nodes, kept = [helper.make_node("Identity", [name], [output])], []
    if value is not None:
        kept = [value]
        nodes = [helper.make_node("Add", [name, value.name], [output])]
    if size is not None:
        nodes = [helper.make_node("ReduceMean", [name], [output], keepdims=1)]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)],
        kept,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9).SerializeToString()


def write(folder, files, extra=""):
    """A bundle of these files."""
    folder.mkdir(parents=True, exist_ok=True)
    named = "".join(f'"{name}" = "{hashlib.sha256(content).hexdigest()}"\n' for name, content in files.items())
    tables = "[model]\nversion = '1'\narchitecture = 'a'\n"
    for table in ("domain", "g_x"):
        inputs = "ldr" if table == "domain" else "t"
        tables += f"[{table}]\narchitecture = 'a'\ninputs = ['{inputs}']\nworking_size = 64\nmultiple = 8\npeak = 256\n"
    (folder / "model.toml").write_text(f"format = 1\n{tables}{extra}[files]\n{named}", encoding="utf-8")
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    files = {"g_y.onnx": network(), "g_x.onnx": network("t", "codes")}
    return write(tmp_path_factory.mktemp("tiny") / "theirs", files)


def zipped(folder, path, prefix=""):
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.iterdir()):
            archive.write(file, prefix + file.name)
    return path


def tarred(folder, path, mode="w:gz", prefix="theirs/"):
    with tarfile.open(path, mode) as archive:
        for file in sorted(folder.iterdir()):
            archive.add(file, prefix + file.name)
    return path


def untouched():
    """There is no trace of an import."""
    folder = bundles.user_folder()
    return not folder.exists() or not list(folder.iterdir())


class TestWhatIsTaken:
    def test_a_folder(self, source):
        bundle = install(source)
        assert (bundle.name, bundle.roles) == ("theirs", ("g_y", "g_x"))
        assert bundles.find("theirs") == bundles.user_folder() / "theirs"
        bundles.verify(bundle)

    @pytest.mark.parametrize(
        ("pack", "name"),
        [
            (zipped, "mine.zip"),
            (lambda f, p: zipped(f, p, "theirs/deep/"), "mine.zip"),
            (tarred, "mine.tar.gz"),
            (lambda f, p: tarred(f, p, "w:xz", ""), "mine.tar.xz"),
            (lambda f, p: tarred(f, p, "w", "./"), "mine.tar"),
        ],
    )
    def test_archives(self, source, tmp_path, pack, name):
        bundle = install(pack(source, tmp_path / name))
        assert bundle.name == "mine"
        assert {p.name for p in bundle.folder.iterdir()} == {"model.toml", "g_y.onnx", "g_x.onnx"}

    def test_another_name(self, source):
        assert install(source, "other-1.2").folder == bundles.user_folder() / "other-1.2"

    def test_only_what_the_card_names(self, source):
        for name in ("run.sh", "checkpoint.pt", "g_y.pt"):
            (source / name).write_bytes(b"cos\nsystem\n(S'true'\ntR.")
        assert {p.name for p in install(source).folder.iterdir()} == {"model.toml", "g_y.onnx", "g_x.onnx"}

    def test_an_existing_model_is_replaced_only_when_told(self, source):
        install(source)
        with pytest.raises(OutputExists, match="--overwrite"):
            install(source)
        write(source, {"g_y.onnx": network()})
        assert install(source, overwrite=True).roles == ("g_y",)

    def test_a_folder_of_other_things_is_never_replaced(self, source):
        (bundles.user_folder() / "theirs").mkdir(parents=True)
        (bundles.user_folder() / "theirs" / "notes").touch()
        with pytest.raises(OutputExists, match="no bundle"):
            install(source, overwrite=True)
        assert (bundles.user_folder() / "theirs" / "notes").exists()


class TestWhatIsRefused:
    def refused(self, source, words, error=ModelError):
        with pytest.raises(error, match=words) as caught:
            install(source)
        assert ".import-" not in str(caught.value)
        assert "\n" not in str(caught.value)
        assert untouched()

    def test_nothing_there(self, tmp_path):
        self.refused(tmp_path / "nix", "no such file", MissingInput)

    @pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04 no zip", b"\x1f\x8b\x08 no gzip"])
    def test_what_is_no_archive(self, tmp_path, content):
        (tmp_path / "a.zip").write_bytes(content)
        self.refused(tmp_path / "a.zip", "no bundle")

    def test_a_truncated_archive(self, source, tmp_path):
        for path in (zipped(source, tmp_path / "a.zip"), tarred(source, tmp_path / "b.tar.gz")):
            path.write_bytes(path.read_bytes()[:-200])
            self.refused(path, "no bundle|lacks|holds 0")

    def test_a_damaged_archive(self, source, tmp_path):
        path = zipped(source, tmp_path / "a.zip")
        content = bytearray(path.read_bytes())
        at = content.index((source / "g_y.onnx").read_bytes()) + 20
        content[at] ^= 255
        path.write_bytes(bytes(content))
        self.refused(path, "no bundle")  # its own checksum

    def test_files_that_differ_from_the_card(self, source):
        (source / "g_x.onnx").write_bytes(network("t", "other"))
        self.refused(source, "SHA-256")

    def test_files_that_are_missing(self, source):
        (source / "g_x.onnx").unlink()
        self.refused(source, r"lacks g_x\.onnx")

    def test_a_folder_without_a_card(self, source):
        (source / "model.toml").unlink()
        self.refused(source, r"no model\.toml")

    def test_a_card_that_is_none(self, source):
        (source / "model.toml").write_text("hello")
        self.refused(source, "card can't be read")

    def test_two_bundles_in_one(self, source, tmp_path):
        shutil.copytree(source, tmp_path / "two" / "a")
        path = tmp_path / "two.zip"
        with zipfile.ZipFile(path, "w") as archive:
            for folder in ("a", "b"):
                archive.write(source / "model.toml", f"{folder}/model.toml")
        self.refused(path, "2 files")

    def test_files_that_may_hold_code(self, tmp_path):
        self.refused(write(tmp_path / "b", {"g_y.onnx": network(), "more.pt": b"x"}), r"more\.pt.*can't hold code")

    @pytest.mark.parametrize("name", ["../g_y.onnx", "/tmp/g_y.onnx", "a/g_y.onnx"])
    def test_names_on_the_card_that_lead_elsewhere(self, source, name):
        card = source / "model.toml"
        card.write_text(card.read_text().replace('"g_y.onnx"', f'"{name}"'))
        self.refused(source, r"table \[files\]")

    def test_paths_in_archives_lead_nowhere(self, source, tmp_path):
        """What lies beside the card is taken under its plain name; the rest is not looked at."""
        path = tmp_path / "evil.tar"
        with tarfile.open(path, "w") as archive:
            for file in source.iterdir():
                archive.add(file, f"../../up/{file.name}")
            entry = tarfile.TarInfo("../../../escaped")
            entry.size = 4
            archive.addfile(entry, io.BytesIO(b"evil"))
        bundle = install(path)
        assert bundle.folder.parent == bundles.user_folder()
        assert not list(tmp_path.rglob("escaped"))
        assert not (tmp_path / "up").exists()

    def test_links_are_not_files(self, source, tmp_path):
        secret = tmp_path / "secret"
        secret.write_bytes((source / "g_y.onnx").read_bytes())
        path = tmp_path / "evil.tar"
        with tarfile.open(path, "w") as archive:
            archive.add(source / "model.toml", "model.toml")
            archive.add(source / "g_x.onnx", "g_x.onnx")
            entry = tarfile.TarInfo("g_y.onnx")
            entry.type, entry.linkname = tarfile.SYMTYPE, str(secret)
            archive.addfile(entry)
        self.refused(path, r"lacks g_y\.onnx")

    def test_more_than_the_limit_whatever_the_archive_says(self, source, tmp_path, monkeypatch):
        monkeypatch.setattr(importing, "MOST_FILE", 20)
        self.refused(zipped(source, tmp_path / "a.zip"), r"g_y\.onnx is larger")
        monkeypatch.setattr(importing, "MOST_CARD", 100)
        self.refused(source, r"model\.toml is larger")

    def test_a_bomb_stops_at_the_limit(self, tmp_path, monkeypatch):
        monkeypatch.setattr(importing, "MOST_CARD", 1 << 16)
        path = tmp_path / "bomb.zip"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("model.toml", b"#" * (1 << 24))
        self.refused(path, "larger")

    def test_networks_of_another_form(self, tmp_path):
        good = network()
        for files, words in (
            ({"g_y.onnx": b"no network"}, "no network that ONNX Runtime can run"),
            ({"g_y.onnx": network("image")}, "inputs"),
            ({"g_y.onnx": network(size=1)}, "shape"),
            ({"g_y.onnx": good, "g_x.onnx": network("ldr")}, "inputs"),
            ({"other.onnx": good}, "no generator"),
        ):
            self.refused(write(tmp_path / "b", files), words)
            shutil.rmtree(tmp_path / "b")

    def test_a_network_that_gives_no_numbers(self, tmp_path):
        nan = numpy_helper.from_array(np.array(np.nan, np.float32), "nan")
        self.refused(write(tmp_path / "b", {"g_y.onnx": network(value=nan)}), "not finite")

    def test_a_network_that_reads_other_files(self, tmp_path):
        """Weights outside of the file could be any file of this machine."""
        secret = tmp_path / "secret"
        secret.write_bytes(np.float32([7]).tobytes())
        outside = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[1], data_location=TensorProto.EXTERNAL)
        outside.external_data.add(key="location", value=str(secret))
        self.refused(write(tmp_path / "b", {"g_y.onnx": network(value=outside)}), "ONNX Runtime")

    @pytest.mark.parametrize("name", ["", "..", "a/b", "a b", "-x", "x" * 101])
    def test_names_that_are_none(self, source, name):
        with pytest.raises(UsageError, match="name"):
            install(source, name)
        assert untouched()
