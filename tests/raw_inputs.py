"""Raw items of each task, for the laws that every model keeps. Nothing here needs zoo."""

import string
from pathlib import Path

import numpy as np

from tests.drawings import draw_digit

# A vocabulary of a tiny translator: what its file of symbols holds, of the source and of the target.
SYMBOLS = {
    "source_symbols.txt": "\n".join(string.ascii_lowercase + string.digits).encode(),
    "target_symbols.txt": "\n".join(string.ascii_uppercase).encode(),
}


def random_inputs(model, size: int, seed: int = 1) -> dict[str, np.ndarray]:
    """Inputs of the model's shapes; sequences of unequal lengths, with garbage behind them."""
    random = np.random.default_rng(seed)
    if "source" in model.input:
        return {
            "source": random.integers(0, model.source_embedding.input_dim, (size, 7)).astype("int32"),
            "source_length": np.resize([4, 7, 1, 5], size).astype("int32"),
            "target": random.integers(0, model.output["logits"].shape[-1], (size, 6)).astype("int32"),
        }
    return {key: random.random((size, *tensor.shape[1:]), "float32") for key, tensor in model.input.items()}


def changed(inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The same for the first item, other values for the rest."""
    others = {key: 9 * value if value.dtype == "float32" else (value + 1) % 5 + 1 for key, value in inputs.items()}
    return {key: np.concatenate([value[:1], others[key][1:]]) for key, value in inputs.items()}


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
    elif "source" in model.input:
        good, bad, other = folder / "good.txt", folder / "bad.txt", folder / "other.txt"
        good.write_text("hello")
        bad.write_text("na\u00efve")
        other.write_text("a2z")
    else:
        raise NotImplementedError(f"raw items for the inputs {', '.join(model.input)}")
    return [good, bad, other]


def as_item(file: Path) -> Path | str:
    """What a user gives a pipeline of a file: its path, or the sentence in it."""
    return file.read_text() if file.suffix == ".txt" else file


def as_served(files: list[Path]) -> dict[str, list]:
    """What a client sends of these files to the signature serving_default."""
    if files[0].suffix == ".npy":
        return {"tensor": [np.load(file).astype("float32") for file in files]}
    if files[0].suffix == ".txt":
        return {"sentence": [file.read_bytes() for file in files]}
    return {"image_bytes": [file.read_bytes() for file in files]}


def training_folder(model, folder: Path, digits: Path) -> Path:
    """A folder of three classes that the model can be trained on, or a file of pairs; `digits`: the one of images."""
    if "image" in model.input:
        return digits
    random = np.random.default_rng(3)
    if "source" in model.input:
        words = ["".join(random.choice(list("abcdefgh"), random.integers(1, 7))) for _ in range(60)]
        folder.with_suffix(".tsv").write_text("".join(f"{word}\t{' '.join(word.upper())}\n" for word in words))
        return folder.with_suffix(".tsv")
    for number, label in enumerate("abc"):
        (folder / label).mkdir(parents=True)
        for item in range(20):
            values = random.normal(number, 0.3, model.input["tensor"].shape[1:])
            np.save(folder / label / f"{item}.npy", values)
    return folder
