"""Which module may import which: the rows, and what a bare `import zoo` must not load."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import zoo

ROOT = Path(zoo.__file__).parent.parent
FOLDERS = {"zoo": ROOT / "zoo", "zoo.training": ROOT / "training", "zoo.exporting": ROOT / "export"}


def printed_rows() -> list[tuple[str, ...]]:
    """The rows in docs/DESIGN.md, first to last: "name, name: remark" in an indented block."""
    section = (ROOT / "docs" / "DESIGN.md").read_text(encoding="utf-8").split("\n## Rows\n")[1].split("\n## ")[0]
    lines = [line.strip() for line in section.splitlines() if line.startswith("    ")]
    return [tuple(line.partition(":")[0].split(", ")) for line in lines]


ROWS = printed_rows()
ROW = {room: number for number, row in enumerate(ROWS) for room in row}
HEAVY = ("tensorflow", "keras", "jax", "tensorflow_datasets", "tensorflow_text")
LIGHT = ("", "errors", "registry", "preset", "terminal", "commands", "cli")


def modules() -> dict[str, Path]:
    """Every module by its full name."""
    found = {}
    for package, folder in FOLDERS.items():
        for path in folder.rglob("*.py"):
            parts = path.relative_to(folder).with_suffix("").parts
            found[".".join((package, *(part for part in parts if part != "__init__")))] = path
    return found


MODULES = modules()


def room(module: str) -> str:
    """The part below zoo that has a row: "tasks" of zoo.tasks.dataset, "preset.saving", "" of zoo itself."""
    below = module.removeprefix("zoo").removeprefix(".")
    return below if below in ROW else below.split(".")[0]


def imports(source: str, module: str, is_package: bool) -> list[tuple[str, str, bool, int]]:
    """(module, name or "", at the top level?, line) of each import, relative ones resolved."""
    tree = ast.parse(source)
    inner = {
        node
        for function in ast.walk(tree)
        if isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
        for node in ast.walk(function)
    }
    found = []
    for node in ast.walk(tree):
        top = node not in inner
        if isinstance(node, ast.Import):
            found += [(alias.name, "", top, node.lineno) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = module.split(".")
                parts = parts[: len(parts) - node.level + is_package]
                base = ".".join([*parts, *([node.module] if node.module else [])])
            for alias in node.names:
                inside = f"{base}.{alias.name}"
                found.append(
                    (inside, "", top, node.lineno) if inside in MODULES else (base, alias.name, top, node.lineno)
                )
    return found


def violations(module: str, source: str, is_package: bool = False) -> list[str]:
    """What a module's imports do against the rows."""
    own, wrong = room(module), []
    for target, name, _, line in imports(source, module, is_package):
        where = f"{module}:{line} imports {target} {name}".strip()
        if target.split(".")[0] in ("training", "export"):
            wrong.append(f"{where}: it is installed as zoo.training or zoo.exporting")
        if own == "models" and target.split(".")[0] in HEAVY and target.split(".")[0] != "keras":
            wrong.append(f"{where}: models run on every backend")
        if target.split(".")[0] != "zoo" or room(target) == own:
            continue
        if target == "zoo":
            wrong.append(f"{where}: a function, whose row is unknown; import it from its module")
        elif own == "models" and (target, name) in (
            ("zoo.registry", "register_model"),
            ("zoo.registry", "create_model"),
        ):
            continue
        elif room(target) == "models":
            wrong.append(f"{where}: models are found by the registry, which reads their files")
        elif ROW[room(target)] >= ROW[own]:
            wrong.append(f"{where}: its row is not above")
    return wrong


def test_every_module_has_a_row():
    rooms = {room(module) for module in MODULES} - {""}
    assert {"errors", "registry", "preset", "models", "tasks", "training", "exporting", "cli"} <= rooms
    assert rooms - set(ROW) == set(), "give it a row"


