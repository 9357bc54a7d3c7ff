"""Every package that the code imports is declared in setup.cfg."""

import ast
import configparser
import re
import sys

import pytest

from tests.helpers.paths import ROOT

# Distributions whose modules have another name.
NAMES = {
    "PIL": "pillow",
    "google.protobuf": "protobuf",
    "sklearn": "scikit-learn",
    "grpc": "grpcio",
    "tensorflow_serving": "tensorflow-serving-api",
}


def declared() -> set[str]:
    """The distributions of install_requires and of all extras but those for tests and benchmarks."""
    config = configparser.ConfigParser(inline_comment_prefixes=("#",))
    config.read(ROOT / "setup.cfg")
    texts = [config["options"]["install_requires"]]
    texts += [text for extra, text in config["options.extras_require"].items() if extra not in ("test", "benchmark")]
    lines = [line for text in texts for line in text.splitlines() if line.strip()]
    return {re.match(r"[\w.-]+", line.strip())[0].lower() for line in lines}


def imported(source: str) -> set[str]:
    """The distributions of the packages that a module imports, at the top or inside functions."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    others = {name for name in names if name.split(".")[0] not in {*sys.stdlib_module_names, "zoo", "run"}}
    return {_distribution(name) for name in others}


def _distribution(name: str) -> str:
    for module, distribution in NAMES.items():
        if f"{name}.".startswith(f"{module}."):
            return distribution
    return name.split(".")[0].replace("_", "-").lower()


@pytest.mark.parametrize("folder", ["zoo", "training", "export"])
def test_what_is_imported_is_declared(folder):
    for path in (ROOT / folder).rglob("*.py"):
        assert imported(path.read_text("utf-8")) - declared() == set(), path


def test_the_imports_are_read():
    source = "import os\ndef f():\n    from google.protobuf import json_format\n    import PIL.Image, grpc, zoo.errors"
    assert imported(source) == {"protobuf", "pillow", "grpcio"}
    assert {"grpcio", "protobuf", "requests", "keras-tuner", "onnx"} <= declared()
