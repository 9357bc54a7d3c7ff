"""One system per file, by family. A file added here is listed, described, tested and trainable."""