@pytest.mark.parametrize("module", [module for module in sorted(MODULES) if module != "zoo"])
def test_imports_keep_to_the_rows(module):
    path = MODULES[module]
    assert violations(module, path.read_text(encoding="utf-8"), path.name == "__init__.py") == []


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("zoo.registry", "from zoo import preset"),
        ("zoo.registry", "import zoo.models.vision.mlp"),
        ("zoo.data.stream", "from zoo.preprocessing import image"),
        ("zoo.tasks.dataset", "def f():\n    from zoo.inference import load"),
        ("zoo.tasks.dataset", "import zoo"),
        ("zoo.preset", "from zoo.training.run import train"),
        ("zoo.training.run", "from . import loop\nfrom ..cli import main"),
        ("zoo.training.run", "from training import loop"),
        ("zoo.exporting.saved_model", "from zoo.training import train"),
        ("zoo.models.vision.mlp", "import tensorflow as tf"),
        ("zoo.models.vision.mlp", "from zoo.registry import entries"),
        ("zoo.models.vision.mlp", "from zoo import registry"),
    ],
)
def test_the_rows_forbid(module, line):
    assert len(violations(module, line)) == 1


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("zoo.models.vision.mlp", "from zoo.registry import register_model, create_model\nimport keras"),
        ("zoo.training.run", "from .loop import Loop\nfrom zoo.training import recipe\nfrom zoo import tasks"),
        ("zoo.cli", "def f():\n    from zoo import exporting, training\n    import zoo.errors"),
    ],
)
def test_the_rows_allow(module, line):
    assert violations(module, line) == []


def test_verbs_are_imported_lazily():
    """zoo/__init__ imports its parts only for type checkers; each verb's module has it."""
    tree = ast.parse(MODULES["zoo"].read_text(encoding="utf-8"))
    outside = [node for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom))]
    assert all(getattr(node, "module", None) == "typing" or isinstance(node, ast.Import) for node in outside)
    names = {alias.name for node in outside if isinstance(node, ast.Import) for alias in node.names}
    assert names == {"importlib", "os", "platform"}
    assert sorted(zoo._MODULES) == sorted(zoo.__all__)
    for verb, module in zoo._MODULES.items():
        assert module in MODULES, f"{verb} comes from {module}"


def test_no_module_is_named_like_a_verb():
    """Importing zoo/export.py would replace the function zoo.export."""
    verbs = {*zoo.__all__, "explain", "verify", "tune", "serve", "benchmark", "evaluate", "embedding_layer"}
    names = {module.split(".")[1] for module in MODULES if module != "zoo"}
    assert "preset" in names
    assert names & verbs == set()


@pytest.mark.parametrize("module", [module for module in sorted(MODULES) if room(module) in LIGHT])
def test_light_modules_import_nothing_heavy(module):
    found = imports(MODULES[module].read_text(encoding="utf-8"), module, MODULES[module].name == "__init__.py")
    assert [target for target, _, top, _ in found if top and target.split(".")[0] in HEAVY] == []


LISTING = """
import sys
import zoo, zoo.cli, zoo.preset, zoo.preset.weights, zoo.training.recipe
names = zoo.list_models()
assert "mlp" in names, names
assert zoo.model_info("mlp")["task"] == "image_classification"
dir(zoo), zoo.__version__
try:
    zoo.cli.main(["list", "mlp"])
except SystemExit as end:
    assert end.code == 0
print(sorted({module.split(".")[0] for module in sys.modules} & {"tensorflow", "keras", "jax", "tensorflow_datasets"}))
print([module for module in sys.modules if module.startswith("zoo.models.")])
"""


def test_a_listing_loads_neither_tensorflow_nor_a_model(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", LISTING],
        env={**os.environ, "ZOO_CACHE": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    *listed, heavy, models = done.stdout.splitlines()
    assert heavy == "[]"
    assert models == "[]"
    assert any(line.startswith("mlp ") for line in listed)
