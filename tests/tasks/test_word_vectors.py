"""Word vectors for other tools: word2vec's formats, TensorBoard's projector, Keras's layers, and the map."""

import struct

import keras
import numpy as np
import pytest

import zoo
from tests.helpers.models import make
from zoo.errors import ZooError
from zoo.tasks import task_of

TEXT = b"3 2\nking 1.5 -2.0\nman 0.25 1e-3\n\xc3\xa9t\xc3\xa9 0 4\n"
WORDS = [b"king", b"man", "\u00e9t\u00e9".encode()]
VECTORS = np.array([[1.5, -2.0], [0.25, 1e-3], [0, 4]], "float32")


def binary(end: bytes) -> bytes:
    rows = (word + b" " + struct.pack("<2f", *vector) + end for word, vector in zip(WORDS, VECTORS, strict=True))
    return b"3 2\n" + b"".join(rows)


@pytest.fixture(scope="module")
def model():
    return make("skipgram")


# gensim ends a vector of the binary format without a line feed, the authors' program with one
@pytest.mark.parametrize("content", [TEXT, binary(b""), binary(b"\n")])
def test_files_of_other_tools_are_read(tmp_path, content):
    (tmp_path / "vectors").write_bytes(content)
    loaded = zoo.load_word2vec(tmp_path / "vectors")
    task = task_of(loaded)
    assert task.vocabulary[0] == WORDS
    np.testing.assert_array_equal(task.vectors(), VECTORS)


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"", "its first line must be two numbers"),
        (b"king 1 2\n", "its first line must be two numbers"),
        (b"0 2\n", "its first line must be two numbers"),
        (b"999999999 999999\nking 1\n", "is truncated"),
        (TEXT[:-8], "is damaged at word 3 of 3"),
        (TEXT + b"cat 1 2\n", "has more than the 3 words that its first line says"),
        (binary(b"")[:-2], "is damaged at word 3 of 3"),
        (TEXT.replace(b"man", b"king"), "has the word 'king' 2 times"),
        (TEXT.replace(b"1.5", b"nan"), "not finite, of 'king'"),
        (TEXT.replace(b"man", b"m\xff"), "is not a word in UTF-8"),
    ],
)
def test_damaged_files_are_refused(tmp_path, content, error):
    (tmp_path / "vectors").write_bytes(content)
    with pytest.raises(ZooError, match=error):
        zoo.load_word2vec(tmp_path / "vectors")


def test_a_missing_file(tmp_path):
    with pytest.raises(ZooError, match="can't read .*none: No such file"):
        zoo.load_word2vec(tmp_path / "none")


@pytest.mark.parametrize(("format", "file"), [("word2vec", "vectors.txt"), ("word2vec-binary", "vectors.bin")])
def test_what_is_written_is_read(model, tmp_path, format, file):
    """Text has enough digits for every float32."""
    version = zoo.export(model, tmp_path, format=format)
    assert version == tmp_path / f"skipgram.{format}" / "1"
    loaded = zoo.load_word2vec(version / file)
    task, again = task_of(model), task_of(loaded)
    assert again.vocabulary[0] == task.vocabulary[0]
    np.testing.assert_array_equal(again.vectors(), task.vectors())
    assert zoo.pipeline(loaded)("king")["neighbours"] == zoo.pipeline(model)("king")["neighbours"]


@pytest.mark.parametrize(("format", "file"), [("word2vec", "vectors.txt"), ("word2vec-binary", "vectors.bin")])
def test_gensim_reads_what_is_written_and_writes_what_is_read(model, tmp_path, format, file):
    gensim = pytest.importorskip("gensim")
    task, is_binary = task_of(model), file.endswith(".bin")
    path = zoo.export(model, tmp_path, format=format) / file
    theirs = gensim.models.KeyedVectors.load_word2vec_format(path, binary=is_binary)
    assert [word.encode() for word in theirs.index_to_key] == task.vocabulary[0]
    np.testing.assert_array_equal(theirs.vectors, task.vectors())
    theirs.save_word2vec_format(tmp_path / file, binary=is_binary)
    np.testing.assert_array_equal(task_of(zoo.load_word2vec(tmp_path / file)).vectors(), task.vectors())


def test_the_projector_has_a_row_per_word(model, tmp_path):
    version = zoo.export(model, tmp_path, format="projector")
    values = np.loadtxt(version / "vectors.tsv", delimiter="\t")
    np.testing.assert_allclose(values, task_of(model).vectors(), rtol=1e-5)
    assert (version / "words.tsv").read_text().splitlines()[:2] == ["word\tcount", "king\t40"]
    assert 'tensor_path: "vectors.tsv"' in (version / "projector_config.pbtxt").read_text()


def test_formats_belong_to_a_task(tmp_path):
    with pytest.raises(ZooError, match="unknown format 'word2vec'"):
        zoo.export(make("mlp"), tmp_path, format="word2vec")
    with pytest.raises(ZooError, match="precision must be 'float32' for format 'word2vec', got 'int8'"):
        zoo.export(make("skipgram"), tmp_path, format="word2vec", precision="int8")


def test_layers_of_keras(model):
    """Strings become vectors; padding is masked, and unknown words are zero."""
    lookup, embedding = zoo.embedding_layer(model)
    ids = lookup(np.array([["man", "unheard", ""]]))
    vectors = embedding(ids)
    np.testing.assert_array_equal(vectors[0, 0], task_of(model).vectors()[1])
    assert np.abs(vectors[0, 1:]).max() == 0
    assert embedding.compute_mask(ids).numpy().tolist() == [[True, True, False]]
    classifier = keras.Sequential([embedding, keras.layers.GlobalAveragePooling1D(), keras.layers.Dense(2)])
    assert classifier(ids).shape == (1, 2)
    _, other = zoo.embedding_layer(model, trainable=False)
    assert not other.trainable_weights
    words = keras.Input((3,), dtype="int64")
    keras.Model(words, keras.layers.Add()([embedding(words), other(words)]))  # their names differ


def test_layers_need_word_vectors():
    with pytest.raises(ZooError, match="has no word vectors: its task is image_classification"):
        zoo.embedding_layer(make("mlp"))


def test_the_map(model, tmp_path):
    """Chosen words and frequent ones, each once; bad words are returned, and the same words have the same places."""
    asked = ["king", "king - man + boy", "kinf", "king - king"]
    rows = zoo.explain(model, asked, tmp_path / "map.png", errors="return")
    assert "unknown word 'kinf'" in rows[2]["error"]
    assert rows[3]["error"] == "the words of the expression cancel each other"
    names = [row["input"] for row in rows]
    assert len(names) == len(set(names)) == 20 + 3
    assert [row["input"] for row in rows if row.get("is_chosen")] == ["king", "king - man + boy"]
    places = np.array([(row["x"], row["y"]) for row in rows if "error" not in row])
    assert len(np.unique(places, axis=0)) == 21
    again = zoo.explain(model, None, tmp_path / "all.png")
    assert [row["input"] for row in again] == [word.decode() for word in task_of(model).vocabulary[0]]
    assert again == zoo.explain(model, None, tmp_path / "all.svg")
    assert (tmp_path / "map.png").stat().st_size > 5000
