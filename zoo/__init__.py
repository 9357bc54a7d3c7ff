"""keras-zoo: the systems of the review "Deep learning" (Nature 521, 2015), by name, with trained weights.

Each function is imported when it is first used, so that `import zoo` and listings need no TensorFlow.
"""

import importlib
import os
import platform
from typing import TYPE_CHECKING

# TensorFlow turns its oneDNN kernels off on x86 processors without AVX-512 or AVX-VNNI, where they are up to twice as
# fast. It reads this variable once, on import, so import zoo first. A value that the user has set is kept.
if platform.machine() in ("x86_64", "AMD64"):
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

# The logs of TensorFlow's C++ libraries explain nothing to a user of Keras: errors come as exceptions, and zoo.quiet
# warns about a GPU that can't be used.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

if TYPE_CHECKING:
    from zoo.explaining import explain
    from zoo.exporting.verifying import verify
    from zoo.exporting.writing import export
    from zoo.inference import evaluate, load, pipeline
    from zoo.listening import listen
    from zoo.preset import create_model, list_models, model_info
    from zoo.preset.saving import save
    from zoo.registry import register_model
    from zoo.tasks.dataset import dataset, preprocess
    from zoo.tasks.word_vectors import embedding_layer, load_word2vec
    from zoo.timing import benchmark
    from zoo.training.run import train
    from zoo.training.tuning import tune

_MODULES = {
    "benchmark": "zoo.timing",
    "create_model": "zoo.preset",
    "dataset": "zoo.tasks.dataset",
    "embedding_layer": "zoo.tasks.word_vectors",
    "evaluate": "zoo.inference",
    "explain": "zoo.explaining",
    "export": "zoo.exporting.writing",
    "list_models": "zoo.preset",
    "listen": "zoo.listening",
    "load": "zoo.inference",
    "load_word2vec": "zoo.tasks.word_vectors",
    "model_info": "zoo.preset",
    "pipeline": "zoo.inference",
    "preprocess": "zoo.tasks.dataset",
    "register_model": "zoo.registry",
    "save": "zoo.preset.saving",
    "train": "zoo.training.run",
    "tune": "zoo.training.tuning",
    "verify": "zoo.exporting.verifying",
}

_LIGHT = ("list_models", "model_info", "register_model")  # they do not import TensorFlow

__all__ = [
    "benchmark",
    "create_model",
    "dataset",
    "embedding_layer",
    "evaluate",
    "explain",
    "export",
    "list_models",
    "listen",
    "load",
    "load_word2vec",
    "model_info",
    "pipeline",
    "preprocess",
    "register_model",
    "save",
    "train",
    "tune",
    "verify",
]


def __getattr__(name: str):
    if name in _MODULES:
        if name not in _LIGHT:
            _import_tensorflow()
        value = getattr(importlib.import_module(_MODULES[name]), name)
    elif name == "__version__":
        value = importlib.import_module("importlib.metadata").version("keras-zoo")
    else:
        raise AttributeError(f"module 'zoo' has no attribute {name!r}; its functions are {', '.join(_MODULES)}")
    globals()[name] = value
    return value


def _import_tensorflow() -> None:
    """Imports TensorFlow quietly if Keras runs on it; if it does not, the functions that need it raise an error."""
    try:
        importlib.import_module("zoo.tasks")
    except ValueError:
        return
    importlib.import_module("zoo.quiet").import_tensorflow()


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES, "__version__"})


importlib.import_module("zoo.serializable").install()  # so that Keras can load .keras files of this package's models
