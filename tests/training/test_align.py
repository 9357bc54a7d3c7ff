"""The phone of every frame from the peaks of CTC."""

import numpy as np
import pytest

import zoo
from tests.helpers.models import make
from zoo import preset
from zoo.data.phones import read_alignments
from zoo.errors import ZooError
from zoo.training import align

NAMES = [f"an{number}-f{letter}-b" for number, letter in enumerate("abcdefg")]
COUNTS = [9, 12, 15, 9, 8, 20, 14]


@pytest.mark.parametrize(
    ("peaks", "reach", "runs"),
    [
        # Borders are in the middle between two peaks, also between equal phones.
        ([("AA", 0, 3), ("AA", 6, 9)], 9, [("AA", 4), ("AA", 6)]),
        ([("AA", 0, 3), ("B", 3, 6)], 9, [("AA", 3), ("B", 7)]),
        # A gap of at most 2 * reach has no silence; a longer one has what is out of reach.
        ([("AA", 0, 2), ("B", 6, 8)], 2, [("AA", 4), ("B", 6)]),
        ([("AA", 0, 2), ("B", 7, 8)], 2, [("AA", 4), ("SIL", 1), ("B", 5)]),
        ([("AA", 4, 5)], 2, [("SIL", 2), ("AA", 5), ("SIL", 3)]),
        ([("AA", 4, 5)], 0, [("SIL", 4), ("AA", 1), ("SIL", 5)]),
        ([("AA", 8, 12)], 1, [("SIL", 7), ("AA", 3)]),  # the last step may be longer than the frames
        ([], 3, [("SIL", 10)]),
    ],
)
def test_peaks_are_spread(peaks, reach, runs):
    assert align.spread(peaks, 10, reach) == runs


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A folder of TFDS with seven utterances of AN4, and a model of random weights in it that writes their phones."""
    folder = tmp_path_factory.mktemp("tfds")
    manual = folder / "downloads" / "manual" / "an4"
    manual.mkdir(parents=True)
    (manual / "an4.dic").write_text("GO G OW\nA EY\n")
    arrays = {}
    for split, items in (("train", range(5)), ("test", range(5, 7))):
        frames = np.random.default_rng(0).normal(size=(sum(COUNTS[item] for item in items), 13))
        arrays[f"{split}_feats"] = frames.astype("float32")
        arrays[f"{split}_offsets"] = np.cumsum([0, *(COUNTS[item] for item in items)])
        arrays[f"{split}_text"] = np.array(["GO A" for _ in items])
        arrays[f"{split}_id"] = [NAMES[item] for item in items]
    np.savez(manual / "an4_mfcc13.npz", **arrays)
    model = make("blstm_ctc", features=13, symbols=4, stack=2)
    model.origin.settings = {"front_end": {"convention": "sphinx", "normalize": "utterance"}}
    model.origin.assets = {"alphabet.txt": b" ego"}
    preset.update(zoo.save(model, folder / "run"), data={"name": "an4_phones", "test": "test"})
    return folder


def test_every_frame_has_a_phone(run, tmp_path):
    assert align.align(str(run / "run"), tmp_path / "phones.tsv", reach=1, data_dir=str(run)) == 7
    alignments = read_alignments(tmp_path / "phones.tsv")
    assert {name: len(own) for name, own in alignments.items()} == dict(zip(NAMES, COUNTS, strict=True))
    for own in alignments.values():
        phones = [phone for phone, before in zip(own, [None, *own], strict=False) if phone not in (before, "SIL")]
        assert phones == ["G", "OW", "EY"]


@pytest.mark.slow
def test_too_few_steps(run, tmp_path):
    loaded = zoo.load(str(run / "run"))
    model = make("blstm_ctc", features=13, symbols=4, stack=4)
    model.origin.settings, model.origin.assets = loaded.origin.settings, loaded.origin.assets
    preset.update(zoo.save(model, tmp_path / "run"), data={"name": "an4_phones", "test": "test"})
    with pytest.raises(ZooError, match="an.*-f.-b has more phones than steps: train .*run with a smaller stack"):
        align.align(str(tmp_path / "run"), tmp_path / "phones.tsv", data_dir=str(run))
    assert not (tmp_path / "phones.tsv").exists()


def test_other_presets_are_refused(tmp_path):
    with pytest.raises(ZooError, match="does not write phones as letters: train blstm_ctc.an4_phones"):
        align.align("conv_acoustic.fsdd", tmp_path / "phones.tsv")
