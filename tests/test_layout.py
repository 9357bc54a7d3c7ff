"""How the tests are laid out: folders named after the packages they test, and no test module imports another."""

import ast
import re

import pytest

from tests.helpers.paths import ROOT

TESTS = ROOT / "tests"
MODULES = sorted(TESTS.rglob("test_*.py"))
# Tests of a part of zoo lie in a folder of its name: zoo/tasks in tests/tasks. These parts have another name.
FOLDERS = {"presets": "preset", "export": "exporting"}


def name(path) -> str:
    return path.relative_to(TESTS).as_posix()


def imported(source: str) -> list[str]:
    """Test modules that a module imports, also in the code that it gives to other processes."""
    names = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names += [f"{'.' * node.level}{node.module or ''}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            lines = re.findall(r"^ *(?:from|import) (tests\S*(?: import .*)?)", node.value, re.MULTILINE)
            names += [line.replace(" import ", ".") for line in lines]
    return [each for each in names if re.search(r"(^tests|^\.).*\btest_\w+", each)]


@pytest.mark.parametrize("path", sorted(TESTS.rglob("*.py")), ids=name)
def test_no_module_imports_a_test_module(path):
    assert imported(path.read_text(encoding="utf-8")) == [], "move what is shared to tests/helpers"


def test_random_operations_keep_no_state():
    """What they draw would depend on the tests before, as TensorFlow's own seed is not set for each test."""
    files = [path for part in ("zoo", "training", "export", "tests") for path in (ROOT / part).rglob("*.py")]
    pattern = r"\btf\.random\.(?!stateless_|experimental\.stateless_|set_seed)\w+"
    drawn = {path.relative_to(ROOT): re.findall(pattern, path.read_text("utf-8")) for path in files}
    assert {path: names for path, names in drawn.items() if names} == {}, "use operations of tf.random.stateless_*"


@pytest.mark.parametrize(
    "source",  # "TEST_" stands for "test_", or this file would be noticed
    [
        "from tests.training.TEST_run import train",
        "import tests.TEST_laws",
        "from tests import TEST_laws",
        "from .TEST_run import train",
        "from . import TEST_run",
        "CODE = '''\nimport sys\nfrom tests.TEST_laws import make\n'''",
    ],
)
def test_an_import_of_a_test_module_is_noticed(source):
    assert len(imported(source.replace("TEST_", "test_"))) == 1


@pytest.mark.parametrize("source", ["from tests.helpers.runs import train", "import pytest\nfrom tests import helpers"])
def test_other_imports_are_allowed(source):
    assert imported(source) == []


def test_folders_are_named_after_packages():
    parts = {path.stem for path in (ROOT / "zoo").iterdir()} | {"training", "exporting"}
    folders = {path.parent.relative_to(TESTS).parts[0] for path in MODULES if path.parent != TESTS}
    assert {FOLDERS.get(folder, folder) for folder in folders} - parts == set()


def test_every_folder_of_tests_is_a_package():
    """Modules of the same name in two folders need it."""
    assert [name(path) for path in MODULES if not (path.parent / "__init__.py").exists()] == []
