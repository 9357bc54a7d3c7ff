"""Texts to token ids and back, in the graph.

A vocabulary is bytes that a preset keeps, and two functions over batches: `encode`, (B,) strings -> (B, None) ragged
int32, and `decode` back. Ids 0, 1 and 2 are padding, start and end in every vocabulary; `encode` gives none of them.
"""

import functools
import io
from collections.abc import Iterable

import tensorflow as tf

from zoo.errors import ZooError

PADDING, START, END, UNKNOWN = range(4)
WORD = "\u2581"  # a piece that begins a word begins with it
STOP = "\u25a0"  # the end, in pictures


class Pieces:
    """SentencePiece (Kudo & Richardson 2018, arXiv 1808.06226): parts of words, and bytes where no part fits.

    Text is normalised (NFKC, spaces between words made one) before it is cut; but for that, `decode` undoes `encode`.
    Its operations are tensorflow-text's.

    Args:
        model: a SentencePiece model.
    """

    def __init__(self, model: bytes):
        try:
            from tensorflow_text import SentencepieceTokenizer
        except ImportError as error:
            raise ZooError(f"this vocabulary needs tensorflow-text: pip install tensorflow-text ({error})") from None

        # Made anew for each graph, and lying in it: one made outside belongs to a kernel that TensorFlow throws away
        # with its caches, as when a random seed is set.
        self._tokenizer = functools.partial(SentencepieceTokenizer, model=model, out_type=tf.int32)
        self.size = int(self._tokenizer().vocab_size())
        self.resource = None  # nothing that a SavedModel would have to hold beside its graphs

    def encode(self, texts):
        return self._tokenizer().tokenize(texts)

    def decode(self, ids):
        return self._tokenizer().detokenize(ids)

    def names(self, ids: list[int]) -> list[str]:
        """How each token is shown."""
        pieces = self._tokenizer().id_to_string(tf.constant(ids, tf.int32)).numpy()
        return [STOP if one == END else piece.decode() for one, piece in zip(ids, pieces, strict=True)]

    def problem(self, texts):
        """(B,) strings -> (B,), "": bytes stand for what has no piece."""
        return tf.fill([tf.size(texts)], "")


def train_pieces(texts: Iterable[str], size: int) -> bytes:
    """A SentencePiece model of at most `size` pieces, from the texts; of few texts it has fewer.

    Raises:
        ZooError: size leaves no room beside the 256 bytes and the letters of the texts.
    """
    import sentencepiece

    made = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(texts),
            model_writer=made,
            model_type="unigram",
            vocab_size=size,
            hard_vocab_limit=False,
            byte_fallback=True,
            normalization_rule_name="nmt_nfkc",
            pad_id=PADDING,
            bos_id=START,
            eos_id=END,
            unk_id=UNKNOWN,
            num_threads=1,  # more of them give other sums
            minloglevel=2,
        )
    except (RuntimeError, OSError) as error:
        reason = " ".join(str(error).split())[-150:]
        raise ZooError(f"vocabulary_size={size}: SentencePiece can't make such a vocabulary ({reason})") from None
    return made.getvalue()


class Symbols:
    """A list of symbols: the characters of a word, or names with spaces between.

    Args:
        listed: the symbols, a line each in UTF-8.
        are_letters: they are single characters, with nothing between them, and capital letters count as small ones.
    """

    def __init__(self, listed: bytes, are_letters: bool):
        self.symbols = listed.decode("utf-8").split("\n")
        self.are_letters = are_letters
        self.size = UNKNOWN + 1 + len(self.symbols)
        places = tf.range(UNKNOWN + 1, self.size)
        pairs = tf.lookup.KeyValueTensorInitializer(tf.constant(self.symbols), places)
        self.resource = tf.lookup.StaticHashTable(pairs, UNKNOWN)

    def _split(self, texts):
        return (
            tf.strings.unicode_split(tf.strings.strip(texts), "UTF-8") if self.are_letters else tf.strings.split(texts)
        )

    def _ids(self, symbols):
        """One by one: TensorFlow makes small letters of a text only up to its first NUL."""
        return self.resource.lookup(tf.strings.lower(symbols, "utf-8") if self.are_letters else symbols)

    def encode(self, texts):
        symbols = self._split(texts)
        return symbols.with_flat_values(self._ids(symbols.flat_values))

    def decode(self, ids):
        names = tf.constant([""] * (UNKNOWN + 1) + self.symbols)
        return tf.strings.reduce_join(tf.gather(names, ids), axis=-1, separator="" if self.are_letters else " ")

    def names(self, ids: list[int]) -> list[str]:
        """How each token is shown."""
        names = ["-", "-", STOP, "?", *self.symbols]
        return [names[one] for one in ids]

    def problem(self, texts):
        """(B,) strings -> (B,), which symbol of each is not known; "" where all are."""
        symbols = self._split(texts)
        strange = self._ids(symbols.flat_values) == UNKNOWN
        told = tf.where(strange, tf.strings.join(["'", symbols.flat_values, "' "]), "")
        told = tf.strings.strip(tf.strings.reduce_join(symbols.with_flat_values(told), axis=-1))
        return tf.where(told == "", "", tf.strings.join(["not in the vocabulary: ", told]))


def symbols_of(texts: Iterable[str], are_letters: bool) -> bytes:
    """The symbols of the texts in alphabetical order, a line each; arguments as of `Symbols`."""
    found: set[str] = set()
    for text in texts:
        found.update(map(str.lower, text.strip()) if are_letters else text.split())
    return "\n".join(sorted(found - {"\n"})).encode("utf-8")
