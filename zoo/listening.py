"""Transcripts while sound arrives, by a model that carries its state from chunk to chunk."""

import os
from collections.abc import Iterable, Iterator

from zoo.tasks import task_of  # first: it checks Keras's backend

import keras  # isort: skip
import numpy as np

from zoo import preset as presets
from zoo.data import sound
from zoo.errors import InputError, ZooError
from zoo.tasks import raw
from zoo.tasks.task import Task


def listen(
    name: str | os.PathLike | keras.Model, source: str | os.PathLike | Iterable | None = None, chunk: float = 0.2
) -> Iterator[dict]:
    """The answer so far, after each chunk of a sound; it is never revised, only continued.

    The last answer is that of the pipeline with beam=1 for the whole sound. Memory does not grow with its length.

    Args:
        name: a preset's name or path, or a model from load or create_model, that transcribes and streams.
        source: a sound file; chunks of samples (T,) at the model's rate, in [-1, 1] or arrays of int16; None for the
            microphone, which needs the package sounddevice.
        chunk: seconds of a chunk of a file or the microphone.

    Yields:
        {"transcript", "score", "words": [{"word", "start", "end"}], "seconds"}; `seconds` is how much was heard.

    Raises:
        ZooError: the model can't stream, or the microphone is missing.
        InputError: the sound can't be read.
    """
    return answers(open_task(name), source, chunk)


def open_task(name: str | os.PathLike | keras.Model) -> Task:
    """The task of a preset or model that can listen.

    Raises:
        ZooError: it can't.
    """
    model = name if isinstance(name, keras.Model) else presets.load_model(presets.open_preset(name))
    task = task_of(model)
    if not hasattr(task, "hearing"):
        raise ZooError(f"{model.name} can't listen: its task, {task.name}, does not transcribe sound")
    return task


def answers(task: Task, source, chunk: float) -> Iterator[dict]:
    """As `listen`, for the result of `open_task`."""
    if not (isinstance(chunk, (int, float)) and 0 < chunk <= 60):
        raise ZooError(f"chunk must be > 0 and <= 60 seconds, got {chunk!r}")
    heard, size = task.hearing(), max(1, round(chunk * task.rate))
    if source is None:
        blocks = _microphone(task.rate, size)
    elif isinstance(source, (str, os.PathLike)):
        blocks = _file(source, task.rate, size)
    else:
        blocks = source
    return (heard(_floats(block)) for block in blocks)


def _floats(block) -> np.ndarray:
    """A chunk of samples as float32; integers of an array as `sound.of_integers` reads them."""
    is_integer = getattr(block, "dtype", np.dtype(float)).kind in "iu"
    return sound.of_integers(np.asarray(block)) if is_integer else np.asarray(block, "float32")


def _file(path: str | os.PathLike, rate: int, size: int) -> Iterator[np.ndarray]:
    """A sound file in chunks of `size`; the last one may be shorter."""
    kept = np.zeros(0, "float32")
    try:
        for block in sound.read_blocks(path, rate):
            kept = np.concatenate([kept, block])
            whole = len(kept) // size * size
            yield from kept[:whole].reshape(-1, size)
            kept = kept[whole:]
    except InputError as error:
        raise InputError(raw.named(str(error), raw.shown(path))) from None
    if kept.size:
        yield kept


def _microphone(rate: int, size: int) -> Iterator[np.ndarray]:
    try:
        import sounddevice
    except (ImportError, OSError) as error:  # OSError: PortAudio is missing
        raise ZooError(f'no microphone: {error}; pip install "keras-zoo[audio]", or give a file') from None

    def chunks():
        with sounddevice.InputStream(samplerate=rate, channels=1, dtype="float32", blocksize=size) as stream:
            while True:
                samples, _ = stream.read(size)
                yield samples[:, 0]

    return chunks()
