"""One system a file, by family. A file dropped in here is listed, described, tested and trainable."""
