"""General rooms ask the task: only zoo/tasks and zoo/explaining know tasks by name, or the keys of an answer."""

import ast
from pathlib import Path

import pytest

import zoo
from zoo import tasks

ROOT = Path(zoo.__file__).parent.parent
NAMES = set(tasks.names(own=True))
KEYS = {
    "labels", "scores", "translation", "caption", "text", "score", "alternatives", "log_probability", "perplexity",
    "neighbours", "transcript", "segments", "vectors", "classes", "mask", "objects", "embedding",
}  # fmt: skip
ANSWERS = {"answer", "answers", "row", "rows", "ours", "theirs", "outputs"}  # variables that hold answers
# A model's file names the task that it is made for; the runner is a program of its own, copied beside a classifier.
EXEMPT = ("zoo/tasks", "zoo/explaining", "zoo/models", "export/runner.py")
FILES = [
    path
    for folder in ("zoo", "training", "export")
    for path in sorted((ROOT / folder).rglob("*.py"))
    if not path.relative_to(ROOT).as_posix().startswith(EXEMPT)
]


def findings(source: str) -> list[str]:
    """Tasks' names as strings, and answers' keys that are looked up or looked for in a variable of an answer."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and node.value in NAMES:
            found.append(f"line {node.lineno}: {node.value!r}")
        if isinstance(node, ast.Subscript):
            pairs = [(node.value, node.slice)]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in ("get", "pop"):
            pairs = [(node.func.value, argument) for argument in node.args[:1]]
        elif isinstance(node, ast.Compare) and isinstance(node.ops[0], (ast.In, ast.NotIn)):
            pairs = [(node.comparators[0], node.left)]
        else:
            continue
        for place, key in pairs:
            if isinstance(key, ast.Constant) and key.value in KEYS and variable(place) in ANSWERS:
                found.append(f"line {node.lineno}: {key.value!r}")
    return found


def variable(node: ast.expr) -> str | None:
    """The name of the variable that an expression starts from: "rows" of rows[0]["labels"]."""
    while isinstance(node, (ast.Subscript, ast.Attribute, ast.Call)):
        node = node.func if isinstance(node, ast.Call) else node.value
    return getattr(node, "id", None)


def test_the_keys_are_those_of_the_tasks():
    classes = [tasks.task_class(name) for name in NAMES]
    stated = {key for kind in classes for key in (getattr(kind, "text_key", None),) if key}
    stated |= {key for kind in classes if isinstance(kind.answer_layout, dict) for key in kind.answer_layout}
    assert stated - {"words"} <= KEYS  # which rows of pictures have too


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_general_room_knows_no_task(path):
    assert findings(path.read_text("utf-8")) == []


@pytest.mark.parametrize(
    "source",
    [
        'if task.name == "translation": pass',
        'if "labels" in row: pass',
        'print(rows[0]["scores"])',
        'answer.get("alternatives", [])',
    ],
)
def test_the_search_finds(source):
    assert len(findings(source)) == 1


@pytest.mark.parametrize("source", ['settings["labels"]', '"translation of a word"', 'trial["score"]', 'row["input"]'])
def test_the_search_ignores(source):
    assert findings(source) == []
