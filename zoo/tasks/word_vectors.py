"""Word vectors as other tools have them: word2vec's formats, TensorBoard's projector, and Keras's layers."""

import collections
import json
import os
from pathlib import Path

import keras
import numpy as np

from zoo import preset as presets
from zoo.errors import ZooError, checked_path
from zoo.registry import create_model
from zoo.tasks import task_of

LONGEST_WORD = 1000  # bytes


def write_text(task, folder: Path) -> None:
    """word2vec's text format, `vectors.txt`: the numbers of words and of values, then a line per word."""
    vectors = task.vectors()
    with (folder / "vectors.txt").open("wb") as file:
        file.write(b"%d %d\n" % vectors.shape)
        for word, vector in zip(task.vocabulary[0], vectors, strict=True):
            file.write(word + b" " + " ".join(map(str, vector.tolist())).encode() + b"\n")


def write_binary(task, folder: Path) -> None:
    """word2vec's binary format, `vectors.bin`: the same with float32 values in the place of their text."""
    vectors = task.vectors().astype("<f4")
    with (folder / "vectors.bin").open("wb") as file:
        file.write(b"%d %d\n" % vectors.shape)
        for word, vector in zip(task.vocabulary[0], vectors, strict=True):
            file.write(word + b" " + vector.tobytes() + b"\n")


def write_projector(task, folder: Path) -> None:
    """A folder that TensorBoard's projector shows: `tensorboard --logdir FOLDER`."""
    vectors, (words, counts) = task.vectors(), task.vocabulary
    with (folder / "vectors.tsv").open("w", encoding="utf-8") as file:
        file.writelines("\t".join(f"{value:.6g}" for value in vector) + "\n" for vector in vectors.tolist())
    with (folder / "words.tsv").open("w", encoding="utf-8") as file:
        file.write("word\tcount\n")
        file.writelines(
            f"{word.decode('utf-8')}\t{count:.0f}\n" for word, count in zip(words, counts.tolist(), strict=True)
        )
    fields = {"tensor_name": "words", "tensor_path": "vectors.tsv", "metadata_path": "words.tsv"}
    lines = [f"  {key}: {json.dumps(value)}" for key, value in fields.items()]
    (folder / "projector_config.pbtxt").write_text("\n".join(["embeddings {", *lines, "}", ""]))


FORMATS = {"word2vec": write_text, "word2vec-binary": write_binary, "projector": write_projector}


def load_word2vec(path: str | os.PathLike) -> keras.Model:
    """A model with the word vectors of a file in word2vec's text or binary format, such as those of gensim.

    Input is read in small letters if all words of the file are. The vectors of contexts, which such a file lacks, are
    zero.

    Args:
        path: the file. Whether it is text or binary is seen from its content.

    Returns:
        A model for zoo.pipeline, zoo.save, zoo.export and zoo.embedding_layer.

    Raises:
        ZooError: the file can't be read, or is damaged.

    >>> zoo.pipeline(zoo.load_word2vec("vectors.bin"))("queen")   # doctest: +SKIP
    """
    path = checked_path(path, "path")
    try:
        words, vectors = _read(path)
    except OSError as error:
        raise ZooError(f"can't read {path}: {error.strerror}") from None
    for word in words:
        if word.split() != [word] or word.decode("utf-8", "ignore").encode() != word:
            raise ZooError(f"{path}: {word!r} is not a word in UTF-8")
    [(common, count)] = collections.Counter(words).most_common(1)
    if count > 1:
        raise ZooError(f"{path} has the word {common.decode('utf-8')!r} {count} times")
    if len(bad := np.flatnonzero(~np.isfinite(vectors).all(axis=1))):
        raise ZooError(f"{path} has values that are not finite, of {words[bad[0]].decode('utf-8')!r}")
    model = create_model("skipgram", vocabulary=len(words), size=vectors.shape[1])
    model.origin.assets = {"words.tsv": b"".join(b"%s\t0\n" % word for word in words)}
    is_lower = all(word.decode("utf-8").lower().encode() == word for word in words)
    model.origin.settings = {**model.origin.settings, "lower_case": is_lower}
    model.get_layer("embedding").set_weights([vectors])
    return model


def _read(path: Path) -> tuple[list[bytes], np.ndarray]:
    with path.open("rb") as file:
        header = file.readline(100).split()
        if len(header) != 2 or not all(number.isdigit() and int(number) for number in header):
            raise ZooError(f"{path} is not in word2vec's format: its first line must be two numbers, as in 30000 100")
        count, size = map(int, header)
        if path.stat().st_size < count * (size + 1):  # before memory is reserved
            raise ZooError(f"{path} is truncated: it has fewer than {count:,} words of {size:,} values")
        start = file.tell()
        fields = file.readline(LONGEST_WORD + 50 * size).split()
        file.seek(start)
        is_text = len(fields) == size + 1 and all(_is_number(field) for field in fields[1:])
        words, vectors = [], np.zeros((count, size), "float32")
        for number in range(count):
            word, vector = (_text_row if is_text else _binary_row)(file, size)
            if vector is None or len(vector) != size:
                raise ZooError(f"{path} is damaged at word {number + 1:,} of {count:,}")
            words.append(word)
            with np.errstate(over="ignore"):  # values that are not finite are refused later
                vectors[number] = vector
        if file.read(100).strip():
            raise ZooError(f"{path} has more than the {count:,} words that its first line says")
    return words, vectors


def _is_number(field: bytes) -> bool:
    try:
        return bool(field.isascii()) and float(field) is not None
    except ValueError:
        return False


def _text_row(file, size: int):
    fields = file.readline().split(b" ")
    try:
        return fields[0], [float(field) for field in fields[1:] if field.strip()]
    except ValueError:
        return b"", None


def _binary_row(file, size: int):
    word = bytearray()
    while (letter := file.read(1)) != b" ":
        if not letter or len(word) > LONGEST_WORD:
            return b"", None
        if letter != b"\n" or word:  # some programs end a vector with a line feed
            word += letter
    values = file.read(4 * size)
    return bytes(word), np.frombuffer(values, "<f4") if len(values) == 4 * size else None


def embedding_layer(model: str | os.PathLike | keras.Model, trainable: bool = True) -> tuple:
    """The word vectors of a model as layers of a Keras model.

    Args:
        model: a preset's name or path, or a model of a task whose vocabulary has a vector for each word.
        trainable: whether `fit` changes the vectors.

    Returns:
        (lookup, embedding): a keras.layers.StringLookup and a keras.layers.Embedding. Strings (B, T) become vectors
        (B, T, D) by `embedding(lookup(texts))`. The empty string is padding, which has a mask; unknown words have the
        vector zero. Words are looked up as they are: give small letters if the vocabulary has them.

    Raises:
        ZooError: an unknown preset, or a model without word vectors.

    >>> lookup, embedding = zoo.embedding_layer("skipgram.novels")   # doctest: +SKIP
    """
    if not isinstance(model, keras.Model):
        model = presets.load_model(presets.open_preset(model))
    task = task_of(model)
    if not hasattr(task, "vectors"):
        raise ZooError(f"{model.name} has no word vectors: its task is {task.name}")
    words, vectors = [word.decode("utf-8") for word in task.vocabulary[0]], task.vectors()
    lookup = keras.layers.StringLookup(vocabulary=words, mask_token="", num_oov_indices=1)
    embedding = keras.layers.Embedding(len(words) + 2, vectors.shape[1], mask_zero=True, trainable=trainable)
    embedding.build()
    embedding.set_weights([np.concatenate([np.zeros((2, vectors.shape[1]), "float32"), vectors])])
    return lookup, embedding
