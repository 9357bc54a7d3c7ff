"""A long sequence of tokens in windows, so that each batch continues the batch before; on disk, not in memory."""

import contextlib
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

import numpy as np
import tensorflow as tf

_folders = contextlib.ExitStack()  # temporary folders, removed when the process ends


def windows(tokens: Iterable[np.ndarray], rows: int, span: int) -> tuple[tf.data.Dataset, int, int]:
    """Divides a sequence of tokens into `rows` parts, and each part into windows.

    Window w of row r comes at place w * rows + r and continues window w - 1 of row r. A window has span + 1 tokens: its
    last token is the first of the next window. The end of the sequence is padded with zeros.

    Args:
        tokens: (N,) int32 arrays of any sizes, the sequence one after the other.
        rows: of a batch.
        span: tokens that a model reads in a window.

    Returns:
        A data set of {"tokens": (span + 1,) int32}, the number of windows, and the number of tokens.
    """
    folder = Path(_folders.enter_context(tempfile.TemporaryDirectory(prefix="zoo-windows-")))
    whole = folder / "tokens"
    with whole.open("wb") as file:
        for part in tokens:
            file.write(np.ascontiguousarray(part, np.int32))
    count = whole.stat().st_size // 4
    turns = max(1, -(-max(count - 1, 1) // (rows * span)))  # windows of a row
    if count:
        with (folder / "windows").open("wb") as file:
            _write(file, np.memmap(whole, np.int32, "r"), turns, rows, span)
    whole.unlink()
    size = span + 1
    records = tf.data.FixedLengthRecordDataset(str(folder / "windows"), 4 * size)

    def decoded(record):
        return {"tokens": tf.ensure_shape(tf.io.decode_raw(record, tf.int32), (size,))}

    return records.map(decoded, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True), turns * rows, count


def _write(file: BinaryIO, tokens: np.ndarray, turns: int, rows: int, span: int) -> None:
    for turn in range(turns):
        batch = np.zeros((rows, span + 1), np.int32)
        for row in range(rows):
            begin = (row * turns + turn) * span
            part = tokens[begin : begin + span + 1]
            batch[row, : len(part)] = part
        file.write(batch)
