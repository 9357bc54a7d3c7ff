"""Raw items of each task, for the laws that every model keeps. Nothing here needs zoo."""

from pathlib import Path

import numpy as np

from tests.conftest import draw_digit


def raw_files(model, folder: Path) -> list[Path]:
    """Two good files for the model, and a bad one between them."""
    if "image" in model.input:
        good, bad, other = folder / "good.png", folder / "bad.png", folder / "other.jpg"
        draw_digit("3", 40, ink=20, ground=230).save(good)
        draw_digit("7").save(other)
        bad.write_bytes(good.read_bytes()[:60])
    elif "tensor" in model.input:
        good, bad, other = folder / "good.npy", folder / "bad.npy", folder / "other.npy"
        values = np.random.default_rng(2).normal(size=(2, *model.input["tensor"].shape[1:])).astype("float32")
        np.save(good, values[0])
        np.save(other, values[1])
        np.save(bad, np.where(values[0] == values[0].max(), np.nan, values[0]))
    else:
        raise NotImplementedError(f"raw items for the inputs {', '.join(model.input)}")
    return [good, bad, other]


def as_served(files: list[Path]) -> dict[str, list]:
    """What a client sends of these files to the signature serving_default."""
    if files[0].suffix == ".npy":
        return {"tensor": [np.load(file).astype("float32") for file in files]}
    return {"image_bytes": [file.read_bytes() for file in files]}


def training_folder(model, folder: Path, digits: Path) -> Path:
    """A folder of three classes that the model can be trained on; `digits` is the one for images."""
    if "image" in model.input:
        return digits
    random = np.random.default_rng(3)
    for number, label in enumerate("abc"):
        (folder / label).mkdir(parents=True)
        for item in range(20):
            values = random.normal(number, 0.3, model.input["tensor"].shape[1:])
            np.save(folder / label / f"{item}.npy", values)
    return folder
