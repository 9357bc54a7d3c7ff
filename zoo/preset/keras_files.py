"""Models in Keras's own files, *.keras: their origin, read without Keras."""

import json
import os
import zipfile
from pathlib import Path

from zoo.errors import ZooError
from zoo.origin import Origin


def is_keras_file(name: object) -> bool:
    return isinstance(name, (str, os.PathLike)) and os.fspath(name).endswith(".keras")


def read_origin(path: str | os.PathLike) -> Origin:
    """The origin of the model in a .keras file.

    Raises:
        ZooError: the file does not exist, it is damaged, or its model does not come from `zoo`.
    """
    path = Path(path)
    if not path.is_file():
        raise ZooError(f"there is no file {path}")
    try:
        with zipfile.ZipFile(path) as file:
            config = json.loads(file.read("config.json"))["config"]
        origin = config.get("origin")
    except (OSError, zipfile.BadZipFile, KeyError, ValueError, TypeError, AttributeError) as error:
        raise ZooError(f"{path} is not a .keras file that can be read: {error}") from error
    if origin is None:
        raise ZooError(f"{path} has no origin: only models from zoo.load or zoo.create_model have one")
    try:
        return Origin.from_config(origin)
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise ZooError(f"{path} has a damaged origin: {error}") from error


def load_keras_file(path: str | os.PathLike):
    """The model in a .keras file, with its origin.

    Raises:
        ZooError: as for read_origin, or Keras can't load the model.
    """
    import keras

    read_origin(path)
    try:
        return keras.saving.load_model(path, compile=False)
    except Exception as error:  # Keras raises many kinds
        raise ZooError(f"{path} can't be loaded: {' '.join(str(error).split())[:200]}") from error
