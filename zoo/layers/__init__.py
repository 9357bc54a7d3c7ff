"""Layers that two or more models share."""

import keras  # noqa: F401, first: zoo.serializable then imports every layer, which must not be half imported
