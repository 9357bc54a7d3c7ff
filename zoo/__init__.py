"""keras-zoo: the systems of the review "Deep learning" (Nature 521, 2015), by name, with trained weights.

Every verb below is imported when it is first used, so that `import zoo` and a listing need no TensorFlow.
"""

import importlib
import os
import platform
from typing import TYPE_CHECKING

# TensorFlow leaves its oneDNN kernels off on x86 processors without AVX-512 or AVX-VNNI, where they are up to twice as
# fast. It looks once, when it is imported: import zoo first. A value of the user's own is left as it is.
if platform.machine() in ("x86_64", "AMD64"):
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

if TYPE_CHECKING:
    from zoo.explaining import explain
    from zoo.exporting import export, verify
    from zoo.inference import evaluate, load, pipeline
    from zoo.preset import list_models, model_info
    from zoo.preset.saving import save
    from zoo.registry import create_model, register_model
    from zoo.tasks.dataset import dataset
    from zoo.timing import benchmark
    from zoo.training.run import train
    from zoo.training.tuning import tune

_MODULES = {
    "benchmark": "zoo.timing",
    "create_model": "zoo.registry",
    "dataset": "zoo.tasks.dataset",
    "evaluate": "zoo.inference",
    "explain": "zoo.explaining",
    "export": "zoo.exporting",
    "list_models": "zoo.preset",
    "load": "zoo.inference",
    "model_info": "zoo.preset",
    "pipeline": "zoo.inference",
    "register_model": "zoo.registry",
    "save": "zoo.preset.saving",
    "train": "zoo.training.run",
    "tune": "zoo.training.tuning",
    "verify": "zoo.exporting",
}

__all__ = [
    "benchmark",
    "create_model",
    "dataset",
    "evaluate",
    "explain",
    "export",
    "list_models",
    "load",
    "model_info",
    "pipeline",
    "register_model",
    "save",
    "train",
    "tune",
    "verify",
]


def __getattr__(name: str):
    if name in _MODULES:
        value = getattr(importlib.import_module(_MODULES[name]), name)
    elif name == "__version__":
        value = importlib.import_module("importlib.metadata").version("keras-zoo")
    else:
        raise AttributeError(f"module 'zoo' has no attribute {name!r}; its verbs are {', '.join(_MODULES)}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES, "__version__"})
