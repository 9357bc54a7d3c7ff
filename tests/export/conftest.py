"""Exports that several modules of tests run."""

import pytest

import zoo
from zoo.exporting import edge


@pytest.fixture(scope="session")
def edge_exports(tmp_path_factory):
    """lenet5.mnist in both formats."""
    out = tmp_path_factory.mktemp("exports")
    return {format: zoo.export("lenet5.mnist", out, format, top=10) for format in edge.FORMATS}
