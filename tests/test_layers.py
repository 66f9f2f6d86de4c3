"""Imports point down only: read from the source of every module, so nothing has to be imported for it."""

import ast
import sys
from pathlib import Path

import pytest

import hdrcli

PACKAGE = Path(hdrcli.__file__).parent
# lowest first; modules of one line don't import each other
LAYERS = [
    {"errors"},
    {"machine", "parallel"},
    {"color"},
    {"image"},
    {"registry"},
    {"camera", "resizing"},
    {"networks"},
    {"formats", "tonemapping", "expansion", "perception", "losses", "metrics"},
    {"inference"},
    {"conversion", "inspection", "preview", "sheet", "terminal", "webview"},
    {"batch", "evaluation", "training", "viewing"},
    {"cli"},
]
RANK = {name: rank for rank, layer in enumerate(LAYERS) for name in layer}
MAY_IMPORT_TORCH = (
    "networks",
    "perception",
    "losses",
    "training",
    "inference.torch_backend",
    "metrics._hdrvdp2",
    "metrics.hdrvdp2",
    "metrics.lpips",
    "metrics.cvvdp",
)
MODULES = sorted(".".join(p.relative_to(PACKAGE).with_suffix("").parts) for p in PACKAGE.rglob("*.py"))


class Imports(ast.NodeVisitor):
    """Names of imported modules, and of those imported when the module itself is; TYPE_CHECKING blocks left out."""

    def __init__(self, module):
        self.module, self.all, self.eager, self._depth = module, set(), set(), 0
        path = PACKAGE / (module.replace(".", "/") + ".py")
        self.visit(ast.parse(path.read_text(encoding="utf-8")))

    def visit_If(self, node):
        if isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            for statement in node.orelse:
                self.visit(statement)
        else:
            self.generic_visit(node)

    def visit_FunctionDef(self, node):
        self._depth += 1
        self.generic_visit(node)
        self._depth -= 1

    def visit_Import(self, node):
        self._add({alias.name for alias in node.names})

    def visit_ImportFrom(self, node):
        assert node.level == 0, f"{self.module}: relative import"
        names = {f"{node.module}.{alias.name}" for alias in node.names} if node.module == "hdrcli" else {node.module}
        self._add(names)

    def _add(self, names):
        self.all |= names
        if self._depth == 0:
            self.eager |= names


def top(module):
    return module.partition(".")[0]


@pytest.mark.parametrize("module", [m for m in MODULES if top(m) in RANK])
def test_imports_point_down(module):
    mine = top(module)
    for imported in Imports(module).all:
        package, _, rest = imported.partition(".")
        theirs = top(rest)
        if package != "hdrcli" or theirs == mine or theirs not in RANK:
            continue
        assert RANK[theirs] < RANK[mine], f"hdrcli.{module} imports {imported}"


def test_every_module_has_a_layer():
    assert {top(m) for m in MODULES} - set(RANK) <= {"__init__", "__main__", "bundled"}


@pytest.mark.parametrize("module", MODULES)
def test_torch_stays_where_it_belongs(module):
    found = Imports(module)
    heavy = {"torch", "lightning", "safetensors", "onnx", "onnxscript"}
    used = {n for n in found.all if top(n) in heavy}
    assert not used or module.startswith(MAY_IMPORT_TORCH), f"hdrcli.{module} imports {used}"
    if module.startswith("inference"):
        assert not {n for n in found.eager if top(n) in heavy}, f"hdrcli.{module} imports torch when it is imported"


@pytest.mark.parametrize("module", [m for m in MODULES if top(m) not in ("cli", "__main__")])
def test_terminal_libraries_stay_in_the_command_line(module):
    assert not {n for n in Imports(module).all if top(n) in ("typer", "rich", "click")}


@pytest.mark.parametrize(
    "module", ["__init__", "registry", "errors", "cli.app", "cli.exits", "expansion.linear", "tonemapping.reinhard"]
)
def test_what_lists_and_helps_imports_nothing_heavy(module):
    light = set(sys.stdlib_module_names) | {"hdrcli", "typer", "__future__"}
    assert {top(n) for n in Imports(module).eager} <= light
