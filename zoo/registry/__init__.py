"""Models by name: reading.py reads the models' files, creating.py builds a model."""

from zoo.origin import Origin
from zoo.registry.creating import create_model, freeze_layers, has_classes, is_head, tapped
from zoo.registry.reading import Entry, entries, register_model

__all__ = [
    "Entry",
    "Origin",
    "create_model",
    "entries",
    "freeze_layers",
    "has_classes",
    "is_head",
    "register_model",
    "tapped",
]
