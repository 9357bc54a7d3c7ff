"""Pages of the documentation: their blocks, and the files that their commands name."""

import re
import shutil
from pathlib import Path

import numpy as np

from tests.helpers.drawings import draw_digit
from tests.helpers.paths import ROOT
from zoo import preset

PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
PRESETS = ROOT / "zoo" / "presets"


def commands(page: Path) -> list[str]:
    """The zoo commands of a page, without `zoo`."""
    return re.findall(r"^\$ zoo (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)


def python_blocks(page: Path) -> list[str]:
    return re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)


def copy_photos(digits: Path, to: Path) -> None:
    """Half of the drawings of three digits: the network that learns them is large."""
    for label in ("0", "1", "7"):
        (to / label).mkdir(parents=True)
        for file in sorted((digits / label).iterdir())[:10]:
            shutil.copy(file, to / label)


def write_files(digits: Path, folder: Path) -> None:
    """The files that the pages name, with the contents that their texts state."""
    copy_photos(digits, folder / "my_photos")
    shutil.copytree(digits / "7", folder / "my_photos" / "roses")
    shutil.copytree(ROOT / "tests" / "photos", folder / "tests" / "photos")
    draw_digit("7").save(folder / "digit.png")
    draw_digit("7").save(folder / "image.jpg")
    samples = {
        "photo.jpg": "efficientnet_lite0.imagenet/samples/coffee.jpg",
        "blood.jpg": "single_shot_detector.bccd/samples/blood.jpg",
        "slice.tif": "unet.isbi2012/samples/drawn_cells.png",
        "a.jpg": "face_embedding.orl/samples/astronaut.png", "b.jpg": "face_embedding.orl/samples/grace_hopper.png",
        "my_portraits/a.jpg": "face_embedding.orl/samples/astronaut.png",
        "recording.wav": "blstm_ctc.digits/samples/digits_1.wav",
        "sequence.npy": "neural_turing_machine.copy/samples/copy.npy",
    }  # fmt: skip
    (folder / "my_portraits").mkdir()
    for name, sample in samples.items():
        shutil.copy(PRESETS / sample, folder / name)
    (folder / "notes.txt").write_text("not an image")
    (folder / "sentences.txt").write_text("A man is riding a bicycle.\nTwo dogs are running.\n")
    (folder / "words.txt").write_text("8\n0\n4\n2\n5\n")
    (folder / "story.txt").write_text("Mary is in the kitchen.\nJohn went to the garden.\n")
    np.save(folder / "signal.npy", np.zeros((4, 1), "float32"))


def is_bundled(name: str) -> bool:
    return (preset.BUNDLED / name / "preset.json").is_file()
