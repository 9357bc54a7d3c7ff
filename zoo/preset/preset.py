"""A preset: the folder of a trained model, its preset.json, and its files, checked by their hashes."""

import dataclasses
import hashlib
from pathlib import Path

from zoo.errors import ZooError
from zoo.preset.preset_json import read_record

WEIGHTS = "model.weights.h5"


@dataclasses.dataclass(frozen=True, repr=False)
class Preset:
    """A preset's folder and the content of its preset.json."""

    path: Path
    record: dict

    def __repr__(self):
        return f"<Preset {self.name} in {self.path}>"

    @property
    def name(self) -> str:
        return self.record["name"]

    def file(self, name: str) -> Path:
        """The path of a file of the preset, after checking its size and sha256.

        Raises:
            ZooError: the file is not listed, is missing, truncated or changed, or lies outside the folder.
        """
        if name not in self.record["files"]:
            raise ZooError(f"preset {self.path} has no file {name}")
        path = self.path / name
        if not path.resolve().is_relative_to(self.path.resolve()):
            raise ZooError(f"preset {self.path} lists {name}, which lies outside its folder")
        expected = self.record["files"][name]
        if not path.is_file():
            raise ZooError(f"{path} is missing: the preset is incomplete; download or save it again")
        if path.stat().st_size != expected["size"]:
            sizes = f"{path.stat().st_size} bytes, not {expected['size']}"
            raise ZooError(f"{path} is damaged: {sizes}; download or save it again")
        if sha256(path) != expected["sha256"]:
            raise ZooError(f"{path} is damaged: its sha256 differs from preset.json; download or save it again")
        return path

    def verify(self) -> None:
        """Checks every file of the preset."""
        for name in self.record["files"]:
            self.file(name)

    def assets(self) -> dict[str, bytes]:
        names = [name for name in self.record["files"] if name.startswith("assets/")]
        return {name.removeprefix("assets/"): self.file(name).read_bytes() for name in names}


def sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_preset(path: Path) -> Preset:
    """Reads the preset in a folder.

    Raises:
        ZooError: its preset.json can't be used.
    """
    return Preset(path, read_record(path / "preset.json"))
