"""Runs that several modules of tests compare with or continue."""

import shutil

import pytest

from tests.helpers import short_graphs
from tests.helpers.resumable_runs import train
from tests.helpers.sharing import made_once
from zoo.training import checkpoints


@pytest.fixture(scope="module", autouse=True)
def _all_runs_are_short(short_runs):
    """Those of this folder's modules."""


@pytest.fixture(scope="session")
def uncut_run(digits_folder, tmp_path_factory):
    """The folder of a run that nothing interrupted; tests must not change it."""

    def make(folder):
        with short_graphs.short_runs():
            train(digits_folder, folder / "run")

    return made_once(tmp_path_factory, "uncut", make) / "run"


@pytest.fixture(scope="session")
def _cut_run(digits_folder, tmp_path_factory):
    def make(folder):
        with short_graphs.short_runs(), pytest.MonkeyPatch.context() as patch:
            patch.setattr(checkpoints, "COST", 1e9)  # a checkpoint after every step, whatever it costs
            train(digits_folder, folder / "run", steps=6)

    return made_once(tmp_path_factory, "cut", make) / "run"


@pytest.fixture
def cut_run(_cut_run, tmp_path):
    """A copy of a run that was cut in its second epoch, after step 6 of 12, with checkpoints of steps 4, 5 and 6."""
    return shutil.copytree(_cut_run, tmp_path / "cut")


@pytest.fixture
def finished_run(uncut_run, tmp_path):
    """A copy of a run that has ended."""
    return shutil.copytree(uncut_run, tmp_path / "finished")
