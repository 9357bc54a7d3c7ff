"""One system per file, by family. A file added here is listed, described, tested and trainable."""

import keras  # noqa: F401, first: zoo.serializable then imports every model, which must not be half imported
