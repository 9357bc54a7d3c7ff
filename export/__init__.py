"""Exports for serving: `zoo.export`, `zoo.verify`, and `Client`, which asks a server for a model's answers.

Each name is imported at its first use, because a REST client needs neither TensorFlow nor Keras.
"""

import importlib

_MODULES = {
    "Client": "zoo.exporting.client",
    "ServingError": "zoo.exporting.client",
    "export": "zoo.exporting.writing",
    "metrics_of": "zoo.exporting.writing",
    "verify": "zoo.exporting.verifying",
}


def __getattr__(name: str):
    if name in _MODULES:
        return getattr(importlib.import_module(_MODULES[name]), name)
    raise AttributeError(f"module 'zoo.exporting' has no attribute {name!r}")
