"""What is installed: every module and data file of the tree, under one top-level name."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def tracked() -> list[str]:
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True)
    return [name for name in done.stdout.decode().split("\0") if name and (ROOT / name).is_file()]


@pytest.fixture(scope="module")
def names(tmp_path_factory) -> set[str]:
    """The files of a wheel that is built from a clean copy."""
    copy = tmp_path_factory.mktemp("copy")
    for name in tracked():
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        (copy / name).write_bytes((ROOT / name).read_bytes())
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(copy)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    with zipfile.ZipFile(next(out.glob("*.whl"))) as wheel:
        return {name for name in wheel.namelist() if ".dist-info/" not in name}


def test_the_wheel_holds_the_tree(names):
    moved = {"training/": "zoo/training/", "export/": "zoo/exporting/"}
    expected = set()
    for name in tracked():
        top = name.partition("/")[0] + "/"
        if top in ("zoo/", *moved) and "/__pycache__/" not in name:
            expected.add(name.replace(top, moved.get(top, top), 1))
    assert names == expected


def test_the_wheel_has_one_top_level_name(names):
    assert {name.partition("/")[0] for name in names} == {"zoo"}
